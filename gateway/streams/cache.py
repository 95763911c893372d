"""Articles kept in memory: a source with a cache in front of it (`CachedSource`).

Whoever asks the wrapped source asks the cache, there is no way round it: a second viewer, a player
that reads its index again and a client that retries fetch nothing. What lies ahead of a reader
and what the cache keeps is the same object, so it takes its memory once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.errors import GatewayError
from gateway.nzb.extents import Part
from gateway.streams.source import Articles, Pending
from gateway.usenet.articles import Verdict
from gateway.usenet.body import Body
from gateway.usenet.workload import Reservation


class ArticleCache:
    """The articles used last, by message-id, up to *limit* bytes of data in all."""

    # Invariant, true whenever the lock is free: size == sum of the bodies' lengths <= limit.

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._lock = threading.Lock()
        self._bodies: OrderedDict[str, Body] = OrderedDict()  # the one used last comes last

    def get(self, message_id: str) -> Body | None:
        """Return the article if it is here, and count that as its use."""
        with self._lock:
            body = self._bodies.get(message_id)
            if body is not None:
                self._bodies.move_to_end(message_id)
            return body

    def put(self, body: Body) -> None:
        """Keep *body*, in place of those that were not used for longest.

        One that is kept already stays as it is; one larger than the whole cache is not kept.
        """
        size = len(body.data)
        dropped = []  # freed when the lock is, a large block may take its time
        with self._lock:
            if size > self.limit or body.message_id in self._bodies:
                return
            self._bodies[body.message_id] = body
            self.size += size
            while self.size > self.limit:
                _, oldest = self._bodies.popitem(last=False)
                self.size -= len(oldest.data)
                dropped.append(oldest)


class CachedSource:
    """*source* with a cache of *limit* bytes in front of it; 0 keeps nothing.

    *hits* counts the articles that were asked for and here, *misses* those that were not.
    """

    def __init__(self, source: Articles, limit: int) -> None:
        self.cache = ArticleCache(limit)
        self.hits = 0
        self.misses = 0
        self._counting = threading.Lock()
        self._source = source

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Pending:
        """Return a fetch that is done if the article is here, otherwise that of the source."""
        body = self.find(part)
        if body is not None:
            return _Hit(body)
        fetch = self._source.request(part, reservation=reservation, demand=demand)
        fetch.add_done_callback(self._keep)
        return fetch

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        """Return one article, waiting for it, under the reservation of the context."""
        body = self.find(part)
        if body is None:
            body = self._source.body(part, timeout_s=timeout_s, demand=demand)
            self.cache.put(body)
        return body

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        """Ask the source: that an article is here says nothing of the providers."""
        return self._source.exists(parts, timeout_s=timeout_s, given_up=given_up)

    def without_keeping(self) -> Articles:
        """Return this source for who reads everything once: what it fetches is not kept.

        A download would drive out what viewers come back to. What is here it takes from here.
        """
        return _PassingSource(self, self._source)

    def find(self, part: Part) -> Body | None:
        """Return the article of *part* if it is here."""
        for message_id in part.message_ids:
            body = self.cache.get(message_id)
            if body is not None and _fits(body, part):
                with self._counting:
                    self.hits += 1
                return body
        with self._counting:
            self.misses += 1
        return None

    def _keep(self, fetch: Pending) -> None:
        try:
            body = fetch.result(0.0)
        except GatewayError:
            return
        self.cache.put(body)


class _PassingSource:
    def __init__(self, cached: CachedSource, source: Articles) -> None:
        self._cached = cached
        self._source = source

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Pending:
        body = self._cached.find(part)
        if body is not None:
            return _Hit(body)
        return self._source.request(part, reservation=reservation, demand=demand)

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        body = self._cached.find(part)
        if body is not None:
            return body
        return self._source.body(part, timeout_s=timeout_s, demand=demand)

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        return self._source.exists(parts, timeout_s=timeout_s, given_up=given_up)


class _Hit:
    """A fetch that was done before it was asked for."""

    __slots__ = ("_body",)

    done = True

    def __init__(self, body: Body) -> None:
        self._body = body

    def result(self, timeout_s: float) -> Body:  # noqa: ARG002
        return self._body

    def promote(self) -> None:
        """Nothing could make it faster."""

    def cancel(self) -> None:
        """Nothing is under way."""

    def add_done_callback(self, fn: Callable[[Pending], None], /) -> None:
        fn(self)


def _fits(body: Body, part: Part) -> bool:
    # Two posts may name the same article. One that does not fit is left to the source to judge.
    return (
        (part.size is None or part.size == body.size)
        and (part.begin is None or part.begin == body.begin)
        and (part.end is None or part.end == body.end)
    )
