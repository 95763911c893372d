"""What the HTTP server promises to applications and clients, over real sockets."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse

import pytest
from werkzeug import Request

from gateway.errors import ArticleMissing, ConfigurationError, PermitTimeout
from gateway.http.scope import RequestScope, scope_of
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies
from gateway.http.wire import Timeouts
from gateway.http.wsgi import App, Chunk, Environ, plain


def test_an_answer_reaches_the_client_whole(servers: Any, answering: Any) -> None:
    client = servers.connect(servers.serve(answering(b"x" * 3_000_000)))
    client.get()
    response = client.response()
    assert response.status == 200
    assert response.read() == b"x" * 3_000_000
    assert response.getheader("Server") == "nzb-gateway"


@pytest.mark.parametrize(
    "chunk", [b"abcdef", memoryview(b"abcdef"), memoryview(bytearray(b"abcdef"))]
)
def test_a_body_may_come_in_any_bytes_like_chunks(servers: Any, chunk: Chunk) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response("200 OK", [("Content-Length", "12")])
        return [chunk, b"", chunk]

    client = servers.connect(servers.serve(app))
    client.get()
    assert client.response().read() == b"abcdefabcdef"


def test_a_body_of_unknown_length_is_sent_in_chunks(servers: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response("200 OK", [])
        return [b"one", memoryview(b"two")]

    client = servers.connect(servers.serve(app))
    client.get()
    response = client.response()
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert response.read() == b"onetwo"
    client.get()
    assert client.response().read() == b"onetwo"


def test_a_connection_serves_one_request_after_another(servers: Any, answering: Any) -> None:
    server = servers.serve(answering(b"again"))
    client = servers.connect(server)
    for _ in range(5):
        client.get()
        assert client.response().read() == b"again"
    assert server.threads <= 2


def test_a_head_has_no_body_on_the_wire(servers: Any) -> None:
    bodies = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response("200 OK", [("Content-Length", "6")])
        bodies.append(servers.track(iter([b"abc", b"def"])))
        return bodies[-1]  # type: ignore[no-any-return]

    client = servers.connect(servers.serve(app))
    client.get(method="HEAD")
    assert client.response("HEAD").getheader("Content-Length") == "6"
    client.get(method="HEAD")  # would read the first one's body as its status line
    assert client.response("HEAD").status == 200
    assert [body.closings for body in bodies] == [1, 1]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_content_has_none(servers: Any, status: str) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response(status, [("Content-Length", "0")])
        return [b""]

    client = servers.connect(servers.serve(app))
    client.get()
    response = client.response()
    assert (response.status, response.read()) == (int(status[:3]), b"")
    assert response.getheader("Content-Length") == ("0" if "304" in status else None)
    client.get()
    assert client.response().status == int(status[:3])


# -- whatever happens, the response is closed, and nothing half passes for whole


def raise_at_once(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    raise ValueError("the secret is 42")


def raise_before_the_status(environ: Environ, start_response: StartResponse) -> Iterator[Chunk]:
    if environ:
        raise ValueError("the secret is 42")
    yield b""


def raise_after_the_status(environ: Environ, start_response: StartResponse) -> Iterator[Chunk]:
    start_response("200 OK", [("Content-Length", "10")])
    if environ:
        raise ValueError("the secret is 42")
    yield b""


def say_nothing(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    return []


def exit_in_the_middle(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    raise SystemExit(1)


@pytest.mark.parametrize(
    "app",
    [
        raise_at_once,
        raise_before_the_status,
        raise_after_the_status,
        say_nothing,
        exit_in_the_middle,
    ],
)
def test_a_failure_before_the_first_byte_is_a_500_in_one_sentence(
    servers: Any, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    closed = threading.Event()

    def tracked(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        body = servers.track(iter(app(environ, start_response)))
        body.closed = closed
        return body  # type: ignore[no-any-return]

    server = servers.serve(tracked)
    for _ in range(3):  # the server outlives it
        client = servers.connect(server)
        client.get()
        response = client.response()
        text = response.read()
        assert response.status == 500
        assert text.count(b"\n") == 1
        assert b"42" not in text
        assert b"Traceback" not in text
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    if app not in {raise_at_once, exit_in_the_middle}:
        assert closed.wait(20)


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ArticleMissing("430 from all 3 providers"), 404, None),
        (PermitTimeout("no permit within 5 s: 0 of 20 free"), 503, "5"),
    ],
)
def test_an_error_known_by_name_is_told_by_its_own_status(
    servers: Any, error: Exception, status: int, retry: str | None
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        raise error

    client = servers.connect(servers.serve(app))
    client.get()
    response = client.response()
    assert response.status == status
    assert response.getheader("Retry-After") == retry
    assert response.read() == f"{error}\n".encode()


def short(start_response: StartResponse) -> Iterator[Chunk]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"only5"


def failing(start_response: StartResponse) -> Iterator[Chunk]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"only5"
    raise ArticleMissing("430 from all 3 providers")


def long(start_response: StartResponse) -> Iterator[Chunk]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"only5"
    yield b"sixsix"


def failing_in_chunks(start_response: StartResponse) -> Iterator[Chunk]:
    start_response("200 OK", [])
    yield b"only5"
    raise OSError("disk on fire")


@pytest.mark.parametrize("body", [short, failing, long, failing_in_chunks])
def test_a_body_that_is_not_what_was_declared_ends_in_a_cut_connection(
    servers: Any, body: Callable[[StartResponse], Iterator[Chunk]]
) -> None:
    bodies = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        bodies.append(servers.track(body(start_response)))
        return bodies[-1]  # type: ignore[no-any-return]

    client = servers.connect(servers.serve(app))
    client.get()
    # The reset may overtake what was sent before it.
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        client.response().read()
    assert bodies[0].closed.wait(20)
    assert bodies[0].closings == 1


def test_a_body_that_fails_is_no_whole_body_even_where_its_end_is_the_connections(
    servers: Any,
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[Chunk]:
        start_response("200 OK", [])
        yield b"only5"
        raise ArticleMissing("430 from all 3 providers")

    client = servers.connect(servers.serve(app))
    client.send("GET / HTTP/1.0")
    with pytest.raises(ConnectionResetError):
        client.everything()


def test_a_client_that_resets_before_the_first_chunk_leaves_nothing_open(servers: Any) -> None:
    running, gone = threading.Event(), threading.Event()
    bodies = []

    def chunks(start_response: StartResponse) -> Iterator[Chunk]:
        running.set()
        assert gone.wait(10)
        start_response("200 OK", [("Content-Length", "3")])
        yield b"abc"

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        bodies.append(servers.track(chunks(start_response)))
        return bodies[-1]  # type: ignore[no-any-return]

    client = servers.connect(servers.serve(app))
    client.get()
    assert running.wait(20)
    client.reset()
    gone.set()
    assert bodies[0].closed.wait(20)


def test_a_client_that_resets_before_an_empty_body_leaves_nothing_open(servers: Any) -> None:
    running, gone = threading.Event(), threading.Event()
    body = servers.track(iter(()))

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response("200 OK", [("Content-Length", "0")])
        running.set()
        assert gone.wait(10)
        return body  # type: ignore[no-any-return]

    client = servers.connect(servers.serve(app))
    client.get()
    assert running.wait(20)
    client.reset()
    gone.set()
    assert body.closed.wait(20)


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_a_client_that_leaves_in_mid_body_leaves_nothing_open(servers: Any, how: str) -> None:
    bodies = []

    def endless(start_response: StartResponse) -> Iterator[Chunk]:
        start_response("200 OK", [("Content-Length", str(1 << 40))])
        while True:
            yield b"x" * 262_144

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        bodies.append(servers.track(endless(start_response)))
        return bodies[-1]  # type: ignore[no-any-return]

    client = servers.connect(servers.serve(app))
    client.get()
    assert client.response().read(1_000_000)
    client.reset() if how == "reset" else client.socket.close()
    assert bodies[0].closed.wait(20)
    assert bodies[0].closings == 1


@pytest.mark.parametrize("when", ["while it runs", "once it is sent"])
def test_a_request_pipelined_behind_a_reset_one_is_not_run(servers: Any, when: str) -> None:
    seen: list[str] = []
    running, gone, done = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        running.set()
        assert gone.wait(10)

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            if when == "once it is sent":
                wait()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", "1")])
        if environ["PATH_INFO"] == "/last":
            done.set()
            return [b"x"]
        if when == "while it runs":
            wait()
        return Body()

    server = servers.serve(app, responses=1)
    client = servers.connect(server)
    client.socket.sendall(
        b"GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert running.wait(20)
    client.reset()
    gone.set()
    other = servers.connect(server)
    other.get("/last")  # behind the second, had it been run: there is one thread
    assert done.wait(20)
    assert seen == ["/first", "/last"]


def test_pipelined_requests_are_answered_in_order(servers: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        body = environ["PATH_INFO"].encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    client = servers.connect(servers.serve(app))
    client.socket.sendall(
        b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET /three HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n"
    )
    data = client.everything()
    assert 0 < data.index(b"/one") < data.index(b"/two") < data.index(b"/three")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PROPFIND"])
def test_a_path_is_decoded_whatever_the_method(servers: Any, method: str) -> None:
    seen = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        seen.append(environ["PATH_INFO"])
        start_response("204 No Content", [])
        return []

    client = servers.connect(servers.serve(app))
    client.get("/a%20b%2Fc/%C3%BC", method=method)
    assert client.response().status == 204
    assert seen == ["/a b%2Fc/" + "ü".encode().decode("latin-1")]


# -- time


def test_a_viewer_may_pause_longer_than_an_ordinary_answer_may_take(servers: Any) -> None:
    sent = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterator[Chunk]:
        scope_of(environ).stream()
        start_response("200 OK", [("Content-Length", str(64 << 20))])
        for _ in range(64):
            yield bytes(1 << 20)
        sent.set()

    timeouts = Timeouts(send_s=0.2, pause_s=30)
    server = servers.serve(RequestScope(app, StreamingBodies(1)), timeouts=timeouts)
    client = servers.connect(server, receive_buffer=65536)
    client.get()
    response = client.response()
    assert not sent.wait(1.0)  # five times send_s
    total = 0
    while piece := response.read(1 << 20):
        total += len(piece)
    assert total == 64 << 20


def test_a_client_that_does_not_take_an_ordinary_answer_is_cut(servers: Any) -> None:
    bodies = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response("200 OK", [("Content-Length", str(64 << 20))])
        bodies.append(servers.track(iter([bytes(64 << 20)])))
        return bodies[-1]  # type: ignore[no-any-return]

    server = servers.serve(app, timeouts=Timeouts(send_s=0.2))
    client = servers.connect(server, receive_buffer=65536)
    client.get()
    client.response()
    assert bodies[0].closed.wait(20)


def test_a_head_that_trickles_in_does_not_hold_a_thread(servers: Any, answering: Any) -> None:
    server = servers.serve(answering(b"x"), timeouts=Timeouts(head_s=0.3))
    client = servers.connect(server)
    client.socket.sendall(b"GET / HTTP/1.1\r\n")
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.05):
            try:
                client.socket.sendall(b"X-A: b\r\n")
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        assert client.response().status == 408
    finally:
        stop.set()
        thread.join()


def test_connections_that_say_nothing_hold_no_thread(servers: Any, answering: Any) -> None:
    server = servers.serve(answering(b"here"), responses=2)
    for _ in range(20):
        servers.connect(server)
    client = servers.connect(server)
    client.get()
    assert client.response().read() == b"here"


def test_an_idle_connection_is_closed_in_the_end(servers: Any, answering: Any) -> None:
    server = servers.serve(answering(b"here"), timeouts=Timeouts(idle_s=1))
    client = servers.connect(server)
    client.get()
    assert client.response().read() == b"here"
    assert client.socket.recv(1) == b""


def test_a_connection_tells_what_its_client_has_not_taken(servers: Any) -> None:
    connections: list[Any] = []
    sent = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterator[Chunk]:
        connections.append(environ["gateway.connection"])
        start_response("200 OK", [("Content-Length", str(64 << 20))])
        yield bytes(64 << 20)
        sent.set()

    server = servers.serve(app)
    client = servers.connect(server, receive_buffer=65536)
    client.get()
    response = client.response()
    assert len(response.read(1 << 20)) == 1 << 20
    assert connections[0].unsent() > 0
    assert len(response.read()) == 63 << 20
    assert sent.wait(20)
    while connections[0].unsent():  # until the last of it is acknowledged
        assert not client.socket.recv(0)
    server.stop(5)
    assert connections[0].unsent() == 0  # closed, and its number may be another's


# -- requests with bodies


def echo_length(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ignore(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    start_response("403 Forbidden", [("Content-Length", "0")])
    return []


def test_a_request_body_is_read_to_its_end_and_no_further(servers: Any) -> None:
    client = servers.connect(servers.serve(echo_length))
    for size in (0, 1, 100_000, 3_000_000):
        client.send("PUT / HTTP/1.1", "Host: a", f"Content-Length: {size}", body=bytes(size))
        assert client.response().read() == str(size).encode()


@pytest.mark.parametrize("app", [echo_length, ignore])
def test_a_chunked_request_body_leaves_the_connection_in_step(servers: Any, app: App) -> None:
    client = servers.connect(servers.serve(app))
    for _ in range(3):
        client.send(
            "PUT / HTTP/1.1",
            "Host: a",
            "Transfer-Encoding: chunked",
            body=b"5;x=y\r\nhello\r\n00a\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        )
        assert client.response().read() in {b"15", b""}


def test_a_form_that_comes_in_chunks_is_read_by_those_who_ask_for_its_length(servers: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        return plain(start_response, 200, Request(environ).form.get("mode", "no form"))

    client = servers.connect(servers.serve(app))
    client.send(
        "POST / HTTP/1.1",
        "Host: a",
        "Content-Type: application/x-www-form-urlencoded",
        "Transfer-Encoding: chunked",
        body=b"5\r\nmode=\r\n5\r\nqueue\r\n0\r\n\r\n",
    )
    assert client.response().read() == b"queue\n"


@pytest.mark.parametrize(
    "body", [b"zz\r\nhello", b"-5\r\n", b"5\r\nhelloworld\r\n", b"fffffffffffffffff\r\n"]
)
def test_chunks_that_are_none_end_the_connection(servers: Any, body: bytes) -> None:
    client = servers.connect(servers.serve(echo_length))
    client.send("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=body)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.everything() == b""


def test_an_upload_that_is_cut_short_is_an_error_and_not_a_short_upload(servers: Any) -> None:
    failed = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        try:
            environ["wsgi.input"].read()
        except ConnectionError:
            failed.set()
            raise
        raise AssertionError("the body passed for whole")

    client = servers.connect(servers.serve(app))
    client.send("PUT / HTTP/1.1", "Host: a", "Content-Length: 1000", body=b"x" * 10)
    client.socket.close()
    assert failed.wait(20)


def test_a_small_body_that_nobody_reads_keeps_the_connection_in_step(servers: Any) -> None:
    client = servers.connect(servers.serve(ignore))
    for _ in range(3):
        client.send("PUT / HTTP/1.1", "Host: a", "Content-Length: 50000", body=bytes(50_000))
        assert client.response().status == 403


def test_a_large_body_that_nobody_reads_does_not_cost_the_client_its_answer(servers: Any) -> None:
    client = servers.connect(servers.serve(ignore))
    client.send("PUT / HTTP/1.1", "Host: a", f"Content-Length: {30 << 20}")

    def upload() -> None:
        try:
            client.socket.sendall(bytes(30 << 20))
        except OSError:
            return

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        response = client.response()
        assert response.status == 403
        assert response.getheader("Connection") == "close"
    finally:
        client.socket.close()
        thread.join()


def test_a_client_that_is_still_sending_what_nobody_reads_is_not_reset(
    servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.http.connection._LINGER_S", 30.0)
    client = servers.connect(servers.serve(ignore))
    client.send("PUT / HTTP/1.1", "Host: a", f"Content-Length: {30 << 20}")
    assert client.response().status == 403
    for _ in range(10):
        client.socket.sendall(bytes(1 << 20))
    assert client.everything() == b""


@pytest.mark.parametrize("length", ["-5", "+5", "1_0", "five"])
def test_a_content_length_that_is_no_number_is_refused(servers: Any, length: str) -> None:
    client = servers.connect(servers.serve(echo_length))
    client.send("PUT / HTTP/1.1", "Host: a", f"Content-Length: {length}", body=b"xxxxx")
    assert client.response().status == 400


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_hyphen(servers: Any) -> None:
    seen: list[object] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        seen.append(environ.get("HTTP_X_API_KEY"))
        start_response("204 No Content", [])
        return []

    client = servers.connect(servers.serve(app))
    client.get("/", "X_Api_Key: forged")
    client.response()
    assert seen == [None]


def test_a_header_cannot_be_split(servers: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        start_response("200 OK", [("X-Name", "a\r\nSet-Cookie: b"), ("Content-Length", "0")])
        return []

    client = servers.connect(servers.serve(app))
    client.get()
    response = client.response()
    assert response.status == 500
    assert response.getheader("Set-Cookie") is None


def test_an_application_sees_its_clients_socket(servers: Any) -> None:
    peers = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        peers.append(environ["gateway.socket"].getpeername())
        start_response("204 No Content", [])
        return []

    client = servers.connect(servers.serve(app))
    client.get()
    client.response()
    assert peers == [client.socket.getsockname()]


# -- beginning and end


def test_a_port_that_is_taken_is_told_in_one_line(servers: Any, answering: Any) -> None:
    taken = servers.serve(answering(b""))
    second = Server(answering(b""), "127.0.0.1", taken.port)
    with pytest.raises(ConfigurationError) as failure:
        second.start()
    assert str(failure.value) == (
        f"cannot listen on 127.0.0.1:{taken.port}: another program does; "
        "set GATEWAY_PORT to a free port"
    )


def test_an_address_of_another_machine_is_told_in_one_line(answering: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0: .*GATEWAY_HOST"
    ):
        Server(answering(b""), "192.0.2.1", 0).start()


def test_threads_are_made_when_they_are_needed(servers: Any) -> None:
    together = threading.Barrier(4, timeout=10)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        together.wait()
        start_response("204 No Content", [])
        return []

    server = servers.serve(app, responses=100)
    assert server.threads == 0
    clients = [servers.connect(server) for _ in range(4)]
    for client in clients:
        client.get()
    for client in clients:
        assert client.response().status == 204
    assert server.threads == 4


def test_stopping_lets_a_running_response_finish(servers: Any) -> None:
    running, go = threading.Event(), threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterator[Chunk]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"abc"
        running.set()
        assert go.wait(10)
        yield b"def"

    server = servers.serve(app)
    client = servers.connect(server)
    client.get()
    assert running.wait(20)
    result: list[bool] = []
    stopping = threading.Thread(target=lambda: result.append(server.stop(10)))
    stopping.start()
    with pytest.raises(OSError):  # noqa: PT012 - until the listening socket is closed
        while True:
            servers.connect(server).socket.close()
    go.set()
    assert client.response().read() == b"abcdef"
    stopping.join()
    assert result == [True]


def test_stopping_cuts_what_does_not_finish(servers: Any) -> None:
    bodies = []

    def endless(start_response: StartResponse) -> Iterator[Chunk]:
        start_response("200 OK", [("Content-Length", str(1 << 40))])
        while True:
            yield bytes(1 << 20)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        bodies.append(servers.track(endless(start_response)))
        return bodies[-1]  # type: ignore[no-any-return]

    server = servers.serve(app)
    client = servers.connect(server, receive_buffer=65536)  # and reads nothing: it is paused
    client.get()
    client.response()
    assert server.stop(0.2) is False
    assert bodies[0].closed.wait(20)
    assert client.is_reset_within(10)  # before it reads on
    assert server.serving == 0
    with pytest.raises(ConnectionResetError):
        client.everything()


def test_stopping_does_not_wait_for_a_thread_that_notices_nothing(
    servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.http.server._NOTICE_S", 0.2)
    release = threading.Event()
    running = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        running.set()
        release.wait(60)
        return []

    server = servers.serve(app)
    client = servers.connect(server)
    client.get()
    assert running.wait(20)
    stopped = threading.Thread(target=server.stop, args=(0.0,))
    stopped.start()
    stopped.join(10)
    assert not stopped.is_alive()
    release.set()


def test_stopping_twice_is_stopping_once(servers: Any, answering: Any) -> None:
    server = servers.serve(answering(b""))
    assert server.stop() is True
    assert server.stop() is True
