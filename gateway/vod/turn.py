"""A turn: one lease, and the connection that it entitles to. They end together, once.

Whoever comes first ends it: the body's end, `close()`, an exception, the finalizer of the
response, the watchdog, a newer request of the session, an eviction, expiry. The connection is
closed before the lease is given back, so that whoever gets the slot finds it free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from gateway.errors import LeaseLost
from gateway.leases.held import Held
from gateway.leases.lease import State


class Closeable(Protocol):
    def close(self) -> object: ...


class Turn:
    """Made before the lease is asked for; *ended* hears of an end that somebody else chose."""

    # Invariant, true whenever the lock is free: what is in _held or _source belongs to a turn
    # that goes on (`over` is None).

    def __init__(self, ended: Callable[[Turn], object]) -> None:
        self.over: State | None = None
        self.ref = ""
        self._ended = ended
        self._grace_s: float | None = None
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._source: Closeable | None = None

    def lost(self, state: State) -> None:
        """What the keeper calls: the lease is superseded, evicted or lost. Quick."""
        if self.end(state, None if state is State.SUPERSEDED else 0.0):
            self._ended(self)

    def begin(self, held: Held) -> None:
        """Keep *held*, or give it back at once if the turn is over already. Raises LeaseLost."""
        with self._lock:
            self.ref = held.ref
            if self.over is None:
                self._held = held
                return
        held.release(self._grace_s)
        raise LeaseLost(f"the slot was taken back: {self.over.value}")

    def use(self, source: Closeable) -> None:
        """Have *source*, in place of any before it, closed when the turn ends. Raises LeaseLost."""
        with self._lock:
            over, before = self.over, self._source
            if over is None:
                self._source = source
        if over is not None:
            source.close()
            raise LeaseLost(f"the slot was taken back: {over.value}")
        if before is not None:
            before.close()

    def end(self, state: State = State.RELEASED, grace_s: float | None = None) -> bool:
        """Close the connection and give the lease back; False if that has happened already.

        *grace_s* None: the keeper's. Waits for the store at most for its time-out, and for
        nobody else.
        """
        with self._lock:
            if self.over is not None:
                return False
            self.over, self._grace_s = state, grace_s
            held, self._held = self._held, None
            source, self._source = self._source, None
        try:
            if source is not None:
                source.close()
        finally:
            if held is not None:
                held.release(grace_s)
        return True
