"""How far a download is, how fast it goes, and how long it will take (`Meter`)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

# The speed is that of so many seconds, in steps of one: shorter ones jump, longer ones lag.
_WINDOW_S = 10.0
_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How a download stands: *done* of *total* bytes, as the NZB counts them (encoded).

    *missing* are bytes, of what is done, that no provider has. *speed* is in bytes of data a
    second; *left_s* is None while nothing comes.
    """

    done: int
    total: int
    missing: int
    speed: float

    @property
    def left_s(self) -> float | None:
        left = self.total - self.done
        if not left:
            return 0.0
        return left / self.speed if self.speed > 0 else None


class Activity(Protocol):
    """Who knows how far the downloads of the queue are."""

    def progress(self, nzo_id: str) -> Progress | None:
        """Return how far an item is, None if it is not being downloaded at this moment."""
        ...


class Meter:
    """Counts the bytes of one download. Safe to use from any thread."""

    # Invariant, whenever the lock is free: arrived == the sum of the steps within the window.

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._done = self._total = self._missing = 0
        self._began: float | None = None
        self._steps: deque[tuple[float, int]] = deque()
        self._arrived = 0

    def aim(self, done: int, total: int, missing: int) -> None:
        """Say how much there is in all, and how much of it was there before."""
        with self._lock:
            self._done, self._total, self._missing = done, total, missing

    def lack(self, weight: int) -> None:
        """Count an article that no provider has."""
        with self._lock:
            self._done += weight
            self._missing += weight

    def add(self, weight: int, size: int) -> None:
        """Count an article that has come: *weight* bytes in the NZB, *size* bytes of data."""
        now = self._clock()
        with self._lock:
            self._done += weight
            if self._began is None:
                self._began = now
            if self._steps and now - self._steps[-1][0] < _STEP_S:
                at, before = self._steps.pop()
                self._steps.append((at, before + size))
            else:
                self._steps.append((now, size))
            self._arrived += size
            self._forget(now)

    def progress(self) -> Progress:
        """Return how it stands at this moment."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            began = now if self._began is None else max(self._began, now - _WINDOW_S)
            speed = self._arrived / max(now - began, _STEP_S)
            return Progress(min(self._done, self._total), self._total, self._missing, speed)

    def _forget(self, now: float) -> None:
        while self._steps and self._steps[0][0] <= now - _WINDOW_S:
            self._arrived -= self._steps.popleft()[1]
        if not self._steps:
            self._began = None
