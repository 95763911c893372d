"""From a path to its resource: the tree as a wsgidav provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsgidav.dav_provider import DAVProvider

from gateway.http.wsgi import Environ
from gateway_webdav.links import IdTree, LinkTree
from gateway_webdav.nzbs import NzbTree
from gateway_webdav.resources import (
    Changes,
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


READ_ONLY = "the library is read-only: only /nzbs takes NZBs"
_KEPT = "the library is read-only: GATEWAY_ALLOW_CONTENT_DELETE=true has it removed from here"
_LINKS = "links are made by imports: they can be renamed within their job, and removed"

EVERYTHING = frozenset({"PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK"})


class TreeProvider(DAVProvider):  # type: ignore[misc]
    """Shows *library* as /content, and what there is of links, ids and *nzbs*, the queue.

    With *content_delete* what is in the library can be removed there.
    """

    def __init__(
        self,
        library: LibraryTree,
        linked: tuple[LinkTree, IdTree] | None,
        nzbs: NzbTree | None,
        created: float,
        *,
        content_delete: bool = False,
    ) -> None:
        super().__init__()
        self._library = library
        self._links: LinkTree | None = linked[0] if linked else None
        self._ids: IdTree | None = linked[1] if linked else None
        self._nzbs = nzbs
        self._created = created
        self._content_delete = content_delete

    def get_resource_inst(self, path: str, environ: Environ) -> Any:
        """Return the resource at *path*, None if there is none."""
        parts = [part for part in path.split("/") if part]
        node = self._find(parts)
        if node is None or (isinstance(node, File) and path.endswith("/")):
            return None
        return self.resource("/" + "/".join(parts), environ, node)

    def changing(self, path: str) -> frozenset[str]:
        """Return the methods that can change something at *path*."""
        match [part for part in path.split("/") if part]:
            case ["nzbs", _, *_] if self._nzbs is not None:
                return EVERYTHING
            case ["completed-symlinks", _, _, *_]:
                return frozenset({"DELETE", "MOVE"})
            case ["content", _, _, *_] if self._content_delete:
                return frozenset({"DELETE"})
        return frozenset()

    def refusal(self, method: str, path: str) -> str | None:
        """Return why *method* can change nothing at *path*, None if it may."""
        if method in self.changing(path):
            return None
        match [part for part in path.split("/") if part]:
            case ["completed-symlinks", *_]:
                return _LINKS
            case ["content", _, _, *_] if method == "DELETE":
                return _KEPT
        return READ_ONLY

    def resource(self, path: str, environ: Environ, node: Node) -> Any:
        """Return *node*, which lies at *path*, as a resource."""
        tree = path.split("/", 2)[1]
        changing = self.changing(path)
        if self._nzbs is not None and tree == "nzbs" and changing:
            if isinstance(node, File):
                return NzbResource(path, environ, node, self._nzbs)
            return NzbFolderResource(path, environ, node, self._nzbs)
        trees: dict[str, Changes | None] = {
            "content": self._library,
            "completed-symlinks": self._links,
        }
        changes = trees.get(tree) if changing else None
        if isinstance(node, File):
            return FileResource(path, environ, node, changes)
        return FolderResource(path, environ, node, changes)

    def _find(self, parts: list[str]) -> Node | None:
        if len(parts) > 1 and (parts[-1].startswith("._") or parts[-1] in _PROBES):
            # Finder's own are kept beside what it puts into the queue.
            return self._nzbs.find(parts[1:]) if self._nzbs and parts[0] == "nzbs" else None
        match parts:
            case []:
                return Folder("", self._created, self._root)
            case ["content", *inside]:
                return self._library.find(inside)
            case ["completed-symlinks", *inside] if self._links is not None:
                return self._links.find(inside)
            case [".ids", *inside] if self._ids is not None:
                return self._ids.find(inside)
            case ["nzbs", *inside] if self._nzbs is not None:
                return self._nzbs.find(inside)
        return None

    def _root(self) -> Iterator[Node]:
        for name in ("content", "completed-symlinks", "nzbs", ".ids"):
            node = self._find([name])
            if node is not None:
                yield node
