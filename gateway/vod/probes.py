"""Short probes that are let in beside full accounts: what is left to each session of its one."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.leases.lease import PIN_S

_KEPT = 10_000


@dataclass(slots=True)
class Probe:
    """One session's probe: the account at *place*, *left* bytes, until then (monotonic)."""

    place: int
    left: int
    until: float


class Probes:
    """The probes of all sessions, each remembered for as long as its account is pinned."""

    def __init__(
        self,
        *,
        size: int = 16 << 20,
        seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size, self._seconds, self._clock = size, seconds, clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Probe] = OrderedDict()

    def of(self, session: str) -> Probe | None:
        """Return the probe of *session*, also one that is used up; None: it has had none."""
        with self._lock:
            probe = self._known.get(session)
            return probe if probe and self._clock() < probe.until + PIN_S else None

    def has_left(self, session: str) -> bool:
        """Say whether *session* may still probe: it has not begun to, or has something left."""
        probe = self.of(session)
        return probe is None or (probe.left > 0 and self._clock() < probe.until)

    def begin(self, session: str, place: int) -> Probe:
        """Return the probe of *session*, which begins now if it has had none."""
        probe = self.of(session) or Probe(place, self._size, self._clock() + self._seconds)
        with self._lock:
            self._known[session] = probe
            self._known.move_to_end(session)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return probe
