"""One article on its way, and the interests in it (`Flight`, `Fetch`).

All fetches of one article share one flight. It waits for permits in the place of the strongest who
wants it: whoever joins lends it its own standing, and it sinks again when that one leaves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from gateway.errors import (
    ArticleDamaged,
    ConnectionLost,
    GatewayError,
    PermitTimeout,
    ProviderError,
)
from gateway.nzb.extents import Part
from gateway.usenet.body import Body, check
from gateway.usenet.call import Call
from gateway.usenet.permits import Request
from gateway.usenet.provider import Provider
from gateway.usenet.workload import Reservation, Workload

# Who asks without saying for whom is the least privileged.
_NOBODY = Reservation(Workload.HEALTH)


class Source(Protocol):
    """What a flight needs of the source that it belongs to."""

    lock: threading.Lock

    def given_up(self, flight: Flight) -> None:
        """The flight's call was cancelled before it was granted."""
        ...


class Fetch:
    """One caller's interest in one article."""

    __slots__ = ("_callbacks", "_error", "_flight", "_part", "_request")

    def __init__(self, flight: Flight, part: Part, request: Request) -> None:
        self._flight = flight
        self._part = part
        self._request = request
        self._error: GatewayError | None = None
        self._callbacks: list[Callable[[Fetch], None]] = []

    @property
    def standing(self) -> tuple[int, bool]:
        """The smaller, the more urgent."""
        asker = self._request.reservation or _NOBODY
        return asker.workload, not self._request.demand

    @property
    def request(self) -> Request:
        """On whose behalf it asks for permits."""
        return self._request

    @property
    def done(self) -> bool:
        """Whether `result` returns or raises without waiting."""
        return self._flight.ended or self._error is not None

    def result(self, timeout_s: float) -> Body:
        """Return the article, waiting for at most *timeout_s* seconds.

        Raises ArticleMissing (every provider says so), ArticleDamaged, ProviderError
        (unknown), or, when the time is up, PermitTimeout if no permit came free and
        ConnectionLost if no answer came; the interest is given up then.
        """
        flight = self._flight
        if not flight.ended and self._error is None and not flight.wait(timeout_s):
            self.cancel(flight.overdue())
        if self._error is not None:
            raise self._error
        if flight.error is not None:
            # A fresh copy: one exception object raised in several threads would mix their traces.
            raise type(flight.error)(*flight.error.args) from flight.error
        assert flight.body is not None
        if self._part is not flight.part:  # otherwise it has been held against that already
            check(flight.body, self._part)
        return flight.body

    def promote(self) -> None:
        """Somebody is blocked on it from now on: it goes before anything fetched ahead."""
        if not self._request.demand:
            self._request = Request(self._request.reservation, demand=True)
            self._flight.rekey()

    def cancel(self, error: GatewayError | None = None) -> None:
        """Give up the interest; `result` raises *error* from now on. Idempotent, never blocks."""
        if self._flight.ended or self._error is not None:
            return
        self._error = error or ConnectionLost("the fetch was given up")
        self._flight.leave(self)

    def add_done_callback(self, call: Callable[[Fetch], None]) -> None:
        """Call *call* with this fetch when it is done: at once if it is, never after `cancel`.

        It runs on the dispatcher's thread and must be quick.
        """
        self._flight.add_callback(self, self._callbacks, call)

    def forget_callbacks(self) -> None:
        """For the flight: nobody is told any more."""
        self._callbacks.clear()

    def run_callbacks(self) -> None:
        """For the flight: tell everybody that it is done."""
        for call in self._callbacks:
            call(self)


class Flight:
    """One article on its way. All that changes does so under the source's lock."""

    __slots__ = (
        "_source",
        "asked_at",
        "body",
        "call",
        "candidates",
        "damage",
        "ended",
        "error",
        "event",
        "fetches",
        "missing",
        "part",
        "request",
        "turn",
        "unknown",
    )

    def __init__(
        self, source: Source, part: Part, request: Request, candidates: list[tuple[Provider, str]]
    ) -> None:
        self._source = source
        self.part = part
        self.request = request  # of the strongest who is interested
        self.fetches: set[Fetch] = set()
        self.candidates = candidates  # whom to ask for what, the last first
        self.call: Call | None = None
        self.turn = 0  # counts attempts, so that a late assignment of `call` is noticed
        self.missing: set[str] = set()  # providers that lack it (under its last message-id)
        self.damage: ArticleDamaged | None = None
        self.unknown: ProviderError | None = None
        self.body: Body | None = None
        self.error: GatewayError | None = None
        self.ended = False
        self.event: threading.Event | None = None
        self.asked_at = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        with self._source.lock:
            if self.ended:
                return True
            if self.event is None:
                self.event = threading.Event()
            event = self.event
        return event.wait(timeout_s)

    def overdue(self) -> GatewayError:
        call, part = self.call, self.part
        for_s = time.monotonic() - self.asked_at
        if call is not None and call.is_waiting:
            return PermitTimeout(f"no permit within {for_s:.1f} s: {call.permits_in_words()}")
        return ConnectionLost(
            f"no answer within {for_s:.1f} s for segment {part.number} of {part.total}"
        )

    def rekey(self) -> None:
        """Wait in the place of the strongest who is still interested."""
        with self._source.lock:
            if self.ended or not self.fetches:
                return
            strongest = min(self.fetches, key=_standing).request
            if strongest == self.request:
                return
            self.request, call = strongest, self.call
        if call is not None:
            call.promote(strongest)

    def leave(self, fetch: Fetch) -> None:
        with self._source.lock:
            self.fetches.discard(fetch)
            fetch.forget_callbacks()
            last, call = not self.fetches, self.call
        if not last:
            self.rekey()
        elif call is not None and call.cancel():
            self._source.given_up(self)

    def add_callback(
        self,
        fetch: Fetch,
        callbacks: list[Callable[[Fetch], None]],
        call: Callable[[Fetch], None],
    ) -> None:
        with self._source.lock:
            if not self.ended:
                if fetch in self.fetches:
                    callbacks.append(call)
                return
        call(fetch)


def _standing(fetch: Fetch) -> tuple[int, bool]:
    return fetch.standing
