"""The books of leases in memory: who is in which pool, and until when. No lock, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import PoolFull
from gateway.leases.lease import (
    Notice,
    Occupant,
    Pool,
    RefStanding,
    SessionStanding,
    State,
)

GRACE = ""
"""The ref that stands for a grace marker."""
_PIN = "|"
"""What stands in place of a ref where a pin is due."""


@dataclass(slots=True)
class Entry:
    """A session: where it is or last was, and until when each of its refs keeps it there."""

    pools: tuple[str, ...]
    until: dict[str, float] = field(default_factory=dict)
    pinned_until: float = 0.0


class Books:
    """What a store in memory knows. Its user purges first, and does one thing at a time."""

    # Invariants, true between two calls:
    #   a session is in pools[name] exactly if its entry's *until* has a ref (or the grace marker)
    #     and name is among the entry's pools
    #   every ref and every pin has an entry in _due that is not later than its expiry
    #   the order of ended is that of expiry

    def __init__(self, *, ended_s: float) -> None:
        """Remember how a ref ended for *ended_s*."""
        self._ended_s = ended_s
        self.sessions: dict[str, Entry] = {}
        self.pools: dict[str, set[str]] = {}
        self.ended: dict[tuple[str, str], tuple[State, float]] = {}
        self._due: list[tuple[float, str, str]] = []

    def purge(self, now: float) -> None:
        """Forget what has expired."""
        while self._due and self._due[0][0] <= now:
            _, session, ref = heapq.heappop(self._due)
            known = self.sessions.get(session)
            if known is None:
                continue
            if ref == _PIN:
                until = max([known.pinned_until, *known.until.values()])
                if until <= now:
                    self.leave(session, known)
                    del self.sessions[session]
            else:
                until = known.until.get(ref, now)
                if until <= now and known.until.pop(ref, None) is not None and not known.until:
                    self.leave(session, known)
            if until > now:
                heapq.heappush(self._due, (until, session, ref))
        while self.ended:
            key = next(iter(self.ended))
            if self.ended[key][1] > now:
                break
            del self.ended[key]

    def choose(self, candidates: Sequence[Sequence[Pool]], session: str) -> int:
        """Return the candidate to take: its pin, or the first with room. Raises PoolFull."""
        known = self.sessions.get(session)
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

    def enter(
        self, session: str, ref: str, names: tuple[str, ...], until: float, pinned_until: float
    ) -> None:
        """Put *session* into the pools of these names, by *ref*."""
        known = self.sessions.get(session)
        if known is None:
            known = self.sessions[session] = Entry(names)
            heapq.heappush(self._due, (pinned_until, session, _PIN))
        known.pools = names
        known.pinned_until = pinned_until
        for name in names:
            self.pools.setdefault(name, set()).add(session)
        self.keep(session, ref, known, until)

    def keep(self, session: str, ref: str, known: Entry, until: float) -> None:
        """Have *ref* keep the session where it is."""
        before = known.until.get(ref)
        known.until[ref] = until
        if before is None or until < before:
            heapq.heappush(self._due, (until, session, ref))

    def leave(self, session: str, known: Entry) -> None:
        """Take the session out of its pools; its refs are gone, or going."""
        for name in known.pools:
            self.pools[name].discard(session)

    def end(self, session: str, ref: str, state: State, now: float) -> Notice:
        """Remember how *ref* ended."""
        self.ended.pop((session, ref), None)
        self.ended[session, ref] = (state, now + self._ended_s)
        return Notice(session, ref, state)

    def occupants(self, pool: str, now: float) -> list[Occupant]:
        present = [(name, self.sessions[name]) for name in sorted(self.pools.get(pool, ()))]
        return [
            Occupant(
                name,
                tuple(sorted(ref for ref in one.until if ref != GRACE)),
                max(one.until.values()) - now,
            )
            for name, one in present
        ]

    def standings(self, now: float) -> list[SessionStanding]:
        """Return everybody who is in a pool."""
        return [
            SessionStanding(
                session,
                tuple(sorted(known.pools)),
                tuple(
                    RefStanding(ref, self._state(session, ref), until - now)
                    for ref, until in sorted(known.until.items())
                    if ref != GRACE
                ),
                known.until[GRACE] - now if GRACE in known.until else None,
            )
            for session, known in sorted(self.sessions.items())
            if known.until
        ]

    def _state(self, session: str, ref: str) -> State:
        return self.ended.get((session, ref), (State.HELD, 0.0))[0]

    def _refusal(self, candidate: Sequence[Pool], session: str) -> PoolFull | None:
        for pool in candidate:
            if pool.cap:
                present = self.pools.get(pool.name, ())
                if len(present) >= pool.cap and session not in present:
                    return PoolFull(pool.name, len(present), pool.cap)
        return None
