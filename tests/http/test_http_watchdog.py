"""Clients that hang up, pause or never come back, over real sockets."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse

import pytest

from gateway.http.scope import RequestScope, scope_of
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies, StreamingBody
from gateway.http.watchdog import BlindPoller, EpollPoller, Watchdog
from gateway.http.wire import Timeouts
from gateway.http.wsgi import Chunk, Environ

MIB = 1 << 20
PATIENT = Timeouts(suspend_s=600, pause_s=1800)


class Upstream:
    """What a response reads from: it hangs until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.suspended = threading.Semaphore(0)
        self.suspensions = 0

    def suspend(self) -> None:
        self.suspensions += 1
        self.suspended.release()

    def hang(self) -> None:
        if not self.closed.wait(30):
            raise TimeoutError("nobody closed it")
        raise ValueError("it is closed")

    def close(self) -> None:
        self.closed.set()


@dataclass
class Film:
    """An application that streams in as many manners as there are paths."""

    opened: list[Upstream] = field(default_factory=list)
    running: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    streaming: StreamingBodies = field(default_factory=lambda: StreamingBodies(200))
    content: bytes = b""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        path = environ["PATH_INFO"]
        if path == "/short":
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        scope = scope_of(environ)
        upstream = scope.own(Upstream())
        self.opened.append(upstream)
        scope.stream(upstream.suspend)
        self.running.release()
        if path == "/hangs-first":
            upstream.hang()
        if path == "/raises":
            raise OSError("the application fails")
        size = {"/empty": 0, "/endless": 1 << 40}.get(path, len(self.content))
        start_response("200 OK", [("Content-Length", str(size))])
        return self._body(path, upstream)

    def _body(self, path: str, upstream: Upstream) -> Iterator[Chunk]:
        if path == "/empty":
            return
        if path == "/endless":
            while True:
                yield bytes(MIB // 4)
        if path == "/hangs-later":
            yield self.content[:1000]
            upstream.hang()
        for begin in range(0, len(self.content), MIB):
            yield self.content[begin : begin + MIB]

    def serve(self, servers: Any, **settings: Any) -> Server:
        app = RequestScope(self, self.streaming)
        server: Server = servers.serve(app, **{"timeouts": PATIENT, **settings})
        return server

    def wait_until_closed(self, within_s: float = 20.0) -> None:
        for upstream in self.opened:
            assert upstream.closed.wait(within_s)


@pytest.fixture
def film() -> Film:
    return Film(content=random.Random(1).randbytes(4 * MIB))


@dataclass
class Clock:
    """What pauses are measured by: it stands still unless the test moves it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def go_on_until(self, happened: threading.Semaphore, step_s: float) -> None:
        """Let time pass in steps until it has happened."""
        deadline = time.monotonic() + 20
        while not happened.acquire(timeout=0.05):
            assert time.monotonic() < deadline
            self.now += step_s


def descriptors() -> set[tuple[str, str]]:
    """Return what this process has open, each with its number."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.add((entry.name, str(entry.readlink())))
    return found


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.005)


# -- who is gone


@pytest.mark.parametrize("how", ["reset", "fin", "half-close"])
@pytest.mark.parametrize("path", ["/hangs-first", "/hangs-later"])
def test_a_client_that_is_gone_has_everything_closed_while_the_response_waits(
    servers: Any, film: Film, path: str, how: str
) -> None:
    server = film.serve(servers)
    client = servers.connect(server)
    client.get(path)
    assert film.running.acquire(timeout=20)
    if path == "/hangs-later":
        assert client.response().read(1000)
    if how == "reset":
        client.reset()
    elif how == "fin":
        client.socket.close()
    else:
        client.socket.shutdown(socket.SHUT_WR)
    film.wait_until_closed()  # the response itself would hang for 30 s
    assert server.watchdog.hang_ups == 1
    wait_for(lambda: server.serving == 0)
    assert film.streaming.active == 0


@pytest.mark.parametrize("when", ["with the request", "later"])
@pytest.mark.parametrize("half_closed", [False, True])
def test_a_request_pipelined_behind_a_stream_is_no_hang_up(
    servers: Any, film: Film, when: str, half_closed: bool
) -> None:
    film.content *= 4  # more than any buffer takes
    server = film.serve(servers)
    client = servers.connect(server, receive_buffer=65536)
    first = b"GET /film HTTP/1.1\r\nHost: a\r\n\r\n"
    second = b"GET /short HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    if when == "with the request":
        client.socket.sendall(first + second)
        assert film.running.acquire(timeout=20)
    else:
        client.socket.sendall(first)
        assert film.running.acquire(timeout=20)
        client.socket.sendall(second)
    if half_closed:
        client.socket.shutdown(socket.SHUT_WR)
    answers = client.everything()
    assert film.content in answers
    assert answers.endswith(b"\r\n\r\nok")
    assert server.watchdog.hang_ups == 0


def test_a_client_that_pipelined_and_then_resets_is_gone_all_the_same(
    servers: Any, film: Film
) -> None:
    client = servers.connect(film.serve(servers))
    client.get("/hangs-first")
    assert film.running.acquire(timeout=20)
    client.get("/short")
    client.reset()
    film.wait_until_closed()


def test_a_connection_is_of_use_after_a_stream_and_its_hanging_up_idle_harms_nobody(
    servers: Any, film: Film
) -> None:
    server = film.serve(servers)
    watching = servers.connect(server)
    watching.get("/hangs-later")
    assert watching.response().read(1000)
    for number in range(20):  # those of sockets are used again and again
        client = servers.connect(server)
        for path, body in (("/film", film.content), ("/film", film.content), ("/short", b"ok")):
            client.get(path)
            assert client.response().read() == body
        client.reset() if number % 2 else client.socket.close()
    assert server.watchdog.hang_ups == 0
    assert not film.opened[0].closed.is_set()
    watching.reset()
    film.wait_until_closed()
    assert server.watchdog.hang_ups == 1


def test_a_hang_up_reported_too_late_does_not_hit_who_has_the_number_now(servers: Any) -> None:
    class Late(EpollPoller):
        """Reports every socket that it is told of, whether or not it was hung up."""

        def __init__(self) -> None:
            super().__init__()
            self.told: list[int] = []
            self.asked = threading.Semaphore(0)

        def add(self, fd: int, *, pipelined: bool) -> None:
            super().add(fd, pipelined=pipelined)
            self.told.append(fd)

        def wait(self, timeout_s: float | None) -> list[int]:
            self.asked.release()
            super().wait(timeout_s)
            return list(self.told)

    aborted = threading.Event()

    class Link:
        def abort(self, only: StreamingBody | None = None) -> None:
            aborted.set()

        def watch(self, stream: StreamingBody) -> None: ...

        def unwatch(self, stream: StreamingBody) -> None: ...

        def unsent(self) -> int:
            return 0

        def has_all(self) -> bool:
            return False

        def taken(self) -> int:
            return 0

    poller = Late()
    watchdog = Watchdog(suspend_s=600, abandon_s=1800, make_poller=lambda: poller)
    here, there = socket.socketpair()
    with here, there:
        stream = StreamingBodies(1).admit(Link(), None, aborted.set)
        watchdog.start()
        assert poller.asked.acquire(timeout=20)
        watchdog.watch(stream, here, pipelined=False)
        assert poller.asked.acquire(timeout=20)  # it has dealt with what was reported
        assert not aborted.is_set()
        there.close()
        assert aborted.wait(20)
        watchdog.stop()


def test_one_stream_that_cannot_be_looked_at_does_not_end_the_watch_over_the_others(
    servers: Any, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = film.serve(servers, timeouts=Timeouts(suspend_s=0.2, pause_s=1800))
    looked = threading.Event()

    def fail(self: StreamingBody, suspend_s: float, abandon_s: float) -> None:
        looked.set()
        raise OSError("it cannot be asked")

    with monkeypatch.context() as broken:
        broken.setattr(StreamingBody, "look", fail)
        servers.connect(server).get("/endless")
        assert looked.wait(10)
    assert film.opened[0].suspended.acquire(timeout=10)
    client = servers.connect(server)
    client.get("/hangs-first")
    assert film.running.acquire(timeout=20)
    assert film.running.acquire(timeout=20)
    client.reset()
    assert film.opened[1].closed.wait(20)


def test_a_cut_that_comes_after_its_response_does_not_hit_the_next_on_the_connection(
    servers: Any, film: Film
) -> None:
    streams: list[StreamingBody] = []

    class Kept(Film):
        def _body(self, path: str, upstream: Upstream) -> Iterator[Chunk]:
            streams.extend(self.streaming._active)
            yield from super()._body(path, upstream)

    kept = Kept(content=film.content)
    client = servers.connect(kept.serve(servers))
    client.get("/film")
    assert client.response().read() == film.content
    client.get("/hangs-later")
    response = client.response()
    assert response.read(1000) == film.content[:1000]
    streams[0].abort()
    assert not kept.opened[1].closed.is_set()
    streams[-1].abort()
    assert kept.opened[1].closed.is_set()


KINDS = (
    "reset before the headers", "close before the headers", "reset after some bytes",
    "close after some bytes", "reset while it hangs", "close while it hangs", "empty", "raises",
    "whole", "reset in the request",
)  # fmt: skip


def _misbehave(client: Any, kind: str, rng: random.Random) -> None:
    match kind:
        case "reset before the headers" | "close before the headers":
            client.get("/endless")
        case "reset after some bytes" | "close after some bytes":
            client.get("/endless")
            client.response().read(rng.randrange(1, 3_000_000))
        case "reset while it hangs" | "close while it hangs":
            client.get(rng.choice(["/hangs-first", "/hangs-later"]))
        case "empty":
            client.get("/empty")
            assert client.response().read() == b""
        case "raises":
            client.get("/raises")
            assert client.response().status == 500
        case "whole":
            client.get("/film")
            assert len(client.response().read()) == 4 * MIB
        case "reset in the request":
            client.socket.sendall(b"GET /endless HTTP/1.1\r\nHost: ")
    if kind.startswith("reset"):
        client.reset()
    else:
        client.socket.close()


def test_a_storm_of_aborts_leaves_nothing_behind(servers: Any, film: Film) -> None:
    threads_before, descriptors_before = set(threading.enumerate()), descriptors()
    server = film.serve(servers)
    clients, each = 32, 40

    def storm(seed: int) -> None:
        rng = random.Random(seed)
        for number in range(each):
            client = servers.connect(server)
            _misbehave(client, KINDS[(seed + number) % len(KINDS)], rng)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(storm, range(clients)))
    film.wait_until_closed()
    wait_for(lambda: server.serving == 0)
    assert film.streaming.active == 0
    assert len(film.opened) > clients * each * 0.6
    assert server.stop(5)
    wait_for(lambda: set(threading.enumerate()) <= threads_before)
    assert descriptors() <= descriptors_before


# -- who pauses


def _read(response: http.client.HTTPResponse, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := response.read(min(65536, size - len(data)))):
        data += piece
    return bytes(data)


@pytest.mark.parametrize("poller", [EpollPoller, BlindPoller])
def test_a_paused_viewer_is_suspended_once_and_goes_on_byte_for_byte(
    servers: Any, film: Film, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.http.watchdog.EpollPoller", poller)
    clock = Clock()
    film.streaming = StreamingBodies(200, clock=clock)
    film.content *= 8
    server = film.serve(servers, timeouts=Timeouts(suspend_s=0.2, pause_s=600, send_s=0.1))
    client = servers.connect(server, receive_buffer=65536)
    client.get("/film")
    response = client.response()
    seen = _read(response, MIB)
    upstream = film.opened[0]
    clock.go_on_until(upstream.suspended, 0.2)
    wait_for(lambda: film.streaming.suspended == 1)
    clock.now += 400
    assert not upstream.suspended.acquire(timeout=0.5)  # it is looked at ten times meanwhile
    seen += _read(response, 20 * MIB)
    assert film.streaming.suspended == 0
    clock.go_on_until(upstream.suspended, 0.2)  # the second pause
    seen += _read(response, len(film.content))
    assert seen == film.content
    assert server.watchdog.suspensions == 2
    wait_for(lambda: upstream.closed.is_set())


def test_a_slow_reader_that_goes_on_is_never_suspended(servers: Any, film: Film) -> None:
    # One chunk, so large that it alone takes many times SUSPEND to leave.
    class Whole(Film):
        def _body(self, path: str, upstream: Upstream) -> Iterator[Chunk]:
            yield self.content

    clock = Clock()
    whole = Whole(content=film.content * 4, streaming=StreamingBodies(200, clock=clock))
    server = whole.serve(servers, timeouts=Timeouts(suspend_s=0.5, pause_s=1))
    client = servers.connect(server, receive_buffer=65536)
    client.get("/film")
    response = client.response()
    pause = threading.Event()
    seen = bytearray()
    while piece := response.read(128 << 10):
        seen += piece
        pause.wait(0.02)
        clock.now += 0.02
    assert bytes(seen) == whole.content
    assert whole.opened[0].suspensions == 0
    assert server.watchdog.suspensions == 0


def test_a_viewer_that_never_comes_back_is_cut(servers: Any, film: Film) -> None:
    clock = Clock()
    film.streaming = StreamingBodies(200, clock=clock)
    server = film.serve(servers, timeouts=Timeouts(suspend_s=0.1, pause_s=400))
    client = servers.connect(server, receive_buffer=65536)
    client.get("/endless")
    client.response()
    clock.go_on_until(film.opened[0].suspended, 0.1)
    clock.now += 400
    assert film.opened[0].closed.wait(20)
    assert (film.opened[0].suspensions, server.watchdog.abandoned) == (1, 1)
    assert client.is_reset_within(10)  # before it reads on: nothing says that the body is whole
    with pytest.raises(ConnectionResetError):
        client.everything()


def test_a_client_that_is_gone_while_its_stream_is_suspended_is_noticed(
    servers: Any, film: Film
) -> None:
    server = film.serve(servers, timeouts=Timeouts(suspend_s=0.1, pause_s=600))
    client = servers.connect(server, receive_buffer=65536)
    client.get("/endless")
    client.response()
    assert film.opened[0].suspended.acquire(timeout=10)
    client.reset()
    film.wait_until_closed()
    wait_for(lambda: server.serving == 0)


# -- many at a time


def test_short_answers_go_on_while_all_places_are_taken_by_readers_and_paused_viewers(
    servers: Any, film: Film
) -> None:
    film.streaming = StreamingBodies.beside(80)
    server = film.serve(servers, responses=80)
    stop = threading.Event()

    def read(client: Any) -> None:
        response = client.response()
        with suppress(OSError, http.client.HTTPException):
            while not stop.is_set() and response.read(MIB // 4):
                pass
        client.socket.close()

    clients = [servers.connect(server, receive_buffer=65536) for _ in range(64)]
    for client in clients:
        client.get("/endless")
        assert film.running.acquire(timeout=10)
    assert film.streaming.active == film.streaming.limit == 64
    with ThreadPoolExecutor(8) as readers:
        for client in clients[:8]:
            readers.submit(read, client)
        for _ in range(20):
            short = servers.connect(server)
            short.get("/short")
            assert short.response().read() == b"ok"
        refused = servers.connect(server)
        refused.get("/film")
        assert refused.response().status == 503
        stop.set()
    for client in clients[8:]:
        client.reset()
    film.wait_until_closed()
