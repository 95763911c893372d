"""A file of the library as a seekable stream: `FileStream`.

Opening and seeking are arithmetic. The first read after a seek fetches the one article that holds
the position; going on from there reads ahead (`readahead`). Every fetch that a stream causes, in
whatever thread, carries the reservation that the stream was opened under, as a value: streams
outlive the call that opened them.

An error is not an end. A read returns the right bytes or raises, and leaves the position where it
was; only at the end of the file, or at the end of the range that was asked for, is it empty. The
one exception are films whose owner wants them with holes (`holes`): what cannot be had is filled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NoReturn

from gateway.errors import ArticleMissing, ConnectionLost, GatewayError, PermitTimeout
from gateway.streams.budget import Budget
from gateway.streams.holes import Holes, PartKey
from gateway.streams.layout import Layout, Piece, Search
from gateway.streams.padding import HEAD, Container
from gateway.streams.readahead import ReadAhead
from gateway.streams.reading import NOTHING, ViewReader
from gateway.streams.source import Articles, Pending
from gateway.usenet.body import Body
from gateway.usenet.workload import Reservation


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What an operator sees of an open stream: sizes and position in bytes."""

    name: str
    position: int
    size: int
    reservation: Reservation
    readahead: int
    opened: datetime


class FileStream(ViewReader):
    """A read-only, seekable file. One thread at a time reads; any thread may close it.

    `read`, `readinto` and `readall` give all that was asked for unless the file, or the range
    that the stream was opened for, ends there. `read_view` copies nothing. All raise the
    GatewayError that kept an article from coming, and ValueError once the stream is closed;
    a reader that waits in another thread gets that at once.
    """

    def __init__(
        self,
        layout: Layout,
        source: Articles,
        reservation: Reservation,
        budget: Budget,
        *,
        stop: int | None = None,
        read_timeout_s: float,
        connections: int,
        name: str = "",
        holes: Holes | None = None,
        on_close: Callable[[FileStream], None] | None = None,
    ) -> None:
        """Open *layout*; nothing is fetched yet, and never anything that begins at *stop* or after.

        Each article may take *read_timeout_s* from when a read needs it. *holes* says what to do
        about what cannot be had (None: it is an error). *on_close* is called once, in the thread
        that closes.
        """
        super().__init__(layout.size, stop)
        self.name = name
        self.reservation = reservation
        self._layout = layout
        self._source = source
        self._timeout_s = read_timeout_s
        self._holes = holes or Holes()
        self._on_close = on_close
        self._opened = datetime.now(UTC)
        self._piece: Piece | None = None  # what `_view` shows
        self._view = NOTHING
        self._body: Body | None = None
        self._read = 0  # bytes read in sequence since the last seek
        self._expected = 0  # where a sequential reader reads next
        # Under the lock: whether the stream is shut, and what a reader is blocked on.
        self._lock = threading.Lock()
        self._shut = False
        self._awaited: Pending | None = None
        self._wake: SimpleQueue[object] | None = None
        self._ahead = ReadAhead(
            layout,
            source,
            reservation,
            budget,
            stop=self._stop,
            connections=connections,
            holes=self._holes,
        )

    def info(self) -> StreamInfo:
        """Return what this stream is doing now. From any thread."""
        return StreamInfo(
            self.name,
            self._position,
            self.size,
            self.reservation,
            self._ahead.size,
            self._opened,
        )

    # -- reading ----------------------------------------------------------------------------------

    def read_view(self, limit: int) -> memoryview:
        """Return 1 to *limit* bytes as a view of the article that holds them, without a copy.

        The view is read-only and stays valid. Empty only at the end of the file or range.
        """
        self._check_open()
        if limit < 1:
            raise ValueError(f"limit must be positive, not {limit}")
        position = self._position
        left = self._stop - position
        if left <= 0:
            return NOTHING
        piece = self._piece
        if piece is None or not 0 <= position - piece.position < len(self._view):
            piece = self._load(position)
        at = position - piece.position
        view = self._view[at : at + min(limit, left)]
        if position != self._expected:
            self._read = 0
        self._read += len(view)
        self._position = self._expected = position + len(view)
        self._ahead.extend(piece, self._read)
        return view

    def _load(self, position: int) -> Piece:
        """Have `_view` show the piece that holds *position*, and return it."""
        search = Search(self._layout, position, self._ahead.piece_at(position))
        deadline = monotonic() + self._timeout_s
        missing: ArticleMissing | None = None
        while True:
            wanted = search.piece
            if not search.is_lacking and not self._is_filled(wanted.key, deadline):
                try:
                    body = self._fetch(wanted, deadline)
                except ArticleMissing as exc:
                    missing = exc
                else:
                    if not search.learn(body.begin, body.end):
                        continue
                    piece = search.piece
                    if self._holes.give(piece.key):
                        begin, length = piece.extent.offset, piece.extent.length
                        self._show(piece, memoryview(body.data)[begin : begin + length], body)
                        return piece
            if search.lack():
                return self._fill(search, missing, deadline)
            self._holes.report(wanted.key)
            if search.is_endless and missing is not None:
                raise missing

    def _show(self, piece: Piece, view: memoryview, body: Body | None) -> None:
        self._view = view.toreadonly()
        self._body, self._piece = body, piece

    # -- what cannot be had -----------------------------------------------------------------------

    def _is_filled(self, part: PartKey, deadline: float) -> bool:
        return self._holes.is_filled(part) and self._container(deadline) is not None

    def _fill(self, search: Search, missing: ArticleMissing | None, deadline: float) -> Piece:
        """Have `_view` show what stands for the hole that *search* has ended in.

        Raises *missing* where it may not be filled.
        """
        piece = search.piece
        parts = [(piece.posted, segment) for segment in search.hole]
        container = self._container(deadline)
        if container is None:
            for part in parts:
                self._holes.report(part)
        elif self._holes.meet(parts, self._layout):
            filled = container.fill(
                piece.position, piece.end, is_part=self._layout.is_regular(piece.posted)
            )
            self._show(piece, memoryview(filled), None)
            return piece
        raise missing or ArticleMissing(f"segment {piece.segment + 1} is known to be missing")

    def _container(self, deadline: float) -> Container | None:
        """Return as what holes of this file are filled; the first time reads how it begins."""
        return self._holes.container(lambda: self._head(deadline))

    def _head(self, deadline: float) -> bytes | None:
        """Return the first bytes of the file, None if they cannot be had."""
        search = Search(self._layout, 0)
        while not search.is_lacking and not self._holes.is_filled(search.piece.key):
            part = search.piece.extent.part
            try:
                body = self._await(
                    self._source.request(part, reservation=self.reservation), deadline
                )
            except ArticleMissing:
                if not self._holes.meet([search.piece.key], self._layout):
                    raise
                return None
            if search.learn(body.begin, body.end):
                begin, length = search.piece.extent.offset, search.piece.extent.length
                return bytes(memoryview(body.data)[begin : begin + min(length, HEAD)])
        return None

    def _fetch(self, wanted: Piece, deadline: float) -> Body:
        if self._piece is not None and self._body is not None and self._piece.key == wanted.key:
            return self._body  # two runs meet within one article
        part = wanted.extent.part
        fetch = self._ahead.take(wanted)
        already_done = False
        if fetch is None:
            fetch = self._source.request(part, reservation=self.reservation)
        elif not fetch.done:
            fetch.promote()
        else:
            already_done = True
        # While the reader waits for this one, the next ones are on their way.
        if self._position == self._expected:
            self._ahead.extend(wanted, self._read)
        try:
            return self._await(fetch, deadline)
        except GatewayError as exc:
            if not already_done or not exc.retryable:
                raise
        # What failed while nobody waited for it may have been a bad moment: now somebody waits.
        return self._await(self._source.request(part, reservation=self.reservation), deadline)

    def _await(self, fetch: Pending, deadline: float) -> Body:
        arrived = True
        try:
            if not fetch.done:
                wake: SimpleQueue[object] = SimpleQueue()  # made and asked faster than an Event
                with self._lock:
                    self._awaited, self._wake = fetch, wake
                    shut = self._shut
                fetch.add_done_callback(wake.put)
                arrived = not shut and _get(wake, deadline - monotonic())
                with self._lock:
                    self._awaited = self._wake = None
                self._check_open()
            return fetch.result(0.0)
        except (PermitTimeout, ConnectionLost) as exc:
            fetch.cancel()
            if arrived:
                raise
            raise type(exc)(f"nothing within {self._timeout_s:g} s: {exc}") from exc
        except BaseException:
            fetch.cancel()
            raise

    def suspend(self) -> None:
        """Give back what lies ahead: the reader will not come for it soon.

        From any thread, any number of times, never waits. The position stays, and the next read
        goes on from there as if nothing had been.
        """
        self._ahead.drop()

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Drop what has not begun and give everything back. Idempotent, never waits."""
        with self._lock:
            if self._shut:
                return
            self._shut = True
            awaited, wake = self._awaited, self._wake
        if awaited is not None:
            awaited.cancel()
        if wake is not None:
            wake.put(None)
        self._ahead.close()
        super().close()
        if self._on_close is not None:
            self._on_close(self)

    def _check_open(self) -> None:
        if self._shut:
            self._raise_closed()

    def _raise_closed(self) -> NoReturn:
        what = f'the stream of "{self.name}"' if self.name else "the stream"
        raise ValueError(f"{what} is closed")


def _get(wake: SimpleQueue[object], timeout_s: float) -> bool:
    """Say whether something came within *timeout_s*, or is there already."""
    try:
        wake.get(timeout=max(0.0, timeout_s))
    except Empty:
        return False
    return True
