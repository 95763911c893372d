"""What an *arr moves, and where it leads: `/completed-symlinks` and `/.ids`.

/completed-symlinks/<category>/<release>/<folders…>/<file>.rclonelink    or .strm
/.ids/<first two of the id>/<id>                                         the file itself

A link names the id of its file, never a path: it leads to the file for as long as that exists,
wherever the link is moved, and whatever becomes of the names. An id may be followed by the
extension of its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Protocol

from gateway.library.entries import FileEntry, LinkKind
from gateway.library.links import LinkEntry
from gateway.nzb.names import split_extension
from gateway_webdav.tree import File, Folder, Node, Reader

LINKS, IDS = "completed-symlinks", ".ids"
_PREFIXES = [f"{number:02x}" for number in range(256)]


class LinkSource(Protocol):
    """`gateway.library.links.Links`, as far as it is read here."""

    def categories(self) -> Sequence[str]: ...

    def find(self, category: str, path: str) -> LinkEntry | None: ...

    def members(self, category: str, folder: str = "") -> Iterator[LinkEntry]: ...


class IdSource(Protocol):
    """`gateway.library.Library`, as far as ids are looked up here."""

    def file_by_id(self, file_id: str) -> FileEntry | None: ...

    def files_by_prefix(self, prefix: str) -> Iterator[FileEntry]: ...


@dataclass(frozen=True, slots=True)
class Linked:
    """What the two trees are made of, and what stands in links.

    *mount_dir* is where the tree is mounted for those who follow symbolic links; *base* gives
    the address of the tree for players, with the user and the password that it asks for.
    """

    links: LinkSource
    library: IdSource
    mount_dir: PurePosixPath
    base: Callable[[], str]

    def trees(
        self, categories: Sequence[str], created: float, show: Callable[[FileEntry], File]
    ) -> dict[str, LinkTree | IdTree]:
        """Return both by the names of their folders; *show* makes a file of the tree."""
        texts: dict[str, Callable[[FileEntry], str]] = {
            LinkKind.SYMLINK.value: lambda file: symlink(self.mount_dir, file),
            LinkKind.STRM.value: lambda file: address(self.base(), file),
        }
        links = LinkTree(self.links, self.library, categories, created, texts)
        return {LINKS: links, IDS: IdTree(self.library, show, created)}


def id_path(file_id: str) -> str:
    """Return the path of a file below the root of the tree."""
    return f"{IDS}/{file_id[:2]}/{file_id}"


def symlink(mount_dir: PurePosixPath, file: FileEntry) -> str:
    """Return the text of a .rclonelink: where *file* is for those who see the mount."""
    return str(mount_dir / id_path(file.id))


def address(base: str, file: FileEntry) -> str:
    """Return the text of a .strm: where players find *file* below the address *base*."""
    # Players go by the extension before they have read a byte.
    return f"{base}/{id_path(file.id)}{split_extension(file.name)[1]}\n"


class IdTree:
    """Every file of *library* under its id; *show* makes a file of the tree of it."""

    def __init__(
        self, library: IdSource, show: Callable[[FileEntry], File], created: float
    ) -> None:
        self._library = library
        self._show = show
        self._created = created

    def find(self, parts: Sequence[str]) -> Node | None:
        """Return what lies at *parts*, counted from the tree's own folder."""
        match parts:
            case []:
                return Folder(IDS, self._created, self._folders)
            case [prefix] if prefix in _PREFIXES:
                return Folder(prefix, self._created, partial(self._files, prefix))
            case [prefix, name]:
                file_id, extension = split_extension(name)
                entry = self._library.file_by_id(file_id) if file_id[:2] == prefix else None
                if entry is None or extension not in {"", split_extension(entry.name)[1]}:
                    return None
                return replace(self._show(entry), name=name)
        return None

    def _folders(self) -> Iterator[Node]:
        for prefix in _PREFIXES:
            yield Folder(prefix, self._created, partial(self._files, prefix))

    def _files(self, prefix: str) -> Iterator[Node]:
        for entry in self._library.files_by_prefix(prefix):
            yield replace(self._show(entry), name=entry.id)


class LinkTree:
    """The *links* of imports as files. *categories* are shown even while they hold none.

    *texts* gives what stands in a link to a file, by the ending of the link's name.
    """

    def __init__(
        self,
        links: LinkSource,
        library: IdSource,
        categories: Sequence[str],
        created: float,
        texts: Mapping[str, Callable[[FileEntry], str]],
    ) -> None:
        self._links = links
        self._library = library
        self._categories = tuple(categories)
        self._created = created
        self._texts = texts

    def find(self, parts: Sequence[str]) -> Node | None:
        """Return what lies at *parts*, counted from the tree's own folder."""
        match parts:
            case []:
                return Folder(LINKS, self._created, self._folders)
            case [category]:
                known = category in self._categories or category in self._links.categories()
                return self._category(category) if known else None
            case [category, *inside]:
                entry = self._links.find(category, "/".join(inside))
                return None if entry is None else self._node(entry)
        return None

    def _folders(self) -> Iterator[Node]:
        for category in sorted({*self._categories, *self._links.categories()}):
            yield self._category(category)

    def _category(self, category: str) -> Folder:
        return Folder(category, self._created, partial(self._members, category, ""))

    def _members(self, category: str, folder: str) -> Iterator[Node]:
        for entry in self._links.members(category, folder):
            node = self._node(entry)
            if node is not None:
                yield node

    def _node(self, entry: LinkEntry) -> Node | None:
        if entry.file_id is None:
            return Folder(
                entry.name, entry.made, partial(self._members, entry.category, entry.path)
            )
        file = self._library.file_by_id(entry.file_id)
        if file is None:
            return None  # it was removed this moment
        text = self._texts[entry.name.rpartition(".")[2]](file).encode()
        etag = hashlib.sha256(text).hexdigest()[:32]
        return File(entry.name, len(text), entry.made, entry.made, etag, partial(_Text, text))


class _Text(Reader):
    """The bytes [start, stop) of a short text, being read."""

    def __init__(self, text: bytes, start: int, stop: int) -> None:
        self._left = memoryview(text)[start:stop]

    def read_view(self, limit: int, /) -> memoryview:
        view, self._left = self._left[:limit], self._left[limit:]
        return view

    def suspend(self) -> None:
        """Nothing: there is nothing to give back."""

    def close(self) -> None:
        """Nothing, either."""
