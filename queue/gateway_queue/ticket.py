"""A worker's ticket for one item, or one check: how it learns that it should let go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway_queue.item import LetGo


class Ticket:
    """Cancelled from any thread, looked at by the worker between its steps.

    Invariant, true whenever the lock is free: once cancelled no callback is registered, and
    each one that was has been called once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Make the worker let go. May be called again; never blocks."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for call in callbacks:
            call()

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def check(self) -> None:
        """Raise LetGo if the ticket has been cancelled."""
        if self._cancelled:
            raise LetGo

    @contextmanager
    def on_cancel(self, call: Callable[[], None]) -> Iterator[None]:
        """Have *call* called, quickly, if the ticket is cancelled within the block or before."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(call)
            late = self._cancelled
        if late:
            call()
        try:
            yield
        finally:
            with self._lock:
                if call in self._callbacks:
                    self._callbacks.remove(call)
