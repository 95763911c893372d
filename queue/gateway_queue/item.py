"""The life of an item of the queue: its states, the steps between them, and its value.

    GRABBING -> QUEUED -> ANALYSING -> VERIFYING -> COMPLETED | FAILED
                                    VERIFYING -> DOWNLOADING -> REPAIRING -> UNPACKING -> the same

The second row is that of what a category wants on the disk. Only what was added by its address is
GRABBING first. Whatever is being worked on goes back to QUEUED when the program dies or a provider
does not serve; a person may pause or delete it at any time. `STEPS` has every step that exists.
"""

from __future__ import annotations

import enum
import secrets
import string
from dataclasses import dataclass, field


class State(enum.StrEnum):
    """Where an item stands."""

    GRABBING = "grabbing"  # its NZB is fetched from an address, perhaps after a pause
    QUEUED = "queued"  # waits for a worker, perhaps until a pause after a failure is over
    ANALYSING = "analysing"  # a worker finds out which files the post holds
    VERIFYING = "verifying"  # a worker asks the providers whether the articles are there
    DOWNLOADING = "downloading"  # a worker writes its articles to the disk
    REPAIRING = "repairing"  # a worker makes the files what par2 says they were
    UNPACKING = "unpacking"  # a worker opens the archives, and puts what is in them in its place
    PAUSED = "paused"  # nobody touches it until a person resumes it
    COMPLETED = "completed"  # its release is published; it is history
    FAILED = "failed"  # it can never become files; it is history, and says why
    DELETED = "deleted"  # it is gone: from the queue and from the history


WORKING = frozenset(
    {State.ANALYSING, State.VERIFYING, State.DOWNLOADING, State.REPAIRING, State.UNPACKING}
)
PENDING = frozenset({State.GRABBING, State.QUEUED, State.PAUSED}) | WORKING
HISTORY = frozenset({State.COMPLETED, State.FAILED})

# (before, after) -> what takes the step. What is not here cannot happen.
STEPS: dict[tuple[State, State], str] = {
    (State.GRABBING, State.QUEUED): "its NZB has come",
    (State.GRABBING, State.FAILED): "there is no NZB at its address",
    (State.GRABBING, State.PAUSED): "a person paused it, or nobody answered for a day",
    (State.GRABBING, State.DELETED): "a person deleted it",
    (State.QUEUED, State.ANALYSING): "a worker claimed it",
    (State.QUEUED, State.PAUSED): "a person paused it",
    (State.QUEUED, State.DELETED): "a person deleted it",
    (State.ANALYSING, State.VERIFYING): "its files are known",
    (State.ANALYSING, State.FAILED): "it cannot become files",
    (State.ANALYSING, State.QUEUED): "a failure for now, or the program ended",
    (State.ANALYSING, State.PAUSED): "a person paused it, or it failed for now for a day",
    (State.ANALYSING, State.DELETED): "a person deleted it",
    (State.VERIFYING, State.COMPLETED): "its release was published",
    (State.VERIFYING, State.FAILED): "articles are missing",
    (State.VERIFYING, State.QUEUED): "a failure for now, or the program ended",
    (State.VERIFYING, State.PAUSED): "a person paused it, or it failed for now for a day",
    (State.VERIFYING, State.DELETED): "a person deleted it",
    (State.VERIFYING, State.DOWNLOADING): "it is to be downloaded, and seems to be there",
    **{
        (state, after): why
        for state in (State.DOWNLOADING, State.REPAIRING, State.UNPACKING)
        for after, why in (
            (State.QUEUED, "a failure for now, or the program ended"),
            (State.PAUSED, "a person paused it, or it failed for now for a day"),
            (State.DELETED, "a person deleted it"),
        )
    },
    (State.DOWNLOADING, State.REPAIRING): "all that could be had is on the disk",
    (State.DOWNLOADING, State.FAILED): "articles are missing, and there is no par2",
    (State.REPAIRING, State.UNPACKING): "its files are whole",
    (State.REPAIRING, State.FAILED): "more is missing than par2 can replace",
    (State.UNPACKING, State.COMPLETED): "its release lies in its place, and was published",
    (State.UNPACKING, State.FAILED): "its archives cannot be opened",
    (State.PAUSED, State.QUEUED): "a person resumed it",
    (State.PAUSED, State.GRABBING): "a person resumed it, and its NZB has not come yet",
    (State.PAUSED, State.DELETED): "a person deleted it",
    (State.COMPLETED, State.DELETED): "its row was removed from the history; the release stays",
    (State.FAILED, State.QUEUED): "a person wants it tried again, under another id",
    (State.FAILED, State.GRABBING): "the same, and its NZB has not come yet",
    (State.FAILED, State.DELETED): "its row was removed from the history",
}


def before(after: State) -> frozenset[State]:
    """Return the states from which a step leads to *after*."""
    return frozenset(start for start, end in STEPS if end is after)


# How long an item rests after each failure for now; the last one after every further failure.
_PAUSES_S = (60, 120, 300, 900, 3_600)
LONGEST_PAUSE_S = _PAUSES_S[-1]
# An item that has rested for so long, and never heard a verdict, waits for a person.
PATIENCE_S = 86_400

_ID_LETTERS = string.ascii_lowercase + string.digits


def pause_s(attempts: int) -> int:
    """Return how long an item rests that had failed for now *attempts* times before."""
    return _PAUSES_S[min(attempts, len(_PAUSES_S) - 1)]


def rested_s(attempts: int) -> int:
    """Return how long an item has rested in all after *attempts* failures for now."""
    return sum(pause_s(attempt) for attempt in range(attempts))


def new_id() -> str:
    """Return an id that no item has had, of the form of SABnzbd's `nzo_id`."""
    return "SABnzbd_nzo_" + "".join(secrets.choice(_ID_LETTERS) for _ in range(12))


class LetGo(Exception):
    """The worker is to leave the item at once: a person or the end of the program wants it."""


class Priority(enum.IntEnum):
    """How urgent an item is; the numbers are SABnzbd's. Within one priority, by position."""

    LOW = -1
    NORMAL = 0
    HIGH = 1
    FORCE = 2  # is worked on even while the whole queue is paused


@dataclass(frozen=True, slots=True)
class Item:
    """One NZB on its way to a release. Times are seconds since 1970, sizes bytes.

    *id* is SABnzbd's `nzo_id`; *filename* is what the NZB came as. *name* is the job's, and in
    the end its release's folder. *size* and *articles* are what the NZB states, 0 where it cannot
    be read. *attempts* counts the failures for now since the last resume; *note* says why it waits,
    and nobody looks at it again before *not_before*. *failure* says why it failed for good,
    *completed* when it became history, *took_s* how long the work on it took. *url* is where its
    NZB is fetched from, which may hold a key; None: it came with the job. *posted* is the oldest
    date in the NZB, *nzb_bytes* its size, None while it has not come.
    """

    id: str
    name: str
    filename: str
    category: str
    priority: Priority
    state: State
    size: int
    articles: int
    added: float
    attempts: int
    not_before: float
    note: str
    failure: str
    completed: float | None
    took_s: float | None
    password: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    posted: float | None = None
    nzb_bytes: int | None = None
