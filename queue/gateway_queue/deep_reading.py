"""Fetching every article of a post once, in order, to see whether each is what it should be."""

from __future__ import annotations

import hashlib
import queue
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from gateway.errors import ArticleDamaged, ArticleMissing, GatewayError
from gateway.nzb.extents import Part, PartTable
from gateway.streams.source import Articles, Pending
from gateway_queue.ticket import Ticket

# So many bytes are asked for ahead of what is looked at, and of small articles so many.
_WINDOW = 32 << 20
_MOST_AHEAD = 200
# After so many that could not be had there is no point in fetching more.
_ENOUGH = 100


@dataclass(slots=True)
class Reading:
    """What came of it: *read* articles were asked for, and so many of them could not be had.

    *reason* is why, of one of them. *differing* are the files of another MD5 than expected.
    """

    read: int = 0
    missing: int = 0
    damaged: int = 0
    unknown: int = 0
    reason: str = ""
    differing: tuple[int, ...] = ()

    @property
    def lost(self) -> int:
        return self.missing + self.damaged + self.unknown


def read_through(
    source: Articles,
    files: Sequence[tuple[PartTable, bytes | None]],
    ticket: Ticket,
    *,
    patience_s: float,
) -> Reading:
    """Fetch all articles of *files*, each given with the MD5 that it should have, or None.

    Ends early where a hundred could not be had, or nothing came for *patience_s*. Raises LetGo.
    """
    reading = Reading()
    differing = []
    with Window(source, _parts(files), ticket, patience_s) as window:
        for number, (table, expected) in enumerate(files):
            digest = _digest(table, window, reading, wanted=expected is not None)
            if digest is not None and digest != expected:
                differing.append(number)
            if reading.lost >= _ENOUGH or window.silent:
                break
    reading.differing = tuple(differing)
    return reading


def _digest(table: PartTable, window: Window, reading: Reading, *, wanted: bool) -> bytes | None:
    """Read one file on, and return its MD5 if that is *wanted* and all of it was there."""
    md5 = hashlib.md5(usedforsecurity=False) if wanted else None
    lost = reading.lost
    for _ in range(len(table)):
        if reading.lost >= _ENOUGH or window.silent:
            break
        reading.read += 1
        fetch = window.next()
        try:
            body = fetch.result(0)
        except ArticleMissing as exc:
            reading.missing += 1
            reading.reason = str(exc)
        except ArticleDamaged as exc:
            reading.damaged += 1
            reading.reason = str(exc)
        except GatewayError as exc:
            reading.unknown += 1
            reading.reason = str(exc)
        else:
            if md5 is not None:
                md5.update(body.data)
    return md5.digest() if md5 is not None and reading.lost == lost else None


def _parts(files: Sequence[tuple[PartTable, bytes | None]]) -> Iterator[tuple[Part, int]]:
    """Give all parts, with about how many bytes each has."""
    for table, _ in files:
        for index in range(len(table)):
            begin, end = table.bounds(index)
            yield table.part(index), end - begin


class Window:
    """Articles asked for ahead, and given in order. To be left as a context manager.

    *silent*: the last one that was given had not come in time.
    """

    def __init__(
        self,
        source: Articles,
        parts: Iterator[tuple[Part, int]],
        ticket: Ticket,
        patience_s: float,
    ) -> None:
        self.silent = False
        self._source = source
        self._parts = parts
        self._ticket = ticket
        self._patience_s = patience_s
        self._ahead: deque[tuple[Pending, int]] = deque()
        self._bytes = 0
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for fetch, _ in self._ahead:
            fetch.cancel()

    def following(self) -> Pending | None:
        """Return the next article as `next`, None if that was the last."""
        self._fill()
        return self.next() if self._ahead else None

    def next(self) -> Pending:
        """Return the next article, which is done unless it is overdue. Raises LetGo."""
        self._fill()
        fetch, size = self._ahead[0]
        with self._ticket.on_cancel(self._ring):
            while not (fetch.done or self._ticket.cancelled or self.silent):
                try:
                    self._rung.get(timeout=self._patience_s)
                except queue.Empty:
                    self.silent = not fetch.done
        self._ticket.check()
        self._ahead.popleft()
        self._bytes -= size
        return fetch

    def _fill(self) -> None:
        while len(self._ahead) < _MOST_AHEAD and self._bytes < _WINDOW:
            following = next(self._parts, None)
            if following is None:
                return
            part, size = following
            fetch = self._source.request(part, demand=False)
            self._ahead.append((fetch, size))
            self._bytes += size
            fetch.add_done_callback(self._ring)

    def _ring(self, _fetch: object = None) -> None:
        self._rung.put(None)
