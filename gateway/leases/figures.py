"""What an operator sees of the leases of one process: snapshots, and how acquires went."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from gateway.errors import GatewayError, LeaseLost, LeaseStoreDown, PoolFull, StoreRecovering
from gateway.leases.lease import State

# The upper ends of the buckets, in seconds; a last bucket has what took longer. In memory an
# acquire takes microseconds, in Redis on the same machine a tenth of a millisecond; after half a
# second the store counts as down.
ACQUIRE_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0)

GRANTED, LOCAL, FULL = "granted", "local", "full"
RECOVERING, STORE_DOWN, DRAINING, LOST = "recovering", "store_down", "draining", "lost"
OUTCOMES = (GRANTED, LOCAL, FULL, RECOVERING, STORE_DOWN, DRAINING, LOST)
"""How an acquire ends. LOCAL: granted by this process's own count, while the store was down."""


def outcome_of(error: GatewayError) -> tuple[str, str]:
    """Return how an acquire that failed with *error* ended, and the kind of pool that was full."""
    match error:
        case PoolFull():
            return FULL, error.pool.partition(":")[0]
        case StoreRecovering():
            return RECOVERING, ""
        case LeaseLost():
            return LOST, ""
        case LeaseStoreDown():
            return STORE_DOWN, ""
    return DRAINING, ""


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """What a keeper holds, and how it stands with its store: *store_down* says why it is, if so."""

    refs: int
    sessions: int
    queued_releases: int
    store_down: str | None
    is_draining: bool
    failed_heartbeats: int

    @property
    def is_store_down(self) -> bool:
        return self.store_down is not None


@dataclass(frozen=True, slots=True)
class KeeperFigures:
    """What a keeper has done since its start.

    *acquires*: by outcome and the kind of the pool that was full (empty otherwise); *seconds*: how
    many took how long, for each of ACQUIRE_BOUNDS_S and for what took longer; *ended*: refs that
    ended otherwise than by their holder.
    """

    acquires: Mapping[tuple[str, str], int]
    seconds: tuple[int, ...]
    sum_s: float
    ended: Mapping[State, int]
    failed_heartbeats: int

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound how many acquires took so long or less."""
        return list(zip(ACQUIRE_BOUNDS_S, accumulate(self.seconds[:-1]), strict=True))


class Tally:
    """Counts what a keeper does, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acquires: Counter[tuple[str, str]] = Counter()
        self._seconds = [0] * (len(ACQUIRE_BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._ended: Counter[State] = Counter()
        self.failed_heartbeats = 0
        """Written by the keeper's beat alone."""

    def acquired(self, outcome: str, kind: str, took_s: float | None) -> None:
        """Count an acquire. *took_s* None: the store was not asked."""
        with self._lock:
            self._acquires[outcome, kind] += 1
            if took_s is not None:
                self._seconds[bisect_left(ACQUIRE_BOUNDS_S, took_s)] += 1
                self._sum_s += took_s

    def ended(self, state: State) -> None:
        with self._lock:
            self._ended[state] += 1

    def snapshot(self) -> KeeperFigures:
        with self._lock:
            return KeeperFigures(
                dict(self._acquires),
                tuple(self._seconds),
                self._sum_s,
                dict(self._ended),
                self.failed_heartbeats,
            )
