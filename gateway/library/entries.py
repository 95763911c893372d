"""The values of the library: what is published, and what is found there."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from gateway.nzb.archive import Stretch
from gateway.nzb.extents import PartTable, Run


class LinkKind(enum.Enum):
    """What a release leaves in `completed-symlinks` for each file: the ending of its name."""

    SYMLINK = "rclonelink"  # its text is a path; `rclone mount --links` shows a symbolic link
    STRM = "strm"  # its text is an address, for players
    NONE = ""


@dataclass(frozen=True, slots=True)
class NewPosted:
    """A posted file of a release that is to be published."""

    name: str
    table: PartTable


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to be published, which is *runs* put together, then *stretches*.

    They number the release's `posted` from 0. Or it lies on the disk, at *disk*. *folder* is "" or
    "a/b" within the release; *modified*, in seconds since 1970, is the release's time of creation
    if None.
    """

    name: str
    size: int
    runs: tuple[Run, ...] = ()
    folder: str = ""
    modified: float | None = None
    stretches: tuple[Stretch, ...] = ()
    disk: Path | None = None


@dataclass(frozen=True, slots=True)
class NewRelease:
    """A release that is to be published; *nzb* is the document it was made of.

    *links* says what lies in `completed-symlinks` for it; *nzo_id* is that of the job it comes of.
    """

    category: str
    name: str
    created: float
    nzb: bytes
    posted: tuple[NewPosted, ...]
    files: tuple[NewFile, ...]
    password: str | None = field(default=None, repr=False)
    links: LinkKind = LinkKind.NONE
    nzo_id: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the library. *created* is in seconds since 1970."""

    id: int
    category: str
    name: str
    created: float
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: so many *files*, of *size* bytes together."""

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the library.

    *id* is random, the file's for as long as it exists, and fit for a path. *folder* is "" or
    "a/b" within the release. *etag*, without quotes, is strong: it stays over restarts and
    names these bytes only.
    """

    id: str
    release: Release
    folder: str
    name: str
    size: int
    modified: float
    etag: str

    @property
    def path(self) -> str:
        """Return the path within the release: "name" or "a/b/name"."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies directly in a folder: names of *folders*, and *files*."""

    folders: tuple[str, ...]
    files: tuple[FileEntry, ...]
