"""What an *arr moves, and where it leads: `/completed-symlinks` and `/.ids`.

/completed-symlinks/<category>/<release>/<folders…>/<file>.rclonelink    or .strm
/.ids/<a>/<b>/<c>/<id>, after the id's first digits                      the file itself

A link names the id of its file, never a path: it leads to the file for as long as that exists,
wherever the link is moved, and whatever becomes of the names. An id may be followed by the
extension of its file. Links may be removed, and renamed within the folder of their job: the release
stays where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Protocol

from gateway.library.entries import FileEntry, LinkKind
from gateway.library.links import LinkEntry, LinkRefused
from gateway.nzb.names import split_extension
from gateway_webdav.tree import BytesReader, File, Folder, Node

LINKS, IDS = "completed-symlinks", ".ids"

# 4,096 folders of which none is large, and all of which are always shown. A mount remembers for a
# while what a folder holds: if folders came up with their first files, links to these would often
# lead nowhere for as long. More folders would only keep whoever walks through everything.
_DIGITS = "0123456789abcdef"
_DEPTH = 3


class LinkSource(Protocol):
    """`gateway.library.links.Links`, as far as this package needs it."""

    def categories(self) -> Sequence[str]: ...

    def find(self, category: str, path: str) -> LinkEntry | None: ...

    def members(self, category: str, folder: str = "") -> Iterator[LinkEntry]: ...

    def remove(self, entry: LinkEntry) -> None: ...

    def rename(self, entry: LinkEntry, path: str) -> None: ...


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
    ) -> tuple[LinkTree, IdTree]:
        """Return both; *show* makes a file of the tree."""
        texts = {LinkKind.SYMLINK.value: self._symlink, LinkKind.STRM.value: self._address}
        links = LinkTree(self.links, categories, created, texts)
        return links, IdTree(self.library, show, created)

    def _symlink(self, file_id: str) -> str:
        """Return the text of a .rclonelink: where the file is for those who see the mount."""
        return str(self.mount_dir / id_path(file_id))

    def _address(self, file_id: str) -> str:
        """Return the text of a .strm: the address at which players find the file."""
        file = self.library.file_by_id(file_id)
        # Players go by the extension before they have read a byte.
        extension = "" if file is None else split_extension(file.name)[1]
        return f"{self.base()}/{id_path(file_id)}{extension}\n"


def id_path(file_id: str) -> str:
    """Return the path of a file below the root of the tree."""
    return "/".join((IDS, *file_id[:_DEPTH], file_id))


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
        if len(parts) <= _DEPTH:
            if all(len(part) == 1 and part in _DIGITS for part in parts):
                return self._folder("".join(parts))
            return None
        file_id, extension = split_extension(parts[-1])
        if id_path(file_id).split("/")[1:-1] != list(parts[:-1]):
            return None
        entry = self._library.file_by_id(file_id)
        if entry is None or extension not in {"", split_extension(entry.name)[1]}:
            return None
        return replace(self._show(entry), name=parts[-1], true_name=entry.name)

    def _folder(self, prefix: str) -> Folder:
        return Folder(prefix[-1:] or IDS, self._created, partial(self._members, prefix))

    def _members(self, prefix: str) -> Iterator[Node]:
        if len(prefix) < _DEPTH:
            for digit in _DIGITS:
                yield self._folder(prefix + digit)
            return
        for entry in self._library.files_by_prefix(prefix):
            yield replace(self._show(entry), name=entry.id, true_name=entry.name)


class LinkTree:
    """The *links* of imports as files. *categories* are shown even while they hold none.

    *texts* gives what stands in a link to the file with an id, by the ending of the link's name.
    """

    def __init__(
        self,
        links: LinkSource,
        categories: Sequence[str],
        created: float,
        texts: Mapping[str, Callable[[str], str]],
    ) -> None:
        self._links = links
        self._categories = tuple(categories)
        self._created = created
        self._texts = texts

    def find(self, parts: Sequence[str]) -> Node | None:
        """Return what lies at *parts*, counted from the tree's own folder."""
        match parts:
            case []:
                return Folder(LINKS, self._created, self._folders)
            case [category]:
                # Sonarr looks for it when it is set up, long before the first import.
                known = category in self._categories or category in self._links.categories()
                return self._category(category) if known else None
        entry = self._entry(parts)
        return None if entry is None else self._node(entry)

    def remove(self, parts: Sequence[str]) -> None:
        """Remove the link or folder at *parts*, if it is still there; the release stays."""
        entry = self._entry(parts)
        if entry is not None:
            self._links.remove(entry)

    def move(self, parts: Sequence[str], onto: Sequence[str]) -> None:
        """Give what lies at *parts* the place *onto*. Raises LinkRefused."""
        entry = self._entry(parts)
        if entry is None:
            return
        if list(onto[:1]) != [entry.category]:
            raise LinkRefused(
                f"{entry.name!r} can be renamed within the folder of its job, or be moved out of "
                "the mount"
            )
        self._links.rename(entry, "/".join(onto[1:]))

    def _entry(self, parts: Sequence[str]) -> LinkEntry | None:
        category, *inside = parts
        return self._links.find(category, "/".join(inside))

    def _folders(self) -> Iterator[Node]:
        for category in sorted({*self._categories, *self._links.categories()}):
            yield self._category(category)

    def _category(self, category: str) -> Folder:
        return Folder(category, self._created, partial(self._members, category, ""))

    def _members(self, category: str, folder: str) -> Iterator[Node]:
        for entry in self._links.members(category, folder):
            yield self._node(entry)

    def _node(self, entry: LinkEntry) -> Node:
        if entry.file_id is None:
            return Folder(
                entry.name, entry.made, partial(self._members, entry.category, entry.path)
            )
        text = self._texts[entry.name.rpartition(".")[2]](entry.file_id).encode()
        etag = hashlib.sha256(text).hexdigest()[:32]
        return File(entry.name, len(text), entry.made, entry.made, etag, partial(BytesReader, text))
