"""One authenticated connection to a provider, with any number of commands in flight.

Every byte from the server goes through sabctools' `Decoder`: greeting, AUTHINFO, STAT and BODY
alike (RFC 3977, RFC 4643, yEnc 1.3). `dial` blocks and runs on a dialling thread; from then on the
connection belongs to the reactor's thread alone, which makes one lock-free owner of the Decoder
and of the TLS state, neither of which may be used by two threads at once.

    NEW --dial--> READY <--> BUSY          READY: nothing in flight; BUSY: replies are awaited
     |              |          |
     +-----------> CLOSED <----+           for good, whatever the reason
"""

from __future__ import annotations

import contextlib
import enum
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import sabctools

from gateway.errors import (
    ConnectFailed,
    ConnectionLost,
    LoginRefused,
    ProtocolError,
    ProviderBusy,
)
from gateway.usenet.exchange import Exchange

# A larger buffer is no faster, a smaller one costs more calls (measured: 256 KiB).
BUFFER = 256 * 1024
# One readable connection may take this many bytes before the others get their turn.
TURN = 4 * BUFFER
# What marks a reply as asked for. Not the exchange: reply and exchange would hold each other,
# and the article with them until the garbage collector comes by.
_ASKED = object()


class State(enum.StrEnum):
    """Where a connection stands in its life."""

    NEW = "not dialled yet"
    READY = "authenticated, nothing in flight"
    BUSY = "replies are awaited"
    CLOSED = "over"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.READY, State.CLOSED}),
    State.READY: frozenset({State.BUSY, State.CLOSED}),
    State.BUSY: frozenset({State.READY, State.CLOSED}),
    State.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where the provider called *name* is, and how to enter. *password* appears in no message."""

    name: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"


def setting(provider: str, field: str) -> str:
    """Return the name of the setting that is to be changed, for the words of an error."""
    return f"GATEWAY_PROVIDERS__{provider.upper()}__{field}"


class Connection:
    """One connection. Only its present owner may call it: the dialling thread, then the reactor.

    All but `abandon`, which is for whoever cannot wait for the dialling thread.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state = State.NEW
        self.socket: socket.socket | None = None
        self.in_flight: deque[Exchange] = deque()
        self.progress_at = 0.0  # when it was dialled, bytes came, or it ceased to be idle
        self.login_s = 0.0  # what it took from the first look-up to READY
        self._decoder = sabctools.Decoder(BUFFER)
        self._outgoing = bytearray()
        self._unwanted = False
        self._receive: Callable[[], int] = self._receive_nothing
        self._keeps_bytes = False  # TLS does, where no selector sees them

    # -- dialling (blocking, on a dialling thread) ----------------------------------------------

    def dial(self, timeout_s: float) -> None:
        """Look up, connect, negotiate TLS and log in, each step within *timeout_s*.

        Raises ConnectFailed, ProviderBusy (400, 502), LoginRefused, ProtocolError; the
        connection is CLOSED then. RFC 3977 5.1, RFC 4643 2.3.
        """
        began = time.monotonic()
        try:
            self._open_socket(timeout_s)
            self._greet()
            self._log_in()
        except TimeoutError as exc:
            self.close()
            raise ConnectFailed(f"{self.server!r} did not answer within {timeout_s:g} s") from exc
        except ssl.SSLCertVerificationError as exc:
            self.close()
            raise ConnectFailed(
                f"{self.server!r} shows a certificate that cannot be verified: "
                f"{exc.verify_message}; check {setting(self.server.name, 'HOST')}, or set "
                f"{setting(self.server.name, 'TLS_VERIFY')}=false if you trust it all the same"
            ) from exc
        except OSError as exc:
            self.close()
            reason = exc.strerror or str(exc)
            raise ConnectFailed(f"cannot connect to {self.server!r}: {reason}") from exc
        except BaseException:
            self.close()
            raise
        assert self.socket is not None
        self.socket.setblocking(False)
        self.progress_at = time.monotonic()
        self.login_s = self.progress_at - began
        self._move(State.READY)

    def abandon(self) -> None:
        """Have `dial` end soon, with ConnectFailed and the socket closed. From any thread."""
        self._unwanted = True
        if (opened := self.socket) is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _open_socket(self, timeout_s: float) -> None:
        server = self.server
        self._check_wanted()
        self.socket = plain = socket.create_connection((server.host, server.port), timeout_s)
        self._check_wanted()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._receive = self._receive_plain
        if server.tls is not None:
            # The handshake comes after the assignment: `abandon` must find the socket.
            self.socket = secure = server.tls.wrap_socket(
                plain, server_hostname=server.host, do_handshake_on_connect=False
            )
            self._check_wanted()
            secure.do_handshake()
            self._receive = lambda: sabctools.unlocked_ssl_recv_into(secure, self._decoder)
            self._keeps_bytes = True

    def _check_wanted(self) -> None:
        if self._unwanted:
            raise ConnectFailed(f"{self.server!r}: dialling was given up here")

    def _greet(self) -> None:
        code, message = self._reply()
        if code in (400, 502):
            raise ProviderBusy(f"{self.server!r} refuses the connection: {message}")
        if code not in (200, 201):
            raise ProtocolError(f"{self.server!r} greets with {message!r}, which is not NNTP")

    def _log_in(self) -> None:
        server = self.server
        if server.username is None:
            return
        code, message = self._command("AUTHINFO USER", server.username)
        if code == 381:
            code, message = self._command("AUTHINFO PASS", server.password or "")
        if code == 281:
            return
        if code in (400, 502) and not _speaks_of_login(message):
            raise ProviderBusy(f"{server!r} refuses {server.username!r} a connection: {message}")
        if code in (400, 452, 480, 481, 482, 502):
            raise LoginRefused(
                f"{server!r} refused the login of {server.username!r} ({code}): "
                f"check {setting(server.name, 'USERNAME')} and {setting(server.name, 'PASSWORD')}"
            )
        raise ProtocolError(f"{server!r} answered AUTHINFO with {code}")

    def _command(self, verb: str, argument: str) -> tuple[int, str]:
        if any(mark in argument for mark in "\r\n\0"):
            raise LoginRefused(f"the login of {self.server!r} holds a line break: remove it")
        assert self.socket is not None
        self.socket.sendall(f"{verb} {argument}\r\n".encode())
        return self._reply()

    def _reply(self) -> tuple[int, str]:
        while True:
            for response in self._decoder:
                return response.status_code, response.message or ""
            assert self.socket is not None
            # The blocking twin of _receive: TLS too fills the buffer through the socket here.
            received = self.socket.recv_into(self._decoder)
            if received <= 0:
                raise ConnectFailed(f"{self.server!r} closed the connection before the login")
            self._decoder.process(received)

    # -- exchanging (non-blocking, on the reactor's thread) ---------------------------------------

    def start(self, exchange: Exchange) -> None:
        """Queue the commands of *exchange* behind those in flight; `flush` sends them."""
        exchange.sent_at = time.monotonic()
        if self.state is State.READY:
            self._move(State.BUSY)
            self.progress_at = exchange.sent_at  # and not behind another, whose silence counts on
        elif self.state is not State.BUSY:
            raise ConnectionLost(f"the connection to {self.server!r} is {self.state.value}")
        self.in_flight.append(exchange)
        for line in exchange.lines:
            self._decoder.expect(_ASKED)
            self._outgoing += line

    def flush(self) -> bool:
        """Send what waits to be sent; True when all of it is out. Raises OSError."""
        assert self.socket is not None
        while self._outgoing:
            try:
                sent = self.socket.send(self._outgoing)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            del self._outgoing[:sent]
        return True

    def receive(self, completed: list[Exchange]) -> bool:
        """Take what has arrived, append the exchanges that it completes, say if more may wait.

        Raises ConnectionLost; what was completed before that is in *completed* all the same.
        """
        taken = 0
        while taken < TURN:
            try:
                received = self._receive()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            except OSError as exc:
                raise ConnectionLost(f"{self.server!r} broke off: {exc.strerror or exc}") from exc
            if received <= 0:
                raise ConnectionLost(f"{self.server!r} closed the connection")
            taken += received
            self.progress_at = time.monotonic()
            self._decoder.process(received)
            if self.in_flight:
                self.in_flight[0].received += received
            for response in self._decoder:
                self._take(response, completed)
            seems_drained = received < BUFFER // 4 or not self.in_flight
            if seems_drained and not self._keeps_bytes:
                return False  # the selector tells if more has come meanwhile
        return True

    def _take(self, response: sabctools.NNTPResponse, completed: list[Exchange]) -> None:
        if response.context is not _ASKED or response.status_code < 100:
            # Unasked for: a goodbye (400, 205), or a stream that is out of step.
            line = (response.message or "")[:80]
            raise ConnectionLost(f"{self.server!r} said {line!r} without being asked")
        exchange = self.in_flight[0]  # replies come in the order of the commands
        exchange.responses.append(response)
        if exchange.is_complete:
            self.in_flight.popleft()
            completed.append(exchange)
            if not self.in_flight:
                self._move(State.READY)

    def close(self) -> None:
        """Take leave if nothing is in flight, and close the socket. Any number of times."""
        if self.socket is not None and self.state is State.READY:
            with contextlib.suppress(OSError):
                self.socket.send(b"QUIT\r\n")
        if self.state is not State.CLOSED:
            self._move(State.CLOSED)
        if self.socket is not None:
            self.socket.close()

    # -- within -----------------------------------------------------------------------------------

    def _receive_plain(self) -> int:
        assert self.socket is not None
        return self.socket.recv_into(self._decoder)

    def _receive_nothing(self) -> int:
        raise ConnectionLost(f"{self.server!r} was never dialled")

    def _move(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a connection that is {self.state.name} cannot become {state.name}")
        self.state = state


def _speaks_of_login(message: str) -> bool:
    # 502 to AUTHINFO is "too many connections" with some providers and "wrong password" with
    # others; only the words tell.
    lowered = message.lower()
    return any(word in lowered for word in ("password", "auth", "credential", "login", "denied"))
