"""What may be read ahead: bytes, bounded for the whole process and fair between streams.

Charged are the articles that a stream has asked for ahead of its reader, from the request until
the reader takes them or they are dropped. What a reader is blocked on is never charged and never
waits for the budget.

Fair means max-min: whoever wants less than an equal share has all it wants, and the others share
the rest equally. Nobody gets more than half while others stream. A stream that took more when it
was alone gives back what lies farthest from its reader as soon as another, within its share,
finds nothing left; so a paused viewer does not keep a new one slow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Budget:
    """*total* bytes, shared by all accounts that are open. Safe to use from any thread."""

    # Invariants, true whenever the lock is free:
    #   used == sum of every account's used, each >= 0, and used <= total
    #   level is what one account may hold at most, as the wants are now

    def __init__(self, total: int) -> None:
        self.total = total
        self._lock = threading.Lock()
        self._accounts: set[Account] = set()
        self._used = 0
        self._level = total

    @property
    def used(self) -> int:
        """Return how many bytes are charged now."""
        return self._used

    def open(self, reclaim: Callable[[int], None]) -> Account:
        """Return a new account, with nothing charged; to be closed by the caller.

        *reclaim* is called with a number of bytes to give back, in another stream's thread and
        without the budget's lock. It must not wait for anything; it may give back less.
        """
        account = Account(self, reclaim)
        with self._lock:
            self._accounts.add(account)
        return account

    def _share(self) -> None:
        # Under the lock. Pour the total into the wants: whoever wants least is filled first.
        wants = sorted(account.want for account in self._accounts if account.want)
        left, most = self.total, self.total if len(wants) < 2 else self.total // 2
        self._level = most
        for count, want in zip(range(len(wants), 0, -1), wants, strict=True):
            if min(want, most) * count > left:
                self._level = left // count
                return
            left -= min(want, most)


class Account:
    """What one stream has charged: `used` bytes, of `want` that it would like to have."""

    __slots__ = ("_budget", "_reclaim", "used", "want")

    def __init__(self, budget: Budget, reclaim: Callable[[int], None]) -> None:
        self._budget = budget
        self._reclaim = reclaim
        self.used = 0
        self.want = 0

    def aim(self, want: int) -> None:
        """Say how many bytes the stream would like to have charged in all from now on."""
        with self._budget._lock:
            self.want = want
            self._budget._share()

    def take(self, size: int) -> bool:
        """Charge *size* bytes more, if what is wanted, the fair share and the total allow it."""
        granted, richest, excess = self._try(size)
        if richest is None:
            return granted
        richest._reclaim(excess)
        return self._try(size)[0]

    def _try(self, size: int) -> tuple[bool, Account | None, int]:
        """Charge *size*, or else name who holds more than its share, and how much more."""
        budget = self._budget
        with budget._lock:
            if self.used + size > min(self.want, budget._level):
                return False, None, 0
            if budget._used + size <= budget.total:
                self.used += size
                budget._used += size
                return True, None, 0
            richest = max(budget._accounts, key=_used)
            excess = richest.used - budget._level
            return False, richest if excess > 0 else None, excess

    def give(self, size: int) -> None:
        """Take *size* bytes off what is charged. Raises ValueError for more than there is."""
        with self._budget._lock:
            if size > self.used:
                raise ValueError(f"{size} bytes given back, {self.used} charged")
            self.used -= size
            self._budget._used -= size

    def close(self) -> None:
        """Leave the sharing. What is charged stays so until it is given back. Idempotent."""
        with self._budget._lock:
            self.want = 0
            self._budget._accounts.discard(self)
            self._budget._share()


def _used(account: Account) -> int:
    return account.used
