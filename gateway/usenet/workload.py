"""Who is asking: the workload and stream on whose behalf a provider is talked to.

The reservation travels in a context variable within one thread. It does not reach threads by
itself: `carry` binds it to a callable, and whoever outlives the call that opened it (a stream
iterated after the WSGI app has returned) keeps the reservation as a value and hands it on.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Workload(enum.IntEnum):
    """The classes that share a provider's connections, the most urgent first."""

    STREAM = 0  # a person watches
    QUEUE = 1  # an NZB is being imported or downloaded
    HEALTH = 2  # a background check; also whoever forgot to say who asks


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who asks, and for which stream (an id unique in the process; 0 where there is none)."""

    workload: Workload
    stream: int = 0


_stream_ids = itertools.count(1)  # next() on it is atomic


def new_stream() -> Reservation:
    """Return the reservation of a viewer, with a stream id that nobody else has."""
    return Reservation(Workload.STREAM, next(_stream_ids))


_current: ContextVar[Reservation | None] = ContextVar("reservation", default=None)


def current() -> Reservation | None:
    """Return the reservation in force in this thread, None outside of every scope."""
    return _current.get()


@contextmanager
def scope(reservation: Reservation) -> Iterator[Reservation]:
    """Put *reservation* in force for the block; scopes nest, and the outer one comes back."""
    token = _current.set(reservation)
    try:
        yield reservation
    finally:
        _current.reset(token)


def carry(call: Callable[P, R]) -> Callable[P, R]:
    """Return *call* bound to the reservation in force now, for another thread to run."""
    reservation = _current.get()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _current.set(reservation)
        try:
            return call(*args, **kwargs)
        finally:
            _current.reset(token)

    return carried
