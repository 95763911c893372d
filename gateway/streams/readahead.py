"""What to fetch before it is asked for: the articles behind the reader, bounded in bytes.

What lies ahead is never more than twice what was read in sequence since the last seek: nothing at
a seek, two articles once the first has been read, and so on, doubling and more with every round,
up to max(64 MiB, 2 * connections * article size) and to what the budget allows. So a probe costs
what it read and little more, and a film fills every connection in about four round trips.

Nothing is fetched at or behind the end of the range that was asked for, nor behind a gap in the
NZB unless it may be filled. The ends of runs (volumes of an archive) are passed as if they were
not there.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from gateway.streams.budget import Budget
from gateway.streams.holes import Holes
from gateway.streams.layout import Layout, Piece
from gateway.streams.source import Articles, Pending
from gateway.usenet.workload import Reservation

_AHEAD_PER_BYTE_READ = 2
LEAST_LIMIT = 64 << 20
# At its limit it is refilled by an eighth at a time: to ask for a row of articles costs less than
# to ask for each by itself, with what the reading of megabytes has left of the caches in between.
_REFILL = 8


class _Ahead(NamedTuple):
    """One article asked for ahead of the reader, and the bytes charged for it."""

    piece: Piece
    fetch: Pending
    charged: int


class ReadAhead:
    """The articles ahead of one stream's reader.

    `take` and `extend` are the reader's; `drop`, `close` and the budget's reclaiming come from any
    thread.
    """

    # Invariant, true whenever the lock is free: what is charged to the account is the sum over
    # `_entries`, plus the one article that `extend` is asking for; no entries once it is closed.

    def __init__(
        self,
        layout: Layout,
        source: Articles,
        reservation: Reservation,
        budget: Budget,
        *,
        stop: int,
        connections: int,
        holes: Holes | None = None,
    ) -> None:
        """Fetch only what begins before *stop*; *connections* is how many there are to fill.

        What *holes* fills is passed over.
        """
        self._holes = holes or Holes()
        self._layout = layout
        self._source = source
        self._reservation = reservation
        self._stop = stop
        self._connections = connections
        self._lock = threading.Lock()
        self._account = budget.open(self._reclaim)
        self._entries: dict[tuple[int, int], _Ahead] = {}  # in the order of the file
        self._edge: Piece | None = None  # the last piece that was dealt with
        self._shrunk = 0  # counts what was dropped, so that `extend` notices
        self._closed = False

    @property
    def size(self) -> int:
        """Return how many bytes are charged for what lies ahead."""
        return self._account.used

    def piece_at(self, position: int) -> Piece | None:
        """Return the piece that holds *position*, if the next article ahead is for certain that."""
        with self._lock:
            for entry in self._entries.values():
                piece = entry.piece
                return piece if piece.exact and piece.position <= position < piece.end else None
        return None

    def take(self, piece: Piece) -> Pending | None:
        """Return the fetch of *piece*, which the reader has come to, None if there is none.

        What lies before it was skipped and is dropped; all of it when *piece* is not there.
        """
        with self._lock:
            skipped = []
            found = None
            entries = self._entries
            while entries:
                key = next(iter(entries))
                entry = entries.pop(key)
                self._account.give(entry.charged)
                if key == piece.key:
                    found = entry.fetch
                    break
                skipped.append(entry.fetch)
            if found is None:
                self._edge = None
                self._shrunk += 1
        for fetch in skipped:
            fetch.cancel()
        return found

    def extend(self, piece: Piece, read: int) -> None:
        """Ask for what comes after *piece*, where the reader is, *read* bytes after its seek."""
        want = _AHEAD_PER_BYTE_READ * read
        if want < piece.article:
            want = 0  # a probe; not even a short article is fetched for it
        limit = max(LEAST_LIMIT, 2 * self._connections * piece.article)
        want = min(want, limit, self._stop - piece.end + piece.article)
        account = self._account
        if want != account.want and not self._closed:
            account.aim(want)
        if want == limit and limit - account.used < limit // _REFILL:
            return
        # Where there is no room for one like this, the next one is not even looked up.
        while account.used + piece.article <= want and self._extend_by_one(piece):
            pass

    def _extend_by_one(self, piece: Piece) -> bool:
        with self._lock:
            if self._closed:
                return False
            edge = self._edge or piece
            following = self._layout.following(edge)
            if following is None or following.position >= self._stop:
                return False
            if following.key in self._entries or following.key == piece.key:
                self._edge = following  # two runs meet within one article
                return True
            is_gap = not following.extent.part.message_ids
            if self._holes.is_filled(following.key) or (is_gap and self._holes.fills):
                self._edge = following
                return True
            if is_gap:
                return False
            shrunk = self._shrunk
        # What another stream gives back for this one is given under its own lock, and what a
        # source does at a request is its own affair: neither happens under ours.
        if not self._account.take(following.article):
            return False
        try:
            fetch = self._source.request(
                following.extent.part, reservation=self._reservation, demand=False
            )
        except BaseException:
            self._account.give(following.article)
            raise
        with self._lock:
            if self._shrunk == shrunk:
                self._entries[following.key] = _Ahead(following, fetch, following.article)
                self._edge = following
                return True
            self._account.give(following.article)
        fetch.cancel()
        return False

    def _reclaim(self, excess: int) -> None:
        # From another stream's thread, which holds no lock but may be met by us half-way: so
        # not to wait is what keeps the two from blocking each other.
        if not self._lock.acquire(blocking=False):
            return
        try:
            dropped = []
            while self._entries and excess > 0:
                _, entry = self._entries.popitem()
                self._account.give(entry.charged)
                excess -= entry.charged
                dropped.append(entry.fetch)
            self._edge = next(reversed(self._entries.values())).piece if self._entries else None
            self._shrunk += 1
        finally:
            self._lock.release()
        for fetch in dropped:
            fetch.cancel()

    def drop(self) -> None:
        """Drop everything, and want nothing until `extend` is called again. Any number of times.

        May be called while the reader reads. What `extend` is asking for at this moment is given
        back by it a moment later.
        """
        self._account.aim(0)
        self._drop()

    def close(self) -> None:
        """Drop everything and leave the budget, for good. May be called as `drop` may."""
        self._closed = True
        self._drop()
        self._account.close()

    def _drop(self) -> None:
        with self._lock:
            self._edge = None
            self._shrunk += 1
            dropped = list(self._entries.values())
            self._entries.clear()
            for entry in dropped:
                self._account.give(entry.charged)
        for entry in dropped:
            entry.fetch.cancel()
