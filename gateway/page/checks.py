"""`GET` and `POST /checks`: the health of the library's files, and checks by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.library.health import FileHealth
from gateway.library.ports import CheckRequest, Checks, CheckStatus
from gateway.page.endpoint import Call, Endpoint

HealthName = Literal["healthy", "degraded", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class HoleView:
    """Articles that are missing: *first* to *last* of posted file *posted*, all counted from 1."""

    posted: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FileView:
    """A file. *health*: what its latest check came to, in *words*; *verdict*: what is in force.

    They differ where the latest check got no answer: the verdict is then that of *decided_at*,
    as are *missing* and *holes*, while *unknown* and *reason* are of *checked_at*. Times are
    seconds since 1970, null if it never happened.
    """

    path: str
    health: HealthName
    words: str
    verdict: HealthName
    articles: int
    missing: int
    unknown: int
    reason: str
    holes: tuple[HoleView, ...]
    checked_at: float | None
    decided_at: float | None


@dataclass(frozen=True, slots=True)
class ReleaseView:
    category: str
    name: str
    files: tuple[FileView, ...]


@dataclass(frozen=True, slots=True)
class RunningView:
    """The check under way: of *articles*, so many are *done*. *asked*: somebody asked for it."""

    category: str
    release: str
    path: str
    articles: int
    done: int
    asked: bool


@dataclass(frozen=True, slots=True)
class RequestView:
    """What somebody asked to be checked: of *files*, so many are *done*."""

    id: str
    files: int
    done: int
    finished: bool


@dataclass(frozen=True, slots=True)
class RoundView:
    """The latest round over the library: *left* of its files are to come.

    *ended* null: it is under way. *stopped*: why it ended before its time, empty if it did not.
    """

    began: float
    ended: float | None
    stopped: str
    left: int


@dataclass(frozen=True, slots=True)
class ChecksView:
    """*interval_s* lies between the beginnings of two rounds; 0: there are none.

    *next*: send it as `after` for the following releases; null: these are the last.
    """

    running: RunningView | None
    requests: tuple[RequestView, ...]
    round: RoundView | None
    interval_s: float
    results: tuple[ReleaseView, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """*release*: "name" or "category/name"; without one, *limit* releases of the whole library."""

    release: str | None = None
    after: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=0, le=1000)] = 100


class Start(BaseModel):
    """*releases*: each "name" or "category/name"; none of them: the whole library."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    releases: list[Annotated[str, Field(min_length=1, max_length=1000)]] = []


def endpoints(checks: Checks) -> list[Endpoint]:
    """Return what tells of *checks* and starts them."""

    def show(call: Call) -> ChecksView:
        wanted = call.query
        assert isinstance(wanted, Wanted)
        files: Sequence[FileHealth] = ()
        after = None
        if wanted.release is not None:
            files = checks.results([wanted.release]).files
        elif wanted.limit:
            page = checks.results(after=wanted.after, limit=wanted.limit)
            files, after = page.files, page.after
        return _view(checks.status(), files, after)

    def start(call: Call) -> RequestView:
        assert isinstance(call.body, Start)
        return _request(checks.start(call.body.releases))

    unknown = {404: "There is no such release; the sentence has names that are like it"}
    return [
        Endpoint(
            "GET",
            "/checks",
            "Tell what is being checked, and what was found of each file",
            ChecksView,
            show,
            query=Wanted,
            refusals=unknown,
        ),
        Endpoint(
            "POST",
            "/checks",
            "Check releases, or the whole library, before anything that is checked by itself",
            RequestView,
            start,
            body=Start,
            status=202,
            refusals=unknown,
        ),
    ]


def _view(status: CheckStatus, files: Sequence[FileHealth], after: int | None) -> ChecksView:
    running = None
    if status.running is not None:
        file = status.running.file
        running = RunningView(
            file.release.category,
            file.release.name,
            file.path,
            status.running.articles,
            status.running.done,
            status.running.asked,
        )
    latest = status.round.latest
    return ChecksView(
        running,
        tuple(_request(request) for request in status.requests),
        None
        if latest is None
        else RoundView(latest.began, latest.ended, latest.reason, status.round.left),
        status.round.interval_s,
        tuple(
            ReleaseView(release.category, release.name, tuple(map(_file, of_release)))
            for release, of_release in groupby(files, key=lambda known: known.file.release)
        ),
        after,
    )


def _request(request: CheckRequest) -> RequestView:
    return RequestView(request.id, request.files, request.done, request.is_finished)


def _file(known: FileHealth) -> FileView:
    return FileView(
        known.file.path,
        known.health.value,
        known.in_words(),
        known.verdict.value,
        known.articles,
        known.missing,
        known.unknown,
        known.reason,
        tuple(HoleView(hole.posted + 1, hole.first + 1, hole.last + 1) for hole in known.holes),
        known.checked_at or None,
        known.decided_at,
    )
