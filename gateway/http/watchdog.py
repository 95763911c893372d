"""Watches over the clients of streaming responses: who is gone, who pauses, who never comes back.

A thread that waits for a provider notices nothing of its client, and one that writes to a socket
learns of a reset at the write after it. So one more thread waits for all of these sockets
together, in epoll: a client that is gone has its response ended within milliseconds, whatever
that waits for. Pauses are told by deadlines of the same wait. There is no tick: with no stream,
and between the deadlines, the thread sleeps.

Gone is who has reset the connection, and who has closed it, or its sending half, with nothing sent
behind the request. A request pipelined behind it shows that the client still wants answers:
then only a reset counts.

Where there is no epoll (macOS), pauses are told as here, and a client that is gone is noticed at
the second write after it went.
"""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from gateway.http.queues import unread
from gateway.http.streaming import StreamingBody, Verdict

logger = logging.getLogger(__name__)

# Looks at each stream within SUSPEND: what a client took is seen then, so that a pause is noticed
# when it has lasted for at most so much longer.
_LOOKS = 4


class Poller(Protocol):
    """Waits for hang-ups. `wait` is for one thread, the rest for any."""

    def add(self, fd: int, *, pipelined: bool) -> None:
        """Report *fd* from `wait`, again and again, once its client has hung up."""

    def remove(self, fd: int) -> None: ...

    def wait(self, timeout_s: float | None) -> list[int]: ...

    def wake(self) -> None:
        """Have `wait` return."""

    def close(self) -> None: ...


class EpollPoller:
    """By epoll. Registering takes effect while another thread waits; level-triggered, so that
    what is not dealt with is told again."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)

    def add(self, fd: int, *, pipelined: bool) -> None:
        # HUP and ERR are always reported.
        mask = 0 if pipelined else select.EPOLLRDHUP
        try:
            self._epoll.register(fd, mask)
        except FileExistsError:
            self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        with suppress(OSError):
            self._epoll.unregister(fd)

    def wait(self, timeout_s: float | None) -> list[int]:
        ready = [fd for fd, _ in self._epoll.poll(timeout_s)]
        if self._bell in ready:
            os.eventfd_read(self._bell)
            ready.remove(self._bell)
        return ready

    def wake(self) -> None:
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._bell)


class BlindPoller:
    """Sees no hang-up: for systems without epoll."""

    def __init__(self) -> None:
        self._bell = threading.Event()

    def add(self, fd: int, *, pipelined: bool) -> None: ...

    def remove(self, fd: int) -> None: ...

    def wait(self, timeout_s: float | None) -> list[int]:
        if self._bell.wait(timeout_s):
            self._bell.clear()
        return []

    def wake(self) -> None:
        self._bell.set()

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Watch:
    stream: StreamingBody
    sock: socket.socket
    fd: int
    due: float


class Watchdog:
    """Ends streams whose clients are gone, suspends those that pause, cuts the abandoned.

    All that it does to a stream happens on its thread: what streams own must be quick to close.
    """

    # Invariants, true whenever the lock is free:
    #   a watched socket is open: whoever closes one says `unwatch` first
    #   `_until`, when the thread wakes up by itself, is not after any `due`

    def __init__(
        self,
        *,
        suspend_s: float,
        abandon_s: float,
        make_poller: Callable[[], Poller] | None = None,
    ) -> None:
        self.hang_ups = 0
        self.suspensions = 0
        self.abandoned = 0
        self._suspend_s = suspend_s
        self._abandon_s = abandon_s
        self._step_s = min(suspend_s, abandon_s) / _LOOKS
        self._make_poller = make_poller or (
            EpollPoller if hasattr(select, "epoll") else BlindPoller
        )
        self._lock = threading.RLock()
        self._watches: dict[int, _Watch] = {}
        self._until = math.inf
        self._poller: Poller | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        poller = self._poller = self._make_poller()
        self._thread = threading.Thread(
            target=self._run, args=(poller,), name="http-watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Watch no more, nor what comes later. Any number of times."""
        with self._lock:
            thread, self._thread = self._thread, None
            if self._poller is not None:
                self._poller.wake()
        if thread is not None:
            thread.join()

    def watch(self, stream: StreamingBody, sock: socket.socket, *, pipelined: bool) -> None:
        """Watch over *stream*, whose client is at *sock*, until `unwatch`.

        *pipelined*: something the client sent behind the request has been read already.
        """
        watch = _Watch(stream, sock, sock.fileno(), time.monotonic() + self._step_s)
        with self._lock:
            if self._poller is None:
                return
            self._watches[watch.fd] = watch
            self._poller.add(watch.fd, pipelined=pipelined)
            if watch.due < self._until:
                self._poller.wake()

    def unwatch(self, stream: StreamingBody, sock: socket.socket) -> None:
        """Watch over *stream* no more. Any number of times, also if it never was."""
        with self._lock:
            watch = self._watches.get(sock.fileno())
            if watch is not None and watch.stream is stream:
                self._forget(watch)

    def _forget(self, watch: _Watch) -> None:
        del self._watches[watch.fd]
        if self._poller is not None:
            self._poller.remove(watch.fd)

    def _run(self, poller: Poller) -> None:
        while self._thread is not None:
            for fd in poller.wait(self._timeout_s()):
                self._hung_up(fd)
            self._look_at_due()
        with self._lock:
            self._poller = None
            self._watches.clear()
            poller.close()

    def _timeout_s(self) -> float | None:
        with self._lock:
            dues = [watch.due for watch in list(self._watches.values())]
            self._until = min(dues, default=math.inf)
            return max(0.0, self._until - time.monotonic()) if dues else None

    def _hung_up(self, fd: int) -> None:
        with self._lock:
            # Since it was reported, the stream may have ended, and its number be another
            # client's: so what counts is what is so now, while nobody can close the socket.
            watch = self._watches.get(fd)
            if watch is None or self._poller is None or not (events := _events(fd)):
                return
            if not events & (select.POLLHUP | select.POLLERR) and unread(watch.sock):
                self._poller.add(fd, pipelined=True)
                return
            self._forget(watch)
        connection = watch.stream.connection
        # Who has all and closes at once is seen here when its response is about to end.
        if connection is not None and not connection.has_all():
            self.hang_ups += 1
        self._abort(watch.stream)

    def _look_at_due(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = [watch for watch in list(self._watches.values()) if watch.due <= now]
            for watch in due:
                watch.due = now + self._step_s
        for watch in due:
            try:
                self._look_at(watch.stream)
            except Exception:  # without this thread nobody is watched
                logger.exception("looking at a stream failed")

    def _look_at(self, stream: StreamingBody) -> None:
        match stream.look(self._suspend_s, self._abandon_s):
            case Verdict.SUSPEND:
                self.suspensions += 1
                stream.suspend()
            case Verdict.ABANDON:
                self.abandoned += 1
                self._abort(stream)
            case Verdict.NOTHING:
                pass

    def _abort(self, stream: StreamingBody) -> None:
        try:
            stream.abort()
        except Exception:
            logger.exception("ending the stream of a client that is gone failed")


def _events(fd: int) -> int:
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)
    return sum(events for _, events in poll.poll(0))
