"""The shape of a line: how long a round trip takes and how many bytes a second fit.

Time is an argument everywhere, in seconds of a monotonic clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Self

QUANTUM = 16 * 1024
"""The most bytes that leave at once on a shaped line."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """How slow a server is. Rates are in bytes a second; None: as fast as it goes.

    A reply's first byte leaves one round trip after its command arrived, so pipelined commands
    overlap. A round trip varies by up to *jitter_s* in both directions.
    """

    round_trip_s: float = 0.0
    jitter_s: float = 0.0
    rate_per_connection: float | None = None
    rate_total: float | None = None

    @classmethod
    def premium(cls) -> Self:
        """Return a good provider's line: 40 ms, 8 MiB/s a connection, 400 MiB/s in all."""
        return cls(0.040, 0.010, 8 * MIB, 400 * MIB)

    @classmethod
    def slow(cls) -> Self:
        """Return a cheap provider's line: 100 ms, 3 MiB/s a connection, 60 MiB/s in all."""
        return cls(0.100, 0.0, 3 * MIB, 60 * MIB)

    def round_trip(self, rng: random.Random) -> float:
        """Return how long the next round trip takes."""
        if not self.jitter_s:
            return self.round_trip_s
        return max(0.0, self.round_trip_s + rng.uniform(-self.jitter_s, self.jitter_s))


class Pace:
    """When the next bytes may leave on a line of *rate* bytes a second.

    The line is booked in order: whoever books gets the first time that is free. One that was
    kept busy may catch up on at most *credit_s* of lateness, which is the scheduler's and not
    the line's; one that was idle may not, if its user says by `start` when its work began.
    """

    __slots__ = ("_credit_s", "_free_at", "_second_per_byte")

    def __init__(self, rate: float | None, *, credit_s: float) -> None:
        self._second_per_byte = 0.0 if rate is None else 1.0 / rate
        self._credit_s = credit_s
        self._free_at = 0.0

    def start(self, at: float) -> None:
        """Book nothing before *at*."""
        self._free_at = max(self._free_at, at)

    def free_at(self) -> float:
        """Return when the line is free."""
        return self._free_at

    def book(self, length: int, now: float) -> float:
        """Take the line for *length* bytes and return when they may leave (the past: at once)."""
        at = max(self._free_at, now - self._credit_s)
        self._free_at = at + length * self._second_per_byte
        return at
