"""Every response gives back what it opened, by whichever path it ends."""

from __future__ import annotations

import gc
import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse

import pytest

from gateway.errors import NoCapacity
from gateway.http.scope import RequestScope, Scope, scope_of
from gateway.http.streaming import StreamingBodies
from gateway.http.wsgi import App, Chunk, Environ
from gateway.usenet import workload
from gateway.usenet.workload import Reservation, Workload


class Thing:
    """Something that a response opens."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name, self.log, self.fails = name, log, fails
        self.closed = threading.Event()

    def close(self) -> None:
        self.log.append(self.name)
        self.closed.set()
        if self.fails:
            raise OSError("it will not close")


def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
    return None


def call(app: App, environ: Environ | None = None) -> Iterable[Chunk]:
    return RequestScope(app, StreamingBodies(10))(environ if environ is not None else {}, start)


def opening(log: list[str], body: Iterable[Chunk]) -> App:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope = scope_of(environ)
        for name in "abc":
            scope.own(Thing(name, log))
        return body

    return app


def test_what_a_response_owns_is_closed_at_its_end_the_newest_first() -> None:
    log: list[str] = []
    assert list(call(opening(log, [b"x"]))) == [b"x"]
    assert log == ["c", "b", "a"]


def test_close_gives_everything_back_even_before_the_first_chunk() -> None:
    log: list[str] = []
    body = call(opening(log, [b"x"]))
    body.close()  # type: ignore[attr-defined]
    body.close()  # type: ignore[attr-defined]
    assert log == ["c", "b", "a"]
    assert list(body) == []


def test_an_application_that_raises_gives_everything_back() -> None:
    log: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).own(Thing("a", log))
        raise KeyError("x")

    with pytest.raises(KeyError):
        call(app)
    assert log == ["a"]


def test_a_body_that_raises_gives_everything_back() -> None:
    log: list[str] = []

    def chunks() -> Iterator[Chunk]:
        yield b"x"
        raise KeyError("x")

    body = call(opening(log, chunks()))
    with pytest.raises(KeyError):
        list(body)
    assert log == ["c", "b", "a"]


def test_a_response_that_nobody_finishes_gives_everything_back_when_collected() -> None:
    log: list[str] = []
    body = iter(call(opening(log, [b"x", b"y"])))
    assert next(body) == b"x"
    del body
    gc.collect()
    assert log == ["c", "b", "a"]


def test_the_response_is_closed_before_what_it_reads_from() -> None:
    log: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            log.append("body")

    list(call(opening(log, Body())))
    assert log == ["body", "c", "b", "a"]


def test_one_thing_that_will_not_close_does_not_keep_the_others_open() -> None:
    log: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).own(Thing("a", log))
        scope_of(environ).own(Thing("b", log, fails=True))
        return [b"x"]

    assert list(call(app)) == [b"x"]
    assert log == ["b", "a"]


def test_what_is_opened_after_the_end_is_closed_at_once() -> None:
    log: list[str] = []
    scope = Scope(StreamingBodies(1), None)
    scope.close()
    with pytest.raises(RuntimeError, match="has ended"):
        scope.own(Thing("late", log))
    assert log == ["late"]


def test_each_request_has_a_reservation_of_its_own_in_the_call_and_in_its_body() -> None:
    seen: list[Reservation | None] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            seen.append(workload.current())
            yield b"x"
            seen.append(workload.current())

        def close(self) -> None:
            seen.append(workload.current())

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        seen.append(workload.current())
        return Body()

    body = iter(call(app))
    assert workload.current() is None
    assert next(body) == b"x"
    assert workload.current() is None
    assert list(body) == []
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert seen[0] is not None
    assert seen[0].workload is Workload.STREAM
    list(call(app))
    assert seen[4] != seen[0]


def test_a_stream_beyond_the_limit_is_refused_and_one_that_ends_makes_room() -> None:
    streaming = StreamingBodies(2)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).stream()
        return [b"x"]

    outermost = RequestScope(app, streaming)
    first, second = outermost({}, start), outermost({}, start)
    assert streaming.active == 2
    with pytest.raises(NoCapacity, match="2 of 2"):
        outermost({}, start)
    list(first)
    assert streaming.active == 1
    third = outermost({}, start)
    for body in (second, third):
        body.close()  # type: ignore[attr-defined]
    assert streaming.active == 0


class Pausable:
    """A client's connection as a response sees it."""

    def __init__(self) -> None:
        self.aborted = False
        self.may_pause = False

    def abort(self) -> None:
        self.aborted = True

    def on_abort(self, call: Callable[[], object]) -> None:
        pass

    def allow_pause(self) -> None:
        self.may_pause = True

    def unsent(self) -> int:
        return 0


def test_the_stream_paused_longest_makes_room_for_a_new_one() -> None:
    now = 0.0
    streaming = StreamingBodies(2, suspend_s=60, clock=lambda: now)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).stream()
        return [b"x", b"y"]

    outermost = RequestScope(app, streaming)
    connections = [Pausable() for _ in range(4)]

    def request(number: int) -> Iterator[Chunk]:
        return iter(outermost({"gateway.connection": connections[number]}, start))

    first = request(0)
    assert next(first) == b"x"  # its client takes this chunk for ever
    now = 30.0
    second = request(1)
    assert next(second) == b"x"
    now = 59.0
    with pytest.raises(NoCapacity):
        request(2)
    now = 95.0
    third = request(2)
    assert [connection.aborted for connection in connections] == [True, False, False, False]
    assert all(connection.may_pause for connection in connections[:2])
    assert next(second) == b"y"  # it reads on: no longer paused
    with pytest.raises(NoCapacity):
        request(3)
    del first, second, third
    gc.collect()
    assert streaming.active == 0


def test_a_stream_that_waits_for_its_next_chunk_is_not_paused() -> None:
    now = 0.0
    streaming = StreamingBodies(1, suspend_s=60, clock=lambda: now)
    body = streaming.admit(Pausable())
    body.offered()
    body.taken()
    now = 1000.0
    with pytest.raises(NoCapacity):
        streaming.admit(Pausable())


@pytest.mark.parametrize(("responses", "limit"), [(200, 184), (32, 16), (20, 10), (1, 1)])
def test_some_threads_are_never_given_to_streams(responses: int, limit: int) -> None:
    assert StreamingBodies.beside(responses).limit == limit


def test_beyond_the_limit_streams_are_refused_while_short_answers_go_on(servers: Any) -> None:
    release = threading.Event()
    started = threading.Semaphore(0)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        if environ["PATH_INFO"] == "/healthz":
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        scope_of(environ).stream()
        start_response("200 OK", [("Content-Length", "2")])

        def chunks() -> Iterator[Chunk]:
            yield b"x"
            started.release()
            assert release.wait(30)
            yield b"y"

        return chunks()

    streaming = StreamingBodies.beside(20)
    server = servers.serve(RequestScope(app, streaming), responses=20)
    clients = [servers.connect(server) for _ in range(streaming.limit)]
    for client in clients:
        client.get("/film")
    for _ in clients:
        assert started.acquire(timeout=10)
    refused = servers.connect(server)
    refused.get("/film")
    response = refused.response()
    assert response.status == 503
    assert response.getheader("Retry-After") == "5"
    assert response.read() == b"10 of 10 streams are running\n"
    for _ in range(3):
        healthy = servers.connect(server)
        healthy.get("/healthz")
        assert healthy.response().read() == b"ok"
    release.set()
    for client in clients:
        assert client.response().read() == b"xy"


@pytest.mark.parametrize("how", ["reset", "fin", "reset before the status"])
def test_aborted_clients_leave_no_stream_open(servers: Any, how: str) -> None:
    log: list[str] = []
    things: list[Thing] = []
    running, gone = threading.Event(), threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).stream()
        things.append(scope_of(environ).own(Thing("stream", log)))
        running.set()
        if how == "reset before the status":
            assert gone.wait(10)
        start_response("200 OK", [("Content-Length", str(1 << 40))])
        return iter(lambda: bytes(1 << 18), b"")

    streaming = StreamingBodies(10)
    server = servers.serve(RequestScope(app, streaming))
    client = servers.connect(server)
    client.get()
    assert running.wait(5)
    if how != "reset before the status":
        assert client.response().read(1_000_000)
    client.reset() if how.startswith("reset") else client.socket.close()
    gone.set()
    assert things[0].closed.wait(5)
    server.stop(5)
    assert streaming.active == 0
    assert log == ["stream"]


def test_stopping_wakes_a_stream_that_waits_for_more_and_is_no_error(
    servers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running = threading.Event()

    def wait(thing: Thing, start_response: StartResponse) -> Iterator[Chunk]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"abc"
        running.set()
        thing.closed.wait(30)
        raise ValueError("what it reads from is closed")

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope = scope_of(environ)
        scope.stream()
        return wait(scope.own(Thing("film", [])), start_response)

    server = servers.serve(RequestScope(app, StreamingBodies(1)))
    client = servers.connect(server)
    client.get()
    assert running.wait(5)
    began = time.monotonic()
    assert server.stop(0.1) is False
    assert time.monotonic() - began < 1
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        client.response().read()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
