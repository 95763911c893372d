"""A client's connection and its requests: cheroot's, with what HTTP/1.1 asks and it leaves out."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from cheroot import server as cheroot

from gateway.http.body import Framing
from gateway.http.queues import unsent
from gateway.http.wire import Reader, Timeouts, Writer

if TYPE_CHECKING:
    from gateway.http.server import CherootServer

# An unread request body up to this size is read to its end, so that the connection can be kept.
_DISCARD = 1 << 20
_LINGER_S = 3.0
_SLASH = re.compile(b"%2F", re.IGNORECASE)  # stays as it is: no name holds a slash


class _Headers(cheroot.HeaderReader):
    """Drops names with an underscore: in environ X_Api_Key would pass for X-Api-Key.

    cheroot's own reader for this fails on every request (11.1.2: it looks for a str in bytes).
    """

    def _allow_header(self, key_name: bytes) -> bool:
        return b"_" not in key_name


class Request(cheroot.HTTPRequest):
    """One request: parsed under one deadline, its headers checked where cheroot does not."""

    conn: Connection
    header_reader = _Headers()

    def parse_request(self) -> None:
        self.conn.rfile.expect_head(self.conn.timeouts.head_s)
        super().parse_request()
        self.conn.rfile.expect_body(self.conn.timeouts.body_s)

    def read_request_line(self) -> bool:
        if not super().read_request_line():  # type: ignore[no-untyped-call]
            return False
        if self.method == b"OPTIONS":  # cheroot decodes the path of every method but this
            self.path = b"%2F".join(map(unquote_to_bytes, _SLASH.split(self.path)))
        return True

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        length = self.inheaders.get(b"Content-Length", b"0")
        if not length.isdigit():  # int() takes "+5", "-5" and "1_0"
            self.simple_response("400 Bad Request", "Content-Length must be a number")
            return False
        options = self.inheaders.get(b"Connection", b"").lower().split(b",")
        if b"close" in (option.strip() for option in options):
            self.close_connection = True
        return True


class Connection(cheroot.HTTPConnection):
    """One client's connection. `abort` may be called from any thread, the rest by its worker."""

    RequestHandlerClass = Request
    rfile: Reader
    wfile: Writer

    def __init__(self, server: CherootServer, sock: socket.socket, _makefile: object) -> None:
        self.timeouts: Timeouts = server.timeouts
        super().__init__(server, sock, self._half)
        self.has_been_readable = False
        self.has_unread_body = False
        self.cut_on_close = False
        self._on_abort: Callable[[], object] | None = None
        # Held wherever another thread than the worker touches the socket: once it is closed, its
        # number may be another connection's.
        self._socket_lock = threading.Lock()
        self._closed = False

    def _half(self, sock: socket.socket, mode: str, _size: int) -> Reader | Writer:
        return Reader(sock) if "r" in mode else Writer(sock, self.timeouts.send_s)

    def communicate(self) -> bool:
        if self.rfile.has_data() and self._was_reset():
            return False  # pipelined behind a request that the client has already given up
        self.wfile.timeout_s = self.timeouts.send_s
        self._on_abort = None
        return bool(super().communicate())  # type: ignore[no-untyped-call]

    def allow_pause(self) -> None:
        """Let the client take its time over each chunk of the response now running."""
        self.wfile.timeout_s = self.timeouts.pause_s

    def on_abort(self, call: Callable[[], object]) -> None:
        """Have *call* called by `abort`, if that comes while the response now running does."""
        self._on_abort = call

    def abort(self) -> None:
        """End the connection so that the client sees it was cut.

        What blocks on the socket wakes up; what waits for something else is woken by `on_abort`.
        """
        with self._socket_lock:
            if self._closed:
                return
            self.cut_on_close = True
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        if self._on_abort is not None:
            self._on_abort()

    def unsent(self) -> int:
        """Return how many bytes wait in the kernel for the client to take them. Never blocks.

        0 once the connection is closed, and where the system does not tell.
        """
        with self._socket_lock:
            return 0 if self._closed else unsent(self.socket)

    def close(self) -> None:
        cut = self.cut_on_close
        if cut:
            # No linger and no FIN: the client gets a reset, and cannot take the body for whole.
            with suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.has_unread_body:
            self._linger()
        with self._socket_lock:
            self._closed = True
            if cut:
                self.rfile.close()
            else:
                with suppress(OSError):
                    super().close()
            self.socket.close()

    def discard_body(self, body: Framing) -> bool:
        """Read what is left of a request's body; False: too much, the connection must close."""
        self.has_unread_body = not body.discard(_DISCARD)
        return not self.has_unread_body

    def _was_reset(self) -> bool:
        poll = select.poll()
        poll.register(self.socket, 0)  # errors and hang-ups are always reported
        return bool(poll.poll(0))

    def _linger(self) -> None:
        # Closing over unread bytes sends a reset, which can overtake the answer (RFC 9112, 9.6).
        deadline = time.monotonic() + _LINGER_S
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv(1 << 16):
                    break
