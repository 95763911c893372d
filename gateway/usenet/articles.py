"""The one way to an article: failover, single flight and verdicts (`ArticleSource`).

Whoever wants an article gets a `Fetch`. All fetches of one article share one flight, which asks
the providers one after the other, each under a permit that carries the standing of the strongest
who waits. A flight ends with the body, or with one of three verdicts:

    present   a provider gave it, and it fits
    missing   every enabled provider said that it has no such article
    unknown   anything else: somebody did not answer, refused, or was out of reach
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ConnectFailed,
    ConnectionLost,
    GatewayError,
    PermitTimeout,
    ProviderError,
)
from gateway.nzb.extents import Part
from gateway.usenet import workload
from gateway.usenet.body import Body, check, read_body
from gateway.usenet.permits import Request
from gateway.usenet.pool import Call
from gateway.usenet.provider import Provider
from gateway.usenet.survey import Verdict, survey
from gateway.usenet.workload import Reservation, Workload

__all__ = ["ArticleSource", "Body", "Fetch", "Verdict"]

# yEnc grows bytes by 1 to 3 %; headers and line ends come on top.
WIRE_OVERHEAD = 1.04
# Who asks without saying for whom is the least privileged.
_NOBODY = Reservation(Workload.HEALTH)


class Fetch:
    """One caller's interest in one article."""

    __slots__ = ("_callbacks", "_error", "_flight", "_part", "_request")

    def __init__(self, flight: _Flight, part: Part, request: Request) -> None:
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


class _Flight:
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

    def __init__(self, source: ArticleSource, part: Part, request: Request) -> None:
        self._source = source
        self.part = part
        self.request = request  # of the strongest who is interested
        self.fetches: set[Fetch] = set()
        self.candidates = source.candidates(part)
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


class ArticleSource:
    """Fetches articles from *providers*. Safe to use from any number of threads."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self.providers = sorted(providers, key=lambda provider: provider.rank.key())
        self.lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._closed = False

    # -- asking -----------------------------------------------------------------------------------

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Fetch:
        """Ask for the article of *part*; never blocks.

        Joins the fetch that is in flight for it, if there is one, and lends it its own
        standing. *reservation* is that of the context if none is given; without one in the
        context either, it is counted as unattributed and treated as HEALTH. *demand*: somebody
        is blocked on it, as against reading ahead.
        """
        asker = reservation or workload.current()
        request = Request(asker, demand=demand)
        key = part.message_ids[0] if part.message_ids else ""
        with self.lock:
            flight = self._flights.get(key)
            joined = flight is not None
            if flight is None:
                flight = _Flight(self, part, request)
                if key and not self._closed:
                    self._flights[key] = flight
            fetch = Fetch(flight, part, request)
            flight.fetches.add(fetch)
        if joined:
            flight.rekey()
        elif not key:
            self._end(flight, error=_gap(part))
        elif self._closed:
            self._end(flight, error=ConnectionLost("the gateway is stopping"))
        else:
            self._advance(flight)
        return fetch

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        """Return one decoded article under the reservation of the context. See Fetch.result."""
        return self.request(part, demand=demand).result(timeout_s)

    def exists(self, parts: Sequence[Part], *, timeout_s: float) -> list[Verdict]:
        """Say of each part whether its article is there, by STAT in pipelined batches.

        Blocks for at most *timeout_s*; what is not known by then is UNKNOWN. Raises nothing.
        """
        asker = workload.current()
        return survey(self.providers, parts, Request(asker, demand=False), timeout_s)

    def close(self) -> None:
        """Refuse what is asked from now on, and end what is in flight as unknown."""
        with self.lock:
            self._closed = True
            flights = list(self._flights.values())
        for flight in flights:
            self._end(flight, error=ConnectionLost("the gateway is stopping"))

    # -- one flight -------------------------------------------------------------------------------

    def candidates(self, part: Part) -> list[tuple[Provider, str]]:
        """Return whom to ask for what, the last first: every provider for every alternate."""
        asked = [(provider, mid) for provider in self.providers for mid in part.message_ids]
        return asked[::-1]

    def _advance(self, flight: _Flight) -> None:
        """Ask the next candidate that may be asked; end the flight when none is left."""
        while True:
            with self.lock:
                if flight.ended:
                    return
                if not flight.fetches:
                    self._forget(flight)
                    return
                if not flight.candidates:
                    break
                provider, message_id = flight.candidates.pop()
                if provider.is_backup and not flight.missing and flight.damage is None:
                    # A backup costs money by the byte: it is for what others lack.
                    continue
                flight.turn += 1
                turn, request, part = flight.turn, flight.request, flight.part
            refusal = provider.refusal()
            if refusal is None:
                self._ask(flight, turn, provider, message_id, request, part)
                return
            with self.lock:
                flight.unknown = refusal
        self._conclude(flight)

    def _ask(
        self,
        flight: _Flight,
        turn: int,
        provider: Provider,
        message_id: str,
        request: Request,
        part: Part,
    ) -> None:
        expected = 0 if part.begin is None or part.end is None else part.end - part.begin
        line = b"BODY <" + message_id.encode("utf-8", "surrogateescape") + b">\r\n"
        call = provider.submit(
            (line,),
            request,
            lambda call: self._answered(flight, turn, provider, message_id, call),
            expected_bytes=int(expected * WIRE_OVERHEAD),
        )
        with self.lock:
            if flight.ended or flight.turn != turn:
                return
            flight.call = call
            unwanted, current = not flight.fetches, flight.request
        if unwanted:
            if call.cancel():
                self.given_up(flight)
        elif current is not request:
            call.promote(current)

    def _answered(
        self, flight: _Flight, turn: int, provider: Provider, message_id: str, call: Call
    ) -> None:
        with self.lock:
            if flight.ended or flight.turn != turn:
                return
            flight.call = None
            part = flight.part
        if call.error is not None:
            with self.lock:
                if call.abandoned and flight.fetches:
                    # Given up, closed, and joined since by somebody who wants it: ask again.
                    flight.candidates.append((provider, message_id))
                else:
                    flight.unknown = call.error
            self._advance(flight)
            return
        try:
            body = read_body(call.responses[0], part, message_id, provider.name)
        except ArticleDamaged as exc:
            with self.lock:
                flight.damage = exc
        except ProviderError as exc:
            provider.refused(exc)
            with self.lock:
                flight.unknown = exc
        else:
            if body is not None:
                self._end(flight, body=body)
                return
            with self.lock:
                flight.missing.add(provider.name)
        self._advance(flight)

    def _conclude(self, flight: _Flight) -> None:
        part = flight.part
        error: GatewayError
        if not self.providers:
            error = ConnectFailed(
                "no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST and its login"
            )
        elif flight.unknown is not None:
            error = type(flight.unknown)(f"segment {part.number} of {part.total}: {flight.unknown}")
        elif flight.damage is not None:
            error = flight.damage
        else:
            count = len(self.providers)
            whom = "the provider" if count == 1 else f"all {count} providers"
            error = ArticleMissing(
                f"segment {part.number} of {part.total}: 430 from {whom} "
                f"for <{part.message_ids[0]}>"
            )
        self._end(flight, error=error)

    def _end(
        self, flight: _Flight, *, body: Body | None = None, error: GatewayError | None = None
    ) -> None:
        with self.lock:
            if flight.ended:
                return
            flight.body, flight.error = body, error
            self._forget(flight)
            fetches, event = list(flight.fetches), flight.event
            # Fetch and flight would hold each other, and both the body.
            flight.fetches.clear()
        if event is not None:
            event.set()
        for fetch in fetches:
            fetch.run_callbacks()

    def given_up(self, flight: _Flight) -> None:
        """The flight's call was cancelled before it was granted: forget it, or start it anew."""
        with self.lock:
            if flight.ended or flight.fetches:
                restart = not flight.ended
                flight.turn += 1
                flight.candidates = self.candidates(flight.part)
            else:
                restart = False
                self._forget(flight)
        if restart:
            self._advance(flight)

    def _forget(self, flight: _Flight) -> None:
        flight.ended = True
        with suppress(KeyError):
            del self._flights[flight.part.message_ids[0] if flight.part.message_ids else ""]


def _gap(part: Part) -> ArticleMissing:
    return ArticleMissing(
        f"segment {part.number} of {part.total} is not listed in the NZB, which has a gap there"
    )
