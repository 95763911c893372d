"""The WebDAV face over a real library, behind the real server; streams and queue are scripted."""

from __future__ import annotations

import base64
import http.client
import random
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from lxml import etree

from gateway.errors import NotXml, StorageError
from gateway.http.auth import BasicAuth
from gateway.http.guard import HostGuard, PathGuard
from gateway.http.router import Router
from gateway.http.scope import RequestScope
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies
from gateway.http.wsgi import App
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import LinkKind, NewFile, NewPosted, NewRelease
from gateway.library.links import Links
from gateway.library.ports import QueuedDocument
from gateway.nzb.extents import PartTable, Run
from gateway.streams.holes import Holes
from gateway.streams.on_disk import FileLayout
from gateway_webdav.face import make_webdav_app
from gateway_webdav.links import Linked

CREATED = 1_788_265_815.75  # 2026-09-01T12:30:15Z
PART = 100_000
_AUTHORIZATION = "Basic " + base64.b64encode(b"gateway:secret").decode()


@lru_cache(maxsize=16)
def content(size: int) -> bytes:
    """Return what the file of *size* bytes holds."""
    return random.Random(size).randbytes(size)


class FakeStream:
    """A stream over known bytes that counts what happens to it."""

    def __init__(self, streams: FakeStreams, size: int, stop: int) -> None:
        self.streams = streams
        self.stop = stop
        self.position = 0
        self.closings = 0
        self.suspended = threading.Event()
        self.closed = threading.Event()
        self._data = memoryview(content(size))

    def seek(self, offset: int, /) -> int:
        self.position = offset
        return offset

    def read_view(self, limit: int, /) -> memoryview:
        self.streams.before_read(self)
        end = min(self.position + limit, self.stop, (self.position // PART + 1) * PART)
        view = self._data[self.position : end]
        self.position += len(view)
        return view

    def suspend(self) -> None:
        self.suspended.set()

    def close(self) -> None:
        self.closings += 1
        self.closed.set()


@dataclass
class FakeStreams:
    """Opens fake streams; *before_read* may be set to raise or to wait."""

    opened: list[FakeStream] = field(default_factory=list)
    before_read: Callable[[FakeStream], object] = lambda _: None

    def open(
        self,
        layout: FileLayout,
        *,
        stop: int | None = None,
        name: str = "",
        holes: Holes | None = None,
    ) -> FakeStream:
        stream = FakeStream(self, layout.size, layout.size if stop is None else stop)
        self.opened.append(stream)
        return stream


class FakeIntake:
    """A queue that keeps what it is given, in memory."""

    def __init__(self) -> None:
        self.added: list[tuple[str, str, bytes]] = []
        self.waiting: dict[str, QueuedDocument] = {}
        self._numbers = count(1)

    def add(
        self,
        document: bytes,
        *,
        filename: str,
        category: str,
        priority: int = 0,
        password: str | None = None,
    ) -> str:
        if not document.lstrip().startswith(b"<"):
            raise NotXml("the document is not XML: it begins with 'hello'")
        nzo_id = f"nzo_{next(self._numbers)}"
        self.added.append((category, filename, document))
        self.waiting[nzo_id] = QueuedDocument(nzo_id, filename, category, len(document), CREATED)
        return nzo_id

    def document(self, nzo_id: str) -> bytes:
        if nzo_id not in self.waiting:
            raise StorageError(f"there is no NZB of {nzo_id}")
        return self.added[int(nzo_id.removeprefix("nzo_")) - 1][2]

    def categorize(self, ids: Collection[str], category: str) -> Sequence[str]:
        found = [nzo_id for nzo_id in ids if nzo_id in self.waiting]
        for nzo_id in found:
            self.waiting[nzo_id] = replace(self.waiting[nzo_id], category=category)
        return found

    def pending(self, category: str) -> Sequence[QueuedDocument]:
        return [entry for entry in self.waiting.values() if entry.category == category]

    def remove(self, nzo_id: str) -> bool:
        return self.waiting.pop(nzo_id, None) is not None


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def xml(self) -> etree._Element:
        return etree.fromstring(self.body)

    def found(self) -> dict[str, dict[str, etree._Element]]:
        """Return the properties with status 200 of each href of a multi-status."""
        return self._blocks("200")

    def missing(self) -> dict[str, dict[str, etree._Element]]:
        return self._blocks("404")

    def _blocks(self, status: str) -> dict[str, dict[str, etree._Element]]:
        assert self.status == 207, self.body
        result = {}
        for response in self.xml.findall("{DAV:}response"):
            href = response.findtext("{DAV:}href") or ""
            result[href] = {
                str(prop.tag): prop
                for block in response.findall("{DAV:}propstat")
                if status in (block.findtext("{DAV:}status") or "")
                for prop in block.findall("{DAV:}prop/*")
            }
        return result


class Gateway:
    """A running gateway's WebDAV door, and a client of it."""

    def __init__(
        self, server: Server, library: Library, streams: FakeStreams, intake: FakeIntake
    ) -> None:
        self.server = server
        self.library = library
        self.streams = streams
        self.intake = intake

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> Answer:
        """Send one request below /dav, with credentials; headers are named like if_match."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Authorization", _AUTHORIZATION)
        if sent["Authorization"] == "":
            del sent["Authorization"]
        try:
            connection.request(method, f"/dav{path}", body, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def raw(self, *lines: str) -> socket.socket:
        """Send a request's head over a socket of its own; the caller does with it what it wants."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        head = [*lines, "Host: 127.0.0.1", f"Authorization: {_AUTHORIZATION}", "", ""]
        sock.sendall("\r\n".join(head).encode())
        return sock


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture
def client_reset() -> Callable[[socket.socket], None]:
    """End a connection with RST."""
    return reset


@pytest.fixture
def bytes_of() -> Callable[[int], bytes]:
    """Return what the file of a size holds."""
    return content


def release(
    category: str,
    name: str,
    *files: tuple[str, str, int],
    links: LinkKind = LinkKind.SYMLINK,
) -> NewRelease:
    """Return a release of *files*: folder, name, size."""
    posted, new = [], []
    for number, (folder, file_name, size) in enumerate(files):
        parts = max(1, -(-size // PART))
        ids = [f"{name}-{number}-{part}@test".encode() for part in range(parts)]
        table = PartTable.regular(ids, max(size, 1), PART)
        posted.append(NewPosted(file_name, table))
        runs = (Run(number, 0, size),) if size else ()
        new.append(NewFile(file_name, size, runs, folder))
    return NewRelease(category, name, CREATED, b"<nzb/>", tuple(posted), tuple(new), links=links)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'library.sqlite'}")
    yield database
    database.close()


@pytest.fixture
def library(database: Database) -> Iterator[Library]:
    library = Library(database)
    with database.begin() as tx:
        library.publish(
            tx,
            release(
                "movies",
                "Größe & Tücke; 100% +1 (2026)",
                ("", "film.mkv", 1_234_567),
                ("", "film.srt", 0),
                ("Extras/Deleted Scenes", "one #1.mp4", 250_000),
            ),
        )
        library.publish(
            tx,
            release("tv", "Show.S01E01", ("", "show.s01e01.mkv", 300_000), links=LinkKind.STRM),
        )
    yield library
    library.close()


@dataclass
class Serving:
    """Serves any WebDAV application as the program does; all end with the test."""

    stack: ExitStack

    def __call__(self, app: App, *, responses: int = 200) -> Server:
        doors = Router({"/dav": BasicAuth(app, "gateway", "secret")})
        guarded = HostGuard(PathGuard(doors), "127.0.0.1")
        scoped = RequestScope(guarded, StreamingBodies.beside(responses))
        server = Server(scoped, "127.0.0.1", 0, responses=responses)
        server.start()
        self.stack.callback(server.stop, 0.0)
        return server


@pytest.fixture
def serving() -> Iterator[Serving]:
    with ExitStack() as stack:
        yield Serving(stack)


@pytest.fixture
def make_app(database: Database, library: Library) -> Callable[..., App]:
    """Make a face: over `make_app(library, streams, intake, **options)`."""

    mount = PurePosixPath("/mnt/gäteway")
    linked = Linked(Links(database), library, mount, lambda: "http://u:p%40w@nas:81/dav")

    def make_app(library: Any, streams: Any, intake: Any, **options: Any) -> App:
        defaults = {"categories": {}, "nzb_limit": 1_000_000, "linked": linked}
        return make_webdav_app(library, streams, intake, **{**defaults, **options})

    return make_app


CATEGORIES = {name: name for name in ("movies", "tv", "audio")}


@pytest.fixture
def gateway(library: Library, serving: Serving, make_app: Callable[..., App]) -> Gateway:
    streams, intake = FakeStreams(), FakeIntake()
    app = make_app(library, streams, intake, categories=CATEGORIES)
    return Gateway(serving(app, responses=20), library, streams, intake)


@pytest.fixture
def deleting(library: Library, serving: Serving, make_app: Callable[..., App]) -> Gateway:
    """A gateway whose releases may be removed through it."""
    streams, intake = FakeStreams(), FakeIntake()
    app = make_app(library, streams, intake, categories=CATEGORIES, content_delete=True)
    return Gateway(serving(app, responses=20), library, streams, intake)
