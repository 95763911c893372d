"""What the faces need of each other: protocols that the queue implements and `app` hands out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.library.check_agenda import Braked
from gateway.library.check_history import Checked
from gateway.library.entries import FileEntry
from gateway.library.health import FileHealth, Health
from gateway.library.replacement import Replacement, Standing


@dataclass(frozen=True, slots=True)
class QueuedDocument:
    """An NZB that waits for its import, as the folder of its category shows it.

    *name* is its file name, safe for a path; *size* is the document's in bytes, *added* in
    seconds since 1970.
    """

    nzo_id: str
    name: str
    category: str
    size: int
    added: float


class Intake(Protocol):
    """Where NZBs are handed in."""

    def add(
        self,
        document: bytes,
        *,
        filename: str,
        category: str,
        priority: int = 0,
        password: str | None = None,
    ) -> str:
        """Queue *document* and return its id: it is on the disk by then, come what may.

        A document that is XML but no usable NZB is taken, and fails in the history. Raises
        NotXml for anything else, StorageFull when the disk is full.
        """
        ...

    def pending(self, category: str) -> Sequence[QueuedDocument]:
        """Return what *category* has in the queue, in the queue's order."""
        ...

    def document(self, nzo_id: str) -> bytes:
        """Return the NZB of an item. Raises StorageError once it is imported, or gone."""
        ...

    def categorize(self, ids: Collection[str], category: str) -> Sequence[str]:
        """Put items of the queue into another category; return the ids of those that are there."""
        ...

    def remove(self, nzo_id: str) -> bool:
        """Take an item out of the queue, at work or not; False if there is none of that id."""
        ...


class HoleSink(Protocol):
    """Where readers tell of articles that cannot be had."""

    def found(self, file_id: str, posted: int, part: int) -> None:
        """Take note that every provider lacks a part, or that the NZB does not list it.

        *part*, from 0, is one of posted file *posted* of the file's layout. The file is DEGRADED
        from then on, and is checked soon. From any thread and as often as it happens: never
        blocks, never raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunningCheck:
    """The check under way: of *articles*, so many are *done*. *asked*: somebody asked for it."""

    file: FileEntry
    articles: int
    done: int
    asked: bool


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What somebody asked to be checked: of *files*, so many are *done*."""

    id: str
    files: int
    done: int
    is_finished: bool


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """The checks that nobody asks for: none unless the schedule *is_on*.

    So many files are *overdue*; the first of all is due at *next_due*, None if there is none.
    *braked*: why none is checked at present. *verdicts*: how many files there are of each.
    """

    is_on: bool
    overdue: int
    next_due: float | None
    braked: Braked | None
    verdicts: Mapping[Health, int]


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """What is being checked. *requests*: those that are not finished, and the last that are."""

    running: RunningCheck | None
    requests: tuple[CheckRequest, ...]
    schedule: ScheduleStatus


@dataclass(frozen=True, slots=True)
class CheckResults:
    """What is known about files. *after*: where the next page begins; None: this is the last."""

    files: Sequence[FileHealth]
    after: int | None


@dataclass(frozen=True, slots=True)
class FileHistory:
    """What is known of a file, and what its *checks* came to, the latest first."""

    known: FileHealth
    checks: Sequence[Checked]


class Checks(Protocol):
    """Where the health of files is asked for. Every method raises StorageError."""

    def start(self, releases: Sequence[str] = (), *, deep: bool = False) -> CheckRequest:
        """Check these releases ("name" or "category/name") now, or the whole library if none.

        *deep*: by fetching every article. They go before all that is checked by itself, releases
        before the whole library. Raises NotInLibrary, with names that are like it, if there is no
        such release; nothing is checked then.
        """
        ...

    def status(self) -> CheckStatus:
        """Return what is being checked at this moment."""
        ...

    def results(
        self, releases: Sequence[str] = (), *, after: int = 0, limit: int = 500
    ) -> CheckResults:
        """Return what is known about the files of these releases, or of the library's if none.

        Of the library's a page of at most *limit* releases, the first from *after* 0 on. Raises
        NotInLibrary.
        """
        ...

    def history(self, release: str | None = None, *, limit: int = 20) -> Sequence[FileHistory]:
        """Return what the checks of the files of a release came to.

        With None, those of the *limit* files that were checked last. Raises NotInLibrary.
        """
        ...


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job of the queue. *state* and *priority* are words; times are seconds since 1970.

    *note* says why it waits, and until *not_before* nobody looks at it. Of a download so many
    bytes are *done* of *total*, as the NZB counts them, of them so many *missing* from every
    provider, at *speed* bytes of data a second; *left_s* None: that cannot be told. *step*: how
    far its repair or unpacking is, 0 to 1. All are None for what is not being downloaded.
    """

    nzo_id: str
    name: str
    category: str
    state: str
    priority: str
    size: int
    added: float
    attempts: int
    note: str
    not_before: float
    done: int | None
    total: int | None
    missing: int | None
    speed: float | None
    left_s: float | None
    step: float | None


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job of the history, *failure* says why it failed; *took_s* is how long was worked on it."""

    nzo_id: str
    name: str
    category: str
    state: str
    size: int
    added: float
    completed: float
    took_s: float | None
    failure: str


@dataclass(frozen=True, slots=True)
class QueueListing:
    """A page of the queue. There are *total* jobs of *size* bytes, of which so many are *left*.

    *paused*: all but what is forced rests, for *pause_left_s* still, None: until it is resumed.
    *speed* is that of all downloads together, in bytes of data a second.
    """

    jobs: Sequence[QueuedJob]
    total: int
    size: int
    left: int
    speed: float
    paused: bool
    pause_left_s: float | None


@dataclass(frozen=True, slots=True)
class HistoryListing:
    """A page of the history, the newest first; there are *total* jobs."""

    jobs: Sequence[EndedJob]
    total: int


class JobsView(Protocol):
    """Who knows how the jobs stand. *limit* 0: all of them. Both raise StorageError."""

    def queue(self, start: int, limit: int) -> QueueListing:
        """Return jobs of the queue in the order in which they are worked on."""
        ...

    def history(self, start: int, limit: int) -> HistoryListing:
        """Return jobs of the history."""
        ...


class Replacements(Protocol):
    """Where releases that cannot be read any more are replaced. All raise StorageError."""

    def tell(self, name: str) -> Replacement:
        """Have the release of this name ("name" or "category/name") replaced by its *arr, now.

        Whatever its health is. Raises NotInLibrary, NotReplaceable, and TooMany where it has been
        asked for too often; the latter may turn out later too, and is its last step then.
        """
        ...

    def standings(self, release_ids: Collection[int]) -> Mapping[int, Standing]:
        """Return how those of these releases stand that have failed, or are being replaced."""
        ...
