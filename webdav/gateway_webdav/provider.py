"""From a path to its resource: the tree as a wsgidav provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from wsgidav.dav_provider import DAVProvider

from gateway.http.wsgi import Environ
from gateway_webdav.nzbs import NzbTree
from gateway_webdav.resources import (
    FileResource,
    FolderResource,
    NzbFolderResource,
    NzbResource,
)
from gateway_webdav.tree import File, Folder, LibraryTree, Node

# What file managers ask for beside everything they see. None of it is ever in the library.
_PROBES = frozenset(
    {".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.ini", "folder.jpg:encryptable"}
    | {".metadata_never_index", ".ql_disablethumbnails", ".hidden", ".Trashes", "autorun.inf"}
)


class Tree(Protocol):
    """A part of the tree, found by the path within it."""

    def find(self, parts: Sequence[str]) -> Node | None: ...


class TreeProvider(DAVProvider):  # type: ignore[misc]
    """Shows *library* as /content and *nzbs*, where there is a queue, as /nzbs.

    *others* are trees that can only be read, by the names of their folders.
    """

    def __init__(
        self,
        library: LibraryTree,
        nzbs: NzbTree | None,
        created: float,
        others: Mapping[str, Tree] | None = None,
    ) -> None:
        super().__init__()
        self._library = library
        self._nzbs = nzbs
        self._created = created
        self._others = others or {}

    def get_resource_inst(self, path: str, environ: Environ) -> Any:
        """Return the resource at *path*, None if there is none."""
        parts = [part for part in path.split("/") if part]
        node = self._find(parts)
        if node is None or (isinstance(node, File) and path.endswith("/")):
            return None
        return self.resource("/" + "/".join(parts), environ, node)

    def is_writable(self, path: str) -> bool:
        """Say whether anything at *path* can be changed at all."""
        parts = path.strip("/").split("/")
        return self._nzbs is not None and parts[0] == "nzbs" and len(parts) > 1

    def resource(self, path: str, environ: Environ, node: Node) -> Any:
        """Return *node*, which lies at *path*, as a resource."""
        nzbs = self._nzbs
        if nzbs is not None and self.is_writable(path):
            if isinstance(node, File):
                return NzbResource(path, environ, node, nzbs)
            return NzbFolderResource(path, environ, node, nzbs)
        if isinstance(node, File):
            return FileResource(path, environ, node)
        return FolderResource(path, environ, node)

    def _find(self, parts: list[str]) -> Node | None:
        match parts:
            case []:
                return Folder("", self._created, self._root)
            case ["content", *inside]:
                if inside and (inside[-1].startswith("._") or inside[-1] in _PROBES):
                    return None
                return self._library.find(inside)
            case ["nzbs", *inside] if self._nzbs is not None:
                return self._nzbs.find(inside)
            case [name, *inside] if name in self._others:
                return self._others[name].find(inside)
        return None

    def _root(self) -> Iterator[Node]:
        for name in ("content", "nzbs", *self._others):
            node = self._find([name])
            if node is not None:
                yield node
