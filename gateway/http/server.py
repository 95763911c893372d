"""The HTTP server: cheroot's listening and parsing, our threads, exchanges and end.

`Server` binds, serves in threads of its own, and stops within a bounded time: it accepts no
more, lets running responses finish, then cuts what is left.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from cheroot import wsgi
from cheroot.connections import ConnectionManager

from gateway.errors import ConfigurationError
from gateway.http.clients import TrustedProxies
from gateway.http.connection import Connection
from gateway.http.exchange import Exchange
from gateway.http.watchdog import Watchdog
from gateway.http.wire import Timeouts
from gateway.http.workers import Workers
from gateway.http.wsgi import App
from gateway.words import counted

logger = logging.getLogger(__name__)

# How long threads whose sockets were cut may take to notice.
_NOTICE_S = 2.0


class CherootServer(wsgi.Server):
    """cheroot's part of the server, put on our connections, workers and exchanges."""

    ConnectionClass = Connection
    max_request_header_size = 64 << 10
    # A library scan opens dozens of connections at once; they wait in the kernel, not in SYN.
    keep_alive_conn_limit = 1000
    _connections: ConnectionManager

    def __init__(
        self,
        address: tuple[str, int],
        app: App,
        limit: int,
        timeouts: Timeouts,
        trusted_proxies: TrustedProxies,
    ) -> None:
        self.timeouts = timeouts
        self.trusted_proxies = trusted_proxies
        self.watchdog = Watchdog(suspend_s=timeouts.suspend_s, abandon_s=timeouts.pause_s)
        super().__init__(
            address, app, server_name="nzb-gateway", request_queue_size=512,
            timeout=int(timeouts.idle_s),
        )  # fmt: skip
        self.gateway = Exchange
        self.bind_error: OSError | None = None
        self.workers = Workers(limit, self.put_conn)
        self.requests = self.workers

    def bind(self, family: int, type: int, proto: int = 0) -> Any:  # noqa: A002 - cheroot's name
        try:
            return super().bind(family, type, proto)
        except OSError as exc:
            self.bind_error = exc
            raise

    def process_conn(self, conn: Connection) -> None:
        if conn.has_been_readable:
            self.workers.put(conn)
        else:
            # A connection on which nothing was said yet waits in the selector, not in a thread:
            # players and browsers open some that they never use.
            conn.has_been_readable = True
            self._connections.put(conn)

    def put_conn(self, conn: Connection) -> None:
        if self.ready:
            with suppress(OSError, ValueError, KeyError, RuntimeError):  # stopped meanwhile
                self._connections.put(conn)
                return
        conn.close()

    def serve(self) -> None:
        while self.ready:
            try:
                self._connections.run(self.expiration_interval)
            except Exception:
                if self.ready:
                    logger.exception("accepting connections failed")

    def end_accepting(self) -> None:
        """Close the listening socket and every idle connection. At most half a second."""
        self.ready = False
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the selector, on Linux
        self._connections.stop()
        self.socket.close()
        self._connections.close()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        logger.log(level, "%s", msg, exc_info=traceback)


class Server:
    """Serves *app* on *host*:*port* with at most *responses* responses at a time.

    Port 0 takes a free one; `port` tells which. Use as a context manager, or `start` and `stop`.
    """

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        *,
        responses: int = 200,
        timeouts: Timeouts | None = None,
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._cheroot = CherootServer(
            (host, port),
            app,
            responses,
            timeouts or Timeouts(),
            trusted_proxies or TrustedProxies(),
        )
        self._accepting: threading.Thread | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def serving(self) -> int:
        """How many requests are being answered at this moment."""
        return self._cheroot.workers.serving

    @property
    def watchdog(self) -> Watchdog:
        """Watches over the clients of streaming responses, and counts what it notices."""
        return self._cheroot.watchdog

    @property
    def threads(self) -> int:
        """How many worker threads have been needed so far."""
        return self._cheroot.workers.threads

    def start(self) -> None:
        """Bind and serve; returns at once. Raises ConfigurationError when it cannot bind."""
        try:
            self._cheroot.prepare()
        except OSError as exc:
            raise ConfigurationError(self._why_not(self._cheroot.bind_error or exc)) from exc
        self.port = self._cheroot.bind_addr[1]
        self._cheroot.watchdog.start()
        self._accepting = threading.Thread(target=self._cheroot.serve, name="http-accept")
        self._accepting.start()

    def stop(self, drain_s: float = 10.0) -> bool:
        """Stop within *drain_s* and a little: accept no more, let responses finish, cut the rest.

        Answers whether all of them finished by themselves. May be called again.
        """
        if self._accepting is None:
            return True
        deadline = time.monotonic() + drain_s
        self._cheroot.end_accepting()
        self._accepting.join()
        self._accepting = None
        workers = self._cheroot.workers
        drained = workers.wait_until_idle(deadline)
        if not drained:
            logger.warning("%s cut after %g s", counted(workers.abort_all(), "response"), drain_s)
            if not workers.wait_until_idle(time.monotonic() + _NOTICE_S):
                logger.warning(
                    "%s did not notice: left alone", counted(workers.serving, "response")
                )
        workers.dismiss(time.monotonic() + _NOTICE_S)
        self._cheroot.watchdog.stop()
        return drained

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(0.0 if exc_type else 2.0)

    def _why_not(self, exc: OSError) -> str:
        where = f"cannot listen on {self.host}:{self.port}"
        if exc.errno == errno.EADDRINUSE:
            return f"{where}: another program does; set GATEWAY_PORT to a free port"
        if exc.errno == errno.EACCES:
            return f"{where}: not allowed; set GATEWAY_PORT to one above 1023"
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror or exc
        return f"{where}: {reason}; set GATEWAY_HOST to an address of this machine, or 0.0.0.0"
