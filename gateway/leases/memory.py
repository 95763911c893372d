"""Leases in this process's memory: the store of a single gateway."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.errors import LeaseLost
from gateway.leases.books import GRACE, Books
from gateway.leases.fair import Demand
from gateway.leases.lease import (
    PIN_S,
    SLOT,
    TTL_S,
    Claim,
    Grant,
    Lease,
    Notice,
    Occupant,
    Pool,
    SessionStanding,
    State,
    Watch,
    check_ids,
)

_ENDED = frozenset({State.SUPERSEDED, State.EVICTED})


class MemoryLeases:
    """A `LeaseStore` over one lock and a monotonic clock. It never loses its data.

    Every operation first purges what has expired.
    """

    def __init__(
        self,
        *,
        ttl_s: float = TTL_S,
        pin_s: float = PIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep ids of ended refs for *ttl_s*, the longest ttl there is, and pins for *pin_s*."""
        self._ttl_s, self._pin_s, self._clock = ttl_s, pin_s, clock
        self._lock = threading.Lock()
        self._books = Books(ended_s=ttl_s)
        self._demand: dict[str, Demand] = {}
        self._told: tuple[Callable[[Notice], None], ...] = ()

    def acquire(
        self, candidates: Sequence[Sequence[Pool]], session: str, ref: str, ttl_s: float
    ) -> Grant:
        check_ids(session, ref)
        self._check_ttl(ttl_s)
        books = self._books
        with self._lock:
            now = self._purge()
            if ended := books.ended.get((session, ref)):
                raise LeaseLost(f"the lease is over: {ended[0].value}")
            chosen = books.choose(candidates, session)
            names = tuple(pool.name for pool in candidates[chosen])
            notices: list[Notice] = []
            older: list[str] = []
            known = books.sessions.get(session)
            if known is not None:
                older = [one for one in known.until if one not in {ref, GRACE}]
                notices = [
                    books.end(session, one, State.SUPERSEDED, now)
                    for one in older
                    if (session, one) not in books.ended
                ]
                known.until.pop(GRACE, None)
                if known.pools != names:
                    books.leave(session, known)
                    known.until.clear()
            books.enter(session, ref, names, now + ttl_s, now + max(self._pin_s, ttl_s))
        self._tell(notices)
        return Grant(chosen, tuple(sorted(older)))

    def release(self, session: str, ref: str, grace_s: float) -> None:
        check_ids(session, ref)
        books = self._books
        with self._lock:
            now = self._purge()
            was = books.ended.get((session, ref), (State.HELD, 0.0))[0]
            if was is State.RELEASED:
                return
            notice = books.end(session, ref, State.RELEASED, now)
            known = books.sessions.get(session)
            if known is not None and known.until.pop(ref, None) is not None and not known.until:
                if grace_s > 0 and was is not State.EVICTED:
                    books.keep(session, GRACE, known, now + grace_s)
                else:
                    books.leave(session, known)
        if was in _ENDED:
            self._tell([notice])

    def heartbeat(self, leases: Sequence[Lease], ttl_s: float) -> list[State]:
        self._check_ttl(ttl_s)
        with self._lock:
            now = self._purge()
            return [self._extend(lease, now, ttl_s) for lease in leases]

    def count(self, pool: str) -> int:
        with self._lock:
            self._purge()
            return len(self._books.pools.get(pool, ()))

    def sessions(self, pool: str) -> list[Occupant]:
        with self._lock:
            return self._books.occupants(pool, self._purge())

    def pools(self) -> list[str]:
        with self._lock:
            self._purge()
            return sorted(name for name, present in self._books.pools.items() if present)

    def census(self) -> list[SessionStanding]:
        with self._lock:
            return self._books.standings(self._purge())

    def evict(self, session: str) -> tuple[str, ...]:
        with self._lock:
            now = self._purge()
            known = self._books.sessions.get(session)
            if known is None:
                return ()
            if known.until.pop(GRACE, None) is not None and not known.until:
                self._books.leave(session, known)
            refs = tuple(sorted(known.until))
            notices = [self._books.end(session, ref, State.EVICTED, now) for ref in refs]
        self._tell(notices)
        return refs

    def claim(
        self, pool: Pool, owner: str, wanted: int, held: Sequence[str], ttl_s: float
    ) -> Claim:
        check_ids(owner, *held)
        self._check_ttl(ttl_s)
        books = self._books
        with self._lock:
            now = self._purge()
            demand = self._demand.setdefault(pool.name, Demand())
            target = demand.share(pool.cap, owner, wanted, now, ttl_s)
            present = books.pools.setdefault(pool.name, set())
            slots = [
                name
                for name in present
                if name.startswith(f"{owner}:") and (name, SLOT) not in books.ended
            ]
            occupied = sum(name.startswith(f"{owner}:") for name in present)
            room = pool.cap - len(present) if pool.cap else target
            number = 0
            for _ in range(max(0, min(target - occupied, room))):
                number += 1
                while self._is_taken(name := f"{owner}:{number}", present):
                    number += 1
                slots.append(name)
            for name in slots:
                books.enter(name, SLOT, (pool.name,), now + ttl_s, now + ttl_s)
        return Claim(target, tuple(sorted(slots)))

    def watch(self, told: Callable[[Notice], None]) -> Watch:
        with self._lock:
            self._told = (*self._told, told)
        return _MemoryWatch(self._unwatch, told)

    def close(self) -> None:
        with self._lock:
            self._told = ()

    def _extend(self, lease: Lease, now: float, ttl_s: float) -> State:
        if ended := self._books.ended.get((lease.session, lease.ref)):
            return ended[0]
        known = self._books.sessions.get(lease.session)
        if known is None or lease.ref not in known.until:
            return State.LOST
        known.pinned_until = now + max(self._pin_s, ttl_s)
        self._books.keep(lease.session, lease.ref, known, now + ttl_s)
        return State.HELD

    def _is_taken(self, slot: str, present: set[str]) -> bool:
        return slot in present or (slot, SLOT) in self._books.ended

    def _purge(self) -> float:
        now = self._clock()
        self._books.purge(now)
        return now

    def _check_ttl(self, ttl_s: float) -> None:
        if not 0 < ttl_s <= self._ttl_s:
            raise ValueError(f"a ttl of {ttl_s} s, where at most {self._ttl_s} s is kept")

    def _tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            for told in self._told:
                told(notice)

    def _unwatch(self, told: Callable[[Notice], None]) -> None:
        with self._lock:
            self._told = tuple(one for one in self._told if one is not told)


@dataclass(frozen=True, slots=True)
class _MemoryWatch:
    unwatch: Callable[[Callable[[Notice], None]], None]
    told: Callable[[Notice], None]

    def close(self) -> None:
        self.unwatch(self.told)
