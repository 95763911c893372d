"""The keeper: what keeps the leases of this process alive, and tells their holders of their end.

One thread extends all leases with one call per heartbeat, whatever their number. What is given
back while the store is down is queued, in bounds; what is lost of it expires.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from gateway.errors import GatewayError, LeaseLost, LeaseRefused, LeaseStoreDown, StoreRecovering
from gateway.leases.figures import (
    DRAINING,
    GRANTED,
    LOCAL,
    KeeperFigures,
    KeeperStatus,
    Tally,
    outcome_of,
)
from gateway.leases.held import Held, OnStoreError, choose_locally
from gateway.leases.lease import HEARTBEAT_S, TTL_S, LeaseStore, Notice, Pool, State
from gateway.leases.releases import Releases

_log = logging.getLogger(__name__)
GRACE_S = 2.0
_QUEUE = 10_000
_MEANWHILE = {
    OnStoreError.REFUSE: "no new session is admitted, and what is held ends after ttl",
    OnStoreError.LOCAL: "this process admits by its own count, and what is held goes on",
}
_AGAIN = 0.2  # of a heartbeat: how soon a heartbeat that failed is tried again


class Keeper:
    """The leases of one process in one store.

    Without a successful heartbeat for ttl by this process's monotonic clock, a lease is over in
    the store too: under REFUSE its holder is told LOST then.
    """

    def __init__(
        self,
        store: LeaseStore,
        *,
        ttl_s: float = TTL_S,
        heartbeat_s: float = HEARTBEAT_S,
        grace_s: float = GRACE_S,
        on_store_error: OnStoreError = OnStoreError.REFUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at once. The store stays the caller's, who closes it after the keeper."""
        self._store, self._ttl_s, self._grace_s = store, ttl_s, grace_s
        self._heartbeat_s, self._policy, self._clock = heartbeat_s, on_store_error, clock
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], Held] = {}
        self._releases = Releases(_QUEUE)
        self._down: str | None = None
        self._draining = False
        self._caps: dict[str, int] = {}
        self._tally = Tally()
        self._beating = threading.Lock()  # held over I/O; only beats wait for it
        self._closing = threading.Event()
        self._watch = store.watch(self._hear)
        self._thread = threading.Thread(target=self._run, name="lease heartbeat", daemon=True)
        self._thread.start()

    def acquire(
        self, candidates: Sequence[Sequence[Pool]], session: str, lost: Callable[[State], None]
    ) -> Held:
        """Take a place for one request of *session*, and keep it until it is released.

        *lost* is called at most once, from any thread and possibly before this returns, when the
        lease is superseded, evicted or lost: it must be quick, have the upstream closed, and
        `release` called after that.

        Raises as `LeaseStore.acquire` does, and LeaseRefused for a new session while draining.
        LeaseStoreDown only under REFUSE; under LOCAL this process's own count decides then.
        """
        held = Held(session, uuid.uuid4().hex, lost, self._release)
        with self._lock:
            known = any(one.session == session for one in self._held.values())
            if self._draining and not known:
                self._tally.acquired(DRAINING, "", None)
                raise LeaseRefused("this gateway is shutting down: no new sessions")
            # Known before it is granted, so that no notice is missed.
            self._held[session, held.ref] = held
            self._caps.update((pool.name, pool.cap) for one in candidates for pool in one)
        began = time.perf_counter()
        try:
            outcome, superseded = self._ask(candidates, held, again=known)
        except BaseException as exc:
            self._forget(held)
            if not isinstance(exc, LeaseRefused | LeaseLost):
                self._queue(held, 0)  # it is not known whether the store has it
            if isinstance(exc, GatewayError):
                self._tally.acquired(*outcome_of(exc), time.perf_counter() - began)
            raise
        self._tally.acquired(outcome, "", time.perf_counter() - began)
        for ref in superseded:
            with self._lock:
                older = self._held.get((session, ref))
            if older is not None:
                self._end(older, State.SUPERSEDED)
        return held

    def evict(self, session: str) -> tuple[str, ...]:
        """End *session*, wherever it is held, and return its refs. Raises LeaseStoreDown."""
        refs = self._store.evict(session)
        with self._lock:
            here = [one for one in self._held.values() if one.session == session]
        for one in here:
            self._end(one, State.EVICTED)
        return refs

    def drain(self) -> None:
        """Refuse new sessions in this process from now on; those that are here go on."""
        with self._lock:
            self._draining = True

    def status(self) -> KeeperStatus:
        with self._lock:
            sessions = {session for session, _ in self._held}
            return KeeperStatus(
                len(self._held),
                len(sessions),
                len(self._releases),
                self._down,
                self._draining,
                self._tally.failed_heartbeats,
            )

    def figures(self) -> KeeperFigures:
        """Return what has been done since the start."""
        return self._tally.snapshot()

    def refs(self) -> frozenset[tuple[str, str]]:
        """Return session and ref of everything that this process holds, or is asking for."""
        with self._lock:
            return frozenset(self._held)

    def caps(self) -> Mapping[str, int]:
        """Return for each pool that this process has asked for the cap that it named last."""
        with self._lock:
            return dict(self._caps)

    def close(self) -> None:
        """Give everything back without grace, and end the thread. May be called twice."""
        self.drain()
        self._closing.set()
        self._thread.join()
        with self._lock:
            left = list(self._held.values())
        for held in left:
            held.end(State.LOST)
            held.release(0)
        try:
            self._release_queued()
        except LeaseStoreDown as exc:
            _log.info("what is still held expires within %g s: %s", self._ttl_s, exc)
        self._watch.close()

    def beat(self) -> None:
        """Send what is queued, extend what is held, and tell holders of what is over."""
        with self._beating:
            with self._lock:
                held = [one for one in self._held.values() if one.pools]
            leased = [one for one in held if one.state is State.HELD]
            sent = self._clock()
            try:
                self._release_queued()
                states = self._store.heartbeat([one.lease for one in leased], self._ttl_s)
            except LeaseStoreDown as exc:
                self._note_down(exc)
                self._tally.failed_heartbeats += 1
                self._give_up(leased)
                return
            with self._lock:
                was_down, self._down = self._down is not None, None
            if was_down:
                _log.info("the lease store answers again")
            for one, state in zip(leased, states, strict=True):
                if state is State.LOST and self._policy is OnStoreError.LOCAL:
                    state = self._regain(one)
                if state is State.HELD:
                    one.confirmed_at = sent
                else:
                    # Released by somebody else; what was released here is over already.
                    self._end(one, State.LOST if state is State.RELEASED else state)

    def _run(self) -> None:
        pause_s = 0.0  # the first heartbeat has an empty store begin its epoch
        while not self._closing.wait(pause_s):
            try:
                self.beat()
            except Exception:  # noqa: BLE001 - without this thread all leases would end
                _log.exception("a heartbeat of leases failed")
            pause_s = self._heartbeat_s
            if self._down is not None:
                with self._lock:
                    over = [one.confirmed_at for one in self._held.values() if one.pools]
                left_s = min(over, default=self._clock()) + self._ttl_s - self._clock()
                pause_s *= _AGAIN
                if 0 < left_s < pause_s:
                    pause_s = left_s

    def _ask(
        self, candidates: Sequence[Sequence[Pool]], held: Held, *, again: bool
    ) -> tuple[str, tuple[str, ...]]:
        """Return how it was granted, and the refs that must make room."""
        held.confirmed_at = self._clock()
        try:
            grant = self._store.acquire(candidates, held.session, held.ref, self._ttl_s)
        except StoreRecovering:
            if not again:
                raise
            self.beat()  # the session is ours: put it back, and it is no new one
            held.confirmed_at = self._clock()
            grant = self._store.acquire(candidates, held.session, held.ref, self._ttl_s)
        except LeaseStoreDown as exc:
            self._note_down(exc)
            if self._policy is OnStoreError.REFUSE:
                raise
            try:
                return LOCAL, self._admit_locally(candidates, held)
            except LeaseRefused:
                self._queue(held, 0)
                raise
        held.grant(grant.chosen, candidates[grant.chosen], grant.superseded)
        return GRANTED, grant.superseded

    def _admit_locally(self, candidates: Sequence[Sequence[Pool]], held: Held) -> tuple[str, ...]:
        with self._lock:
            others = [one for one in self._held.values() if one is not held]
            chosen = choose_locally(candidates, held.session, others)
            older = tuple(one.ref for one in others if one.session == held.session and one.pools)
            held.grant(chosen, candidates[chosen], older)
        return older

    def _regain(self, held: Held) -> State:
        """Ask again for a lease that went on without the store, and return how it stands."""
        try:
            self._store.acquire([held.pools], held.session, held.ref, self._ttl_s)
        except (StoreRecovering, LeaseStoreDown):
            pass  # the next heartbeat tells
        except (LeaseRefused, LeaseLost):
            return State.LOST
        return State.HELD

    def _give_up(self, leased: Sequence[Held]) -> None:
        """Tell those whose ttl has passed without a heartbeat."""
        if self._policy is OnStoreError.REFUSE:
            now = self._clock()
            for one in leased:
                if now - one.confirmed_at >= self._ttl_s:
                    self._end(one, State.LOST)

    def _hear(self, notice: Notice) -> None:
        with self._lock:
            here = self._held.get((notice.session, notice.ref))
            siblings = [one for one in self._held.values() if one.session == notice.session]
        if notice.state is State.RELEASED:
            for one in siblings:
                one.confirm(notice.ref)
        elif here is not None:
            self._end(here, notice.state)

    def _release(self, held: Held, grace_s: float | None) -> None:
        grace_s = self._grace_s if grace_s is None else grace_s
        if not self._forget(held):
            return
        held.end(State.RELEASED)
        with self._lock:
            is_down = self._down is not None
            siblings = [one for one in self._held.values() if one.session == held.session]
        if is_down:
            self._queue(held, grace_s)
        else:
            try:
                self._store.release(held.session, held.ref, grace_s)
            except LeaseStoreDown as exc:
                self._note_down(exc)
                self._queue(held, grace_s)
        for one in siblings:
            one.confirm(held.ref)

    def _end(self, held: Held, state: State) -> None:
        if held.end(state):
            self._tally.ended(state)

    def _forget(self, held: Held) -> bool:
        with self._lock:
            return self._held.pop((held.session, held.ref), None) is not None

    def _queue(self, held: Held, grace_s: float) -> None:
        self._releases.add(held.session, held.ref, self._clock() + grace_s)

    def _release_queued(self) -> None:
        self._releases.send(self._store.release, self._clock)

    def _note_down(self, exc: LeaseStoreDown) -> None:
        with self._lock:
            first, self._down = self._down is None, str(exc)
        if first:
            _log.warning("%s; until it does, %s", exc, _MEANWHILE[self._policy])
