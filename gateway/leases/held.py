"""A lease that this process holds, and what can be decided by looking at those alone."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from gateway.errors import PoolFull
from gateway.leases.lease import Lease, Pool, State

_log = logging.getLogger(__name__)
CONFIRM_S = 1.0


class OnStoreError(enum.Enum):
    """What a gateway does while the store of leases cannot be reached."""

    REFUSE = "refuse"  # admits nobody; what is held ends after ttl
    LOCAL = "local"  # admits by its own count, which may exceed the cap; what is held goes on


class Held:
    """A lease in use. Whoever was given it calls `release` once it has closed its upstream."""

    def __init__(
        self,
        session: str,
        ref: str,
        lost: Callable[[State], None],
        give_back: Callable[[Held, float | None], None],
    ) -> None:
        self.session, self.ref = session, ref
        self.chosen = -1
        self.pools: tuple[Pool, ...] = ()
        self.confirmed_at = 0.0
        """When this process last sent what the store then confirmed, by its monotonic clock."""
        self._lost, self._give_back = lost, give_back
        self._lock = threading.Lock()
        self._state = State.HELD
        self._confirmed: set[str] = set()
        self._awaited: frozenset[str] | None = None
        self._room = threading.Event()

    @property
    def state(self) -> State:
        """How it stands, as far as this process knows."""
        return self._state

    @property
    def lease(self) -> Lease:
        return Lease(self.session, self.ref, self.pools)

    def release(self, grace_s: float | None = None) -> None:
        """Give it back, once; every further call does nothing. None: the keeper's grace.

        Waits for the store no longer than its time-out, and never for another request.
        """
        self._give_back(self, grace_s)

    def await_room(self, timeout_s: float = CONFIRM_S) -> bool:
        """Wait until the refs that this one superseded have let go; say whether they have.

        Whoever gets False opens its upstream all the same.
        """
        return self._room.wait(timeout_s)

    def grant(self, chosen: int, pools: Sequence[Pool], superseded: Iterable[str]) -> None:
        """Note what the store granted, and which refs must let go first."""
        with self._lock:
            self.chosen, self.pools = chosen, tuple(pools)
            self._awaited = frozenset(superseded)
        self.confirm()

    def confirm(self, *refs: str) -> None:
        """Note that *refs* have let go; they may do so before the grant is known."""
        with self._lock:
            self._confirmed.update(refs)
            if self._awaited is not None and self._awaited <= self._confirmed:
                self._room.set()

    def end(self, state: State) -> bool:
        """Tell its holder that it is over; once, and not after it was released."""
        with self._lock:
            if self._state is not State.HELD:
                return False
            self._state = state
        if state is not State.RELEASED:
            try:
                self._lost(state)
            except Exception:  # noqa: BLE001 - the other holders must hear of theirs
                _log.exception("whoever holds a lease failed to hear that it is %s", state.value)
        return True


def choose_locally(candidates: Sequence[Sequence[Pool]], session: str, held: Iterable[Held]) -> int:
    """Return the candidate for *session* by the count of what this process holds.

    Raises PoolFull as `LeaseStore.acquire` does.
    """
    present: dict[str, set[str]] = {}
    pinned: tuple[str, ...] | None = None
    for one in held:
        if one.session == session and one.pools:
            pinned = tuple(pool.name for pool in one.pools)
        for pool in one.pools:
            present.setdefault(pool.name, set()).add(one.session)
    refusal: PoolFull | None = None
    names = [tuple(pool.name for pool in candidate) for candidate in candidates]
    for index, candidate in enumerate(candidates):
        if pinned in names and names[index] != pinned:
            continue
        full = [
            PoolFull(pool.name, len(present[pool.name]), pool.cap)
            for pool in candidate
            if pool.cap and len(present.get(pool.name, ())) >= pool.cap
            if session not in present[pool.name]
        ]
        if not full:
            return index
        refusal = refusal or full[0]
    if refusal is None:
        raise ValueError("no candidates")
    raise refusal
