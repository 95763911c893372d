"""A provider's connections as slots that several gateways share, over a `LeaseStore`.

    live connections <= slots held here <= slots of this gateway in the store

holds at every instant: a connection is allowed only after its slot is held, and a slot is given
back only after the socket above the new limit is closed. What the store has lost may be somebody
else's already: then connections are cut.

The account is the pool `provider:<name>`, whose cap is what is configured, so all gateways of an
account configure the same number. Each holds the smaller of what it wants and its max-min fair
share (`gateway.leases.fair`).
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import LeaseStoreDown
from gateway.leases.held import OnStoreError
from gateway.leases.lease import HEARTBEAT_S, SLOT, TTL_S, LeaseStore, Pool
from gateway.usenet.limit import SlotFigures, Slots
from gateway.usenet.pool_status import PoolStatus
from gateway.words import counted

log = logging.getLogger(__name__)

# Parts of a heartbeat (5 s).
_STEP = 0.05  # so soon after another, a claim is made when somebody waits for a slot
_AGAIN = 0.2  # ... when less is wanted, when slots are still owed to us, or when a claim failed
_QUIET = 0.2  # how often an idle pool is looked at
_MEMORY = (
    0.6  # so long ago counts as what is wanted now: a slot is sooner given back than had again
)
_LINGER = 0.2  # a provider may count a connection for a moment after its end
# A claim that is under way when the ttl ends must have returned by then: two time-outs of Redis.
_LONGEST_CALL_S = 1.0
_WARM = 2
_PER_WARM = 8


def owner_id() -> str:
    """Return a name for this process that no other one has."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def pool_of(provider: str) -> str:
    """Return the name of the pool of *provider*'s slots."""
    return f"provider:{provider}"


def warm(connections: int) -> int:
    """Return how many slots an idle gateway keeps, for the first bytes of the next viewer."""
    return min(_WARM, max(1, connections // _PER_WARM))


@dataclass(frozen=True, slots=True)
class SlotTimes:
    """How long a slot outlives its gateway, and how often it is claimed again."""

    ttl_s: float = TTL_S

    @property
    def heartbeat_s(self) -> float:
        """A quarter of the ttl, and never so long that shares would be late."""
        return min(HEARTBEAT_S, self.ttl_s / 4)

    @property
    def trusted_s(self) -> float:
        """For how long after a claim was sent the slots are surely held."""
        return self.ttl_s - min(_LONGEST_CALL_S, self.ttl_s / 3)


class SharedPool(Protocol):
    """What is needed of a `gateway.usenet.pool.Pool`."""

    @property
    def name(self) -> str: ...
    def share(self, slots: Slots) -> None: ...
    def allow(self, slots: int, *, cut: bool = False) -> None: ...
    def wanted(self) -> int: ...
    def status(self) -> PoolStatus: ...


class PoolSlots:
    """The slots of one pool; `turn` is called again and again, after `start` by a thread."""

    # All but `_figures` belongs to whoever calls `turn`:
    #   _in_store  the slots that the last claim answered with, less those released since
    #   _held      those of them that connections are allowed or still open for
    #   _leaving   those to be released, and when; no connection is behind them any more
    #   _allowed   what the pool was last told; it has at most max(_allowed, what was live then)

    def __init__(
        self,
        store: LeaseStore,
        pool: SharedPool,
        owner: str,
        times: SlotTimes,
        on_store_error: OnStoreError,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._pool, self.owner = store, pool, owner
        self._times, self._policy, self._clock = times, on_store_error, clock
        self._name = pool_of(pool.name)
        self._in_store: set[str] = set()
        self._held: list[str] = []
        self._leaving: dict[str, float] = {}
        self._allowed = 0
        self._figures = SlotFigures(0, 0, 0)
        self._target = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._claimed: tuple[int, int] = (0, 0)  # the cap and the wish of the last claim
        self._claimed_at = -times.ttl_s  # when the last claim was sent
        self._confirmed_at = -times.ttl_s  # when the last one was sent that was answered
        self._is_down = False
        self._woken = threading.Event()
        self._closing = threading.Event()
        pool.share(self)
        self._thread = threading.Thread(target=self._run, name=f"slots of {pool.name}", daemon=True)

    def start(self) -> None:
        """Have a thread of its own call `turn`, until `close`."""
        self._thread.start()

    def ask(self) -> None:
        if not self._woken.is_set():
            self._woken.set()

    def figures(self) -> SlotFigures:
        return self._figures

    def close(self) -> None:
        """Give all slots back, and end the thread. The pool has no connection any more."""
        self._closing.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.allow(0)
        try:
            # Whoever wants nothing has no part in the shares, from now on and not after ttl.
            cap = self._pool.status().configured
            claim = self._store.claim(
                Pool(self._name, cap), self.owner, 0, sorted(self._in_store), self._times.ttl_s
            )
            for slot in claim.slots:
                self._store.release(slot, SLOT, 0)
        except LeaseStoreDown as exc:
            log.info("%s: its slots expire within %g s: %s", self._name, self._times.ttl_s, exc)
        self._figures = SlotFigures(0, 0, 0)

    def _run(self) -> None:
        step_s, quiet_s = _STEP * self._times.heartbeat_s, _QUIET * self._times.heartbeat_s
        while not self._closing.is_set():
            began = self._clock()
            is_quiet = False
            try:
                is_quiet = self.turn()
            except Exception:
                log.exception("%s: a turn failed", self._name)
            self._woken.wait(quiet_s if is_quiet else step_s)
            self._woken.clear()
            # However many ask, and however often: one turn a step.
            self._closing.wait(began + step_s - self._clock())

    def turn(self) -> bool:
        """Look at the demand, claim and give back as is due; return whether nothing is going on."""
        now = self._clock()
        cap, wanted = self._wish(now)
        if self._is_down:
            self._check_trust()  # before a claim that may take long again
        if self._is_due(now, cap, wanted):
            self._claim(cap, wanted)
        self._check_trust()
        self._give_back()
        self._figures = SlotFigures(len(self._in_store), self._target, wanted)
        is_settled = wanted <= len(self._held) <= self._allowed and not self._leaving
        return is_settled and not self._samples[-1][1] and not self._is_down

    def _wish(self, now: float) -> tuple[int, int]:
        """Return the cap, and the most that was wanted within the last moments."""
        status = self._pool.status()
        samples = self._samples
        samples.append((now, self._pool.wanted()))
        while samples[0][0] < now - _MEMORY * self._times.heartbeat_s:
            samples.popleft()
        most = max(demand for _, demand in samples)
        return status.configured, min(status.allowed, max(most, warm(status.configured)))

    def _is_due(self, now: float, cap: int, wanted: int) -> bool:
        since = (now - self._claimed_at) / self._times.heartbeat_s
        if self._is_down:
            return since >= _AGAIN
        had_cap, had_wanted = self._claimed
        if wanted > had_wanted or cap != had_cap:
            return since >= _STEP
        if wanted < had_wanted or len(self._held) < wanted:
            return since >= _AGAIN
        return since >= 1

    def _claim(self, cap: int, wanted: int) -> None:
        self._claimed_at = sent = self._clock()
        self._claimed = (cap, wanted)
        try:
            claim = self._store.claim(
                Pool(self._name, cap),
                self.owner,
                wanted,
                sorted(self._in_store),
                self._times.ttl_s,
            )
        except LeaseStoreDown as exc:
            if not self._is_down:
                log.warning("%s: %s; slots: %s", self._name, exc, self._policy.value)
            self._is_down = True
            return
        if self._is_down:
            log.info("%s: the lease store answers again", self._name)
        self._is_down, self._confirmed_at, self._target = False, sent, claim.target
        lost = self._in_store.difference(claim.slots)
        self._in_store = set(claim.slots)
        for slot in lost:
            # Expired; or ended by somebody, and then its place is kept until it is released.
            self._leaving[slot] = sent + self._linger_s
        self._held = [slot for slot in claim.slots if slot not in self._leaving]
        while self._leaving and len(self._held) < claim.target:
            again = next((slot for slot in self._leaving if slot in self._in_store), None)
            if again is None:
                break
            del self._leaving[again]
            self._held.append(again)
        if max(self._allowed, self._pool.status().live) > len(self._in_store):
            log.warning("%s: %s lost: connections are cut", self._name, counted(len(lost), "slot"))
            self._allow(len(self._in_store), cut=True)
        self._allow(min(len(self._held), claim.target))

    def _check_trust(self) -> None:
        """Go on alone once the slots may have expired in the store."""
        if self._clock() - self._confirmed_at < self._times.trusted_s:
            return
        if self._policy is OnStoreError.LOCAL:
            # What was held, and at the least what an idle gateway keeps.
            self._allow(max(self._allowed, warm(self._pool.status().configured)))
            return
        if self._allowed or self._in_store:
            log.warning(
                "%s: no slot is sure after %g s without the lease store: connections are closed",
                self._name, self._times.trusted_s,
            )  # fmt: skip
        self._target = 0
        self._in_store.clear()
        self._held.clear()
        self._leaving.clear()
        self._allow(0, cut=True)

    def _give_back(self) -> None:
        """Release slots that no connection needs any more."""
        now = self._clock()
        live = self._pool.status().live
        while len(self._held) > max(self._allowed, live):
            self._leaving[self._held.pop()] = now + self._linger_s
        if self._is_down:
            return
        for slot in [slot for slot, due in self._leaving.items() if due <= now]:
            if slot not in self._in_store and live > self._allowed:
                continue  # lost: its connection is not closed yet
            try:
                self._store.release(slot, SLOT, 0)
            except LeaseStoreDown as exc:
                log.warning("%s: %s", self._name, exc)
                self._is_down = True
                return
            del self._leaving[slot]
            self._in_store.discard(slot)

    def _allow(self, slots: int, *, cut: bool = False) -> None:
        if cut or slots != self._allowed:
            self._allowed = slots
            self._pool.allow(slots, cut=cut)

    @property
    def _linger_s(self) -> float:
        return _LINGER * self._times.heartbeat_s


class ProviderSlots:
    """The slots of all *pools* of this process. Made before the first request."""

    def __init__(
        self,
        store: LeaseStore,
        pools: Iterable[SharedPool],
        *,
        times: SlotTimes | None = None,
        on_store_error: OnStoreError = OnStoreError.REFUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at once. The store stays the caller's, who closes it after this."""
        self.owner = owner_id()
        self._all = [
            PoolSlots(store, pool, self.owner, times or SlotTimes(), on_store_error, clock)
            for pool in pools
        ]
        for one in self._all:
            one.start()

    def close(self) -> None:
        """Give all slots back at once: the connections are closed by now."""
        for one in self._all:
            one.close()
