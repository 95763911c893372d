"""Releases that the store has missed, to be sent once it answers again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable


class Releases:
    """Keeps at most *limit*, the newest; what falls out of it expires in the store."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, session: str, ref: str, until: float) -> None:
        """Have *ref* released, with a grace that ends at *until*."""
        with self._lock:
            self._until[session, ref] = until
            while len(self._until) > self._limit:
                self._until.popitem(last=False)

    def send(self, release: Callable[[str, str, float], None], now: Callable[[], float]) -> None:
        """Call *release* with session, ref and what is left of its grace, the oldest first.

        One at a time; when it raises, that one and the rest stay.
        """
        while True:
            with self._lock:
                if not self._until:
                    return
                (session, ref), until = next(iter(self._until.items()))
            release(session, ref, max(0.0, until - now()))
            with self._lock:
                self._until.pop((session, ref), None)
