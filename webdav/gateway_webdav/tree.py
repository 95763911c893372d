"""What the tree shows: files and folders as plain values, found by path. No HTTP, no wsgidav.

/content/<category>/<release>/<folders…>/<file>      the library
/completed-symlinks/<category>/<job>/<folders…>/…    links for *arr (`gateway_webdav.links`)
/nzbs/<category>/<name>.nzb                          the queue (`gateway_webdav.nzbs`)
/.ids/<a>/<b>/<c>/<id>                               every file by its id (`gateway_webdav.links`)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from gateway.errors import GatewayError
from gateway.library.entries import FileEntry, Release, Removed
from gateway.library.entries import Folder as Content
from gateway.nzb.media_types import media_type
from gateway.streams.holes import Holes
from gateway.streams.on_disk import FileLayout

log = logging.getLogger(__name__)

_EMPTIED = 1000


class Reader(Protocol):
    """A range of a file, being read."""

    def read_view(self, limit: int, /) -> memoryview:
        """Return 1 to *limit* bytes; empty only at the end of the range."""

    def suspend(self) -> None:
        """Give back what a paused viewer does not need; the next `read_view` goes on."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class File:
    """A file. Times are in seconds since 1970, *etag* is strong and without quotes.

    *open* gives a reader of the bytes [start, stop), without fetching any. *true_name* tells what
    it is where *name* does not.
    """

    name: str
    size: int
    created: float
    modified: float
    etag: str
    open: Callable[[int, int], Reader]
    true_name: str = ""

    @property
    def content_type(self) -> str:
        return media_type(self.true_name or self.name)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder. *members* gives what is in it, as it is read: there may be a great many."""

    name: str
    created: float
    members: Callable[[], Iterator[Node]]


Node: TypeAlias = File | Folder


class BytesReader:
    """A reader over the bytes [start, stop) of *content*, in memory."""

    def __init__(self, content: bytes, start: int, stop: int) -> None:
        self._left = memoryview(content)[start:stop]

    def read_view(self, limit: int, /) -> memoryview:
        view, self._left = self._left[:limit], self._left[limit:]
        return view

    def suspend(self) -> None:
        """Nothing: no connection and no budget is held."""

    def close(self) -> None:
        self._left = memoryview(b"")


class Stream(Reader, Protocol):
    def seek(self, offset: int, /) -> int: ...


class StreamOpener(Protocol):
    """`gateway.streams.Streams`, as far as this package needs it."""

    def open(
        self,
        layout: FileLayout,
        *,
        stop: int | None = None,
        name: str = "",
        holes: Holes | None = None,
    ) -> Stream: ...


class NotMovable(GatewayError):
    """What was to be moved has its place and keeps it."""

    http_status = 403


class Catalogue(Protocol):
    """`gateway.library.Library`, as far as this package needs it."""

    def categories(self) -> Sequence[str]: ...

    def releases(self, category: str) -> Iterator[Release]: ...

    def release(self, category: str, name: str) -> Release | None: ...

    def entries(self, release: Release, folder: str = "") -> Content: ...

    def file(self, category: str, release: str, path: str) -> FileEntry | None: ...

    def layout(self, file_id: str) -> FileLayout: ...

    def holes(self, file: FileEntry, layout: FileLayout) -> Holes: ...

    def note_read(self, file_id: str) -> None: ...

    def remove_files(self, release: Release, path: str = "") -> Removed: ...


class LibraryTree:
    """The library as folders. *categories* are shown even while they hold nothing."""

    def __init__(
        self, library: Catalogue, streams: StreamOpener, categories: Sequence[str], created: float
    ) -> None:
        self._library = library
        self._streams = streams
        self._categories = tuple(categories)
        self._created = created
        # Folders whose last file was removed: (release, path). See `remove`.
        self._emptied: dict[tuple[int, str], None] = {}

    def find(self, parts: Sequence[str]) -> Node | None:
        """Return what lies at *parts*, counted from the tree's own folder."""
        match parts:
            case []:
                return Folder("content", self._created, self._category_folders)
            case [category]:
                known = category in self._categories or category in self._library.categories()
                return self._category(category) if known else None
            case [category, name]:
                release = self._library.release(category, name)
                return None if release is None else self._folder(release, "", name)
            case [category, name, *inside]:
                path = "/".join(inside)
                entry = self._library.file(category, name, path)
                if entry is not None:
                    return self.file(entry)
                release = self._library.release(category, name)
                if release is None:
                    return None
                content = self._library.entries(release, path)
                is_empty = not content.files and not content.folders
                if is_empty and (release.id, path) not in self._emptied:
                    return None
                return self._folder(release, path, inside[-1])
        return None

    def remove(self, parts: Sequence[str]) -> None:
        """Remove the release, or what it has, at *parts*, and all links to it; who reads, reads on.

        Mounts remove a folder's files one by one, and then want to remove the folder: so a release
        without files stays, until it is removed itself, and a folder in it is shown while asked
        for, as long as the program runs.
        """
        category, name, *inside = parts
        release, path = self._library.release(category, name), "/".join(inside)
        if release is None:
            return
        gone = self._library.remove_files(release, path)
        self._emptied.pop((release.id, path), None)
        for depth in range(1, len(inside)):
            self._emptied[release.id, "/".join(inside[:depth])] = None
        for oldest in list(self._emptied)[:-_EMPTIED]:
            self._emptied.pop(oldest, None)
        log.warning(
            "[Library] removed by WebDAV: '%s' (files: %d, bytes: %d), and all links to it",
            "/".join(parts),
            gone.files,
            gone.size,
        )

    def move(self, parts: Sequence[str], onto: Sequence[str]) -> None:  # noqa: ARG002
        """Refuse: nothing in the library can be renamed."""
        raise NotMovable(f"{parts[-1]!r} cannot be moved: what is in the library keeps its name")

    def file(self, entry: FileEntry) -> File:
        """Return *entry* as a file of the tree."""
        return File(
            entry.name,
            entry.size,
            entry.release.created,
            entry.modified,
            entry.etag,
            partial(self._open, entry),
        )

    def _category_folders(self) -> Iterator[Node]:
        for category in sorted({*self._categories, *self._library.categories()}):
            yield self._category(category)

    def _category(self, category: str) -> Folder:
        return Folder(category, self._created, partial(self._releases, category))

    def _releases(self, category: str) -> Iterator[Node]:
        for release in self._library.releases(category):
            yield self._folder(release, "", release.name)

    def _folder(self, release: Release, path: str, name: str) -> Folder:
        return Folder(name, release.created, partial(self._entries, release, path))

    def _entries(self, release: Release, path: str) -> Iterator[Node]:
        content = self._library.entries(release, path)
        for name in content.folders:
            yield self._folder(release, f"{path}/{name}" if path else name, name)
        for entry in content.files:
            yield self.file(entry)

    def _open(self, entry: FileEntry, start: int, stop: int) -> Reader:
        layout = self._library.layout(entry.id)
        self._library.note_read(entry.id)
        holes = self._library.holes(entry, layout)
        name = f"{entry.release.name}/{entry.path}"
        stream = self._streams.open(layout, stop=stop, name=name, holes=holes)
        try:
            stream.seek(start)
        except BaseException:
            stream.close()
            raise
        return stream
