"""Permits to talk to one provider: a semaphore that knows who asks.

A permit covers one exchange (one BODY, one batch of STATs, one dialling). Whoever waits holds no
thread: `submit` calls back. Who is served next is decided by a policy (`gateway.usenet.shares`)
over the books of the moment (`gateway.usenet.ledger`); a request may bring its own threshold
instead. Nothing here may be called from a finalizer: the lock is not re-entrant.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from gateway.errors import PermitTimeout
from gateway.usenet.handover import (
    UNATTRIBUTED,
    Granted,
    Permit,
    PermitState,
    Waiter,
    WaiterState,
    accept,
    deliver,
)
from gateway.usenet.ledger import Ledger, Line, Request
from gateway.usenet.permit_figures import WAIT_BOUNDS_S, PermitsSnapshot, Use, Waits
from gateway.usenet.shares import Fixed, Policy
from gateway.usenet.workload import Reservation, Workload, current

__all__ = ["ExtendedSemaphore", "Permit", "PermitsSnapshot", "Request", "Waiter"]

# Looked up once: an enum's attribute costs more than the rest of a comparison.
HELD, RELEASED, RIDING = PermitState.HELD, PermitState.RELEASED, PermitState.RIDING
WAITING, GRANTED, CANCELLED = WaiterState.WAITING, WaiterState.GRANTED, WaiterState.CANCELLED


class ExtendedSemaphore:
    """Permits of one provider, each granted only while more than its threshold are free.

    *total* may be 0: all wait. *policy* None: threshold 0, by arrival. *clock* measures waiting.
    """

    # Invariants, true whenever the lock is free:
    #   free + held == total                    (free is below 0 after the total has shrunk)
    #   the policy would serve no waiter        (nobody waits who could be served)
    #   a waiter stands in a line, has a permit, or has given up: exactly one of them
    # `_grant` restores the second after every change, and is the only one that grants.
    # Callbacks run after the lock has been left, see `deliver`.

    def __init__(
        self,
        total: int,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_total(total)
        self._policy: Policy = policy if policy is not None else Fixed()
        self._clock = clock
        self._lock = threading.Lock()
        self._ledger: Ledger[Waiter] = Ledger(total)
        self._arrivals = 0
        self._waits = [Waits() for _ in Workload]
        self._declined = 0
        self._double_releases = 0
        self._unattributed = 0

    def acquire(
        self,
        required_available: int | None = 0,
        *,
        reservation: Reservation | None = None,
        demand: bool = True,
        deadline: float | None = None,
    ) -> Permit:
        """Return a permit, waiting for it until *deadline* (a time of the clock; None: for ever).

        *required_available* None asks the policy. *reservation* None takes the one in force in
        this thread. What is free now is granted even when the deadline has passed.

        Raises PermitTimeout; ValueError if not 0 <= required_available < total.
        """
        gate = threading.Lock()
        gate.acquire()

        def open_gate(permit: Permit) -> bool:  # noqa: ARG001 - Granted
            gate.release()
            return True

        start = self._clock()
        request = Request(reservation or current(), demand, required_available)
        waiter = Waiter(self, request, open_gate)
        try:
            self._submit(waiter)
            if waiter.permit is None:
                left = math.inf if deadline is None else max(0.0, deadline - start)
                gate.acquire(timeout=min(left, threading.TIMEOUT_MAX))
                # Granted in the same instant: then cancel() answers False and the permit is ours.
                waiter.cancel()
        except BaseException:
            if not waiter.cancel() and waiter.permit is not None:
                waiter.permit.release()
            raise
        if waiter.permit is None:
            seen = self.snapshot()
            raise PermitTimeout(
                f"no permit within {self._clock() - start:.3g} s: {max(0, seen.free)} of "
                f"{seen.total} free, {sum(seen.waiting.values())} others waiting"
            )
        return waiter.permit

    def try_acquire(
        self,
        required_available: int | None = 0,
        *,
        reservation: Reservation | None = None,
        demand: bool = True,
    ) -> Permit | None:
        """Return a permit if one can be had now, otherwise None. Arguments as for `acquire`."""
        request = Request(reservation or current(), demand, required_available)
        waiter = Waiter(self, request, accept)
        with self._lock:
            self._enter(waiter)
            served = self._grant()
            if waiter.permit is None:
                waiter.state = CANCELLED
                self._ledger.leave(waiter)
                served = [*served, *self._grant()]
        deliver(served)
        return waiter.permit

    def submit(self, request: Request, granted: Granted, *, passenger: object = None) -> Waiter:
        """Ask for a permit without waiting: *granted* is called with it, once, or never.

        It runs in the thread that caused the grant (this one or a releaser's), without the lock,
        perhaps before `submit` returns; inside another such callback, after that one has
        returned. It must be quick and must not wait for permits. It answers whether it accepts:
        after False or an exception the permit is given back. *passenger*: see `ride`.

        Raises ValueError if a number is given and not 0 <= required_available < total.
        """
        waiter = Waiter(self, request, granted, passenger)
        self._submit(waiter)
        return waiter

    def ride(self, permit: Permit) -> Waiter | None:
        """Have the one go along whom a release of *permit* would serve now; None: nobody.

        Only a waiter with a passenger, of the same reservation and kind. It is granted without
        its callback being called; its permit counts for nothing until `pass_on` is.
        """
        with self._lock:
            line = self._after(permit)
            if line is None or line.account is not permit.account or line.demand != permit.demand:
                return None
            waiter = line.waiters[0]
            if waiter.passenger is None:
                return None
            self._ledger.leave(waiter)
            self._entitle(waiter, line, self._clock(), RIDING)
            waiter.granted = accept
            return waiter

    def pass_on(self, permit: Permit, rider: Permit) -> None:
        """Let *rider* hold what *permit* does: the books stay as they are."""
        with self._lock:
            if permit.state is not HELD or rider.state is not RIDING:
                raise RuntimeError(f"{permit!r} cannot be passed on to {rider!r}")
            permit.state, rider.state = RELEASED, HELD

    def guarantee(self, workload: Workload) -> int:
        """Return how many permits are guaranteed to *workload* at this moment."""
        with self._lock:
            return self._policy.limits(self._ledger.total, self._ledger.whole).guarantee[workload]

    def resize(self, total: int, whole: int | None = None) -> None:
        """Change the total, and serve whoever can be served now. What is held stays held.

        *whole*: of how many this is a part, which other gateways have too; None: of no more.
        Caps that are a share of the connections are reckoned from it.
        """
        _check_total(total)
        with self._lock:
            self._ledger.total = total
            self._ledger.whole = total if whole is None else max(total, whole)
            served = self._grant()
        deliver(served)

    def use(self, policy: Policy) -> None:
        """Decide by *policy* from now on, and serve whomever it lets in now. Cuts nobody."""
        with self._lock:
            self._policy = policy
            served = self._grant()
        deliver(served)

    def usable(self) -> int:
        """Return how many permits would be held now if the total were the whole."""
        with self._lock:
            return self._policy.usable(self._ledger)

    def snapshot(self) -> PermitsSnapshot:
        """Return the books of this instant."""
        with self._lock:
            ledger, policy = self._ledger, self._policy
            limits = policy.limits(ledger.total, ledger.whole)
            waits = {w: self._waits[w].snapshot() for w in Workload}
            return PermitsSnapshot(
                total=ledger.total,
                free=ledger.total - ledger.held,
                held={w: ledger.held_by[w] for w in Workload},
                waiting={w: ledger.waiting_by[w] for w in Workload},
                granted={w: waits[w].count for w in Workload},
                required={w: policy.required_available(ledger, w) for w in Workload},
                guarantee={w: limits.guarantee[w] for w in Workload},
                cap={w: limits.cap[w] for w in Workload},
                waits=waits,
                declined=self._declined,
                double_releases=self._double_releases,
                unattributed=self._unattributed,
            )

    def uses(self) -> list[Use]:
        """Return who holds permits or waits for them now, by workload and stream."""
        with self._lock:
            return self._ledger.uses()

    # Under the lock

    def _grant(self) -> Sequence[Waiter]:
        """Serve everybody who can be served; return them, for `deliver`.

        Called with the lock held, after every change. No other method grants.
        """
        ledger = self._ledger
        if not ledger.waiting or ledger.total <= ledger.held:
            return ()
        served: list[Waiter] = []
        now = self._clock()
        while ledger.waiting and ledger.total > ledger.held:
            line = self._policy.choose(ledger, now)
            if line is None:
                break
            waiter = ledger.serve(line)
            self._entitle(waiter, line, now, HELD)
            served.append(waiter)
        return served

    def _entitle(self, waiter: Waiter, line: Line[Waiter], now: float, state: PermitState) -> None:
        waited_s = now - waiter.since
        permit = Permit(self, waiter.reservation, line.demand, waited_s)
        permit.account = line.account
        permit.state = state
        waiter.permit = permit
        waiter.state = GRANTED
        waits = self._waits[line.workload]
        waits.counts[bisect_left(WAIT_BOUNDS_S, waited_s)] += 1
        waits.sum_s += waited_s

    def _after(self, permit: Permit) -> Line[Waiter] | None:
        """Return the line that a release of *permit* would serve now, None if it would nobody."""
        ledger, account = self._ledger, permit.account
        if permit.state is not HELD or account is None or ledger.total < ledger.held:
            return None
        if not ledger.waiting:
            return None
        ledger.give_back(permit.reservation, permit.demand, account)
        line = self._policy.choose(ledger, self._clock())
        ledger.take_again(permit.reservation, permit.demand, account)
        return line

    def _enter(self, waiter: Waiter) -> None:
        waiter.request.check(self._ledger.total)
        if waiter.request.reservation is None:
            self._unattributed += 1
        self._arrivals += 1
        waiter.arrival = self._arrivals
        waiter.since = self._clock()
        self._ledger.enter(waiter)

    # What permits and waiters ask for; every change ends in `_grant`

    def _submit(self, waiter: Waiter) -> None:
        with self._lock:
            self._enter(waiter)
            served = self._grant()
        if served:
            deliver(served)

    def take_back(self, permit: Permit, *, declined: bool = False) -> None:
        with self._lock:
            if permit.state is not HELD or permit.account is None:
                if permit.state is PermitState.NEW:
                    raise RuntimeError(f"released what no semaphore has granted: {permit!r}")
                self._double_releases += not declined
                return
            permit.state = RELEASED
            self._declined += declined
            self._ledger.give_back(permit.reservation, permit.demand, permit.account)
            served = self._grant()
        if served:
            deliver(served)

    def promote(self, waiter: Waiter, request: Request) -> bool:
        with self._lock:
            if waiter.state is not WAITING:
                return False
            request.check(self._ledger.total)
            if request.reservation is None and waiter.request.reservation is not None:
                self._unattributed += 1
            self._ledger.leave(waiter)
            waiter.passenger = None  # it is somebody else's now
            waiter.request = request
            waiter.reservation = request.reservation or UNATTRIBUTED
            self._ledger.enter(waiter)
            served = self._grant()
        deliver(served)
        return True

    def cancel(self, waiter: Waiter) -> bool:
        with self._lock:
            if waiter.state is not WAITING:
                return waiter.state is CANCELLED
            waiter.state = CANCELLED
            waiter.granted, waiter.passenger = accept, None  # lets go of what they hold
            if waiter.line is None:  # interrupted before it came into a line
                return True
            self._ledger.leave(waiter)
            # One stream less with work raises the read-ahead cap of the others.
            served = self._grant()
        deliver(served)
        return True

    def extend(self, permit: Permit) -> bool:
        with self._lock:
            if permit.state is not HELD or self._ledger.total < self._ledger.held:
                return False
            return self._after(permit) is None


def _check_total(total: int) -> None:
    if total < 0:
        raise ValueError(f"total={total}: a semaphore has 0 permits or more")
