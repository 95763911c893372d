"""A permit, a waiter, and how the one gets to the other: outside of every lock.

`gateway.usenet.permits` decides who is granted what; here it is handed over.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from gateway.usenet.ledger import Account, Entry, Request
from gateway.usenet.workload import Reservation, Workload

log = logging.getLogger(__name__)

UNATTRIBUTED = Reservation(Workload.HEALTH)


class Issuer(Protocol):
    """The semaphore, as its permits and waiters see it."""

    def take_back(self, permit: Permit, *, declined: bool = False) -> None: ...
    def extend(self, permit: Permit) -> bool: ...
    def promote(self, waiter: Waiter, request: Request) -> bool: ...
    def cancel(self, waiter: Waiter) -> bool: ...


class PermitState(enum.Enum):
    NEW = "made by hand: no semaphore has granted it"
    HELD = "its holder may talk to the provider"
    RIDING = "its holder goes along with that of another, which will be passed on to it"
    RELEASED = "given back; further releases are counted and do nothing"


class WaiterState(enum.Enum):
    WAITING = "stands in a line"
    GRANTED = "has a permit, which its callback gets or has got"
    CANCELLED = "gave up; its callback is never called"


class Permit:
    """The right to one exchange with the provider. Give it back with `release` or by `with`."""

    __slots__ = ("_issuer", "account", "demand", "reservation", "state", "waited_s")

    def __init__(
        self, issuer: Issuer, reservation: Reservation, demand: bool, waited_s: float
    ) -> None:
        self.reservation = reservation
        self.demand = demand
        self.waited_s = waited_s
        self._issuer = issuer
        self.account: Account | None = None
        self.state = PermitState.NEW

    @property
    def held(self) -> bool:
        """Whether it has not been given back yet."""
        return self.state is PermitState.HELD

    def release(self) -> None:
        """Give it back, and serve whoever may have it now. A second time is counted, no more.

        Raises RuntimeError if no semaphore has granted it.
        """
        self._issuer.take_back(self)

    def extend(self) -> bool:
        """Return whether the holder may put one more exchange on it.

        Only if a release now would serve nobody else, and no more is held than there is. False
        also when it has been given back.
        """
        return self._issuer.extend(self)

    def decline(self) -> None:
        """Give it back unused, unless its receiver has done so already."""
        self._issuer.take_back(self, declined=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Permit {self.state.name} {self.reservation}>"


Granted = Callable[[Permit], bool]


class Waiter(Entry):
    """A request on its way to a permit."""

    __slots__ = ("_issuer", "granted", "passenger", "permit", "state")

    def __init__(
        self, issuer: Issuer, request: Request, granted: Granted, passenger: object = None
    ) -> None:
        super().__init__(request, request.reservation or UNATTRIBUTED)
        self._issuer = issuer
        self.granted = granted
        self.passenger = passenger  # what may go along with another; None: it may not
        self.state = WaiterState.WAITING
        self.permit: Permit | None = None

    def promote(self, request: Request) -> bool:
        """Ask for *request* instead, stronger or weaker; arrival and age are kept.

        False: it no longer waits, and nothing has changed. Raises ValueError like `submit`, and
        then goes on waiting as before.
        """
        return self._issuer.promote(self, request)

    def cancel(self) -> bool:
        """Give up. False: already granted, and the callback gets or has got the permit.

        Again after a True: True.
        """
        return self._issuer.cancel(self)


def accept(permit: Permit) -> bool:  # noqa: ARG001 - Granted
    return True


class _Delivery(threading.local):
    """What this thread has granted and not yet handed over; None: it is handing nothing over."""

    pending: deque[Waiter] | None = None


_delivery = _Delivery()


def deliver(served: Sequence[Waiter]) -> None:
    """Hand permits over, without any lock, until all are accepted or given back.

    What a callback causes in turn (it releases, submits, declines) is handed over by the
    outermost call of this thread: a row of 500 who decline costs no stack.
    """
    if _delivery.pending is not None:
        _delivery.pending.extend(served)
        return
    if not served:
        return
    pending = _delivery.pending = deque(served)
    failure: BaseException | None = None
    try:
        while pending:
            waiter = pending.popleft()
            permit, granted = waiter.permit, waiter.granted
            waiter.granted, waiter.passenger = accept, None  # lets go of what they hold
            if permit is None:
                continue
            accepted = False
            try:
                accepted = granted(permit)
            except Exception:
                log.exception("a receiver of %r failed: given back", permit)
            except BaseException as error:  # noqa: BLE001 - raised below, after the others
                failure = error
            if not accepted:
                permit.decline()
    finally:
        _delivery.pending = None
    if failure is not None:
        raise failure
