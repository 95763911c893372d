"""`GET /queue` and `GET /history`: the jobs, how far they are, and how they ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from gateway.library.ports import EndedJob, HistoryListing, JobsView, QueuedJob
from gateway.page.endpoint import Call, Endpoint


@dataclass(frozen=True, slots=True)
class QueueView:
    """A page of the queue, in the order in which it is worked on.

    There are *total* jobs of *size* bytes, of which so many are *left*. *paused*: all but what is
    forced rests, for *pause_left_s* still, null: until it is resumed. *speed* is that of the
    downloads of this page together, in bytes of data a second. *now*: the time of the gateway, by
    which all others are.
    """

    jobs: tuple[QueuedJob, ...]
    total: int
    size: int
    left: int
    speed: float
    paused: bool
    pause_left_s: float | None
    now: float


@dataclass(frozen=True, slots=True)
class HistoryView:
    """A page of the history, the newest first; there are *total* jobs."""

    jobs: tuple[EndedJob, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """*limit* jobs from the place *start* on."""

    start: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


def endpoints(jobs: JobsView, *, clock: Callable[[], float] = time.time) -> list[Endpoint]:
    """Return what tells of *jobs*."""

    def queue(call: Call) -> QueueView:
        wanted = call.query
        assert isinstance(wanted, Wanted)
        found = jobs.queue(wanted.start, wanted.limit)
        return QueueView(
            tuple(found.jobs),
            found.total,
            found.size,
            found.left,
            found.speed,
            found.paused,
            found.pause_left_s,
            clock(),
        )

    def history(call: Call) -> HistoryView:
        wanted = call.query
        assert isinstance(wanted, Wanted)
        found: HistoryListing = jobs.history(wanted.start, wanted.limit)
        return HistoryView(tuple(found.jobs), found.total)

    return [
        Endpoint(
            "GET",
            "/queue",
            "Tell what waits and what is worked on, how far it is and how long it will take",
            QueueView,
            queue,
            query=Wanted,
        ),
        Endpoint(
            "GET",
            "/history",
            "Tell what has ended, and how",
            HistoryView,
            history,
            query=Wanted,
        ),
    ]
