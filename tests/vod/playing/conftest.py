"""The doors of films, over stores of leases of every kind, and players that behave badly."""

from __future__ import annotations

import http.client
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self, cast

import fakeredis
import pytest
from redis import Redis

from bench.redis_server import RedisServer
from gateway.http.guard import PathGuard
from gateway.http.router import Router
from gateway.http.scope import RequestScope
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies
from gateway.http.wire import Timeouts
from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.library.entries import FileEntry
from gateway.streams.holes import Holes
from gateway.streams.on_disk import FileLayout
from gateway.vod.own_source import Catalogue, StreamOpener
from gateway.vod.profiles import Profile
from gateway.vod.reading import Evidence
from gateway.vod.service import Vod
from gateway.vod.upstream import Patience
from gateway.vod.users import VodUser, VodUsers


class Player:
    """A client of the doors on a connection of its own; badly behaved where a test wants it."""

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self._response: http.client.HTTPResponse | None = None

    def ask(self, path: str, range_: str | None = None, *headers: str, method: str = "GET") -> Self:
        """Send a request, with `Range: bytes=<range_>`; wait for nothing."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
        if range_ is not None:
            lines.append(f"Range: bytes={range_}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._response = http.client.HTTPResponse(self.socket, method=method)
        return self

    @property
    def response(self) -> http.client.HTTPResponse:
        """The response; its head is waited for."""
        assert self._response is not None
        if not self._response.headers:
            self._response.begin()
        return self._response

    @property
    def status(self) -> int:
        return self.response.status

    def read(self, count: int | None = None) -> bytes:
        """Return so many bytes of the body, or all that is left. Raises on a short body."""
        return self.response.read(count)

    def reset(self) -> None:
        """End the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self.socket.close()


Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def until() -> Until:
    """Poll a condition until it holds, for at most 15 s."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, "it did not come about within 15 s"
            time.sleep(0.002)

    return wait


@pytest.fixture(scope="session")
def vod_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("vod-redis")) as server:
        yield server


@pytest.fixture
def memory_store() -> Iterator[LeaseStore]:
    store = MemoryLeases()
    yield store
    store.close()


@pytest.fixture(
    params=[
        "memory",
        "fakeredis",
        pytest.param("redis", marks=pytest.mark.system("redis-server")),
    ]
)
def every_store(request: pytest.FixtureRequest) -> Iterator[LeaseStore]:
    """A store of each kind in turn."""
    store: LeaseStore
    if request.param == "memory":
        store = MemoryLeases()
    elif request.param == "fakeredis":
        client = cast("Redis", fakeredis.FakeRedis(decode_responses=True))
        store = RedisLeases(client, recover_s=0)
    else:
        server = request.getfixturevalue("vod_redis")
        with Redis(port=server.port) as admin:
            admin.flushall()
        store = RedisLeases.from_url(server.url, recover_s=0)
    yield store
    store.close()


class NoLibrary:
    """A library in which nothing is."""

    def file_by_number(self, number: int) -> FileEntry | None:
        return None

    def file_by_id(self, file_id: str) -> FileEntry | None:
        return None

    def note_read(self, file_id: str) -> None:
        raise NotImplementedError

    def holes(self, file: FileEntry, layout: FileLayout) -> Holes:
        raise NotImplementedError

    def layout(self, file_id: str) -> FileLayout:
        raise NotImplementedError


@dataclass
class Doors:
    """The doors, being served; whoever it made is closed with it."""

    server: Server
    vod: Vod
    keeper: Keeper
    store: LeaseStore
    stack: ExitStack

    def player(self, *, receive_buffer: int = 0) -> Player:
        player = Player(self.server.port, receive_buffer=receive_buffer)
        self.stack.callback(player.close)
        return player

    def ask(
        self, path: str, range_: str | None = None, *headers: str, method: str = "GET"
    ) -> Player:
        return self.player().ask(path, range_, *headers, method=method)

    def count(self, pool: str = "global") -> int:
        """Return how many sessions are in a pool."""
        return self.store.count(pool)

    def events(self, name: str) -> int:
        return self.vod.tally.snapshot().events.get(name, 0)

    @property
    def connections(self) -> int:
        """How many connections to providers are open."""
        return self.vod.tally.snapshot().connections


MakeDoors = Callable[..., Doors]


@pytest.fixture
def doors_over() -> Iterator[MakeDoors]:
    """A maker of doors: doors_over(store, [profiles], users={name: (password, streams)}, …)."""
    with ExitStack() as stack:

        def make(
            store: LeaseStore,
            profiles: Sequence[Profile],
            *,
            users: Mapping[str, tuple[str, int]] | None = None,
            grace_s: float = 0.05,
            acquire_wait_s: float = 0.3,
            timeouts: Timeouts | None = None,
            library: Catalogue | None = None,
            streams: StreamOpener | None = None,
            patience: Patience | None = None,
            evidence: Evidence | None = None,
            **more: Any,
        ) -> Doors:
            keeper = Keeper(store, grace_s=grace_s)
            stack.callback(keeper.close)
            known = users or {"bob": ("s3cret-pw", 0), "eve": ("0ther-pw", 0)}
            vod = Vod(
                VodUsers((VodUser(name, cap), password) for name, (password, cap) in known.items()),
                profiles,
                keeper,
                library or NoLibrary(),
                streams or cast("StreamOpener", None),
                grace_s=grace_s,
                acquire_wait_s=acquire_wait_s,
                patience=patience or Patience(20.0, 20.0, 20.0),
                evidence=evidence or Evidence(0.1, 0.4, 0.02),
                **more,
            )
            app = RequestScope(PathGuard(Router(vod.doors)), StreamingBodies.beside(200))
            server = Server(app, "127.0.0.1", 0, timeouts=timeouts)
            server.start()
            stack.callback(server.stop, 0.0)
            return Doors(server, vod, keeper, store, stack)

        yield make
