"""What an operator sees of the permits of one provider: snapshots, and how long was waited.

Values and counting only; `gateway.usenet.permits` keeps them under its lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from gateway.usenet.workload import Reservation, Workload

# The upper ends of the buckets, in seconds; a last bucket has what took longer. An exchange takes
# 0.02 to 1 s, and a read gives up after 30.
WAIT_BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Waits:
    """Counts, for one workload, how long each permit that was granted had been waited for.

    Whoever grants adds to both fields itself: a call would cost as much as the counting.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(WAIT_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def snapshot(self) -> WaitSeconds:
        return WaitSeconds(tuple(self.counts), self.sum_s)


@dataclass(frozen=True, slots=True)
class WaitSeconds:
    """How long was waited. *counts*: for each of WAIT_BOUNDS_S, and for what took longer."""

    counts: tuple[int, ...]
    sum_s: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound how many waited so long or less."""
        return list(zip(WAIT_BOUNDS_S, accumulate(self.counts[:-1]), strict=True))


@dataclass(frozen=True, slots=True)
class PermitsSnapshot:
    """The books of one instant.

    *required*: the thresholds in force for each workload; *guarantee* and *cap*: what applies to
    the total of the moment. *granted* and *waits* count from the start, with those that their
    receiver *declined*. *unattributed*: requests without a reservation, expected 0.
    """

    total: int
    free: int
    held: Mapping[Workload, int]
    waiting: Mapping[Workload, int]
    granted: Mapping[Workload, int]
    required: Mapping[Workload, int]
    guarantee: Mapping[Workload, int]
    cap: Mapping[Workload, int]
    waits: Mapping[Workload, WaitSeconds]
    declined: int
    double_releases: int
    unattributed: int

    @property
    def available(self) -> int:
        """How many permits could be granted now: not below 0, also after the total has shrunk."""
        return max(0, self.free)


@dataclass(frozen=True, slots=True)
class Use:
    """What one stream of one workload holds, *ahead* of it for read-ahead, and waits for."""

    reservation: Reservation
    held: int
    ahead: int
    waiting: int
