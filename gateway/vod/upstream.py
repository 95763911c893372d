"""One connection to a provider, over which one range of a film comes (RFC 9110, 14).

Made for one answer and closed with it: a provider counts connections, so none is kept idle. What
arrives is held against what was asked for: offset, end and size, and the validators when a film
is gone on with. No address stands in any message: it holds the account's password.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin, urlsplit

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3Timeout
from werkzeug.http import http_date

from gateway.errors import (
    ConnectFailed,
    ConnectionLost,
    GatewayError,
    ProtocolError,
)
from gateway.http.ranges import Entity
from gateway.vod.answer import Asked, accept, accept_head
from gateway.vod.tally import Tally

# It logs addresses, for its own debugging and where it doubts a provider's headers.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

_REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a provider may take, in seconds: to be connected to, to answer, to go on."""

    connect_s: float = 5.0
    first_byte_s: float = 20.0
    between_s: float = 20.0


class Interrupted(GatewayError):
    """The connection was closed from this side while it was in use."""


class Upstream:
    """One connection; `close` may be called from any thread, and ends whatever waits in another.

    *account* and *film* name them in messages. After `open`, `read` gives what it was asked for.
    """

    # Invariants, true whenever the lock is free:
    #   self._closed implies that the socket, if there is one, is shut down
    #   the socket is closed by `close`, or if a thread is inside, by that thread when it leaves

    def __init__(
        self, account: str, film: str, *, patience: Patience, agent: str, tally: Tally
    ) -> None:
        self._asked = Asked(account, film)
        self._who, self._film = self._asked.who, film
        self._patience, self._agent, self._tally = patience, agent, tally
        self._left = self._skip = 0
        self._lock = threading.Lock()
        self._closed = self._counted = False
        self._inside = False
        self._connection: HTTPConnection | None = None
        self._sock: socket.socket | None = None
        self._response: HTTPResponse | None = None

    def open(self, url: str, start: int, stop: int | None, resumed: Entity | None = None) -> Entity:
        """Ask for [start, stop) of the film at *url* (None: all from *start* on), and return it.

        *resumed* is the film as it was when another connection was cut: it must still be so.
        Raises Interrupted, ConnectFailed, ConnectionLost, ProtocolError, AccountBusy, NoSuchFilm,
        RangeMissed, FilmChanged; the connection is closed then.
        """
        headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        if resumed is not None and resumed.etag is not None:
            headers["If-Range"] = f'"{resumed.etag}"'
        elif resumed is not None and resumed.last_modified is not None:
            headers["If-Range"] = http_date(resumed.last_modified)
        self._tally.count("upstream_opens")
        try:
            with self._using():
                response = self._ask("GET", url, headers)
                got = accept(self._asked, response, start, stop, resumed)
        except GatewayError as exc:
            if not isinstance(exc, Interrupted):
                self._tally.count("upstream_failures")
            self.close()
            raise
        self._left, self._skip = got.stop - start, got.skip
        return got.entity

    def head(self, url: str) -> Entity:
        """Return what the film at *url* is, without its bytes. Raises as `open` does."""
        try:
            with self._using():
                return accept_head(self._asked, self._ask("HEAD", url, {}))
        finally:
            self.close()

    def read(self, limit: int) -> bytes:
        """Return 1 to *limit* bytes, as they come. Raises Interrupted, ConnectionLost."""
        with self._using():
            assert self._response is not None
            while True:
                wanted = min(limit, self._left) if not self._skip else self._skip
                data = self._response.read1(wanted, decode_content=False)
                if not data:
                    raise ConnectionLost(
                        f"{self._who} ended {self._film} {self._left + self._skip} bytes early"
                    )
                if not self._skip:
                    self._left -= len(data)
                    self._tally.received(len(data))
                    return data
                self._skip -= len(data)

    def close(self) -> None:
        """Close the socket at once; what waits in it raises Interrupted. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            inside = self._inside
            if self._sock is not None:
                self._uncount()
                with suppress(OSError):
                    # Not SSLSocket's own, which takes the session away from under a reader.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        if not inside:
            self._hang_up()

    # -- one exchange -----------------------------------------------------------------------------

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Be inside the connection; what libraries raise is translated here."""
        with self._lock:
            if self._closed:
                raise Interrupted("the connection to the provider was closed")
            self._inside = True
        try:
            yield
        except GatewayError as exc:
            if self._closed and not isinstance(exc, Interrupted):
                raise self._translated(exc) from None
            raise
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as exc:
            # Without its cause and its text, which may hold the address.
            raise self._translated(exc) from None
        finally:
            with self._lock:
                self._inside = False
                closed = self._closed
            if closed:
                self._hang_up()

    def _translated(self, exc: Exception) -> GatewayError:
        if self._closed:
            return Interrupted("the connection to the provider was closed")
        if isinstance(exc, TimeoutError | Urllib3Timeout) and not isinstance(
            exc, NewConnectionError
        ):
            if self._sock is None:
                return ConnectFailed(
                    f"{self._who} did not take a connection within {self._patience.connect_s:g} s"
                )
            if self._response is None:
                waited = self._patience.first_byte_s
                return ConnectionLost(f"{self._who} did not answer within {waited:g} s")
            waited = self._patience.between_s
            return ConnectionLost(f"{self._who} sent nothing of {self._film} for {waited:g} s")
        if self._sock is None:
            return ConnectFailed(f"{self._who} cannot be connected to ({_kind(exc)})")
        return ConnectionLost(f"{self._who} broke off in {self._film} ({_kind(exc)})")

    def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        """Return the response to *method*, from wherever the provider sends us for it."""
        for _ in range(_REDIRECTS + 1):
            response = self._exchange(method, url, headers)
            location = response.headers.get("Location")
            if response.status not in _MOVED or not location:
                return response
            url = urljoin(url, location)
            self._hang_up()
        raise ProtocolError(f"{self._who} redirected {self._film} more than {_REDIRECTS} times")

    def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        connection, target = self._connect(url)
        connection.timeout = self._patience.first_byte_s
        connection.sock.settimeout(self._patience.first_byte_s)
        connection.request(
            method,
            target,
            headers={
                "User-Agent": self._agent,
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "Connection": "close",
                **headers,
            },
            preload_content=False,
            decode_content=False,
        )
        response = connection.getresponse()
        self._response = response
        if self._sock is not None:
            with suppress(OSError):  # of an answer without a body it is closed already
                self._sock.settimeout(self._patience.between_s)
        return response

    def _connect(self, url: str) -> tuple[HTTPConnection, str]:
        try:
            address = urlsplit(url)
            host, port = address.hostname, address.port
        except ValueError:
            host = None
        if not host or address.scheme not in {"http", "https"}:
            raise ProtocolError(f"{self._who} sent us for {self._film} to what is no web address")
        connect_s = self._patience.connect_s
        connection: HTTPConnection
        if address.scheme == "https":
            connection = HTTPSConnection(host, port or 443, timeout=connect_s, ssl_context=_tls())
        else:
            connection = HTTPConnection(host, port or 80, timeout=connect_s)
        try:
            connection.connect()
        except LocationParseError:
            raise ProtocolError(f"{self._who} has a host name that cannot be") from None
        with self._lock:
            self._connection, self._sock = connection, connection.sock
            closed = self._closed
            if not closed:
                self._counted = True
                self._tally.connected()
        if closed:
            raise Interrupted("the connection to the provider was closed")
        target = address.path or "/"
        return connection, f"{target}?{address.query}" if address.query else target

    def _hang_up(self) -> None:
        """Close what is open of this exchange. Only by whoever is inside, or when nobody is."""
        with self._lock:
            connection, sock, response = self._connection, self._sock, self._response
            self._connection = self._sock = self._response = None
            self._uncount()
        for thing in (response, connection, sock):
            if thing is not None:
                with suppress(OSError, HTTPError):
                    thing.close()

    def _uncount(self) -> None:
        """Count the connection out, once; the lock is held."""
        if self._counted:
            self._counted = False
            self._tally.disconnected()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _kind(exc: Exception) -> str:
    """Return in a word what happened, without the text, which may hold an address."""
    cause = exc.args[-1] if exc.args and isinstance(exc.args[-1], Exception) else exc
    return type(cause).__name__
