"""Getting a slot, with a while to wait for it.

Whoever finds all slots taken waits until one is given back in this process, until the grace of
one is over, or for a moment (another process may have given one back), and asks again. Only so
many threads may wait; everybody else is refused at once.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence

from gateway.errors import LeaseRefused, NoCapacity, PoolFull, StoreRecovering
from gateway.leases.held import Held
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Pool, State

WAITING = 32
_LOOK_AGAIN_S = 0.5
_MARGIN_S = 0.01  # a grace is over when its last millisecond is


class WaitEnded(NoCapacity):
    """Whoever waited for a slot does not want it any more."""


class Admission:
    """Slots from *keeper*, waited for up to *wait_s*, but never shorter than a grace lasts."""

    def __init__(
        self, keeper: Keeper, *, wait_s: float, grace_s: float, waiting: int = WAITING
    ) -> None:
        self.grace_s = grace_s
        self.wait_s = max(wait_s, grace_s + 10 * _MARGIN_S) if wait_s else 0.0
        self._keeper = keeper
        self._limit = waiting
        self._changed = threading.Condition()
        self._waiting = 0
        self._rounds = 0
        self._due: list[float] = []

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot at this moment."""
        return self._waiting

    def acquire(
        self,
        candidates: Sequence[Sequence[Pool]],
        session: str,
        lost: Callable[[State], None],
        *,
        wait_s: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Held:
        """Return a lease for *session*, as `Keeper.acquire` does, within *wait_s* (None: usual).

        Raises the LeaseRefused that was met last, WaitEnded once *cancelled* says so (`wake`
        has it asked), LeaseStoreDown.
        """
        deadline = time.monotonic() + (self.wait_s if wait_s is None else wait_s)
        counted = False
        try:
            while True:
                if cancelled():
                    raise WaitEnded("the client left before it got a slot")
                before = self._rounds
                try:
                    return self._keeper.acquire(candidates, session, lost)
                except (PoolFull, StoreRecovering) as exc:
                    left_s = deadline - time.monotonic()
                    if left_s <= 0 or (not counted and not self._enter()):
                        raise
                    counted = True
                    self._wait(left_s, before, exc)
        finally:
            if counted:
                with self._changed:
                    self._waiting -= 1

    def wake(self, *, after_s: float = 0.0) -> None:
        """Have all who wait look again: now, and *after_s* from now, when a grace is over."""
        now = time.monotonic()
        with self._changed:
            while self._due and self._due[0] <= now:
                heapq.heappop(self._due)
            if after_s:
                heapq.heappush(self._due, now + after_s + _MARGIN_S)
            self._rounds += 1
            self._changed.notify_all()

    def _enter(self) -> bool:
        with self._changed:
            if self._waiting >= self._limit:
                return False
            self._waiting += 1
            return True

    def _wait(self, left_s: float, before: int, refused: LeaseRefused) -> None:
        now = time.monotonic()
        with self._changed:
            while self._due and self._due[0] <= now:
                heapq.heappop(self._due)
            pauses = [left_s, _LOOK_AGAIN_S, *(due - now for due in self._due[:1])]
            if isinstance(refused, StoreRecovering):
                pauses.append(max(0.0, refused.retry_after_s))
            self._changed.wait_for(lambda: self._rounds != before, min(pauses))
