"""The two halves of a client's connection: bytes in, bytes out, each under its own time-outs.

cheroot has one time-out for everything and writes through a buffer of pure Python. Here the head of
a request has one deadline (a byte now and then does not hold a worker), its body and each
send a time-out of their own, and what is sent goes straight to the socket.
"""

from __future__ import annotations

import errno
import io
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a client may take, in seconds."""

    head_s: float = 20.0  # for request line and headers together
    body_s: float = 60.0  # between two pieces of a request's body
    idle_s: float = 75.0  # between two requests; rclone and browsers keep a connection that long
    send_s: float = 60.0  # to take one chunk of an ordinary answer
    suspend_s: float = 60.0  # without taking anything of a stream, until that is suspended
    pause_s: float = 1800.0  # without taking anything of a stream, until it is cut


# In place of no time-out at all: a send without one returns when the kernel has all of a chunk, and
# until then nobody can tell how much of it the client has taken.
_LONG_S = 3600.0


class ClientGone(ConnectionAbortedError):
    """The client ended the connection, or this side did; nobody is left to be told anything.

    Its errno is among those that cheroot takes for the end of a connection, not for a fault.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ECONNABORTED, reason)


class _Receiver(io.RawIOBase):
    """The raw side of a `Reader`. Does not own the socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        self.timeout_s = 0.0
        self.deadline: float | None = None
        self.hold = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if self.hold:
            return None
        timeout_s = self.timeout_s
        if self.deadline is not None:
            timeout_s = self.deadline - time.monotonic()
            if timeout_s <= 0:
                raise TimeoutError("timed out")  # the words that cheroot answers with 408
        self.sock.settimeout(timeout_s)
        return self.sock.recv_into(buffer)


class Reader(io.BufferedReader):
    """What the client sends."""

    bytes_read = 0  # cheroot's statistics want it

    def __init__(self, sock: socket.socket, size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._receiver = _Receiver(sock)
        super().__init__(self._receiver, size)

    def expect_head(self, within_s: float) -> None:
        """Let everything read from now on arrive within *within_s* seconds in all."""
        self._receiver.deadline = time.monotonic() + within_s

    def expect_body(self, timeout_s: float) -> None:
        """Let every piece read from now on arrive within *timeout_s* seconds."""
        self._receiver.deadline = None
        self._receiver.timeout_s = timeout_s

    def has_data(self) -> bool:
        """Say whether something lies in the buffer; the socket is not touched."""
        self._receiver.hold = True
        try:
            return bool(self.peek(1))
        finally:
            self._receiver.hold = False


class Writer:
    """What is sent to the client. *timeout_s* is for each `write` as a whole; None: no limit.

    `bytes_written` is what the kernel has taken of it, also while a `write` waits for more room.
    """

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._sock = sock
        self.timeout_s: float | None = timeout_s
        self.bytes_written = 0

    def write(self, data: ReadableBuffer) -> int:
        """Send all of *data*. Raises ClientGone."""
        view = memoryview(data)
        left = size = view.nbytes
        timeout_s = self.timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            self._sock.settimeout(_LONG_S if timeout_s is None else timeout_s)
            while True:
                try:
                    sent = self._sock.send(view)
                except TimeoutError:
                    if deadline is None:
                        continue
                    raise
                self.bytes_written += sent
                left -= sent
                if not left:
                    return size
                view = view[sent:]
                if deadline is not None:
                    if (timeout_s := deadline - time.monotonic()) <= 0:
                        raise TimeoutError("timed out")
                    self._sock.settimeout(timeout_s)
        except OSError as exc:
            raise ClientGone(f"sending ended: {exc}") from exc
