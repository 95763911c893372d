"""One request being answered: a range of a film, read on its turn.

opening ──► reading ◄───────────────┐
   │           │ superseded,        │ the client reads on: a new turn,
   │           │ or paused for long │ the same account, the exact offset
   │           ▼                    │
   │        without a turn ─────────┘
   └───────────┴──► closed            (from every state, by whoever comes first)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gateway.errors import ConnectionLost
from gateway.http.ranges import Entity
from gateway.http.wsgi import Chunk
from gateway.vod.sources import Reader, Source
from gateway.vod.tally import Tally
from gateway.vod.turn import Turn
from gateway.vod.viewer import Viewer

log = logging.getLogger(__name__)

CHUNK = 256 << 10
_OF_USE = 1 << 20  # what a connection brings before it may be made anew once more


class Playback:
    """The body of one response. `begin` and `fetch` before its status is sent.

    One thread at a time; `close` from any.
    """

    def __init__(self, viewer: Viewer, source: Source, tally: Tally) -> None:
        self._viewer, self._source, self._tally = viewer, source, tally
        self._reader: Reader | None = None
        self._entity: Entity | None = None
        self._position = self._stop = 0  # of the next byte to be read; of the range's end
        self._opened_at = 0  # where the connection in use began
        self._anew_at: int | None = None  # where one was last made anew after a cut
        self._ready: Chunk | None = None  # read, and not handed out yet

    # -- the beginning ----------------------------------------------------------------------------

    def begin(self, start: int, stop: int | None) -> Entity:
        """Take a turn and open [start, stop) of the film (None: to its end); return what it is.

        Raises the GatewayError that keeps it from being played, ClientGone once it is closed.
        """
        turn = self._viewer.take_turn()
        while True:
            try:
                return self._open(turn, start, stop, None)
            except BaseException as exc:
                if not self._viewer.comes_again(turn, exc):
                    raise
            turn = self._viewer.another_turn(turn)

    def choose(self, start: int, stop: int) -> Entity:
        """Have the body hold [start, stop), which may be another range than the one begun with.

        Raises as `begin` does.
        """
        turn = self._viewer.turn
        assert self._entity is not None
        assert turn is not None
        if (start, stop) != (self._position, self._stop):
            self._position, self._stop = start, stop
            self._reopen(turn)
        return self._entity

    def fetch(self) -> None:
        """Read the first bytes, so that what keeps them from coming is known before the status."""
        self._viewer.offset = self._position
        if self._position < self._stop:
            self._ready = self._next()

    # -- the body ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        try:
            chunk, self._ready = self._ready, None
            if chunk is None:
                if self._position == self._stop:
                    raise StopIteration
                chunk = self._next()
        except BaseException:  # StopIteration too
            self.close()
            raise
        self._viewer.handed(len(chunk))
        return chunk

    def close(self) -> None:
        """Give everything back. Any number of times."""
        self._viewer.close()

    def _next(self) -> Chunk:
        viewer = self._viewer
        while True:
            turn, reader = viewer.turn, self._reader
            assert turn is not None
            if turn.over is not None or reader is None:
                self._go_on(turn)
                continue
            try:
                chunk = reader.read(min(CHUNK, self._stop - self._position))
            except ConnectionLost as exc:
                if viewer.is_running and self._may_open_anew():
                    log.warning("%s; going on from byte %d", exc, self._position)
                    self._tally.count("upstream_reopened")
                    self._anew_at = self._position
                    self._reopen(turn)
                elif not viewer.comes_again(turn, exc):
                    raise
                continue
            except BaseException as exc:
                if not viewer.comes_again(turn, exc):
                    raise
                continue
            self._position += len(chunk)
            viewer.read(len(chunk))
            return chunk

    def _go_on(self, turn: Turn) -> None:
        """Take another turn and open the rest of the range; who reads on is given no other film."""
        self._viewer.check_open()
        turn = self._viewer.another_turn(turn)
        self._tally.count("resumed")
        self._reopen(turn)

    def _reopen(self, turn: Turn) -> None:
        self._reader = None
        try:
            self._open(turn, self._position, self._stop, self._entity)
        except BaseException as exc:
            if not self._viewer.comes_again(turn, exc):
                raise

    def _open(self, turn: Turn, start: int, stop: int | None, resumed: Entity | None) -> Entity:
        place = self._viewer.slot.place
        assert place is not None
        reader, entity = self._source.open(place, start, stop, resumed, turn.use)
        if resumed is None:
            self._stop = entity.length if stop is None else min(stop, entity.length)
        self._position = self._opened_at = start
        self._reader, self._entity = reader, entity
        return entity

    def _may_open_anew(self) -> bool:
        """Say whether a connection that was cut may be made anew: once, until it was of use."""
        if self._position == self._opened_at:
            return False
        return self._anew_at is None or self._position - self._anew_at >= _OF_USE
