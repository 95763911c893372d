"""Signals to the program, taken by the one thread that waits for them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def awaited(*numbers: signal.Signals) -> Iterator[Callable[[], signal.Signals]]:
    """Give a function that waits for the next of *numbers* and returns it.

    To be entered before any thread is started: within the block all threads leave these signals
    to that function. Handlers will not do. The kernel hands a signal to any thread, preferably
    the main one, but also one that is just being made; Python then runs the handler when the
    main thread wakes up, and that waits for a signal (1 SIGTERM in 16 was lost while
    connections were dialled). What comes after the last call is dropped at the block's end.
    """
    wanted = set(numbers)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        yield lambda: signal.Signals(signal.sigwait(wanted))
    finally:
        while signal.sigpending() & wanted:
            signal.sigwait(wanted)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
