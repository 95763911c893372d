"""What is told of a pool: how it stands, and in the log each request, and each busy minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.usenet.limit import SlotFigures
from gateway.usenet.permit_figures import PermitsSnapshot
from gateway.usenet.permits import ExtendedSemaphore, Request
from gateway.usenet.workload import Workload

log = logging.getLogger(__name__)

# How often a busy pool tells how it stands.
EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """How a pool stands.

    *allowed* is below *configured* when the provider taught us less, and *limit* below that where
    other gateways hold *slots* of the account. *received*: the bytes of all replies since the
    start.
    """

    configured: int
    allowed: int
    limit: int
    live: int
    idle: int
    dialling: int
    received: int
    slots: SlotFigures | None = None


class Told(Protocol):
    """What is told about: a pool."""

    name: str
    permits: ExtendedSemaphore

    def status(self) -> PoolStatus: ...


def log_request(pool: Told, request: Request) -> None:
    """Tell of *request*, which is about to ask for a permit, and what it finds."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    seen = pool.permits.snapshot()
    # Whoever does not say who asks is treated as a health check.
    workload = request.reservation.workload if request.reservation else Workload.HEALTH
    required = request.required_available
    log.debug(
        "[ConnPool] %s: requesting connection for %s: %s Required=%d Waiting=%d",
        pool.name,
        _title(workload) if request.reservation else "nobody",
        _standing(pool.status(), seen),
        seen.required[workload] if required is None else required,
        sum(seen.waiting.values()),
    )


class BusyLog:
    """Tells once a minute how *pool* stands, and nothing of a minute in which nobody used it."""

    def __init__(self, pool: Told, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._due = clock() + EVERY_S
        self._granted = dict.fromkeys(Workload, 0)

    def look(self) -> None:
        """Tell if a minute has passed. To be called every second or so, by one thread."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + EVERY_S
        seen = self._pool.permits.snapshot()
        granted = {w: seen.granted[w] - self._granted[w] for w in Workload}
        self._granted = dict(seen.granted)
        if not any(granted.values()) and seen.free == seen.total and not any(seen.waiting.values()):
            return
        each = "; ".join(
            f"{_title(w)}: Held={seen.held[w]} Waiting={seen.waiting[w]} "
            f"Granted={granted[w]} Required={seen.required[w]}"
            for w in Workload
        )
        waiting = sum(seen.waiting.values())
        standing = _standing(self._pool.status(), seen)
        log.info("[ConnPool] %s: %s Waiting=%d; %s", self._pool.name, standing, waiting, each)


def _standing(status: PoolStatus, seen: PermitsSnapshot) -> str:
    active = status.live - status.idle
    return f"Live={status.live} Idle={status.idle} Active={active} Available={seen.available}"


def _title(workload: Workload) -> str:
    return workload.name.title()
