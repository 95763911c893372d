"""The selector thread that drives all connections of all providers, and the thread that reports.

One selector thread costs 0.96 CPU-s/GB under TLS where a thread for each connection costs 1.37
(measured), so every connected socket lives here. Nothing else does: look-ups and dialling have
threads of their own, and what completes is reported on the dispatcher's thread, so that no
callback ever delays bytes.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from gateway.errors import ConnectionLost, ProviderError
from gateway.usenet.connection import Connection, State
from gateway.usenet.exchange import Exchange

log = logging.getLogger(__name__)

# How often connections that are quiet for too long are looked for.
TICK_S = 1.0
# Reports go to the dispatcher together at the end of a turn, or as soon as there are this many: a
# thread that is woken for each article finds its caches cold each time (measured: 9 % more CPU).
REPORTS_AT_ONCE = 8

Closed = Callable[[Connection, ProviderError], None]


class Reactor:
    """Drives connections.

    *stall_s* without a byte while replies are awaited ends a connection as lost; one with
    nothing in flight for *idle_s* is closed. *ticked* is called about once a second, as a report.
    """

    def __init__(
        self,
        *,
        stall_s: float = 10.0,
        idle_s: float = 120.0,
        ticked: Callable[[], None] | None = None,
    ) -> None:
        self._stall_s = stall_s
        self._idle_s = idle_s
        self._ticked = ticked
        self._selector = selectors.DefaultSelector()
        self._closed: dict[Connection, Closed] = {}
        self._more: dict[Connection, None] = {}  # readable still: had more than their turn
        self._orders: deque[Callable[[], None]] = deque()
        self._wake_lock = threading.Lock()
        self._awake = False  # a wake-up byte is under way: no second one is needed
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._told: deque[Callable[[], None]] = deque()  # reports of this turn, not handed over yet
        self._reports: queue.SimpleQueue[deque[Callable[[], None]] | None] = queue.SimpleQueue()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._drive, name="usenet-reactor", daemon=True),
            threading.Thread(target=self._dispatch, name="usenet-dispatch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    # -- from any thread --------------------------------------------------------------------------

    def adopt(self, connection: Connection, closed: Closed) -> None:
        """Take over a READY connection. *closed* is reported once, unless `close` was asked for."""
        self._order(lambda: self._register(connection, closed))

    def start(self, connection: Connection, exchange: Exchange) -> None:
        """Send *exchange* over an adopted connection; its `finished` is reported in every case."""
        self._order(lambda: self._start(connection, exchange))

    def close(self, connection: Connection, then: Callable[[], None] | None = None) -> None:
        """Close *connection*; what is in flight on it is reported as lost, then *then*."""
        error = ConnectionLost(f"the connection to {connection.server!r} was closed here")

        def drop() -> None:
            self._drop(connection, error)
            if then is not None:
                self._tell(then)

        self._order(drop)

    def report(self, call: Callable[[], None]) -> None:
        """Run *call* on the dispatcher's thread, after what was handed to it before."""
        self._reports.put(deque((call,)))

    def report_after_orders(self, call: Callable[[], None]) -> None:
        """Run *call* on the dispatcher's thread when all that was ordered so far is done."""
        self._order(lambda: self._tell(call))

    def stop(self) -> None:
        """Close every connection, report what was in flight as lost, and end both threads."""
        if not self._stopping:
            self._order(self._quit)
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(queue.Empty):
            while (calls := self._reports.get_nowait()) is not None:
                for call in calls:
                    call()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        with self._wake_lock:
            if self._awake:
                return
            self._awake = True
        try:
            self._waker.send(b"\0")
        except OSError:
            # The reactor has stopped; what was ordered too late is settled here and now.
            with self._wake_lock:  # for one thread at a time, as the selector thread was
                self._awake = False  # nobody hears any more: the next order settles itself, too
                self._run_orders()
                self._hand_over()

    # -- on the selector thread -------------------------------------------------------------------

    def _drive(self) -> None:
        tick_at = time.monotonic() + TICK_S
        while not self._stopping:
            now = time.monotonic()
            if now >= tick_at:
                self._drop_quiet(now)
                if self._ticked is not None:
                    self._tell(self._ticked)
                tick_at = now + TICK_S
            timeout = 0.0 if self._more else tick_at - now
            for key, events in self._selector.select(timeout):
                connection = key.data
                if connection is None:
                    self._hear_wakeup()
                    continue
                if events & selectors.EVENT_WRITE:
                    self._flush(connection)
                if events & selectors.EVENT_READ:
                    self._more[connection] = None
            self._run_orders()
            readable, self._more = self._more, {}
            for connection in readable:
                self._receive(connection)
            self._hand_over()
        self._shut()

    def _hear_wakeup(self) -> None:
        # In this order: a byte sent between the two would be swallowed, and nobody woken again.
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(64)
        with self._wake_lock:
            self._awake = False

    def _run_orders(self) -> None:
        while self._orders:
            try:
                order = self._orders.popleft()
            except IndexError:
                return
            order()

    def _register(self, connection: Connection, closed: Closed) -> None:
        if self._stopping or connection.socket is None:
            connection.close()
            return
        self._closed[connection] = closed
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _start(self, connection: Connection, exchange: Exchange) -> None:
        try:
            connection.start(exchange)
        except ConnectionLost as exc:
            self._finish(exchange, exc)
            return
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        if connection.state is State.CLOSED or connection.socket is None:
            return
        try:
            sent = connection.flush()
        except OSError as exc:
            self._drop(
                connection,
                ConnectionLost(f"{connection.server!r} broke off: {exc.strerror or exc}"),
            )
            return
        events = selectors.EVENT_READ | (0 if sent else selectors.EVENT_WRITE)
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)

    def _receive(self, connection: Connection) -> None:
        if connection.state is State.CLOSED:
            return
        completed: list[Exchange] = []
        error: ProviderError | None = None
        more = False
        try:
            more = connection.receive(completed)
        except ProviderError as exc:
            error = exc
        except (ValueError, TypeError, MemoryError) as exc:
            # What sabctools raises on bytes that are no NNTP.
            error = ConnectionLost(f"{connection.server!r} cannot be understood: {exc}")
        for exchange in completed:
            self._finish(exchange, None)
        if error is not None:
            self._drop(connection, error)
        elif more:
            self._more[connection] = None

    def _drop_quiet(self, now: float) -> None:
        for connection in list(self._closed):
            quiet = now - connection.progress_at
            if quiet > (self._stall_s if connection.in_flight else self._idle_s):
                self._drop(
                    connection,
                    ConnectionLost(f"{connection.server!r} has said nothing for {quiet:.0f} s"),
                )

    def _drop(self, connection: Connection, error: ProviderError) -> None:
        closed = self._closed.pop(connection, None)
        if closed is None:
            return
        assert connection.socket is not None
        self._selector.unregister(connection.socket)
        lost = list(connection.in_flight)
        connection.in_flight.clear()
        connection.close()
        self._tell(lambda: closed(connection, error))
        for exchange in lost:
            self._finish(exchange, error)

    def _finish(self, exchange: Exchange, error: ProviderError | None) -> None:
        exchange.error = error
        self._tell(exchange.report)

    def _tell(self, report: Callable[[], None]) -> None:
        self._told.append(report)
        if len(self._told) >= REPORTS_AT_ONCE:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._told:
            told, self._told = self._told, deque()
            self._reports.put(told)

    def _quit(self) -> None:
        self._stopping = True

    def _shut(self) -> None:
        error = ConnectionLost("the gateway is stopping")
        for connection in list(self._closed):
            self._drop(connection, error)
        with self._wake_lock:
            self._awake = False
            self._waker.close()
            self._run_orders()
            self._hand_over()
        self._woken.close()
        self._selector.close()
        self._reports.put(None)

    # -- on the dispatcher's thread ---------------------------------------------------------------

    def _dispatch(self) -> None:
        while (calls := self._reports.get()) is not None:
            while calls:
                call = calls.popleft()
                try:
                    call()
                except Exception:
                    log.exception("a report to %r failed", call)
                del call  # or the article that it brought is held until the next report
