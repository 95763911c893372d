"""Who is asking: the workload and stream on whose behalf a provider is talked to.

The reservation travels in a context variable within one thread. It does not reach threads by
itself: `carry` binds it to a callable, and whoever outlives the call that opened it (a stream
iterated after the WSGI app has returned) keeps the reservation as a value and hands it on.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
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


class scope:  # noqa: N801 - used as a statement, and a class costs a quarter of a generator
    """Put *reservation* in force for the block; scopes nest, and the outer one comes back."""

    __slots__ = ("_reservation", "_token")

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation

    def __enter__(self) -> Reservation:
        self._token = _current.set(self._reservation)
        return self._reservation

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


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
