"""A client's connection and its requests: cheroot's, with what HTTP/1.1 asks and it leaves out."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from cheroot import server as cheroot

from gateway.http.body import Framing
from gateway.http.queues import unsent
from gateway.http.streaming import StreamingBody
from gateway.http.wire import Reader, Timeouts, Writer

if TYPE_CHECKING:
    from gateway.http.server import CherootServer

# An unread request body up to this size is read to its end, so that the connection can be kept.
_DISCARD = 1 << 20
_LINGER_S = 3.0
# How long the client's machine may take nothing of what lies before a failure, and take it in all.
_TAKING_S, _TAKEN_S, _LOOK_S = 5.0, 10.0, 0.01
# Each proxy of a chain may write a line of its own, and together they are one list (RFC 9110, 5.3);
# of lines that it does not know for a list, cheroot keeps the last.
_LISTS: list[bytes] = cheroot.comma_separated_headers  # type: ignore[attr-defined]
if b"X-Forwarded-For" not in _LISTS:
    _LISTS.append(b"X-Forwarded-For")
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
    """One client's connection, as `ClientConnection` describes it.

    What touches the socket from other threads than its worker's does so under the lock: once it is
    closed, its number may be another connection's.
    """

    RequestHandlerClass = Request
    server: CherootServer
    rfile: Reader
    wfile: Writer

    def __init__(self, server: CherootServer, sock: socket.socket, _makefile: object) -> None:
        self.timeouts: Timeouts = server.timeouts
        super().__init__(server, sock, self._half)
        self.has_been_readable = False
        self.has_unread_body = False
        self.cut_on_close = False
        self.is_sending_the_end = False
        self._stream: StreamingBody | None = None  # the response now running, if it streams
        self._socket_lock = threading.RLock()  # the collector may end a stream anywhere
        self._closed = False

    def _half(self, sock: socket.socket, mode: str, _size: int) -> Reader | Writer:
        return Reader(sock) if "r" in mode else Writer(sock, self.timeouts.send_s)

    def communicate(self) -> bool:
        if self.rfile.has_data() and self._was_reset():
            return False  # pipelined behind a request that the client has already given up
        self.wfile.timeout_s = self.timeouts.send_s
        self.is_sending_the_end = False
        return bool(super().communicate())  # type: ignore[no-untyped-call]

    def watch(self, stream: StreamingBody) -> None:
        self.wfile.timeout_s = None  # for as long as the watchdog allows
        with self._socket_lock:
            self._stream = stream
        self.server.watchdog.watch(stream, self.socket, pipelined=self.rfile.has_data())

    def unwatch(self, stream: StreamingBody) -> None:
        self.server.watchdog.unwatch(stream, self.socket)
        with self._socket_lock:
            if self._stream is stream:
                self._stream = None

    def abort(self, only: StreamingBody | None = None) -> None:
        with self._socket_lock:
            stream = self._stream
            if self._closed or (only is not None and only is not stream):
                return
            self.cut_on_close = True
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # what blocks on it wakes up
        if stream is not None:
            stream.end()  # and what waits for something that it owns

    def unsent(self) -> int:
        with self._socket_lock:
            return 0 if self._closed else unsent(self.socket)

    def taken(self) -> int:
        # In this order: what is written between the two makes it less, never more.
        written = self.wfile.bytes_written
        return written - self.unsent()

    def await_taken(self) -> None:
        """Wait until the client's machine has all that was sent, while it goes on taking it.

        A reset would have what is still on its way dropped: bytes before a hole in a film, say.
        """
        began = moved = time.monotonic()
        left = self.unsent()
        while left and not self.cut_on_close:
            time.sleep(_LOOK_S)
            now, before, left = time.monotonic(), left, self.unsent()
            if left < before:
                moved = now
            if now - moved > _TAKING_S or now - began > _TAKEN_S:
                return

    def has_all(self) -> bool:
        return self.is_sending_the_end and not self.unsent()

    def close(self) -> None:
        if self._stream is not None:  # its scope has ended by now; a watch must not outlive it
            self.unwatch(self._stream)
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
