"""Articles to the disk, each at its own offset, as fast as the line is (`Transfer`).

The worker asks for as many articles at a time as keep all connections busy, within a bound of
bytes, and writes what comes; beside it, all is put on the disk for certain (`Checkpoints`). What
an article says of itself is held against the others of its file before it is written (`Scrutiny`).

sabctools could decode straight to a file, and save a copy. But then an article would be in the
file before anything is known of it, at an offset that it states itself, and a viewer who wants the
same article at the same moment would get nothing: so what is written has been looked at.
"""

from __future__ import annotations

import queue
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ConnectionLost,
    GatewayError,
    StorageError,
    StorageFull,
)
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Part
from gateway.streams.source import Articles, Pending
from gateway.usenet.articles import Body
from gateway.words import counted
from gateway_queue.download.checkpoints import Checkpoints
from gateway_queue.download.disk import PartialFiles, free_bytes
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.meter import Meter
from gateway_queue.download.scrutiny import Scrutiny, Unfit
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

# What is on its way or waits to be written, in bytes: as much beyond one article a connection and
# a few that are just being written, without which connections would rest.
_AHEAD = 64 << 20
_WRITTEN = 4
# An article that nobody answered for is asked for again so many times, after all the others.
_TRIES = 3
# A room that a download leaves on the disk for others: the database, above all.
RESERVE = 256 << 20
_LOOK_S = 1.0


class Wanted(NamedTuple):
    """One part that is to be fetched: *segment* counts those that the NZB lists for the file."""

    number: int
    segment: int


def _most(connections: int) -> int:
    """Return how many articles at most are asked for at a time."""
    return max(2 * connections, connections + _WRITTEN)


@dataclass(slots=True)
class Asked:
    """An article to be asked for: its size as the NZB has it, and how often that was in vain.

    *exactly*: it came once and was not what belongs there, so that another provider is to be asked
    if one gives the same again.
    """

    wanted: Wanted
    weight: int
    tries: int = 0
    exactly: bool = False


class Transfer:
    """Fetches parts of *posted* from *source* into *files*, and keeps *journal* of them.

    For one thread. *damaged* has the parts (number, part from 0) that came damaged from every
    provider that has them: they are not on the disk, and asked for again another time.
    """

    def __init__(
        self,
        source: Articles,
        posted: Iterable[NzbFile],
        files: PartialFiles,
        journal: Journal,
        meter: Meter,
        *,
        connections: Callable[[], int],
        patience_s: float = 60.0,
        reserve: int = RESERVE,
    ) -> None:
        self._source = source
        self._posted = tuple(posted)
        self._files = files
        self._journal = journal
        self._meter = meter
        self._connections = connections
        self._patience_s = patience_s
        self._reserve = reserve
        self._scrutiny = Scrutiny(self._posted, journal)
        self.damaged: set[tuple[int, int]] = set()
        self._looked = 0.0

    def fetch(self, wanted: Iterable[Wanted], ticket: Ticket) -> None:
        """Fetch *wanted*, in this order, but what is there already or known to be missing.

        At its end all that came is on the disk. Raises the ProviderError or NoCapacity that kept
        an article from coming (unknown), StorageFull, StorageError, and LetGo; what has come by
        then is kept.
        """
        waiting = deque(Asked(one, self._weight(one)) for one in wanted if not self._is_known(one))
        under_way = _UnderWay(self._patience_s)
        with Checkpoints(self._files, self._journal) as checkpoints:
            try:
                with ticket.on_cancel(under_way.stop):
                    self._run(waiting, under_way, checkpoints)
            finally:
                under_way.give_up()

    def _run(self, waiting: deque[Asked], under_way: _UnderWay, checkpoints: Checkpoints) -> None:
        silent = 0  # articles in a row that nobody answered for
        while waiting or under_way:
            self._top_up(waiting, under_way)
            come = under_way.next()
            # Before any of these is written: connections of one speed fall idle at one time.
            self._top_up(waiting, under_way, len(come))
            for asked, fetch in come:
                try:
                    waiting.extend(self._take(asked, fetch.result(0), checkpoints))
                    silent = 0
                except ArticleMissing:
                    self._journal.lacks(asked.wanted.number, self._part(asked.wanted))
                    self._meter.lack(asked.weight)
                    silent = 0
                except ArticleDamaged as exc:
                    silent = 0
                    if isinstance(exc, Unfit) and not asked.exactly:
                        asked.exactly = True
                        waiting.append(asked)
                        continue
                    self.damaged.add((asked.wanted.number, self._part(asked.wanted)))
                    self._meter.lack(asked.weight)
                except StorageError:
                    raise
                except GatewayError as exc:
                    silent += 1
                    asked.tries += 1
                    most = _most(self._connections())
                    if not exc.retryable or asked.tries >= _TRIES or silent > most:
                        raise
                    waiting.append(asked)

    def _top_up(self, waiting: deque[Asked], under_way: _UnderWay, come: int = 0) -> None:
        """Ask for as many as there is room for beside *come* that are still to be written."""
        connections = self._connections()
        while waiting and under_way.has_room(waiting[0], connections, come):
            self._ask(waiting.popleft(), under_way)

    def _ask(self, asked: Asked, under_way: _UnderWay) -> None:
        number = asked.wanted.number
        file = self._posted[number]
        segment = file.segments[asked.wanted.segment]
        begin, end = (
            self._scrutiny.place(number, segment.number - 1) if asked.exactly else None
        ) or (None, None)
        part = Part(
            (segment.message_id, *segment.alternates),
            segment.number,
            file.parts,
            begin,
            end,
            self._scrutiny.size(number),
            segment.bytes,
        )
        under_way.add(asked, self._source.request(part, demand=False))

    def _take(self, asked: Asked, body: Body, checkpoints: Checkpoints) -> list[Asked]:
        """Write *body*; return what is to be asked for again. Raises Unfit."""
        number, part = asked.wanted.number, self._part(asked.wanted)
        taken_back = self._scrutiny.look(number, part, body)
        self._check_room(len(body.data))
        if body.size != (self._journal.posted(number).size or body.size):
            self._journal.anew(number)
            self._files.remove(number)
        for wrong in taken_back:
            self._journal.lost(number, wrong)
        if self._journal.posted(number).size is None:
            self._journal.begun(number, body.name, body.size)
        self._files.write(number, body.begin, body.data, body.size)
        crc = zlib.crc32(body.data) if body.crc is None else body.crc
        name, summed = self._scrutiny.oddity(number, body)
        if name or not summed:
            self._journal.odd(number, part, name, summed=summed)
        self._journal.written(number, part, Span(body.begin, len(body.data), crc))
        self._meter.add(asked.weight, len(body.data))
        checkpoints.note(number, len(body.data))
        if not taken_back:
            return []  # as a rule; what follows looks through the whole file
        again = [
            Wanted(number, at)
            for at, segment in enumerate(self._posted[number].segments)
            if segment.number - 1 in taken_back
        ]
        for one in again:
            self._meter.add(-self._weight(one), 0)
        return [Asked(one, self._weight(one), exactly=True) for one in again]

    def _check_room(self, size: int) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        free = free_bytes(self._files.folder)
        if free < self._reserve + size:
            raise StorageFull(
                f"{free / 1e6:,.0f} MB are free on the disk of downloads, "
                f"and {self._reserve / 1e6:,.0f} MB are to stay so: make room"
            )
        self._looked = now

    def _part(self, wanted: Wanted) -> int:
        return self._posted[wanted.number].segments[wanted.segment].number - 1

    def _weight(self, wanted: Wanted) -> int:
        return self._posted[wanted.number].segments[wanted.segment].bytes or 1 << 20

    def _is_known(self, wanted: Wanted) -> bool:
        posted = self._journal.files.get(wanted.number)
        part = self._part(wanted)
        return posted is not None and (part in posted.spans or part in posted.absent)


class _UnderWay:
    """The articles that were asked for. Nothing for *patience_s* seconds ends the waiting."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._ended: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._asked: dict[int, tuple[Asked, Pending]] = {}
        self._number = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._asked)

    def has_room(self, asked: Asked, connections: int, come: int) -> bool:
        """Say whether *asked* may be asked for beside the others, and *come* that have come."""
        count = len(self)
        if count < connections + (0 if come else _WRITTEN):
            return True
        ahead = self._bytes + (1 + come - connections) * asked.weight
        return count + come < 2 * connections and ahead <= _AHEAD

    def add(self, asked: Asked, fetch: Pending) -> None:
        self._number += 1
        self._asked[self._number] = asked, fetch
        self._bytes += asked.weight
        fetch.add_done_callback(partial(self._report, self._number))

    def next(self) -> list[tuple[Asked, Pending]]:
        """Return all articles whose fetch is done, once one is. Raises ConnectionLost, LetGo."""
        try:
            number = self._ended.get(timeout=self._patience_s)
        except queue.Empty:
            raise ConnectionLost(
                f"no answer within {self._patience_s:g} s: "
                f"{counted(len(self), 'article')} waited for"
            ) from None
        come = []
        with suppress(queue.Empty):
            while number is not None:
                asked, fetch = self._asked.pop(number)
                self._bytes -= asked.weight
                come.append((asked, fetch))
                number = self._ended.get_nowait()
            if not come:
                raise LetGo
            self.stop()  # once these are written
        return come

    def stop(self) -> None:
        """Have `next` raise LetGo. From any thread."""
        self._ended.put(None)

    def give_up(self) -> None:
        """Give up what has not come."""
        for _, fetch in self._asked.values():
            fetch.cancel()

    def _report(self, number: int, _fetch: Pending) -> None:
        self._ended.put(number)
