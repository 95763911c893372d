"""The words of leases, and the contract of every store that keeps them.

A *pool* is a name and a cap. A *session* is one logical playback; a *ref* is one request of it. A
session is in a pool while it has an unexpired ref there, or an unexpired grace marker. Nothing is
counted up or down: a count is the number of distinct sessions that are in the pool.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

TTL_S = 20.0
HEARTBEAT_S = 5.0
PIN_S = 1800.0
"""How long a session that has ended is still served by the account that served it."""
SLOT = "slot"
"""The ref of every slot that `LeaseStore.claim` hands out: such a session has no other."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Slots that sessions share, at most *cap* at a time; 0: unlimited, and counted all the same.

    A name says its kind before the colon: `profile:7`, `user:bob`, `provider:main`, `global`.
    """

    name: str
    cap: int

    def __post_init__(self) -> None:
        if not self.name or "\n" in self.name or self.cap < 0:
            raise ValueError(f"no pool: name {self.name!r}, cap {self.cap}")


def check_ids(*ids: str) -> None:
    """Raise ValueError if one of *ids* cannot name a session or a ref."""
    for one in ids:
        if not one or "|" in one:
            raise ValueError(f"no id of a session or ref: {one!r}")


class State(enum.Enum):
    """How a ref stands. All but HELD are final: its id is not admitted again within ttl."""

    HELD = "held"
    SUPERSEDED = "superseded"  # a newer ref of the session took over; in the pool until released
    EVICTED = "evicted"  # somebody ended the session; in the pool until released
    RELEASED = "released"  # its holder gave it back
    LOST = "lost"  # expired, or what the store lost and had no room for


@dataclass(frozen=True, slots=True)
class Lease:
    """A ref and the pools that it occupies: all that a store needs to put it back."""

    session: str
    ref: str
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What an acquire took: the index of the candidate, and the refs that must now make room.

    A superseded ref occupies the session's slot until its holder has released it: whoever got
    this grant opens its upstream after that, or after a second.
    """

    chosen: int
    superseded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Occupant:
    """A session in a pool, with its refs (none: only grace is left) and the time it has left."""

    session: str
    refs: tuple[str, ...]
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class RefStanding:
    """A ref that keeps its session in its pools: HELD, or SUPERSEDED or EVICTED until released."""

    ref: str
    state: State
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class SessionStanding:
    """A session that is in *pools*. *grace_s*: what is left of its grace; None: there is none."""

    session: str
    pools: tuple[str, ...]
    refs: tuple[RefStanding, ...]
    grace_s: float | None

    @property
    def slot_owner(self) -> str | None:
        """Whose slot it is, if it was handed out by `LeaseStore.claim`."""
        if any(one.ref == SLOT for one in self.refs):
            return self.session.rpartition(":")[0]
        return None


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner of slots may hold, and what it holds. What is above *target* is given back."""

    target: int
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """That a ref was superseded or evicted, or that one that was is now RELEASED."""

    session: str
    ref: str
    state: State


class Watch(Protocol):
    """A standing wish to be told; ends with `close`, which may be called twice."""

    def close(self) -> None: ...


class LeaseStore(Protocol):
    """Where leases are kept. Safe to call from any thread; every operation happens at once or not.

    All but `close` raise LeaseStoreDown when the store cannot be reached: then it is not known
    whether the operation happened, and it may be repeated, since a ref makes it idempotent.
    """

    def acquire(
        self, candidates: Sequence[Sequence[Pool]], session: str, ref: str, ttl_s: float
    ) -> Grant:
        """Put *session* into all pools of one candidate, for *ttl_s* from now.

        Each candidate is a set of pools with which the session could be served. The candidate that
        holds or last held the session is taken if it is among them, otherwise the first with room
        in all its pools. A session that is in a pool has room there, whatever the count. Its older
        refs are superseded. Repeated with the same ref, it extends and changes nothing else.

        *ref* is made by the caller, for this request only.

        Raises PoolFull, which names the first full pool of the candidate that comes first (so a
        limit that is the user's own stands first in each); StoreRecovering, for a session that is
        not in the store while it waits for what it lost; LeaseLost if *ref* was released,
        superseded or evicted before. Then nothing was written.
        """
        ...

    def release(self, session: str, ref: str, grace_s: float) -> None:
        """End *ref*; if it was the session's last, keep the session's place for *grace_s*.

        Any number of times, in any order, from any process, before or after its acquire: the end
        state is the same. An evicted session gets no grace.
        """
        ...

    def heartbeat(self, leases: Sequence[Lease], ttl_s: float) -> list[State]:
        """Extend *leases* to *ttl_s* from now, and return how each stands.

        Only what is HELD is extended. While a store recovers what it lost, leases that it does not
        know are put back as far as there is room; at other times they are LOST.
        """
        ...

    def count(self, pool: str) -> int:
        """Return how many distinct sessions are in the pool of that name."""
        ...

    def sessions(self, pool: str) -> list[Occupant]:
        """Return who is in the pool of that name, in the order of their names."""
        ...

    def pools(self) -> list[str]:
        """Return the names of all pools in which somebody is, in order."""
        ...

    def census(self) -> list[SessionStanding]:
        """Return all sessions that are in a pool at this instant, in the order of their names."""
        ...

    def evict(self, session: str) -> tuple[str, ...]:
        """Tell the holders of *session* to end, and return its refs; a mere grace ends at once."""
        ...

    def claim(
        self, pool: Pool, owner: str, wanted: int, held: Sequence[str], ttl_s: float
    ) -> Claim:
        """Extend the slots of *owner* in *pool*, and take more up to its share, as far as is room.

        A slot is a session `<owner>:<n>` with the ref SLOT. The share is the smaller of *wanted*
        and the owner's max-min fair share of the cap among all owners that have claimed within
        their ttl. Nothing is taken away: what an owner holds above its target it gives back with
        `release`. *held* are the slots that it knows of; those missing in the answer are lost.
        *owner* has neither ':' nor '|' in it, and no two processes share one.
        """
        ...

    def watch(self, told: Callable[[Notice], None]) -> Watch:
        """Call *told* for each ref that is superseded or evicted, and once such a one is released.

        From any process, on any thread, without a lock held; *told* must be quick. Not certain:
        what is missed is learnt from `heartbeat`.
        """
        ...

    def close(self) -> None:
        """Give back what the store itself holds: threads and sockets, not leases."""
        ...
