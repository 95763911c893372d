"""A news server on this machine, with the manners and the faults of real ones.

One thread drives all connections: it waits for sockets and for the times that the shape of the
line asks for. Unshaped it hands articles to the kernel as fast as that takes them.
"""

from __future__ import annotations

import heapq
import random
import select
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import Self

from gateway.demo.article import Article
from gateway.demo.faults import FAULTY, Fault, Rule
from gateway.demo.link import Link
from gateway.demo.post import Post
from gateway.demo.session import Session
from gateway.demo.shape import Pace, Shape
from gateway.demo.site import Counts, LimitAt, Site

_BACKLOG = 1024
_LINE_CREDIT_S = 0.010
_NAP_S = 0.0005  # what is due within one nap leaves together: 50 shaped connections want that
_SELECT_MAX_FD = 1024


class NewsServer:
    """A context manager that serves posts while it is open; all methods are thread-safe.

        with NewsServer(users={"bob": "secret"}) as server:
            server.add(make_post("film.mkv", data))
            connect(server.host, server.port)

    *users*: names and passwords; None: no login is asked for, and any is accepted. *tls*: a
    server's context. *shape*: None is as fast as it goes. *port* 0: one that is free.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        shape: Shape | None = None,
        users: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        max_connections: int | None = None,
        limit_at: LimitAt = LimitAt.GREETING,
        seed: int = 0,
    ) -> None:
        self._site = Site(users, max_connections, limit_at)
        self._shape = shape
        self._tls = tls
        self._rng = random.Random(seed)
        self._line = Pace(shape.rate_total if shape else None, credit_s=_LINE_CREDIT_S)
        self._links: set[Link] = set()
        self._timers: list[tuple[float, int, Link]] = []
        self._timer_count = 0
        self._accepted = 0
        self._calls: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._failure: BaseException | None = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.host, self.port = self._listener.getsockname()[:2]
        self._waker, self._wakened = socket.socketpair()
        self._wakened.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name=f"news server {self.port}")
        self._thread.daemon = True  # a test that fails must not keep the process alive

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wakened, selectors.EVENT_READ, self._woken)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every connection and the port, and end the thread. May be called again."""
        if self._thread.is_alive():
            self._stopping = True
            self._call(lambda: None)
            self._thread.join()
        if self._selector.get_map() is None:
            return
        for link in self._links:
            link.close()
            link.sock.close()
        self._links.clear()
        self._selector.close()
        for each in (self._listener, self._waker, self._wakened):
            each.close()
        if self._failure is not None:
            raise RuntimeError("the demo news server has failed") from self._failure

    # What is served.

    def add(self, *posts: Post | Article) -> None:
        """Serve the articles of these posts, too."""
        for post in posts:
            self._site.add(post.articles.values() if isinstance(post, Post) else (post,))

    def remove(self, message_ids: Iterable[str]) -> None:
        """Serve these articles no longer: 430 to everything."""
        self._site.remove(message_ids)

    # What goes wrong.

    def fail(
        self,
        fault: Fault,
        *message_ids: str,
        times: int | None = None,
        commands: Collection[str] | None = None,
        code: int | None = None,
        after: int | None = None,
        seconds: float | None = None,
        instead: str | None = None,
    ) -> None:
        """Have *fault* happen to these articles, or to all if none is named.

        *times*: how often, for each message-id; None: for ever. *commands*: the verbs that meet
        it, if not those of FAULTY. *code*: in place of the usual reply code. *after*: bytes of
        the reply, status line included, before STALL and CUT; None: half of it. *seconds*: how
        long STALL and SILENCE last; None: until `release`. *instead*: the message-id of the
        article that WRONG_ARTICLE serves; None: any other.
        """
        verbs = FAULTY[fault] if commands is None else frozenset(commands)
        with self._site.changed:
            for each in message_ids or (None,):
                rule = Rule(fault, verbs, each, code, after, seconds, instead)
                self._site.faults.add(rule, times)

    def heal(self, fault: Fault | None = None, *message_ids: str) -> None:
        """Forget the faults of this kind and these articles (none named: all), and release."""
        with self._site.changed:
            self._site.faults.clear(fault, message_ids)
        self.release()

    def release(self) -> None:
        """Let replies go on that a STALL or a SILENCE holds, or will hold by now."""
        with self._site.changed:
            self._site.releases += 1
        self._call(self._pump_all)

    def limit_connections(self, maximum: int | None) -> None:
        """Refuse more than *maximum* connections from now on; those that are open stay."""
        with self._site.changed:
            self._site.max_connections = maximum

    def drop_connections(self) -> None:
        """Close all connections at once, as a server does that restarts."""
        self._call(self._close_all)

    # What happened.

    @property
    def counts(self) -> Counts:
        """A copy of the counts, as they are now."""
        return self._site.snapshot()

    def wait_for(self, predicate: Callable[[Counts], object], timeout_s: float = 10.0) -> Counts:
        """Wait until *predicate* holds for the counts, and return them.

        It is asked under the server's lock and must be quick. Raises TimeoutError.
        """
        return self._site.wait_for(predicate, timeout_s)

    # The thread.

    def _call(self, function: Callable[[], None]) -> None:
        if self._thread.is_alive():
            self._calls.append(function)
            self._waker.send(b"\0")

    def _woken(self, _: float) -> None:
        self._wakened.recv(4096)
        while self._calls:
            self._calls.popleft()()

    def _run(self) -> None:
        try:
            while not self._stopping:
                ready = self._wait()
                now = time.monotonic()
                for key, events in ready:
                    if isinstance(key.data, Link):
                        self._serve(key.data, events, now)
                    else:
                        key.data(now)
                self._ring(time.monotonic())
        except BaseException as exc:  # noqa: BLE001  (told by stop, in the owner's thread)
            self._failure = exc

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._timers:
            return self._selector.select()
        nap_s = max(self._timers[0][0] - time.monotonic(), 0.0 if self._shape is None else _NAP_S)
        poll = self._selector.fileno() if hasattr(self._selector, "fileno") else -1
        if 0 <= poll < _SELECT_MAX_FD:
            # epoll counts in whole milliseconds, select in microseconds.
            select.select([poll], [], [], nap_s)
            nap_s = 0.0
        return self._selector.select(nap_s)

    def _ring(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            at, _, link = heapq.heappop(self._timers)
            if link.wake_at == at:
                link.wake_at = None
                self._pump(link, now)

    def _accept(self, now: float) -> None:
        arrived = []
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # none left, or one that has gone already
                break
            arrived.append(sock)
        # A client that closes one connection and then opens another has one: what left before
        # these came is known by now, and counted first: behind what it sent last, if need be.
        while self._hear(now):
            pass
        for sock in arrived:
            self._welcome(sock, now)

    def _hear(self, now: float) -> bool:
        """Serve whoever is ready; return whether one of them was read, and may have more to say."""
        has_read = False
        for key, events in self._selector.select(0):
            if isinstance(key.data, Link):
                has_read |= bool(events & selectors.EVENT_READ) and key.data.is_heard
                self._serve(key.data, events, now)
        return has_read

    def _welcome(self, sock: socket.socket, now: float) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._accepted += 1
        session = Session(self._site, self._accepted)
        link = Link(sock, session, self._site, self._shape, self._line, rng=self._rng)
        self._links.add(link)
        link.open(now)
        self._pump(link, now)

    def _serve(self, link: Link, events: int, now: float) -> None:
        if events & selectors.EVENT_READ:
            link.read(now)
        if link.wake_at is None or link.is_closed:
            self._pump(link, now)

    def _pump(self, link: Link, now: float) -> None:
        at = None if link.is_closed else link.pump(now)
        if at is not None and at != link.wake_at:
            self._timer_count += 1
            heapq.heappush(self._timers, (at, self._timer_count, link))
        link.wake_at = at
        events = link.events
        if events != link.watched:
            if not events:
                self._selector.unregister(link.sock)
            elif link.watched:
                self._selector.modify(link.sock, events, link)
            else:
                self._selector.register(link.sock, events, link)
            link.watched = events
        if link.is_closed:
            link.sock.close()
            self._links.discard(link)

    def _pump_all(self) -> None:
        now = time.monotonic()
        for link in list(self._links):
            self._pump(link, now)

    def _close_all(self) -> None:
        for link in list(self._links):
            link.close()
        self._pump_all()
