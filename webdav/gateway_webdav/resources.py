"""The tree's files and folders as wsgidav knows them.

wsgidav reads nothing through these (GET and PROPFIND are ours); it asks for properties, and
for what changes: in `/nzbs`, where documents are put, locked, moved and deleted, and where a tree
lets things be removed or moved. Everything else refuses, as wsgidav's base classes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from lxml import etree
from werkzeug.http import http_date
from wsgidav.dav_error import HTTP_FORBIDDEN, HTTP_NOT_FOUND, DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection

from gateway.errors import GatewayError
from gateway.http.wsgi import Environ
from gateway_webdav.nzbs import NotAccepted, NzbTree, TooLarge
from gateway_webdav.tree import File, Folder, Node, Reader


class Markup(str):
    """XML that stands in a property as it is; D is the namespace DAV:."""

    __slots__ = ()


Value: TypeAlias = "str | Markup | etree._Element | DAVError | None"
Properties: TypeAlias = list[tuple[str, Value]]

_COLLECTION = Markup("<D:collection/>")
_LOCKS = ("{DAV:}lockdiscovery", "{DAV:}supportedlock")


def _live(node: Node) -> dict[str, Value]:
    """Return the properties of *node*: those of RFC 4918, and one that Infuse tells folders by."""
    is_folder = isinstance(node, Folder)
    modified = node.created if isinstance(node, Folder) else node.modified
    live: dict[str, Value] = {
        "{DAV:}resourcetype": _COLLECTION if is_folder else "",
        "{DAV:}displayname": node.name,
        "{DAV:}creationdate": _iso(int(node.created)),
        "{DAV:}getlastmodified": _http_date(int(modified)),
        # A folder has both too: rclone and Infuse take an empty element in a 404 block for a
        # number, and Infuse shows a folder without them as a file.
        "{DAV:}getcontentlength": "0" if isinstance(node, Folder) else str(node.size),
        "{DAV:}iscollection": "1" if is_folder else "0",
    }
    if isinstance(node, File):
        live["{DAV:}getcontenttype"] = node.content_type
        live["{DAV:}getetag"] = node.etag
    return live


# Everything in a release has one date, and most of a listing few.
@lru_cache(maxsize=1024)
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return http_date(seconds)


class Changes(Protocol):
    """A tree in which something can be removed or moved."""

    def remove(self, parts: Sequence[str], /) -> None:
        """Remove what lies at *parts*, counted from the tree's own folder."""

    def move(self, parts: Sequence[str], onto: Sequence[str], /) -> None:
        """Give what lies at *parts* the place *onto* in the same tree."""


REFUSALS = "gateway.refusals"
"""Where in the environ a list takes the errors that wsgidav makes a page of its own of."""


@contextmanager
def _told(environ: Environ) -> Iterator[None]:
    """Have an error of ours arrive with its own words."""
    try:
        yield
    except GatewayError as exc:
        environ.get(REFUSALS, []).append(exc)
        raise DAVError(exc.http_status) from exc


class _Changing:
    """A resource that lies in a tree where it can be removed or moved."""

    path: str
    environ: Environ
    changes: Changes | None = None

    def handle_delete(self) -> bool:
        if self.changes is None:
            raise DAVError(HTTP_FORBIDDEN)
        with _told(self.environ):
            self.changes.remove(_parts(self.path)[1:])
        return True

    def handle_move(self, dest_path: str) -> bool:
        if self.changes is None:
            raise DAVError(HTTP_FORBIDDEN)
        (tree, *parts), (onto_tree, *onto) = _parts(self.path), _parts(dest_path)
        with _told(self.environ):
            # Nothing can go from one tree to another: each says so in its own words.
            self.changes.move(parts, onto if tree == onto_tree else [])
        return True

    def handle_copy(self, dest_path: str, *, depth_infinity: bool) -> bool:  # noqa: ARG002
        with _told(self.environ):
            raise NotAccepted("what is here cannot be copied by the gateway")


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


class _Shown:
    """What the four classes share: the properties of a node."""

    node: Node
    lockable = False

    def get_display_name(self) -> str:
        return self.node.name

    def get_creation_date(self) -> float:
        return self.node.created

    def get_properties(self, mode: str, *, name_list: Sequence[str] | None = None) -> Properties:
        live = _live(self.node)
        if mode == "named":
            return [(name, self._value(live, name)) for name in name_list or ()]
        if self.lockable:
            for name in _LOCKS:
                live[name] = self._value(live, name)
        return [(name, None if mode == "name" else value) for name, value in live.items()]

    def get_property_value(self, name: str) -> Value:
        value = self._value(_live(self.node), name)
        if isinstance(value, DAVError):
            raise value
        return value

    def _value(self, live: dict[str, Value], name: str) -> Value:
        if name in live:
            return live[name]
        if name in _LOCKS:
            if self.lockable:
                value: Value = super().get_property_value(name)  # type: ignore[misc]
                return value
            return ""  # nothing is locked here, and nothing can be
        return DAVError(HTTP_NOT_FOUND)


class FileResource(_Changing, _Shown, DAVNonCollection):  # type: ignore[misc]
    """A file; *changes* is the tree in which it can be removed or moved, if it can."""

    def __init__(
        self, path: str, environ: Environ, node: File, changes: Changes | None = None
    ) -> None:
        super().__init__(path, environ)
        self.node: File = node
        self.changes = changes

    def open_range(self, start: int, stop: int) -> Reader:
        """Return a reader of the bytes [start, stop). Fetches nothing."""
        return self.node.open(start, stop)

    def get_content(self) -> Any:
        raise DAVError(HTTP_FORBIDDEN)  # `open_range` is how it is read

    def get_content_length(self) -> int:
        return self.node.size

    def get_content_type(self) -> str:
        return self.node.content_type

    def get_last_modified(self) -> float:
        return self.node.modified

    def get_etag(self) -> str:
        return self.node.etag

    def support_etag(self) -> bool:
        return True

    def support_ranges(self) -> bool:
        return True

    def prevent_locking(self) -> bool:
        return not self.lockable


class FolderResource(_Changing, _Shown, DAVCollection):  # type: ignore[misc]
    """A folder; *changes* is the tree in which it can be removed or moved, if it can."""

    def __init__(
        self, path: str, environ: Environ, node: Folder, changes: Changes | None = None
    ) -> None:
        super().__init__(path.rstrip("/") or "/", environ)
        self.node: Folder = node
        self.changes = changes

    def iter_members(self) -> Iterator[Any]:
        """Give the resources in it, as they are read."""
        above = self.path.rstrip("/")
        for node in self.node.members():
            yield self.provider.resource(f"{above}/{node.name}", self.environ, node)

    def get_member_list(self) -> list[Any]:
        return list(self.iter_members())

    def get_member_names(self) -> list[str]:
        return [node.name for node in self.node.members()]

    def get_last_modified(self) -> float:
        return self.node.created

    def create_empty_resource(self, name: str) -> Any:
        raise DAVError(HTTP_FORBIDDEN, f"{name!r} belongs into a category: one of the folders here")

    def prevent_locking(self) -> bool:
        return not self.lockable


class NzbResource(FileResource):
    """An NZB in the queue, or what a client has begun to put."""

    lockable = True

    def __init__(self, path: str, environ: Environ, node: File, tree: NzbTree) -> None:
        super().__init__(path, environ, node)
        self._tree = tree
        self._category, self._name = path.strip("/").split("/")[-2:]

    def begin_write(self, *, content_type: str | None = None) -> _Writer:  # noqa: ARG002
        return _Writer(self._tree, self._category, self._name)

    def end_write(self, *, with_errors: bool) -> None:
        if with_errors:
            self._tree.forget_empty(self._category, self._name)
            return
        written = self._tree.find([self._category, self._name])
        if isinstance(written, File):
            self.node = written  # wsgidav answers with its tag

    def handle_delete(self) -> bool:
        with _told(self.environ):
            self._tree.delete(self._category, self._name)
        self.remove_all_locks(recursive=True)
        return True

    def handle_move(self, dest_path: str) -> bool:
        tree, *onto = _parts(dest_path)
        with _told(self.environ):
            self._tree.move(self._category, self._name, onto if tree == "nzbs" else [])
        self.remove_all_locks(recursive=True)
        return True

    def set_property_value(
        self,
        name: str,
        value: object,  # noqa: ARG002
        *,
        dry_run: bool = False,  # noqa: ARG002
    ) -> bool:
        # Windows sets its times on what it puts, davfs2 a flag, and both fail if they cannot.
        # A document in the queue has no use for them: taken, and forgotten.
        if name.startswith("{DAV:}"):
            raise DAVError(HTTP_FORBIDDEN)
        return True


class NzbFolderResource(FolderResource):
    """A category of the queue: NZBs may be put into it."""

    lockable = True

    def __init__(self, path: str, environ: Environ, node: Folder, tree: NzbTree) -> None:
        super().__init__(path, environ, node)
        self._tree = tree

    def create_empty_resource(self, name: str) -> Any:
        self._tree.put_empty(self.node.name, name)
        return self.provider.get_resource_inst(f"{self.path.rstrip('/')}/{name}", self.environ)

    def handle_delete(self) -> bool:
        with _told(self.environ):
            raise NotAccepted("a category cannot be deleted here: it stands in the settings")

    def handle_move(self, dest_path: str) -> bool:  # noqa: ARG002
        with _told(self.environ):
            raise NotAccepted("a category cannot be renamed here: it stands in the settings")

    def handle_copy(self, dest_path: str, *, depth_infinity: bool) -> bool:  # noqa: ARG002
        with _told(self.environ):
            raise NotAccepted("a category cannot be copied: it stands in the settings")


class _Writer:
    """Collects a document as it is put; `close`, which a failed upload never reaches, queues it."""

    def __init__(self, tree: NzbTree, category: str, name: str) -> None:
        self._tree = tree
        self._category = category
        self._name = name
        self._document = bytearray()

    def write(self, data: bytes) -> None:
        self._document += data
        if len(self._document) > self._tree.limit:
            raise TooLarge(f"an NZB may have {self._tree.limit} bytes, this one has more")

    def close(self) -> None:
        self._tree.put(self._category, self._name, bytes(self._document))
