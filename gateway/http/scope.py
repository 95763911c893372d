"""The request scope: who asks, and everything that a response opens, closed when it ends.

`RequestScope` is the outermost WSGI application. Every request gets a reservation of its own, in
force while the application runs and whenever its body is asked for the next chunk (WSGI does
that after the call has returned). What the application opens for the response it gives to
`Scope.own`; it is closed by whichever comes first: the body's end, `close()`, an exception, or
the collection of a response that nobody finished.

A finalizer runs wherever the collector does, perhaps on a thread that holds the very lock that
closing needs. So it only puts the scope into a queue, and a thread of its own closes it.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Protocol, TypeVar
from wsgiref.types import StartResponse

from gateway.http.streaming import ClientConnection, StreamingBodies, StreamingBody
from gateway.http.wsgi import App, Chunk, Environ
from gateway.usenet import workload
from gateway.usenet.workload import new_stream

logger = logging.getLogger(__name__)


class Closeable(Protocol):
    def close(self) -> object: ...


C = TypeVar("C", bound=Closeable)


class Scope:
    """One request's reservation and belongings."""

    def __init__(self, streaming: StreamingBodies, connection: ClientConnection | None) -> None:
        self.reservation = new_stream()
        self.body: StreamingBody | None = None
        self._streaming = streaming
        self._connection = connection
        self._lock = threading.Lock()
        self._owned: list[Closeable] | None = []

    def own(self, thing: C) -> C:
        """Close *thing* when the response ends, before what was owned earlier; return it.

        If the response has ended already (its client was cut), *thing* is closed at once and
        RuntimeError raised.
        """
        with self._lock:
            if self._owned is not None:
                self._owned.append(thing)
                return thing
        thing.close()
        raise RuntimeError("the response has ended")

    def stream(self, suspend: Callable[[], object] | None = None) -> None:
        """Make this response a stream: it may take all the time its viewer takes.

        Its client is watched from now on: when it is gone, or cut, what the response owns is closed
        at once, on whatever thread notices.

        *suspend* is called once for each pause of the viewer, on the watchdog's thread, and only
        while the body is not asked for anything: it is to give back what a paused viewer does not
        need (its upstream, its lease), and to be quick. The body goes on by itself when it is
        asked for its next chunk, or raises. Raises NoCapacity when too many responses stream.
        """
        self.body = self.own(self._streaming.admit(self._connection, suspend, self.close))
        if self._connection is not None:
            self._connection.watch(self.body)

    def close(self) -> None:
        """Close all that is owned, the newest first. Once; further calls do nothing."""
        with self._lock:
            owned, self._owned = self._owned, None
        for thing in reversed(owned or ()):
            try:
                thing.close()
            except Exception:
                logger.exception("closing %r failed", thing)


def scope_of(environ: Environ) -> Scope:
    """Return the scope of the request that *environ* belongs to."""
    scope = environ["gateway.scope"]
    if not isinstance(scope, Scope):
        raise TypeError(f"gateway.scope is {scope!r}")
    return scope


# Whose responses were collected. `put` may be called in the middle of another `put`.
_unfinished: queue.SimpleQueue[Scope] = queue.SimpleQueue()


def _close_unfinished() -> None:
    # It outlives every part of the program: signals are for whoever waits for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        _unfinished.get().close()


@cache
def _start_closing() -> None:
    threading.Thread(target=_close_unfinished, name="http-unfinished", daemon=True).start()


class RequestScope:
    """Puts a scope around every request to *app*."""

    def __init__(self, app: App, streaming: StreamingBodies) -> None:
        self._app = app
        self._streaming = streaming
        _start_closing()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        scope = Scope(self._streaming, environ.get("gateway.connection"))
        environ["gateway.scope"] = scope
        try:
            with workload.scope(scope.reservation):
                response = self._app(environ, start_response)
        except BaseException:
            scope.close()
            raise
        return _ScopedBody(response, scope)


class _ScopedBody:
    """A response's body, iterated in its scope and ended with it."""

    def __init__(self, response: Iterable[Chunk], scope: Scope) -> None:
        self._response: Iterable[Chunk] | None = response
        self._iterator: Iterator[Chunk] | None = None
        self._scope = scope
        # cheroot does not always call close(), nor need any other server that runs this.
        self._finalizer = weakref.finalize(self, _unfinished.put, scope)
        self._finalizer.atexit = False

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if (body := self._scope.body) is not None:
            body.handed()
        try:
            with workload.scope(self._scope.reservation):
                if self._iterator is None:
                    self._iterator = iter(self._response or ())
                chunk = next(self._iterator)
        except BaseException:  # StopIteration too
            self.close()
            raise
        if (body := self._scope.body) is not None:
            body.offered()
        return chunk

    def close(self) -> None:
        response, self._response = self._response, None
        try:
            close = getattr(response, "close", None)
            if close is not None:
                with workload.scope(self._scope.reservation):
                    close()
        except Exception:  # a whole body stays whole
            logger.exception("closing a response failed")
        finally:
            self._finalizer.detach()
            self._scope.close()
