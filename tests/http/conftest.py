"""A server on 127.0.0.1 for any application, and clients that behave badly on purpose."""

from __future__ import annotations

import http.client
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.http.server import Server
from gateway.http.wsgi import App, Chunk


@dataclass
class Client:
    """A raw connection to the server."""

    socket: socket.socket

    def send(self, *lines: str, body: bytes = b"") -> None:
        """Send a request's head, given as lines, and *body*."""
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def get(self, path: str = "/", *headers: str, method: str = "GET") -> None:
        self.send(f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers)

    def response(self, method: str = "GET") -> http.client.HTTPResponse:
        """Read the head of a response; the caller reads its body."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return response

    def reset(self) -> None:
        """End the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_reset_within(self, timeout_s: float) -> bool:
        """Wait for the server's RST, without reading anything."""
        poll = select.poll()
        poll.register(self.socket, 0)  # errors and hang-ups are always reported
        return any(event & select.POLLERR for _, event in poll.poll(1000 * timeout_s))

    def everything(self) -> bytes:
        """Read until the server ends the connection in an orderly way."""
        data = bytearray()
        while piece := self.socket.recv(65536):
            data += piece
        return bytes(data)


class Tracked:
    """A response's body that remembers whether, and how often, it was closed."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self.closed = threading.Event()
        self.closings = 0

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks

    def close(self) -> None:
        self.closings += 1
        self.closed.set()


@dataclass
class Servers:
    """Starts servers and opens connections; all end with the test."""

    stack: ExitStack = field(default_factory=ExitStack)

    def serve(self, app: App, **settings: Any) -> Server:
        server = Server(app, "127.0.0.1", 0, **settings)
        server.start()
        self.stack.callback(server.stop, 0.0)
        return server

    def connect(self, server: Server, *, receive_buffer: int = 0) -> Client:
        sock = socket.socket()
        self.stack.callback(sock.close)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", server.port))
        return Client(sock)

    def track(self, chunks: Iterator[Chunk]) -> Tracked:
        return Tracked(chunks)


@pytest.fixture
def servers() -> Iterator[Servers]:
    running = Servers()
    with running.stack:
        yield running


@pytest.fixture
def answering() -> Callable[[bytes], App]:
    """Return a maker of applications that answer every request with the same body."""

    def make(body: bytes) -> App:
        def app(environ, start_response):  # type: ignore[no-untyped-def]
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]

        return app

    return make
