"""Responses that stream: how many at once, and how far each one's viewer has come.

A streaming response keeps its thread until its viewer has had enough. All threads but a few
may do that; one more is refused at once, after the stream that has been suspended longest, if
any is for long, has been cut to make room.

    MAKING ⇄ OFFERED → SUSPENDING → SUSPENDED → MAKING       and from each of them → ENDED
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from gateway.errors import NoCapacity

logger = logging.getLogger(__name__)

# Threads that no stream may take: for PROPFIND, the API and /healthz.
SPARE_THREADS = 16


class ClientConnection(Protocol):
    """What a response may do to its client's connection (`gateway.connection` in environ)."""

    def abort(self, only: StreamingBody | None = None) -> None:
        """End the connection so that the client sees it was cut. From any thread, never blocks.

        What the stream on it owns is closed before this returns. *only*: do nothing if that is
        not the response now running.
        """

    def watch(self, stream: StreamingBody) -> None:
        """Take *stream* for the response now running: its client may pause, and is watched."""

    def unwatch(self, stream: StreamingBody) -> None:
        """Watch over *stream* no more: it ends. Any number of times."""

    def unsent(self) -> int:
        """Return how many bytes wait in the kernel for the client to take them. Never blocks."""

    def taken(self) -> int:
        """Return how many bytes the client has taken so far, or a few less. Never blocks."""

    def has_all(self) -> bool:
        """Say whether the client has taken the whole response. Never blocks."""


class Pace(enum.Enum):
    """Where a streaming response stands."""

    MAKING = enum.auto()  # it makes the next chunk; what the client has not taken is on its way
    OFFERED = enum.auto()  # a chunk is handed out, and its thread waits for the client to take it
    SUSPENDING = enum.auto()  # its client takes nothing: what it does not need is being given back
    SUSPENDED = enum.auto()  # that has been done; it goes on when the client has taken the chunk
    ENDED = enum.auto()


class Verdict(enum.Enum):
    """What is to be done about a stream."""

    NOTHING = enum.auto()
    SUSPEND = enum.auto()  # call `suspend`, now that it is SUSPENDING
    ABANDON = enum.auto()  # cut it


class StreamingBody:
    """One response that streams. `close` gives its place back, any number of times.

    Its worker calls `offered` and `handed`, the watchdog `look` and `suspend`.
    """

    def __init__(
        self,
        bodies: StreamingBodies,
        connection: ClientConnection | None,
        suspend: Callable[[], object] | None,
        end: Callable[[], object],
    ) -> None:
        self.connection = connection
        self._bodies = bodies
        self._suspend = suspend
        self._end: Callable[[], object] | None = end
        # Re-entrant, as all locks that `close` takes: the collector may call it anywhere.
        self._changed = threading.Condition(threading.RLock())
        self._pace = Pace.MAKING
        self._taken = 0
        self._progress_at = bodies.clock()

    @property
    def pace(self) -> Pace:
        return self._pace

    def offered(self) -> None:
        """A chunk has been handed out for the client to take."""
        with self._changed:
            if self._pace is Pace.MAKING:
                self._pace, self._progress_at = Pace.OFFERED, self._bodies.clock()

    def handed(self) -> None:
        """The chunk has left: the next one is being made. Waits for a `suspend` that is at it."""
        with self._changed:
            while self._pace is Pace.SUSPENDING:
                self._changed.wait()
            if self._pace is not Pace.ENDED:
                self._pace, self._progress_at = Pace.MAKING, self._bodies.clock()

    def look(self, suspend_s: float, abandon_s: float) -> Verdict:
        """Decide what is to be done about a client that may have paused.

        Progress is a chunk that left, and whatever the client's system has taken of one: a slow
        reader of a large chunk does not pause. To be called several times in *suspend_s*.
        """
        taken = self.connection.taken() if self.connection is not None else 0
        with self._changed:
            now = self._bodies.clock()
            if taken > self._taken:
                self._taken, self._progress_at = taken, now
            if self._pace not in {Pace.OFFERED, Pace.SUSPENDED}:
                return Verdict.NOTHING
            idle_s = now - self._progress_at
            if idle_s >= abandon_s:
                return Verdict.ABANDON
            if self._pace is Pace.SUSPENDED or idle_s < suspend_s:
                return Verdict.NOTHING
            self._pace = Pace.SUSPENDING
            return Verdict.SUSPEND

    def suspend(self) -> None:
        """Have the response give back what it does not need while its client pauses.

        To be called once after each Verdict.SUSPEND; the body is asked for nothing meanwhile.
        """
        suspend = self._suspend
        try:
            if suspend is not None:
                suspend()
        except Exception:
            logger.exception("suspending a stream failed")
        finally:
            with self._changed:
                if self._pace is Pace.SUSPENDING:
                    self._pace = Pace.SUSPENDED
                self._changed.notify_all()

    def abort(self) -> None:
        """Cut the client's connection, if this response still runs on it. From any thread."""
        if self.connection is not None:
            self.connection.abort(self)

    def end(self) -> None:
        """Close what the response owns, this among it. From any thread."""
        if (end := self._end) is not None:
            end()

    def close(self) -> None:
        with self._changed:
            self._pace = Pace.ENDED
            self._changed.notify_all()
        # Both lead to what the response owned: not to wait for the collector with an article.
        self._suspend = self._end = None
        if self.connection is not None:
            self.connection.unwatch(self)
        self._bodies.discard(self)

    def suspended_since(self) -> float | None:
        """Return when the client took something last, if it is suspended, by the clock."""
        with self._changed:
            return self._progress_at if self._pace is Pace.SUSPENDED else None


class StreamingBodies:
    """Admits at most *limit* streaming responses.

    *suspend_s*: a stream that has been suspended for so long may be cut for another; it was
    suspended because its client took nothing for so long.
    """

    # Invariant, true whenever the lock is free: len(_active) <= limit.

    def __init__(
        self, limit: int, *, suspend_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.refused = 0
        self.clock = clock
        self._suspend_s = suspend_s
        self._lock = threading.RLock()
        self._active: set[StreamingBody] = set()
        self._draining = False

    @classmethod
    def beside(cls, responses: int, *, suspend_s: float = 60.0) -> StreamingBodies:
        """Return what *responses* threads allow, leaving some for short answers."""
        return cls(max(responses - SPARE_THREADS, responses // 2, 1), suspend_s=suspend_s)

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def suspended(self) -> int:
        """How many of them are suspended."""
        with self._lock:
            return sum(body.pace is Pace.SUSPENDED for body in self._active)

    def drain(self) -> None:
        """Admit no more: the program is about to stop."""
        self._draining = True

    def admit(
        self,
        connection: ClientConnection | None,
        suspend: Callable[[], object] | None,
        end: Callable[[], object],
    ) -> StreamingBody:
        """Return a place for one more stream. Never blocks. Raises NoCapacity.

        *suspend* and *end* are for `StreamingBody`.
        """
        body = StreamingBody(self, connection, suspend, end)
        with self._lock:
            paused = None
            if not self._draining and len(self._active) >= self.limit:
                paused = self._longest_suspended()
            if paused is not None:
                # Its place is free now; its thread, one of the spare ones for a moment, leaves.
                self._active.discard(paused)
            if self._draining or len(self._active) >= self.limit:
                self.refused += 1
                if self._draining:
                    raise NoCapacity("no new stream: the gateway is stopping")
                raise NoCapacity(f"{len(self._active)} of {self.limit} streams are running")
            self._active.add(body)
        if paused is not None:
            paused.abort()
        return body

    def discard(self, body: StreamingBody) -> None:
        with self._lock:
            self._active.discard(body)

    def _longest_suspended(self) -> StreamingBody | None:
        # It took nothing for suspend_s, was suspended then, and has taken nothing since.
        before = self.clock() - 2 * self._suspend_s
        suspended = [
            (since, body)
            for body in self._active
            if (since := body.suspended_since()) is not None and since <= before
        ]
        return min(suspended, key=lambda entry: entry[0])[1] if suspended else None
