"""What the VOD doors have done so far: a few numbers, counted where it happens."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TallySnapshot:
    """*events* by name, *refused* by kind of pool, and the connections to providers open now."""

    events: dict[str, int]
    refused: dict[str, int]
    connections: int
    most_connections: int
    received: int


class Tally:
    """The numbers, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._connections = self._most = self._received = 0

    def count(self, event: str) -> None:
        with self._lock:
            self._events[event] += 1

    def refused(self, kind: str) -> None:
        """Count a request that found no room in a pool of *kind*: profile, user, global, …"""
        with self._lock:
            self._refused[kind] += 1

    def connected(self) -> None:
        with self._lock:
            self._connections += 1
            self._most = max(self._most, self._connections)

    def disconnected(self) -> None:
        with self._lock:
            self._connections -= 1

    def received(self, size: int) -> None:
        with self._lock:
            self._received += size

    def snapshot(self) -> TallySnapshot:
        with self._lock:
            return TallySnapshot(
                dict(self._events),
                dict(self._refused),
                self._connections,
                self._most,
                self._received,
            )
