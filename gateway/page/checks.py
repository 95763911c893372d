"""`GET` and `POST /checks`: the health of the library's files, and checks by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.library.health import FileHealth
from gateway.library.ports import Checks, Replacements
from gateway.page.check_views import (
    ChecksView,
    HistoryView,
    RequestView,
    history_view,
    request_view,
    view_of,
)
from gateway.page.endpoint import Call, Endpoint


@dataclass(frozen=True, slots=True)
class Wanted:
    """*release*: "name" or "category/name"; without one, *limit* releases of the whole library."""

    release: str | None = None
    after: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=0, le=1000)] = 100


@dataclass(frozen=True, slots=True)
class WantedHistory:
    """*release*: "name" or "category/name"; without one, the *limit* files checked last."""

    release: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Start(BaseModel):
    """*releases*: each "name" or "category/name"; none of them: the whole library.

    *deep*: every article is fetched, and held against its CRC-32; otherwise it is only asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    releases: list[Annotated[str, Field(min_length=1, max_length=1000)]] = []
    deep: bool = False


def endpoints(checks: Checks, replacements: Replacements) -> list[Endpoint]:
    """Return what tells of *checks* and starts them, and of what *replacements* come of them."""

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
        standings = replacements.standings({known.file.release.id for known in files})
        return view_of(checks.status(), files, after, standings)

    def start(call: Call) -> RequestView:
        assert isinstance(call.body, Start)
        return request_view(checks.start(call.body.releases, deep=call.body.deep))

    def history(call: Call) -> HistoryView:
        wanted = call.query
        assert isinstance(wanted, WantedHistory)
        return HistoryView(
            tuple(map(history_view, checks.history(wanted.release, limit=wanted.limit)))
        )

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
        Endpoint(
            "GET",
            "/checks/history",
            "Tell what the checks of a release came to, or those of the files checked last",
            HistoryView,
            history,
            query=WantedHistory,
            refusals=unknown,
        ),
    ]
