"""What is told of releases to whoever keeps the library, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.library.health import FileHealth, Health


class LinkState(enum.StrEnum):
    """What became of the links that an import has left."""

    NONE = "none"  # there were none, or nobody wrote down that there were
    WAITING = "waiting"  # some still lie in `completed-symlinks`
    GONE = "gone"  # all were taken away: moved into a library, or deleted; that is not known


class Order(enum.StrEnum):
    """What a listing is sorted by."""

    NAME = "name"  # by category, then by name
    ADDED = "added"  # the newest first


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which releases a listing is asked for; what is None or False does not matter.

    *pattern* is looked for in the name, in any case; with `*` or `?` in it, it is the whole name,
    and with a slash in it "category/name". *unlinked*: those whose links are GONE. *unread_since*:
    added before, and not read since; in seconds since 1970.
    """

    pattern: str | None = None
    category: str | None = None
    health: Health | None = None
    unlinked: bool = False
    unread_since: float | None = None
    order: Order = Order.NAME


@dataclass(frozen=True, slots=True)
class FileKey:
    """By what links name a file: its id, its number for players, its path on the disk."""

    id: str
    number: int
    disk: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A release. Times are in seconds since 1970, None if it never happened; sizes are bytes.

    *on_disk* of its *files* were downloaded. *health* is the worst verdict in force of a file.
    *links_left* are those in `completed-symlinks`; *links_gone_at*: when the last was taken away.
    *keys* is empty unless it was asked for.
    """

    id: int
    category: str
    name: str
    added: float
    has_password: bool
    files: int
    size: int
    on_disk: int
    health: Health
    links: LinkState
    links_left: int
    links_gone_at: float | None
    last_read: float | None
    keys: tuple[FileKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """*after*: where the next page begins; None: this is the last."""

    found: tuple[Summary, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file with all that is known of it."""

    health: FileHealth
    number: int
    disk: str | None
    last_read: float | None


@dataclass(frozen=True, slots=True)
class Details:
    """A release with all that is known of it.

    *links* are paths in `completed-symlinks`, as they are called now. *nzb_stored* is what its NZB
    takes in the library; *jobs* are the ids in the history that led to it.
    """

    summary: Summary
    files: tuple[KnownFile, ...]
    links: tuple[str, ...]
    nzb_stored: int
    jobs: tuple[str, ...]
