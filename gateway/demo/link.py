"""One client's connection: what came in, what still has to go out, and when it may.

NEW (TLS handshake) → OPEN → LEAVING (all said; the client hangs up next) → CLOSED. Only the
server's thread calls a Link, and a Link never blocks.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import ssl
from enum import Enum, auto

from gateway.demo.outbox import Close, Hold, Outbox, Until
from gateway.demo.session import Reply, Session
from gateway.demo.shape import QUANTUM, Pace, Shape
from gateway.demo.site import Site

_BURST = 4 * 1024 * 1024  # bytes sent without a look at the other connections, unshaped
_TLS_JOIN = 64 * 1024  # pieces up to this size are joined: TLS has no gathering write
_READ = 64 * 1024
_CATCH_UP_S = 0.020


class State(Enum):
    """What a link is doing; see the module."""

    NEW = auto()
    OPEN = auto()
    LEAVING = auto()
    CLOSED = auto()


class Link:
    """A connection that has been accepted.

    `pump` sends what may go and returns when to call it again; None: when the socket says so.
    """

    def __init__(
        self,
        sock: socket.socket,
        session: Session,
        site: Site,
        shape: Shape | None,
        line: Pace,
        *,
        rng: random.Random,
    ) -> None:
        """*sock* is non-blocking; the caller closes it when the link `is_closed`."""
        self.sock = sock
        self.wake_at: float | None = None
        """When the server will call `pump`: the server's note."""
        self.watched = 0
        """Which events the server watches the socket for: its note, too."""
        self._wants_write = False
        self._session = session
        self._site = site
        self._shape = shape
        self._line = line
        self._pace = Pace(shape.rate_per_connection if shape else None, credit_s=_CATCH_UP_S)
        self._booked: float | None = None
        self._rng = rng
        self._out = Outbox()
        self._input = bytearray()
        self._stuck: memoryview | None = None
        self._state = State.NEW

    @property
    def is_closed(self) -> bool:
        return self._state is State.CLOSED

    @property
    def is_heard(self) -> bool:
        """Whether `read` takes what the client sends; before a handshake over TLS it does not."""
        return self._state in (State.OPEN, State.LEAVING)

    @property
    def events(self) -> int:
        """What to watch the socket for; nothing while a handshake waits for its round trip."""
        if self._state is State.CLOSED or (self._state is State.NEW and self._out):
            return 0
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._wants_write else 0)

    def open(self, now: float) -> None:
        """Greet; over TLS, shake hands first. Either begins one round trip after *now*."""
        if isinstance(self.sock, ssl.SSLSocket):
            self._delay(now)
        else:
            self._greet(now)

    def read(self, now: float) -> None:
        """Take in what the client has sent, and queue the replies."""
        if self._state is State.NEW:
            return
        if not self._receive():
            self.close()
            return
        *lines, self._input = self._input.split(b"\n")
        for line in lines:
            if self._state is State.OPEN:
                self._say(self._session.answer(bytes(line.removesuffix(b"\r"))), now)

    def pump(self, now: float) -> float | None:
        """Send what may be sent now."""
        self._wants_write = False
        sent = 0
        while self._out:
            match self._out.head():
                case Until(at=at):
                    if at > now:
                        return at
                    self._pace.start(at)
                    self._out.pop()
                case Hold() as hold:
                    if not self._is_over(hold, now):
                        return hold.until
                    self._out.pop()
                case Close(hard=hard):
                    self.close() if hard else self._leave()
                    return None
                case _:
                    at = self._slot(now)
                    if at > now:
                        return at
                    count = self._send(_BURST if self._shape is None else QUANTUM)
                    if self._state is State.CLOSED:
                        return None
                    sent += count
                    self._booked = None
                    if not count or (self._shape is None and sent >= _BURST):
                        # No room; or enough for one turn: come back after the others.
                        self._wants_write = True
                        self._pace.start(now)
                        return None
        if self._state is State.NEW:
            self._shake(now)
            return self.pump(now) if self._out else None
        return None

    def close(self) -> None:
        """Close at once, whatever is unsaid. May be called again."""
        if self._state is State.CLOSED:
            return
        held = self._out.head() if self._out else None
        if isinstance(held, Hold) and held.reached:
            self._site.stalled(-1)
        self._out.clear()
        self._state = State.CLOSED
        self._session.leave()

    # What comes in.

    def _receive(self) -> bool:
        """Take what has arrived; False when the client has hung up."""
        try:
            while chunk := self.sock.recv(_READ):
                if self._state is State.OPEN:
                    self._input += chunk
                if not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                    return True
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def _say(self, reply: Reply, now: float) -> None:
        self._delay(now)
        self._out.put(reply, releases=self._site.releases)

    def _delay(self, now: float) -> None:
        if self._shape is not None:
            self._out.wait(now + self._shape.round_trip(self._rng))

    def _greet(self, now: float) -> None:
        self._state = State.OPEN
        self._say(self._session.greeting(), now)

    def _shake(self, now: float) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self._wants_write = True
        except OSError:
            self.close()
        else:
            self._greet(now)

    # What goes out.

    def _slot(self, now: float) -> float:
        """Return when the next quantum may leave, and take the shared line for it."""
        if self._shape is None:
            return now
        if self._booked is None:
            free_at = self._pace.free_at()
            if free_at > now:
                return free_at  # the shared line is booked when this one is ready, not before
            length = sum(map(len, self._out.gather(QUANTUM)))
            self._booked = max(self._pace.book(length, now), self._line.book(length, now))
        return self._booked

    def _is_over(self, hold: Hold, now: float) -> bool:
        if not hold.reached:
            hold.reached = True
            hold.until = None if hold.seconds is None else now + hold.seconds
            self._site.stalled(+1)
        over = self._site.releases > hold.releases or (hold.until is not None and hold.until <= now)
        if over:
            self._site.stalled(-1)
        return over

    def _send(self, limit: int) -> int:
        """Send up to *limit* bytes of what is at the head; 0: there is no room, or no client."""
        try:
            with self._site.changed:  # whoever has received a byte finds it counted
                if isinstance(self.sock, ssl.SSLSocket):
                    count = self._send_tls(self.sock, limit)
                else:
                    count = self.sock.sendmsg(self._out.gather(limit))
                self._site.sent(count)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except OSError:
            self.close()
            return 0
        self._out.drop(count)
        return count

    def _send_tls(self, sock: ssl.SSLSocket, limit: int) -> int:
        # OpenSSL wants a write that found no room to be repeated with the same bytes.
        if self._stuck is None:
            pieces = self._out.gather(min(limit, 16 * _TLS_JOIN))
            self._stuck = pieces[0]
            if len(pieces) > 1 and len(pieces[0]) < _TLS_JOIN:
                self._stuck = memoryview(b"".join(self._out.gather(min(limit, _TLS_JOIN))))
        count = sock.send(self._stuck)
        self._stuck = None
        return count

    def _leave(self) -> None:
        """Say that no more will come. The client hangs up; a reset would take its last reply."""
        self._out.clear()
        self._state = State.LEAVING
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.unwrap()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self._session.leave()
