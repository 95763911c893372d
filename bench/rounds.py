"""How many rounds of submit, grant and release one thread does while 500 others wait."""

from __future__ import annotations

import itertools
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.figures import Results
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request
from gateway.usenet.shares import Shares
from gateway.usenet.workload import Reservation, Workload

TOTAL = 50
WAITING = 500
AIM = 100_000.0


@dataclass(frozen=True, slots=True)
class Mix:
    """Who waits: 500 requests. *aim*: rounds a CPU-second that it should reach."""

    name: str
    requests: tuple[Request, ...]
    aim: float | None = None


def _of(workload: Workload, stream: int, count: int, *, demand: bool) -> Iterable[Request]:
    return itertools.repeat(Request(Reservation(workload, stream), demand), count)


def mixes() -> Sequence[Mix]:
    """Return what is measured, the usual first and the worst last."""
    stream, queue, health = Workload
    eight = [
        request
        for viewer in range(8)
        for demand, count in ((True, 1), (False, 39))
        for request in _of(stream, viewer, count, demand=demand)
    ]
    imports = [r for item in (1, 2) for r in _of(queue, item, 75, demand=False)]
    checks = list(_of(health, 1, 30, demand=False))
    apart = [r for viewer in range(WAITING) for r in _of(stream, viewer, 1, demand=True)]
    fifty = [
        request
        for viewer in range(50)
        for demand, count in ((True, 1), (False, 9))
        for request in _of(stream, viewer, count, demand=demand)
    ]
    return (
        Mix("8 viewers, 2 imports, checks", (*eight, *imports, *checks), AIM),
        Mix("an import", tuple(_of(queue, 1, WAITING, demand=False))),
        Mix("50 viewers", tuple(fifty)),
        Mix("500 viewers, one article each", tuple(apart)),
    )


def rounds_per_cpu_s(mix: Mix, rounds: int) -> float:
    """Give a permit back and ask for another one, *rounds* times; return how many a CPU-second.

    Every permit that comes back is granted to one of the 500 who wait, and whoever gave it back
    queues up anew, so that 500 wait all the time.
    """
    semaphore = ExtendedSemaphore(TOTAL, Shares())
    held: deque[Permit] = deque()

    def granted(permit: Permit) -> bool:
        held.append(permit)
        return True

    requests = list(mix.requests)
    random.Random(1).shuffle(requests)
    for request in itertools.islice(itertools.cycle(requests), TOTAL + WAITING):
        semaphore.submit(request, granted)
    cpu = time.thread_time()
    for _ in range(rounds):
        permit = held.popleft()
        again = Request(permit.reservation, permit.demand)
        permit.release()
        semaphore.submit(again, granted)
    cpu = time.thread_time() - cpu
    waiting = sum(semaphore.snapshot().waiting.values())
    if waiting != WAITING:
        raise RuntimeError(f"{waiting} wait after {rounds} rounds, not {WAITING}")
    return rounds / cpu


def measure(results: Results, repeats: int = 9) -> None:
    """Measure every mix, in turns."""
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        for mix in mixes():
            rounds = 20_000 if mix.name != mixes()[-1].name else 4_000
            found.setdefault(mix.name, []).append(rounds_per_cpu_s(mix, rounds))
    for mix in mixes():
        name = f"{WAITING} waiting: {mix.name}"
        results.add(name, "rounds/CPU-s", found[mix.name], aim=mix.aim)
