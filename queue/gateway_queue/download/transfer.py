"""Articles to the disk, each at its own offset, as fast as the line is (`Transfer`).

The worker asks for as many articles at a time as keep all connections busy, within a bound of
bytes, and writes what comes; beside it, all is put on the disk for certain (`Checkpoints`). What
an article says of itself is held against the others of its file before it is written (`Scrutiny`).

sabctools could decode straight to a file, and save a copy. But then an article would be in the
file before anything is known of it, at an offset that it states itself, and a viewer who wants the
same article at the same moment would get nothing: so what is written has been looked at.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    GatewayError,
    StorageError,
    StorageFull,
)
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Part
from gateway.streams.source import Articles
from gateway.usenet.articles import Body
from gateway_queue.download.checkpoints import Checkpoints
from gateway_queue.download.disk import PartialFiles, free_bytes
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.meter import Meter
from gateway_queue.download.scrutiny import Scrutiny, Unfit
from gateway_queue.download.under_way import Asked, UnderWay, Wanted
from gateway_queue.ticket import Ticket

# An article that nobody answered for is asked for again so many times, after all the others.
_TRIES = 3
# Or none any more, when so many in a row beyond two a connection were not.
_SILENT = 2
# A room that a download leaves on the disk for others: the database, above all.
RESERVE = 256 << 20
_LOOK_S = 1.0

Ahead = Callable[[], Wanted | None]


class Transfer:
    """Fetches parts of *posted* from *source* into *files*, and keeps *journal* of them.

    For one thread, and to be closed. *damaged* has the parts (number, part from 0) that came
    damaged from every provider that has them: they are not on the disk, and asked for again
    another time.
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
        self._under_way = UnderWay(patience_s)
        self._reserve = reserve
        self._scrutiny = Scrutiny(self._posted, journal)
        self.damaged: set[tuple[int, int]] = set()
        self._looked = 0.0

    def close(self) -> None:
        """Give up what has not come. Nothing is fetched any more."""
        self._under_way.give_up()

    def fetch(
        self,
        wanted: Iterable[Wanted],
        ticket: Ticket,
        ahead: Ahead = lambda: None,
        until: Future[Any] | None = None,
    ) -> None:
        """Fetch *wanted*, in this order, but what is there already or known to be missing.

        *ahead* gives what may be asked for as well where connections would rest, None for nothing
        at the moment. That is not waited for: what is under way at the end comes with the next
        `fetch`. It goes on with these until *until* is done, if that is given.

        At its end all that came is on the disk. Raises the ProviderError or NoCapacity that kept
        an article from coming (unknown), StorageFull, StorageError, and LetGo; what has come by
        then is kept, and there is no other `fetch`.
        """
        waiting = deque(
            Asked(one, self._weight(one))
            for one in wanted
            if not self._is_known(one) and not self._under_way.want(one)
        )
        with Checkpoints(self._files, self._journal) as checkpoints:
            try:
                with ticket.on_cancel(self._under_way.stop):
                    if until is not None:
                        until.add_done_callback(lambda _: self._under_way.nudge())
                    self._run(waiting, ahead, until, checkpoints)
            except BaseException:
                self.close()
                raise

    def _run(
        self,
        waiting: deque[Asked],
        ahead: Ahead,
        until: Future[Any] | None,
        checkpoints: Checkpoints,
    ) -> None:
        silent = 0  # articles in a row that nobody answered for
        while waiting or self._under_way.awaited or (until is not None and not until.done()):
            self._top_up(waiting, ahead)
            come = self._under_way.next()
            # Before any of these is written: connections of one speed fall idle at one time.
            self._top_up(waiting, ahead, len(come))
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
                    most = 2 * self._connections() + _SILENT
                    if not exc.retryable or asked.tries >= _TRIES or silent > most:
                        raise
                    waiting.append(asked)
        self._top_up(waiting, ahead)

    def _top_up(self, waiting: deque[Asked], ahead: Ahead, come: int = 0) -> None:
        """Ask for as many as there is room for beside *come* that are still to be written."""
        connections, under_way = self._connections(), self._under_way
        while waiting and under_way.has_room(connections, come):
            self._ask(waiting.popleft())
        # No third one on a connection: what the next step asks for may have to wait for these.
        while not waiting and len(under_way) + come < 2 * connections:
            one = ahead() if under_way.has_room(connections, come) else None
            if one is None:
                return
            if not self._is_known(one) and one not in under_way:
                self._ask(Asked(one, self._weight(one), awaited=False))

    def _ask(self, asked: Asked) -> None:
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
        self._under_way.add(asked, self._source.request(part, demand=False))

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
