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
from functools import partial

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ConnectFailed,
    ConnectionLost,
    GatewayError,
    ProviderError,
)
from gateway.nzb.extents import Part
from gateway.usenet import workload
from gateway.usenet.body import Body, read_body
from gateway.usenet.call import Call
from gateway.usenet.flight import Fetch, Flight
from gateway.usenet.permits import Request
from gateway.usenet.proofs import prove, settle
from gateway.usenet.provider import Provider
from gateway.usenet.survey import Patience, Verdict, survey
from gateway.usenet.workload import Reservation

__all__ = ["ArticleSource", "Body", "Fetch", "Verdict"]

# yEnc grows bytes by 1 to 3 %; headers and line ends come on top.
WIRE_OVERHEAD = 1.04


class ArticleSource:
    """Fetches articles from *providers*. Safe to use from any number of threads."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self.providers = sorted(providers, key=lambda provider: provider.rank.key())
        self.lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
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
                flight = Flight(self, part, request, self.candidates(part))
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

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        """Say of each part whether its article is there, by STAT in pipelined batches.

        Blocks for at most *timeout_s*, or until *given_up*, asked ten times a second, says True;
        what is not known by then is UNKNOWN. Where only providers say so whose STAT has lied
        (`Claims`), a few of these articles are fetched as well; so is what STAT says is there and
        BODY has just refused, which may have come since. Raises nothing.
        """
        request = Request(workload.current(), demand=False)
        patience = Patience(time.monotonic() + timeout_s, given_up)
        found = survey(self.providers, parts, request, patience)
        verdicts, fetch = found.verdicts, partial(self.request, demand=False)
        if found.claimed:
            claimed = {index: parts[index] for index in found.claimed}
            verdicts.update(prove(fetch, claimed, patience))
        if found.disputed:
            disputed = {index: parts[index] for index in found.disputed}
            verdicts.update(settle(fetch, disputed, patience))
        return [verdicts[index] for index in range(len(parts))]

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

    def _advance(self, flight: Flight) -> None:
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
        flight: Flight,
        turn: int,
        provider: Provider,
        message_id: str,
        request: Request,
        part: Part,
    ) -> None:
        expected = part.listed
        if part.begin is not None and part.end is not None:
            expected = int((part.end - part.begin) * WIRE_OVERHEAD)
        line = b"BODY <" + message_id.encode("utf-8", "surrogateescape") + b">\r\n"
        call = provider.submit(
            (line,),
            request,
            lambda call: self._answered(flight, turn, provider, message_id, call),
            expected_bytes=expected,
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
        self, flight: Flight, turn: int, provider: Provider, message_id: str, call: Call
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
            provider.tally.damaged += 1
            with self.lock:
                flight.damage = exc
        except ProviderError as exc:
            provider.refused(exc)
            with self.lock:
                flight.unknown = exc
        else:
            if body is not None:
                provider.tally.articles += 1
                provider.claims.delivered(message_id)
                self._end(flight, body=body)
                return
            provider.claims.refused(message_id)
            with self.lock:
                flight.missing.add(provider.name)
        self._advance(flight)

    def _conclude(self, flight: Flight) -> None:
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
        self, flight: Flight, *, body: Body | None = None, error: GatewayError | None = None
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

    def given_up(self, flight: Flight) -> None:
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

    def _forget(self, flight: Flight) -> None:
        flight.ended = True
        with suppress(KeyError):
            del self._flights[flight.part.message_ids[0] if flight.part.message_ids else ""]


def _gap(part: Part) -> ArticleMissing:
    return ArticleMissing(
        f"segment {part.number} of {part.total} is not listed in the NZB, which has a gap there"
    )
