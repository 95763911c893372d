"""Leases in this process's memory: the store of a single gateway."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.errors import LeaseLost, PoolFull
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
    State,
    Watch,
    check_ids,
)

_ENDED = frozenset({State.SUPERSEDED, State.EVICTED})
_GRACE = ""
"""The ref that stands for a grace marker."""
_PIN = "|"
"""What stands in place of a ref where a pin is due."""


@dataclass(slots=True)
class _Session:
    """A session: where it is or last was, and until when each of its refs keeps it there."""

    pools: tuple[str, ...]
    until: dict[str, float] = field(default_factory=dict)
    pinned_until: float = 0.0


class MemoryLeases:
    """A `LeaseStore` over one lock and a monotonic clock. It never loses its data."""

    # Invariants, true whenever the lock is free:
    #   a session is in self._pools[name] exactly if session.until has a ref (or the grace marker)
    #     and name is among session.pools
    #   every ref and every pin has an entry in self._due that is not later than its expiry
    # Every operation first purges what has expired.

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
        self._sessions: dict[str, _Session] = {}
        self._pools: dict[str, set[str]] = {}
        self._ended: dict[tuple[str, str], tuple[State, float]] = {}
        self._demand: dict[str, Demand] = {}
        self._due: list[tuple[float, str, str]] = []
        self._told: tuple[Callable[[Notice], None], ...] = ()

    def acquire(
        self, candidates: Sequence[Sequence[Pool]], session: str, ref: str, ttl_s: float
    ) -> Grant:
        check_ids(session, ref)
        self._check_ttl(ttl_s)
        with self._lock:
            now = self._purge()
            if ended := self._ended.get((session, ref)):
                raise LeaseLost(f"the lease is over: {ended[0].value}")
            chosen = self._choose(candidates, session)
            names = tuple(pool.name for pool in candidates[chosen])
            notices: list[Notice] = []
            older: list[str] = []
            known = self._sessions.get(session)
            if known is not None:
                older = [one for one in known.until if one not in {ref, _GRACE}]
                notices = [
                    self._end(session, one, State.SUPERSEDED, now)
                    for one in older
                    if (session, one) not in self._ended
                ]
                known.until.pop(_GRACE, None)
                if known.pools != names:
                    self._leave(session, known)
                    known.until.clear()
            self._enter(session, ref, names, now, ttl_s, now + max(self._pin_s, ttl_s))
        self._tell(notices)
        return Grant(chosen, tuple(sorted(older)))

    def release(self, session: str, ref: str, grace_s: float) -> None:
        check_ids(session, ref)
        with self._lock:
            now = self._purge()
            was = self._ended.get((session, ref), (State.HELD, 0.0))[0]
            if was is State.RELEASED:
                return
            notice = self._end(session, ref, State.RELEASED, now)
            known = self._sessions.get(session)
            if known is not None and known.until.pop(ref, None) is not None and not known.until:
                if grace_s > 0 and was is not State.EVICTED:
                    self._keep(session, _GRACE, known, now + grace_s)
                else:
                    self._leave(session, known)
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
            return len(self._pools.get(pool, ()))

    def sessions(self, pool: str) -> list[Occupant]:
        with self._lock:
            now = self._purge()
            present = [(name, self._sessions[name]) for name in sorted(self._pools.get(pool, ()))]
            return [
                Occupant(
                    name,
                    tuple(sorted(ref for ref in one.until if ref != _GRACE)),
                    max(one.until.values()) - now,
                )
                for name, one in present
            ]

    def pools(self) -> list[str]:
        with self._lock:
            self._purge()
            return sorted(name for name, present in self._pools.items() if present)

    def evict(self, session: str) -> tuple[str, ...]:
        with self._lock:
            now = self._purge()
            known = self._sessions.get(session)
            if known is None:
                return ()
            if known.until.pop(_GRACE, None) is not None and not known.until:
                self._leave(session, known)
            refs = tuple(sorted(known.until))
            notices = [self._end(session, ref, State.EVICTED, now) for ref in refs]
        self._tell(notices)
        return refs

    def claim(
        self, pool: Pool, owner: str, wanted: int, held: Sequence[str], ttl_s: float
    ) -> Claim:
        check_ids(owner, *held)
        self._check_ttl(ttl_s)
        with self._lock:
            now = self._purge()
            demand = self._demand.setdefault(pool.name, Demand())
            target = demand.share(pool.cap, owner, wanted, now, ttl_s)
            present = self._pools.setdefault(pool.name, set())
            slots = [
                name
                for name in present
                if name.startswith(f"{owner}:") and (name, SLOT) not in self._ended
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
                self._enter(name, SLOT, (pool.name,), now, ttl_s, now + ttl_s)
        return Claim(target, tuple(sorted(slots)))

    def watch(self, told: Callable[[Notice], None]) -> Watch:
        with self._lock:
            self._told = (*self._told, told)
        return _MemoryWatch(self._unwatch, told)

    def close(self) -> None:
        with self._lock:
            self._told = ()

    def _choose(self, candidates: Sequence[Sequence[Pool]], session: str) -> int:
        """Return the candidate to take; the lock is held."""
        known = self._sessions.get(session)
        refusal: PoolFull | None = None
        for index, candidate in enumerate(candidates):
            if known is not None and known.pools == tuple(pool.name for pool in candidate):
                if refused := self._refusal(candidate, session):
                    raise refused
                return index
        for index, candidate in enumerate(candidates):
            refused = self._refusal(candidate, session)
            if refused is None:
                return index
            refusal = refusal or refused
        if refusal is None:
            raise ValueError("no candidates")
        raise refusal

    def _refusal(self, candidate: Sequence[Pool], session: str) -> PoolFull | None:
        for pool in candidate:
            if pool.cap:
                present = self._pools.get(pool.name, set())
                if len(present) >= pool.cap and session not in present:
                    return PoolFull(pool.name, len(present), pool.cap)
        return None

    def _extend(self, lease: Lease, now: float, ttl_s: float) -> State:
        if ended := self._ended.get((lease.session, lease.ref)):
            return ended[0]
        known = self._sessions.get(lease.session)
        if known is None or lease.ref not in known.until:
            return State.LOST
        known.pinned_until = now + max(self._pin_s, ttl_s)
        self._keep(lease.session, lease.ref, known, now + ttl_s)
        return State.HELD

    def _is_taken(self, slot: str, present: set[str]) -> bool:
        return slot in present or (slot, SLOT) in self._ended

    def _enter(
        self,
        session: str,
        ref: str,
        names: tuple[str, ...],
        now: float,
        ttl_s: float,
        pinned_until: float,
    ) -> None:
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = _Session(names)
            heapq.heappush(self._due, (pinned_until, session, _PIN))
        known.pools = names
        known.pinned_until = pinned_until
        for name in names:
            self._pools.setdefault(name, set()).add(session)
        self._keep(session, ref, known, now + ttl_s)

    def _keep(self, session: str, ref: str, known: _Session, until: float) -> None:
        before = known.until.get(ref)
        known.until[ref] = until
        if before is None or until < before:
            heapq.heappush(self._due, (until, session, ref))

    def _leave(self, session: str, known: _Session) -> None:
        for name in known.pools:
            self._pools[name].discard(session)

    def _end(self, session: str, ref: str, state: State, now: float) -> Notice:
        self._ended.pop((session, ref), None)  # the order of _ended is that of expiry
        self._ended[session, ref] = (state, now + self._ttl_s)
        return Notice(session, ref, state)

    def _purge(self) -> float:
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, session, ref = heapq.heappop(self._due)
            known = self._sessions.get(session)
            if known is None:
                continue
            if ref == _PIN:
                until = max([known.pinned_until, *known.until.values()])
                if until <= now:
                    self._leave(session, known)
                    del self._sessions[session]
            else:
                until = known.until.get(ref, now)
                if until <= now and known.until.pop(ref, None) is not None and not known.until:
                    self._leave(session, known)
            if until > now:
                heapq.heappush(self._due, (until, session, ref))
        while self._ended:
            key = next(iter(self._ended))
            if self._ended[key][1] > now:
                break
            del self._ended[key]
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
