"""How many responses may stream at once, so that others are always answered.

A streaming response keeps its thread until its viewer has had enough. All threads but a few
may do that; one more is refused at once, after the stream whose viewer has been paused longest,
if any is paused for long, has been cut to make room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from gateway.errors import NoCapacity

# Threads that no stream may take: for PROPFIND, the API and /healthz.
SPARE_THREADS = 16


class ClientConnection(Protocol):
    """What a response may do to its client's connection (`gateway.connection` in environ)."""

    def abort(self) -> None: ...

    def allow_pause(self) -> None: ...

    def on_abort(self, call: Callable[[], object]) -> None: ...

    def unsent(self) -> int:
        """Return how many bytes wait in the kernel for the client to take them. Never blocks."""


class StreamingBody:
    """One response that streams. `close` gives its place back, any number of times."""

    def __init__(
        self,
        bodies: StreamingBodies,
        connection: ClientConnection | None,
        suspend: Callable[[], object] | None,
    ) -> None:
        self._bodies = bodies
        self.connection = connection
        self.suspend = suspend
        self.offered_at: float | None = None

    def offered(self) -> None:
        """A chunk has been handed out for the client to take."""
        self.offered_at = self._bodies.clock()

    def taken(self) -> None:
        """The client has taken it: the next one is being made."""
        self.offered_at = None

    def close(self) -> None:
        self._bodies.discard(self)


class StreamingBodies:
    """Admits at most *limit* streaming responses.

    *suspend_s*: a stream whose client has taken nothing for so long may be cut for another.
    """

    # Invariant, true whenever the lock is free: len(_active) <= limit.

    def __init__(
        self, limit: int, *, suspend_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.clock = clock
        self._suspend_s = suspend_s
        self._lock = threading.Lock()
        self._active: set[StreamingBody] = set()

    @classmethod
    def beside(cls, responses: int, *, suspend_s: float = 60.0) -> StreamingBodies:
        """Return what *responses* threads allow, leaving some for short answers."""
        return cls(max(responses - SPARE_THREADS, responses // 2, 1), suspend_s=suspend_s)

    @property
    def active(self) -> int:
        return len(self._active)

    def admit(
        self,
        connection: ClientConnection | None,
        suspend: Callable[[], object] | None = None,
    ) -> StreamingBody:
        """Return a place for one more stream. Never blocks. Raises NoCapacity."""
        body = StreamingBody(self, connection, suspend)
        with self._lock:
            paused = self._longest_paused() if len(self._active) >= self.limit else None
            if paused is not None:
                # Its place is free now; its thread, one of the spare ones for a moment, leaves.
                self._active.discard(paused)
            if len(self._active) >= self.limit:
                raise NoCapacity(f"{len(self._active)} of {self.limit} streams are running")
            self._active.add(body)
        if paused is not None and paused.connection is not None:
            paused.connection.abort()
        return body

    def discard(self, body: StreamingBody) -> None:
        with self._lock:
            self._active.discard(body)

    def _longest_paused(self) -> StreamingBody | None:
        since = self.clock() - self._suspend_s
        paused = [
            (body.offered_at, body)
            for body in self._active
            if body.connection is not None
            and body.offered_at is not None
            and body.offered_at <= since
        ]
        return min(paused, key=lambda entry: entry[0])[1] if paused else None
