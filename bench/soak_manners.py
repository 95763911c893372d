"""How viewers behave: probers, seekers, pausers, aborters, slow readers. Over sockets of their own.

Every byte that comes is held against what the file holds there; what ends early is no fault as
long as it does not look whole.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_PIECE = 64 << 10
_PATIENCE_S = 30.0
_RANGE = re.compile(rb"\r\ncontent-range: bytes (\d+)-(\d+)/(\d+)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Wrong(Exception):
    """The gateway answered what it must not answer."""


class Refused(Exception):
    """The gateway refused this request: *status*, and the sentence that it gave."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Film:
    """A file behind the gateway: where it is, and what it holds."""

    path: str
    size: int
    read: Callable[[int, int], bytes]
    """Takes an offset and a length."""


class Reading:
    """One request of one viewer: open-ended from *start*, unless *stop* is given."""

    def __init__(
        self, port: int, film: Film, agent: str, start: int = 0, stop: int | None = None
    ) -> None:
        """Send the request. Raises OSError."""
        self.film, self.at, self._stop = film, start, film.size if stop is None else stop
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        # A small window, so that what a viewer has not read is not with it either.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
        wanted = f"{start}-{'' if stop is None else stop - 1}"
        self._socket.sendall(
            f"GET {film.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {agent}\r\n"
            f"Range: bytes={wanted}\r\n\r\n".encode()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def head(self) -> None:
        """Read the answer's head. Raises Refused, Wrong, OSError."""
        while b"\r\n\r\n" not in self._buffer:
            got = self._socket.recv(_PIECE)
            if not got:
                raise ConnectionResetError("closed before the head of the answer")
            self._buffer += got
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        head += b"\r\n"
        status = int(head.split(None, 2)[1])
        if status != 206:
            raise Refused(status, self._sentence(head))
        found = _RANGE.search(head)
        if found is None or int(found[1]) != self.at or int(found[2]) + 1 != self._stop:
            raise Wrong(f"asked for {self.at}-{self._stop - 1}, was answered {head!r}")

    def read(self, size: int) -> int:
        """Read *size* bytes, or to the end; return how many. Raises Wrong, OSError."""
        size = left = min(size, self._stop - self.at)
        while left:
            got, self._buffer = self._buffer[:left], self._buffer[left:]
            if not got:
                got = self._socket.recv(min(left, _PIECE))
            if not got:
                raise ConnectionResetError(f"ended at {self.at} of {self._stop}")
            if got != self.film.read(self.at, len(got)):
                raise Wrong(f"wrong bytes at {self.at} of {self.film.path}")
            self.at += len(got)
            left -= len(got)
        return size

    def reset(self) -> None:
        """Leave without a word: the gateway gets a reset."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Leave with a FIN. May be called again."""
        self._socket.close()

    def _sentence(self, head: bytes) -> str:
        length = _LENGTH.search(head)
        wanted = int(length[1]) if length else 0
        while len(self._buffer) < wanted and (got := self._socket.recv(_PIECE)):
            self._buffer += got
        return self._buffer.decode(errors="replace").strip()


@dataclass
class Viewer:
    """One viewer, known to the gateway by *agent*; *stopping* ends what takes long."""

    port: int
    film: Film
    agent: str
    random: random.Random
    suspend_s: float
    stopping: threading.Event = field(repr=False)

    def probe(self) -> None:
        """Do as ffprobe does: the head, then the tail beside it, then again near the beginning."""
        with self._open() as first:
            first.head()
            first.read(self._size(32 << 10, 2 << 20))
            with self._open(self.film.size - 983) as tail:
                tail.head()
                tail.read(983)
            first.reset()
            with self._open(5724) as again:
                again.head()
                again.read(self._size(4 << 10, 256 << 10))
                self._wait(0.05)
                again.reset()

    def seek(self) -> None:
        """Jump about: every range is opened before the one before it is closed."""
        now = self._open()
        try:
            now.head()
            for _ in range(self.random.randint(2, 6)):
                now.read(self._size(64 << 10, 4 << 20))
                later = self._open(self.random.randrange(self.film.size - 1))
                self._leave(now)
                now = later
                now.head()
            now.read(self._size(64 << 10, 4 << 20))
        finally:
            self._leave(now)

    def pause(self) -> None:
        """Watch, rest for longer than a stream keeps its place, and watch on."""
        with self._open() as reading:
            reading.head()
            reading.read(self._size(256 << 10, 2 << 20))
            self._wait(self.suspend_s * self.random.uniform(0.5, 2.5))
            # More than the buffers between hold.
            reading.read(self._size(8 << 20, 16 << 20))
            self._leave(reading)

    def abort(self) -> None:
        """Leave in every way: before the head, after it, in mid-body; by reset and by FIN."""
        for _ in range(self.random.randint(1, 5)):
            reading = self._open(self.random.randrange(self.film.size - 1))
            try:
                if self.random.random() < 0.6:
                    reading.head()
                    reading.read(self._size(0, 1 << 20))
                else:
                    self._wait(self.random.uniform(0, 0.3))
            finally:
                self._leave(reading)

    def read_slowly(self) -> None:
        """Take a little at a time, for longer than a stream keeps its place without progress."""
        with self._open() as reading:
            reading.head()
            for _ in range(self.random.randint(20, 60)):
                reading.read(256 << 10)
                self._wait(0.2)
            self._leave(reading)

    def watch(self) -> None:
        """Read a part of the film to its end, at once."""
        stop = self.film.size - self.random.randrange(self.film.size // 2)
        with self._open(max(0, stop - self._size(1 << 20, 48 << 20)), stop) as reading:
            reading.head()
            reading.read(stop - reading.at)

    def _open(self, start: int = 0, stop: int | None = None) -> Reading:
        return Reading(self.port, self.film, self.agent, start, stop)

    def _leave(self, reading: Reading) -> None:
        if self.random.random() < 0.5:
            reading.reset()
        reading.close()

    def _size(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def _wait(self, seconds: float) -> None:
        self.stopping.wait(seconds)


MANNERS: tuple[Callable[[Viewer], None], ...] = (
    Viewer.probe,
    Viewer.seek,
    Viewer.pause,
    Viewer.abort,
    Viewer.read_slowly,
    Viewer.watch,
)
