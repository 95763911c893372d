"""What is held and who waits at one provider: the counts and queues that a policy decides upon.

Pure state: no lock, no clock, no callback. `gateway.usenet.permits` keeps it under its lock,
`gateway.usenet.shares` reads it. Waiters lie in lines: those of one line differ in nothing but
their arrival, so that a decision looks at one head for each line, however many wait behind it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from gateway.usenet.permit_figures import Use
from gateway.usenet.workload import Reservation, Workload


class Request(NamedTuple):
    """A wish for one permit.

    *reservation* says who asks; None is taken for HEALTH and counted as unattributed. *demand*:
    a client is blocked on it now (otherwise it is read-ahead). *required_available*: how many
    permits must stay free beside this one; None asks the policy at the moment of granting.
    """

    reservation: Reservation | None
    demand: bool = True
    required_available: int | None = None

    def check(self, total: int) -> None:
        """Raise ValueError if so many can never stay free beside one of *total*."""
        number = self.required_available
        if number and not 0 <= number < total:  # 0 is met by any permit, whatever the total
            raise ValueError(
                f"required_available={number} of a total of {total} cannot be met: 0 <= n < total"
            )


class Account:
    """What one stream of one workload holds and wants; exists only while it does either."""

    __slots__ = ("ahead", "held", "waiting")

    def __init__(self) -> None:
        self.held = 0  # permits, *ahead* of them for read-ahead
        self.ahead = 0
        self.waiting = 0


class Entry:
    """One that waits: what is asked, since when (*arrival* counts up, *since* is a time)."""

    __slots__ = ("arrival", "line", "request", "reservation", "since")

    def __init__(self, request: Request, reservation: Reservation) -> None:
        self.request = request
        self.reservation = reservation
        self.arrival = 0
        self.since = 0.0
        self.line: Line[Any] | None = None


W = TypeVar("W", bound=Entry)
LineKey = tuple[int, int | None]
_arrival = attrgetter("arrival")


class Line(Generic[W]):
    """Waiters with the same workload, kind, stream and given number, by arrival; never empty."""

    __slots__ = ("account", "demand", "key", "required", "waiters", "workload")

    def __init__(self, workload: int, demand: bool, key: LineKey, account: Account) -> None:
        self.workload = workload
        self.demand = demand
        self.key = key
        self.required = key[1]
        self.account = account
        self.waiters: list[W] = []


class Ledger(Generic[W]):
    """The books of one semaphore: *total* permits, of *whole* that several gateways have together.

    `held_by` and `waiting_by` are indexed by workload. `accounts[workload]` holds every stream
    that holds or waits. `lanes[lane(workload, demand)]` holds the lines of one workload and kind.
    """

    __slots__ = ("accounts", "held", "held_by", "lanes", "total", "waiting", "waiting_by", "whole")

    def __init__(self, total: int) -> None:
        self.total = self.whole = total
        self.held = 0
        self.waiting = 0
        self.held_by = [0 for _ in Workload]
        self.waiting_by = [0 for _ in Workload]
        self.accounts: tuple[dict[int, Account], ...] = tuple({} for _ in Workload)
        self.lanes: tuple[dict[LineKey, Line[W]], ...] = tuple({} for _ in range(2 * len(Workload)))

    @staticmethod
    def lane(workload: int, demand: bool) -> int:
        """Return the place of a workload's demand reads, or of its read-ahead, in `lanes`."""
        return 2 * workload if demand else 2 * workload + 1

    def enter(self, waiter: W) -> None:
        """Put *waiter* into its line, at the place that its arrival gives it."""
        workload, stream = int(waiter.reservation.workload), waiter.reservation.stream
        request = waiter.request
        accounts = self.accounts[workload]
        account = accounts.get(stream)
        if account is None:
            account = accounts[stream] = Account()
        account.waiting += 1
        lane = self.lanes[2 * workload if request.demand else 2 * workload + 1]
        key = (stream, request.required_available)
        line = lane.get(key)
        if line is None:
            line = lane[key] = Line(workload, request.demand, key, account)
        waiters = line.waiters
        if not waiters or waiters[-1].arrival < waiter.arrival:
            waiters.append(waiter)
        else:
            insort(waiters, waiter, key=_arrival)
        waiter.line = line
        self.waiting += 1
        self.waiting_by[workload] += 1

    def leave(self, waiter: W) -> None:
        """Take *waiter*, wherever it stands, out of its line."""
        line = waiter.line
        if line is None:
            raise RuntimeError("a waiter left a line in which it does not stand")
        self._remove(line, bisect_left(line.waiters, waiter.arrival, key=_arrival))

    def serve(self, line: Line[W]) -> W:
        """Take the first of *line* out of it and enter one permit as held by it."""
        account, workload = line.account, line.workload
        account.held += 1
        if not line.demand:
            account.ahead += 1
        self.held += 1
        self.held_by[workload] += 1
        return self._remove(line, 0)

    def give_back(self, reservation: Reservation, demand: bool, account: Account) -> None:
        """Strike out one permit held under *reservation*."""
        workload = int(reservation.workload)
        account.held -= 1
        if not demand:
            account.ahead -= 1
        self.held -= 1
        self.held_by[workload] -= 1
        if not account.held and not account.waiting:
            del self.accounts[workload][reservation.stream]

    def take_again(self, reservation: Reservation, demand: bool, account: Account) -> None:
        """Undo `give_back`, when nothing has happened since."""
        workload = int(reservation.workload)
        account.held += 1
        if not demand:
            account.ahead += 1
        self.held += 1
        self.held_by[workload] += 1
        self.accounts[workload][reservation.stream] = account

    def uses(self) -> list[Use]:
        """Return who holds or waits, by workload and stream."""
        return [
            Use(Reservation(workload, stream), account.held, account.ahead, account.waiting)
            for workload in Workload
            for stream, account in self.accounts[workload].items()
        ]

    def _remove(self, line: Line[W], index: int) -> W:
        waiter: W = line.waiters.pop(index)
        waiter.line = None
        workload, account = line.workload, line.account
        if not line.waiters:
            del self.lanes[2 * workload if line.demand else 2 * workload + 1][line.key]
        account.waiting -= 1
        if not account.waiting and not account.held:
            del self.accounts[workload][line.key[0]]
        self.waiting -= 1
        self.waiting_by[workload] -= 1
        return waiter
