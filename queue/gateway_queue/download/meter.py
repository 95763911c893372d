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
    second, *pace* in those of the NZB; *left_s* is None while nothing comes. *step* says how far
    the repair or the unpacking is that follows, 0 to 1; None: not there yet.
    """

    done: int
    total: int
    missing: int
    speed: float
    pace: float = 0.0
    step: float | None = None

    @property
    def left_s(self) -> float | None:
        left = self.total - self.done
        if not left:
            return 0.0
        return left / self.pace if self.pace > 0 else None


class Activity(Protocol):
    """Who knows how far the downloads of the queue are."""

    def progress(self, nzo_id: str) -> Progress | None:
        """Return how far an item is, None if nothing was done of it since the start."""
        ...


class Meter:
    """Counts the bytes of one download. Safe to use from any thread."""

    # Invariant, whenever the lock is free: arrived and weighed == the sums of the steps within the
    # window.

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._done = self._total = self._missing = 0
        self._began: float | None = None
        self._steps: deque[tuple[float, int, int]] = deque()
        self._arrived = self._weighed = 0
        self._step: float | None = None

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
                at, sizes, weights = self._steps.pop()
                self._steps.append((at, sizes + size, weights + weight))
            else:
                self._steps.append((now, size, weight))
            self._arrived += size
            self._weighed += weight
            self._forget(now)

    def begin_step(self) -> None:
        """Say that the repair begins, or the unpacking."""
        with self._lock:
            self._step = 0.0

    def go_on(self, part: float) -> None:
        """Say that so much of the step is done; less than before is some smaller work within."""
        with self._lock:
            self._step = max(self._step or 0.0, min(part, 1.0))

    def progress(self) -> Progress:
        """Return how it stands at this moment."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            began = now if self._began is None else max(self._began, now - _WINDOW_S)
            span = max(now - began, _STEP_S)
            return Progress(
                min(self._done, self._total),
                self._total,
                self._missing,
                self._arrived / span,
                self._weighed / span,
                self._step,
            )

    def _forget(self, now: float) -> None:
        while self._steps and self._steps[0][0] <= now - _WINDOW_S:
            _, size, weight = self._steps.popleft()
            self._arrived -= size
            self._weighed -= weight
        if not self._steps:
            self._began = None
