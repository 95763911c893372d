"""The threads that serve connections: made when first needed, never joined without bound.

cheroot's own pool makes all its threads at the start, polling for each with a sleep, and joins
them without bound when it stops.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from gateway.http.connection import Connection

logger = logging.getLogger(__name__)


class Workers:
    """Serves the connections that are put to it, at most *limit* at a time; others queue.

    *keep* takes back a connection that its client may use again.
    """

    # Invariant, true whenever the lock is free: a thread exists for every connection put and
    # not yet served, or *limit* threads exist.

    def __init__(self, limit: int, keep: Callable[[Connection], None]) -> None:
        self._limit = limit
        self._keep = keep
        self._queue: queue.SimpleQueue[Connection | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._load = 0  # connections queued or being served
        self._serving: set[Connection] = set()

    @property
    def serving(self) -> int:
        """How many connections are being served at this moment."""
        return len(self._serving)

    @property
    def threads(self) -> int:
        """How many threads have been made so far."""
        return len(self._threads)

    def start(self) -> None:
        """Nothing: threads are made when connections come. cheroot asks its pool for this."""

    def put(self, connection: Connection) -> None:
        """Have *connection* served. Never blocks."""
        with self._changed:
            self._load += 1
            if self._load > len(self._threads) and len(self._threads) < self._limit:
                # Daemons: one that hangs in a provider's reply must not keep the program alive.
                thread = threading.Thread(
                    target=self._work, name=f"http-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._queue.put(connection)

    def wait_until_idle(self, deadline: float) -> bool:
        """Wait until nothing is queued or served, at most until *deadline* (monotonic)."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._load, timeout=max(0.0, deadline - time.monotonic())
            )

    def abort_all(self) -> int:
        """Abort every connection that is being served; return how many there were."""
        with self._changed:
            running = list(self._serving)
        for connection in running:
            connection.abort()
        return len(running)

    def dismiss(self, deadline: float) -> None:
        """Let the threads end, those that are busy after their response; wait until *deadline*."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (connection := self._queue.get()) is not None:
            with self._changed:
                self._serving.add(connection)
            keep = self._serve(connection)
            with self._changed:
                # Before it is kept: from then on another thread may be serving it.
                self._serving.discard(connection)
            self._part(connection, keep)
            del connection
            with self._changed:
                self._load -= 1
                self._changed.notify_all()

    def _serve(self, connection: Connection) -> bool:
        try:
            return connection.communicate()
        except BaseException:
            logger.exception("serving %s failed", connection.remote_addr)
            return False

    def _part(self, connection: Connection, keep: bool) -> None:
        try:
            if keep:
                self._keep(connection)
            else:
                connection.close()
        except Exception:
            logger.exception("parting from %s failed", connection.remote_addr)
