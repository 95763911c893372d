"""What `/checks` answers: files with what was found of them, requests, schedule, history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from gateway.library.health import FileHealth
from gateway.library.ports import (
    CheckRequest,
    CheckStatus,
    FileHistory,
    ScheduleStatus,
)
from gateway.library.replacement import Standing
from gateway.page.replacements import StandingView, standing_view

HealthName = Literal["healthy", "degraded", "failed", "unknown"]
PlayableName = Literal["whole", "gaps", "no", ""]


@dataclass(frozen=True, slots=True)
class HoleView:
    """Articles that are missing: *first* to *last* of posted file *posted*, all counted from 1."""

    posted: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SpanView:
    """Bytes of a file, from *begin* to before *end*."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class FileView:
    """A file. *health*: what its latest check came to, in *words*; *verdict*: what is in force.

    They differ where the latest check got no answer: the verdict is then that of *decided_at*,
    as are *missing* and *holes*, while *unknown* and *reason* are of *checked_at*. Times are
    seconds since 1970, null if it never happened. *damaged* are those of the missing whose articles
    are there, but are not what was posted. *confirmed_at*: FAILED for certain since then.

    *playable*: "whole", "gaps" (it plays with gaps, in a category whose ON_MISSING is pad), "no",
    "" (nobody has looked); *why* says what that rests on. *lost* are the first spans of the
    *lost_bytes* bytes that the holes take from the file.
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
    damaged: int
    playable: PlayableName
    why: str
    lost: tuple[SpanView, ...]
    lost_bytes: int
    checked_at: float | None
    decided_at: float | None
    confirmed_at: float | None
    due_at: float | None


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release. *standing* null: none of its files has failed, and nobody wants it replaced."""

    category: str
    name: str
    files: tuple[FileView, ...]
    standing: StandingView | None


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
class BrakeView:
    """No file is checked by itself from *since* to *until*: a provider is ill."""

    since: float
    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """The checks that nobody asks for; none unless *on* (GATEWAY_HEALTH_CHECKS).

    *overdue* files are to be checked now, the first of all is due at *next_due*. *files*: how many
    there are of each verdict.
    """

    on: bool
    overdue: int
    next_due: float | None
    brake: BrakeView | None
    files: dict[HealthName, int]


@dataclass(frozen=True, slots=True)
class ChecksView:
    """*next*: send it as `after` for the following releases; null: these are the last."""

    running: RunningView | None
    requests: tuple[RequestView, ...]
    schedule: ScheduleView
    results: tuple[ReleaseView, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class CheckedView:
    """What one check came to: *health* is its own outcome. *took_s* in seconds."""

    at: float
    health: HealthName
    deep: bool
    articles: int
    missing: int
    unknown: int
    took_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class FileHistoryView:
    """The checks of a file, the latest first: the last 50, and what changed before them."""

    category: str
    release: str
    path: str
    checks: tuple[CheckedView, ...]


@dataclass(frozen=True, slots=True)
class HistoryView:
    files: tuple[FileHistoryView, ...]


def view_of(
    status: CheckStatus,
    files: Sequence[FileHealth],
    after: int | None,
    standings: Mapping[int, Standing],
) -> ChecksView:
    """Return *status* with what is known of *files*; *after*: where the next of them begin."""
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
    return ChecksView(
        running,
        tuple(request_view(request) for request in status.requests),
        _schedule(status.schedule),
        tuple(
            ReleaseView(
                release.category,
                release.name,
                tuple(map(_file, of_release)),
                standing_view(standings.get(release.id)),
            )
            for release, of_release in groupby(files, key=lambda known: known.file.release)
        ),
        after,
    )


def _schedule(status: ScheduleStatus) -> ScheduleView:
    braked = status.braked
    return ScheduleView(
        status.is_on,
        status.overdue,
        status.next_due,
        None if braked is None else BrakeView(braked.since, braked.until, braked.reason),
        {health.value: count for health, count in status.verdicts.items()},
    )


def history_view(of_file: FileHistory) -> FileHistoryView:
    """Return the checks of a file as the API tells of them."""
    file = of_file.known.file
    return FileHistoryView(
        file.release.category,
        file.release.name,
        file.path,
        tuple(
            CheckedView(
                one.at,
                one.health.value,
                one.deep,
                one.articles,
                one.missing,
                one.unknown,
                one.took_s,
                one.reason,
            )
            for one in of_file.checks
        ),
    )


def request_view(request: CheckRequest) -> RequestView:
    """Return how far a request is, as the API tells it."""
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
        sum(map(len, known.damaged)),
        known.damage.playable.value,
        known.damage.why,
        tuple(SpanView(*span) for span in known.damage.lost),
        known.damage.lost_bytes,
        known.checked_at or None,
        known.decided_at,
        known.confirmed_at,
        known.due_at or None,
    )
