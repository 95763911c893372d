"""One provider's connections: the permit first, then an idle connection or a new one.

    live = idle + busy + dialling <= limit

holds always, because whoever is busy or dials holds a permit, there are *limit* permits, and a
permit is given back only when its connection is idle again or its socket is closed. Where other
gateways use the account too, the limit follows the slots that this one holds (`Slots`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from gateway.errors import ConnectFailed, ConnectionLost, ProviderBusy, ProviderError
from gateway.usenet.call import Call
from gateway.usenet.capacity import Capacity
from gateway.usenet.connection import Connection, Server
from gateway.usenet.depth import DOUBTED_S, Depth, partner
from gateway.usenet.drain import Drain
from gateway.usenet.exchange import Exchange
from gateway.usenet.limit import Slots
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request
from gateway.usenet.pool_status import PoolStatus, log_request
from gateway.usenet.reactor import Reactor
from gateway.usenet.replies import Meaning, meaning
from gateway.usenet.roster import Roster

log = logging.getLogger(__name__)


class Pool:
    """The connections to one server, at most as many as *permits* has permits."""

    def __init__(
        self,
        name: str,
        server: Server,
        permits: ExtendedSemaphore,
        reactor: Reactor,
        dialler: Executor,
        *,
        connections: int,
        pipeline: int = 2,
        connect_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.permits = permits
        self._server = server
        self._reactor = reactor
        self._dialler = dialler
        self._connect_timeout_s = connect_timeout_s
        # Under the lock: who is live and who of them is idle, what was measured and learned, and
        # who has two commands at a time.
        self._lock = threading.Lock()
        self._roster = Roster()
        self._depth = Depth(permits, pipeline, clock)
        self._drain = Drain(clock)
        self._received = 0
        # One that was idle turned out to be dead: those not heard of since before then may be too.
        self._suspect_before = 0.0
        self._stopped = False
        self._capacity = Capacity(
            name, connections, self._lock, self._roster, permits, reactor, clock
        )

    def submit(
        self,
        lines: Sequence[bytes],
        request: Request,
        done: Callable[[Call], None],
        *,
        expected_bytes: int = 0,
    ) -> Call:
        """Send *lines* (commands, each with its CRLF) as one exchange as soon as there is a permit.

        Never blocks. *expected_bytes* is the size of the replies where it can be guessed; it
        decides whether an abandoned exchange is drained.
        """
        call = Call(self, lines, request, done, expected_bytes)
        self._depth.see(call)
        self._capacity.relearn()
        self._ask(call)
        return call

    def promote(self, call: Call, request: Request) -> None:
        """See Call.promote."""
        call.request = request
        self._depth.promoted(call)
        if call.waiter is not None:
            call.waiter.promote(request)

    def leave(self, call: Call) -> bool:
        """See Call.cancel."""
        with self._lock:
            call.abandoned = True
            waiter = call.waiter
        if waiter is not None and waiter.cancel():
            return True
        with self._lock:
            self._depth.forget(call)
            connection, exchange = call.connection, call.exchange
            if connection is None or exchange is None or exchange.is_complete:
                return False
            if connection not in self._roster.connected:
                return False  # it is lost, or was that of an attempt before
            other = partner(call)
            if other is not None and not other.abandoned:
                return False  # it is drained, for the sake of the other
            left = call.left() + (0 if other is None else other.left())
            if not self._drain.is_sooner_closed(left):
                return False
            self._capacity.closing()
            self._roster.leave([connection])
        self._reactor.close(connection)
        return False

    def resize(self, limit: int) -> None:
        """See Capacity.resize."""
        self._capacity.resize(limit)

    def share(self, slots: Slots) -> None:
        """See Capacity.share."""
        self._capacity.share(slots)

    def allow(self, slots: int, *, cut: bool = False) -> None:
        """See Capacity.allow."""
        self._capacity.allow(slots, cut=cut)

    def wanted(self) -> int:
        """Return how many connections would be at work now if all that is allowed were ours."""
        return self.permits.usable()

    def status(self) -> PoolStatus:
        figures = self._capacity.figures()
        with self._lock:
            limit = self._capacity.limit
            return PoolStatus(
                limit.configured,
                limit.allowed,
                limit.now,
                self._roster.live,
                len(self._roster.idle),
                len(self._roster.dialling),
                self._received,
                figures,
            )

    def stop(self) -> None:
        """Dial no more, and close what is idle; the reactor closes the rest when it stops."""
        with self._lock:
            self._stopped = True
            idle, self._roster.idle = self._roster.idle, []
            self._roster.leave(idle)
        for connection in idle:
            self._reactor.close(connection)

    # -- permit, then connection ------------------------------------------------------------------

    def _ask(self, call: Call) -> None:
        request = call.request
        log_request(self, request)
        passenger = call if call.may_ride else None
        waiter = self.permits.submit(
            request, lambda permit: self._granted(call, permit), passenger=passenger
        )
        with self._lock:
            call.waiter = waiter
            abandoned = call.abandoned
        if call.request is not request:
            waiter.promote(call.request)
        if waiter.permit is None:
            self._capacity.ask()
            if call.may_ride:
                self._deepen()
        if abandoned and waiter.cancel():
            # It was left between two attempts, when there was nothing to cancel.
            call.error = ConnectionLost(f"{self.name}: nobody wants this any more")
            self._reactor.report(lambda: call.done(call))

    def _granted(self, call: Call, permit: Permit) -> bool:
        with self._lock:
            if self._stopped:
                return False
            call.permit = permit
            connection, is_suspect = self._roster.take_idle(self._suspect_before)
            # Nobody idle, a permit in hand, and yet no room: somebody was told to close just now.
            is_full = connection is None and self._roster.live >= self._capacity.now
            if connection is None and not is_full:
                new = Connection(self._server)
                self._roster.dialling.add(new)
        if is_full:
            self._reactor.report_after_orders(lambda: self._ask_again(call))
        elif connection is None:
            try:
                self._dialler.submit(self._dial, call, new)
            except RuntimeError:  # the executor has been shut down: we are stopping
                with self._lock:
                    self._roster.forget(new)
                return False
        elif is_suspect:
            self._reactor.close(connection, lambda: self._ask_again(call))
        else:
            self._start(call, connection, was_idle=True)
        return True

    def _dial(self, call: Call, connection: Connection) -> None:
        error: ProviderError | None = None
        try:
            connection.dial(self._connect_timeout_s)
        except ProviderError as exc:
            error = exc
        with self._lock:
            is_wanted = self._roster.dialled(connection, is_open=error is None)
            if is_wanted and error is None:
                self._drain.dialled(connection.login_s)
                # Within the lock: whoever orders it to close finds it adopted.
                self._reactor.adopt(connection, self._closed)
        if not is_wanted:
            connection.close()
            with self._lock:
                self._roster.forget(connection)
            self._reactor.report(lambda: self._ask_again(call))
            return
        if error is not None:
            failure = error
            if isinstance(failure, ProviderBusy):
                self._capacity.learn(failure)
            self._reactor.report(lambda: self._settle(call, failure))
            return
        if call.abandoned:
            # Kept: whoever comes next finds it warm.
            unwanted = ConnectionLost(f"{self.name}: nobody wants this any more")
            self._reactor.report(lambda: self._put_back(call, connection, unwanted))
        else:
            self._start(call, connection, was_idle=False)

    def _start(self, call: Call, connection: Connection, *, was_idle: bool) -> None:
        idle_until = time.monotonic() if was_idle else 0.0
        exchange = Exchange(
            call.lines,
            lambda exchange: self._finished(call, connection, exchange, idle_until),
            expected_bytes=call.expected_bytes,
        )
        with self._lock:
            call.connection, call.exchange, call.rode = connection, exchange, False
            self._depth.begin(call)
        self._reactor.start(connection, exchange)
        if call.may_ride:
            self._deepen(call)

    def _deepen(self, front: Call | None = None) -> None:
        """Send what waits behind *front*, or behind another, where that makes nobody wait."""
        with self._lock:
            if self._stopped:
                return
            call = self._depth.board(self._capacity.now, front)
            if call is None:
                return
            connection = call.connection
            assert connection is not None
            call.exchange = exchange = Exchange(
                call.lines,
                lambda exchange: self._finished(call, connection, exchange, 0.0),
                expected_bytes=call.expected_bytes,
            )
            # Within the lock: what rides with it must be ordered later.
            self._reactor.start(connection, exchange)

    # -- on the dispatcher's thread ---------------------------------------------------------------

    def _finished(
        self, call: Call, connection: Connection, exchange: Exchange, idle_until: float
    ) -> None:
        is_lost = exchange.error is not None
        with self._lock:
            self._received += exchange.received
            if not is_lost:
                # What is much shorter than expected tells of a round trip, and not of the line.
                if not call.rode and 0 < call.expected_bytes <= 2 * exchange.received:
                    self._drain.arrived(exchange.received, exchange.sent_at)
            elif connection in self._roster.cut:
                call.retries += 1  # no failure of this call
            elif not exchange.received and not call.abandoned:
                self._suspect_before = max(self._suspect_before, idle_until)
            is_ours = call.abandoned or self._stopped or connection in self._roster.cut
            is_doubted = not is_ours and self._depth.learn(call, is_lost=is_lost)
            is_over = is_lost or (call.rider is not None and _says_goodbye(exchange))
            rider = self._depth.end(call, is_over=is_over)
        if is_doubted:
            log.warning(
                "%s loses connections with two commands on them: one at a time for %.0f min; "
                "if this comes back, set PIPELINE=1 for it (%s)",
                self.name, DOUBTED_S / 60, exchange.error,
            )  # fmt: skip
        if rider is None:
            self._put_back(call, connection, exchange.error)
            return
        if not is_over:
            self._deepen(rider)
        self._settle(call, exchange.error)
        if rider.abandoned:
            self.leave(rider)  # nobody else's sake is left

    def _put_back(self, call: Call, connection: Connection, error: ProviderError | None) -> None:
        with self._lock:
            is_surplus = self._roster.put_back(
                connection, 0 if self._stopped else self._capacity.now
            )
        if is_surplus:
            # The permit comes back when the socket is closed, and not before.
            self._reactor.close(connection, lambda: self._settle(call, error))
        else:
            self._settle(call, error)

    def _ask_again(self, call: Call) -> None:
        # It had a permit and no connection, which is no failure of this call.
        call.retries += 1
        self._settle(call, ConnectionLost(f"{self.name}: the connection was closed before its use"))

    def _settle(self, call: Call, error: ProviderError | None) -> None:
        permit, call.permit = call.permit, None
        if permit is not None:  # it has not been passed on
            permit.release()
        if error is not None and not call.abandoned and not self._stopped:
            if isinstance(error, ProviderBusy) and call.busy_retries and self._roster.live:
                call.busy_retries -= 1
                self._ask(call)
                return
            if isinstance(error, ConnectionLost | ConnectFailed) and call.retries:
                call.retries -= 1
                self._ask(call)
                return
        call.error = error
        call.waiter = None  # it holds the call by its callback
        call.done(call)

    def _closed(self, connection: Connection, error: ProviderError) -> None:
        with self._lock:
            self._roster.forget(connection)
        log.debug("%s: a connection ended: %s", self.name, error)


def _says_goodbye(exchange: Exchange) -> bool:
    # Whoever answers so closes the connection, and what came behind is not answered.
    return meaning(exchange.responses[-1].status_code) is Meaning.BUSY
