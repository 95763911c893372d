"""Every response gives back what it opened, by whichever path it ends."""

from __future__ import annotations

import gc
import http.client
import logging
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.types import StartResponse

import pytest

from gateway.errors import NoCapacity
from gateway.http.scope import RequestScope, Scope, scope_of
from gateway.http.streaming import StreamingBodies, StreamingBody, Verdict
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


class Belonging:
    """Tells that it was closed; to be closed it needs *lock*, soon."""

    def __init__(self, lock: threading.Lock) -> None:
        self.closed = threading.Event()
        self._lock = lock

    def close(self) -> None:
        if self._lock.acquire(timeout=5):
            self.closed.set()
            self._lock.release()


def test_a_response_that_nobody_finishes_gives_everything_back_when_collected() -> None:
    belonging = Belonging(threading.Lock())

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).own(belonging)
        return [b"x", b"y"]

    body = iter(call(app))
    assert next(body) == b"x"
    del body
    gc.collect()
    assert belonging.closed.wait(10)


def test_a_response_may_be_collected_on_a_thread_that_holds_what_its_closing_needs() -> None:
    lock = threading.Lock()
    belonging = Belonging(lock)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope_of(environ).own(belonging)
        return [b"x"]

    body = call(app)
    with lock:  # as a pool or a keeper holds its own, in which the collector may run
        del body
        gc.collect()
        assert not belonging.closed.is_set()
    assert belonging.closed.wait(10)


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


def test_a_stream_that_has_ended_leaves_nothing_to_the_collector() -> None:
    class Reader(Thing):
        def suspend(self) -> None: ...

    seen: list[weakref.ref[Reader]] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        reader = scope_of(environ).own(Reader("film", []))
        scope_of(environ).stream(reader.suspend)
        seen.append(weakref.ref(reader))
        return [b"x"]

    gc.disable()
    try:
        assert list(call(app, {"gateway.connection": Pausable()})) == [b"x"]
        assert seen[0]() is None
    finally:
        gc.enable()


class Pausable:
    """A client's connection as a response sees it."""

    def __init__(self) -> None:
        self.bytes_taken = 0
        self.streams: list[StreamingBody] = []
        self.aborted: list[StreamingBody | None] = []

    def abort(self, only: StreamingBody | None = None) -> None:
        self.aborted.append(only)

    def watch(self, stream: StreamingBody) -> None:
        self.streams.append(stream)

    def unwatch(self, stream: StreamingBody) -> None:
        if stream in self.streams:
            self.streams.remove(stream)

    def unsent(self) -> int:
        return 0

    def has_all(self) -> bool:
        return False

    def taken(self) -> int:
        return self.bytes_taken


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def nothing() -> None:
    pass


def test_the_stream_suspended_longest_makes_room_for_a_new_one() -> None:
    clock = Clock()
    streaming = StreamingBodies(2, suspend_s=60, clock=clock)
    connections = [Pausable() for _ in range(4)]
    first, second = (streaming.admit(each, nothing, nothing) for each in connections[:2])

    def look(stream: StreamingBody) -> Verdict:
        verdict = stream.look(60, 1800)
        if verdict is Verdict.SUSPEND:
            stream.suspend()
        return verdict

    first.offered()  # its client takes this chunk for ever
    clock.now = 30
    second.offered()
    clock.now = 90
    assert [look(first), look(second)] == [Verdict.SUSPEND, Verdict.SUSPEND]
    assert streaming.suspended == 2
    clock.now = 119
    with pytest.raises(NoCapacity):
        streaming.admit(connections[2], nothing, nothing)
    clock.now = 155
    streaming.admit(connections[2], nothing, nothing)
    assert [connection.aborted for connection in connections] == [[first], [], [], []]
    second.handed()  # it reads on: no longer paused
    with pytest.raises(NoCapacity):
        streaming.admit(connections[3], nothing, nothing)
    assert streaming.refused == 2
    assert streaming.suspended == 0


def test_a_suspended_stream_whose_client_takes_something_is_not_cut_for_another() -> None:
    clock, connection = Clock(), Pausable()
    streaming = StreamingBodies(1, suspend_s=60, clock=clock)
    stream = streaming.admit(connection, nothing, nothing)
    stream.offered()
    clock.now = 60
    assert stream.look(60, 1800) is Verdict.SUSPEND
    stream.suspend()
    clock.now = 150
    connection.bytes_taken = 1
    stream.look(60, 1800)
    with pytest.raises(NoCapacity):
        streaming.admit(Pausable(), nothing, nothing)
    assert connection.aborted == []


def test_a_stream_that_waits_for_its_next_chunk_is_not_paused() -> None:
    clock = Clock()
    streaming = StreamingBodies(1, suspend_s=60, clock=clock)
    body = streaming.admit(Pausable(), nothing, nothing)
    body.offered()
    body.handed()
    clock.now = 1000
    assert body.look(60, 900) is Verdict.NOTHING
    with pytest.raises(NoCapacity):
        streaming.admit(Pausable(), nothing, nothing)


def test_a_client_that_takes_a_little_now_and_then_does_not_pause() -> None:
    clock, connection = Clock(), Pausable()
    stream = StreamingBodies(1, clock=clock).admit(connection, nothing, nothing)
    stream.offered()
    for _ in range(10):
        clock.now += 59
        connection.bytes_taken += 1
        assert stream.look(60, 100) is Verdict.NOTHING
    clock.now += 59
    assert stream.look(60, 100) is Verdict.NOTHING
    clock.now += 1
    assert stream.look(60, 100) is Verdict.SUSPEND


def test_each_pause_suspends_once_and_a_pause_without_end_is_abandoned() -> None:
    clock, connection = Clock(), Pausable()
    stream = StreamingBodies(1, clock=clock).admit(connection, nothing, nothing)
    for _ in range(2):
        stream.offered()
        verdicts = []
        for _ in range(10):
            clock.now += 20
            verdicts.append(stream.look(60, 1800))
            if verdicts[-1] is Verdict.SUSPEND:
                stream.suspend()
        assert verdicts.count(Verdict.SUSPEND) == 1
        stream.handed()
    stream.offered()
    clock.now += 1800
    assert stream.look(60, 1800) is Verdict.ABANDON
    stream.close()
    assert stream.look(60, 1800) is Verdict.NOTHING


def test_a_body_is_asked_for_nothing_while_it_is_being_suspended() -> None:
    entered, leave, handed = threading.Event(), threading.Event(), threading.Event()

    def suspend() -> None:
        entered.set()
        assert leave.wait(10)
        assert not handed.is_set()

    def go_on() -> None:
        stream.handed()
        handed.set()

    stream = StreamingBodies(1).admit(Pausable(), suspend, nothing)
    stream.offered()
    assert stream.look(0, 1800) is Verdict.SUSPEND
    with ThreadPoolExecutor(2) as threads:
        suspending = threads.submit(stream.suspend)
        assert entered.wait(10)
        threads.submit(go_on)
        leave.set()
        suspending.result(10)
        assert handed.wait(10)


def test_one_that_cannot_be_suspended_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def suspend() -> None:
        raise OSError("not now")

    stream = StreamingBodies(1).admit(Pausable(), suspend, nothing)
    stream.offered()
    assert stream.look(0, 1800) is Verdict.SUSPEND
    stream.suspend()
    stream.handed()
    assert "suspending a stream failed" in caplog.text


def test_a_program_that_stops_admits_no_stream() -> None:
    streaming = StreamingBodies(10)
    streaming.drain()
    with pytest.raises(NoCapacity, match="the gateway is stopping"):
        streaming.admit(None, None, nothing)


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
    assert running.wait(20)
    if how != "reset before the status":
        assert client.response().read(1_000_000)
    client.reset() if how.startswith("reset") else client.socket.close()
    gone.set()
    assert things[0].closed.wait(20)
    server.stop(5)
    assert streaming.active == 0
    assert log == ["stream"]


def test_stopping_wakes_a_stream_that_waits_for_more_and_is_no_error(
    servers: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.http.server._NOTICE_S", 20.0)
    running = threading.Event()

    def wait(thing: Thing, start_response: StartResponse) -> Iterator[Chunk]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"abc"
        running.set()
        thing.closed.wait(60)
        raise ValueError("what it reads from is closed")

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope = scope_of(environ)
        scope.stream()
        return wait(scope.own(Thing("film", [])), start_response)

    server = servers.serve(RequestScope(app, StreamingBodies(1)))
    client = servers.connect(server)
    client.get()
    assert running.wait(20)
    assert server.stop(0.1) is False
    assert server.serving == 0
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        client.response().read()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
