"""What all connections of a VOD service share: accounts, who streams, faults and the log.

A service lets an account have so many streams open at once. A stream is open from its request
until its last byte is with the kernel or its client has closed; both are looked up, not waited
for, before anybody is refused: a client that closes one connection and opens the next has one.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.demo.xtream.faults import Plan, Rule, Trouble

_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR
OPEN = "open"


@dataclass(frozen=True, slots=True)
class Account:
    """Who may stream, and how many streams at once (0: any number)."""

    name: str
    password: str = field(repr=False)
    max_connections: int = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what for, with which Range, and what became of it.

    *target* is the item's id or player_api.php's action. *sent* counts bytes of the body.
    *ended*: "open" while it streams, then "whole", "client left", "cut", "refused" or "stopped".
    """

    number: int
    account: str
    method: str
    path: str
    target: str
    range: str | None
    status: int = 0
    sent: int = 0
    ended: str = OPEN


@dataclass(frozen=True, slots=True)
class Counts:
    """An account's figures: streams *open* now, the most at once, and all there were.

    *offences* were refused because they were above the limit.
    """

    open: int = 0
    most: int = 0
    total: int = 0
    offences: int = 0
    bytes_sent: int = 0


class Stream:
    """One answer with a body, on its socket. The lock covers sending and looking."""

    def __init__(self, sock: socket.socket, account: str) -> None:
        self.account = account
        self.sock = sock
        self.lock = threading.Lock()
        self.sent = 0
        self.length: int | None = None
        self.is_over = False
        self._poll = select.poll()
        self._poll.register(sock, _GONE)

    def send(self, piece: memoryview) -> int:
        """Give the kernel as much of *piece* as it takes at once; 0: wait. Raises OSError."""
        with self.lock:
            try:
                count = self.sock.send(piece, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return 0
            self.sent += count
            if self.sent == self.length:
                self.is_over = True
            return count

    def look(self) -> bool:
        """Say whether it is over: all sent, or the client has gone."""
        with self.lock:
            if not self.is_over and self._poll.poll(0):
                self.is_over = True
            return self.is_over

    def end(self) -> None:
        with self.lock:
            self.is_over = True


class Site:
    """The shared state. Its methods lock."""

    def __init__(self, accounts: dict[str, Account]) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.accounts = accounts
        self.plan = Plan()
        self._requests: list[Asked] = []
        self._streams: dict[str, list[Stream]] = {}
        self._counts: dict[str, Counts] = {}
        self._held: set[socket.socket] = set()
        self.is_stopping = False

    # The log.

    def ask(self, account: str, method: str, path: str, target: str, range_: str | None) -> int:
        """Note a request; return its number."""
        with self.changed:
            asked = Asked(len(self._requests), account, method, path, target, range_)
            self._requests.append(asked)
            self.changed.notify_all()
            return asked.number

    def note(self, number: int, *, status: int = 0, sent: int = 0, ended: str = OPEN) -> None:
        """Tell what becomes of request *number*: *sent* more bytes of its body have left."""
        with self.changed:
            asked = self._requests[number]
            self._requests[number] = replace(
                asked, status=status or asked.status, sent=asked.sent + sent, ended=ended
            )
            if sent:
                counts = self._counts.get(asked.account, Counts())
                self._counts[asked.account] = replace(counts, bytes_sent=counts.bytes_sent + sent)
            self.changed.notify_all()

    def requests(self) -> list[Asked]:
        with self.changed:
            return list(self._requests)

    def take(self, *, api: bool, account: str, target: str) -> dict[Trouble, Rule]:
        with self.changed:
            return self.plan.take(api=api, account=account, target=target)

    # Streams.

    def open(self, account: str, sock: socket.socket) -> Stream | None:
        """Count a stream in, or refuse it: None, which is counted too."""
        with self.changed:
            self._sweep(account)
            counts = self._counts.get(account, Counts())
            streams = self._streams.setdefault(account, [])
            limit = self.accounts[account].max_connections
            stream = Stream(sock, account)
            if limit and len(streams) >= limit:
                if not stream.look():  # otherwise who asked has gone, before it was heard
                    self._counts[account] = replace(counts, offences=counts.offences + 1)
                self.changed.notify_all()
                return None
            streams.append(stream)
            self._counts[account] = replace(
                counts, most=max(counts.most, len(streams)), total=counts.total + 1
            )
            self.changed.notify_all()
            return stream

    def close(self, stream: Stream) -> None:
        """Count it out, if that has not been done."""
        stream.end()
        with self.changed:
            self._sweep(stream.account)
            self.changed.notify_all()

    def counts(self, account: str) -> Counts:
        with self.changed:
            self._sweep(account)
            counts = self._counts.get(account, Counts())
            return replace(counts, open=len(self._streams.get(account, ())))

    def _sweep(self, account: str) -> None:
        streams = self._streams.get(account, [])
        streams[:] = [stream for stream in streams if not stream.look()]

    def wait_for(self, predicate: Callable[[], object], timeout_s: float) -> None:
        with self.changed:
            if not self.changed.wait_for(predicate, timeout_s):
                raise TimeoutError(f"not within {timeout_s:g} s")

    # Holding back.

    def hold(self, sock: socket.socket, seconds: float | None) -> bool:
        """Wait for *seconds* or `release`; False: the client left, or the server stops."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with self.changed:
                if self.is_stopping:
                    return False
                self._held.add(theirs)
                self.changed.notify_all()
            poll = select.poll()
            poll.register(sock, _GONE)
            poll.register(ours, select.POLLIN)
            ready = dict(poll.poll(None if seconds is None else seconds * 1000))
            with self.changed:
                self._held.discard(theirs)
                self.changed.notify_all()
                return sock.fileno() not in ready and not self.is_stopping

    @property
    def held(self) -> int:
        """How many answers are held back right now."""
        with self.changed:
            return len(self._held)

    def release(self) -> None:
        """Let go on what is held back."""
        with self.changed:
            for each in self._held:
                each.send(b"\0")

    def stop(self) -> None:
        with self.changed:
            self.is_stopping = True
            self.release()
