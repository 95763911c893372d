"""The rules of sharing under a model clock: the real semaphore, made-up exchanges, no sleeping.

Workers in a closed loop ask for a permit, hold it for as long as an exchange takes, give it back
and ask again in the same instant. Time is an event queue; a run of minutes takes a second.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.usenet.permits import ExtendedSemaphore, Permit, Request
from gateway.usenet.policy import Policy
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Reservation, Workload

SEED = 20250101
TOTAL = 50
MEAN_S = 0.25
"""How long an exchange takes on average in the table."""

Service = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True)
class Crew:
    """*workers* of one workload. *required*: a threshold that each brings; None asks the policy.

    *stream*: the stream that all of them work for; None gives each one its own. They begin to
    ask at *begins_s*.
    """

    workload: Workload
    workers: int
    required: int | None = None
    demand: bool = True
    stream: int | None = None
    begins_s: float = 0.0

    def requests(self) -> list[Request]:
        """Return what each of them asks for, again and again."""
        streams = [self.stream if self.stream is not None else at for at in range(self.workers)]
        return [
            Request(Reservation(self.workload, stream), self.demand, self.required)
            for stream in streams
        ]


@dataclass(frozen=True, slots=True)
class Wait:
    """One permit's way: how many of its workload waited *ahead* of it, how many came *before* it.

    *ahead* is counted when it is asked for, *before* are those served between then and its grant.
    """

    workload: Workload
    demand: bool
    ahead: int
    before: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to after its warm-up: *busy* permits on average, and exchanges a second."""

    busy: float
    stream_s: float
    queue_s: float
    health_s: float
    most_busy: int
    slowest_s: float
    waits: tuple[Wait, ...]

    @property
    def rates(self) -> tuple[float, float, float, float]:
        return (self.busy, self.stream_s, self.queue_s, self.health_s)


class _Loop:
    """One run."""

    def __init__(self, policy: Policy | None, total: int, service: Service, seed: int) -> None:
        self.now = 0.0
        self.semaphore = ExtendedSemaphore(total, policy, clock=lambda: self.now)
        self.ends: list[tuple[float, int, Permit, Request]] = []
        self.waits: list[Wait] = []
        self.slowest_s = 0.0
        self._service = service
        self._chance = random.Random(seed)
        self._grants = 0
        self._waiting = [0 for _ in Workload]
        self._granted = [0 for _ in Workload]

    def ask(self, request: Request) -> None:
        assert request.reservation is not None
        workload = request.reservation.workload
        asked_at, ahead, before = self.now, self._waiting[workload], self._granted[workload]

        def granted(permit: Permit) -> bool:
            self._waiting[workload] -= 1
            served = self._granted[workload] - before
            wait = Wait(workload, request.demand, ahead, served, self.now - asked_at)
            self.waits.append(wait)
            self._granted[workload] += 1
            self._grants += 1
            took = self._service(self._chance)
            self.slowest_s = max(self.slowest_s, took)
            heapq.heappush(self.ends, (self.now + took, self._grants, permit, request))
            return True

        self._waiting[workload] += 1
        self.semaphore.submit(request, granted)


def exponential(chance: random.Random) -> float:
    """Return how long an exchange of the table takes."""
    return chance.expovariate(1 / MEAN_S)


def run(
    policy: Policy | None,
    crews: Sequence[Crew],
    *,
    total: int = TOTAL,
    seconds: float = 240.0,
    warm_up_s: float = 40.0,
    service: Service = exponential,
    seed: int = SEED,
) -> Outcome:
    """Let *crews* work until *seconds* of the model's clock; count after *warm_up_s*."""
    loop = _Loop(policy, total, service, seed)
    coming = sorted(crews, key=lambda crew: crew.begins_s)
    done = [0 for _ in Workload]
    held = most = 0
    busy = 0.0
    while loop.now < seconds:
        if coming and (not loop.ends or loop.ends[0][0] >= coming[0].begins_s):
            crew = coming.pop(0)
            loop.now = crew.begins_s
            for request in crew.requests():
                loop.ask(request)
            held = len(loop.ends)
            continue
        end, _, permit, request = heapq.heappop(loop.ends)
        if end > warm_up_s:
            busy += held * (end - max(loop.now, warm_up_s))
            most = max(most, held)
            done[permit.reservation.workload] += 1
        loop.now = end
        # The worker asks again in the same instant; the permit goes to whoever waits.
        permit.release()
        loop.ask(request)
        held = len(loop.ends)
    span = loop.now - warm_up_s
    stream, queue, health = (count / span for count in done)
    return Outcome(busy / span, stream, queue, health, most, loop.slowest_s, tuple(loop.waits))


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: a way to share, who works under it, and what that should come to."""

    name: str
    policy: Policy | None
    crews: tuple[Crew, ...]
    expected: tuple[float, float, float, float]

    def run(self) -> Outcome:
        """Return what it comes to."""
        return run(self.policy, self.crews)


_STREAM, _QUEUE, _HEALTH = Workload
_VIEWERS, _IMPORTS = Crew(_STREAM, 60), Crew(_QUEUE, 35)
_CHECKS = Crew(_HEALTH, 50, begins_s=20.0)
_UNMET = Shares(20, 10, 2)

RULES: tuple[Rule, ...] = (
    Rule(
        "streams at 0, queue at 20: the queue waits for ever",
        None,
        (Crew(_STREAM, 60, 0), Crew(_QUEUE, 35, 20)),
        (50.0, 199.5, 0.0, 0.0),
    ),
    Rule(
        "fixed, 30 of 50: both get some, 20 stay idle",
        Fixed(30),
        (_VIEWERS, _IMPORTS),
        (30.0, 75.3, 43.9, 0.0),
    ),
    Rule(
        "fixed, health checks at 0: they starve both",
        Fixed(30),
        (_VIEWERS, _IMPORTS, Crew(_HEALTH, 50, 0, begins_s=20.0)),
        (50.0, 0.0, 0.0, 199.5),
    ),
    Rule(
        "shares 20/10/2: all busy, everybody has what it is owed",
        _UNMET,
        (_VIEWERS, _IMPORTS, _CHECKS),
        (50.0, 151.9, 39.7, 7.9),
    ),
    Rule("fixed, streams idle", Fixed(30), (Crew(_QUEUE, 60),), (30.0, 0.0, 119.1, 0.0)),
    Rule("shares, streams idle", _UNMET, (Crew(_QUEUE, 60),), (50.0, 0.0, 199.5, 0.0)),
)
"""The table that the policies were chosen by, with what a model of each rule says."""
