"""One request being answered: a range of a film, on its turn or waiting for the next one.

    opening ──► reading ◄───────────────┐
       │           │ superseded,        │ the client reads on: a new turn,
       │           │ or paused for long │ the same account, the exact offset
       │           ▼                    │
       │        without a turn ─────────┘
       └───────────┴──► closed            (from every state, by whoever comes first)

The slot belongs to the session, so a newer request of it takes the turn over: this one's connection
is closed at once, its response is kept. If its client demonstrably reads on beside the newer one,
it is another viewer, and becomes a session of its own.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import ConnectionLost, GatewayError, LeaseLost, PoolFull
from gateway.http.ranges import Entity
from gateway.http.wire import ClientGone
from gateway.http.wsgi import Chunk
from gateway.leases.lease import State
from gateway.leases.viewing import Manner, Viewing
from gateway.vod.admission import Admission, WaitEnded
from gateway.vod.probes import Probe, Probes
from gateway.vod.reading import Evidence, Watching
from gateway.vod.sessions import Sessions
from gateway.vod.slot import Slot
from gateway.vod.sources import Reader, Source
from gateway.vod.tally import Tally
from gateway.vod.turn import Turn

log = logging.getLogger(__name__)

CHUNK = 256 << 10
_STALLED_S = 5.0
_OF_USE = 1 << 20  # what a connection brings before it may be made anew once more
_COMES_AGAIN = frozenset({State.SUPERSEDED, State.RELEASED})  # how a turn ends that another follows


class Client(Protocol):
    """The connection of whoever asks (`gateway.connection` in environ)."""

    def abort(self) -> None: ...

    def unsent(self) -> int: ...


@dataclass(frozen=True, slots=True)
class House:
    """What all playbacks share. Who has not read for *abandon_s* is not waited for any more."""

    admission: Admission
    sessions: Sessions
    tally: Tally
    probes: Probes = field(default_factory=Probes)
    evidence: Evidence = field(default_factory=Evidence)
    abandon_s: float = 1800.0


class Playback:
    """The body of one response.

    `begin` and `fetch` before its status is sent; `suspend` and `close` from any thread.
    """

    def __init__(
        self, house: House, source: Source, *, key: str, user: str, client: str,
        connection: Client | None,
    ) -> None:  # fmt: skip
        self.key = key
        self.stop = 0
        self._house, self._source = house, source
        self._user, self._client, self._connection = user, client, connection
        self._began_at = time.time()
        self._changed = threading.Condition()
        self._closed = False
        self._turn: Turn | None = None
        self._slot = Slot(house.admission, house.probes, source, lambda: self._closed)
        self._reader: Reader | None = None
        self._entity: Entity | None = None
        self._position = 0  # of the next byte to be read
        self._ready: Chunk | None = None  # read, and not handed out yet
        self._ref = ""
        self._given = False  # whether this turn has brought anything
        self._handed = self._took_back = False
        self._moved_at = time.monotonic()
        self._anew_at: int | None = None  # where the connection was last made anew after a cut
        self._was_taken_here = True
        self._timer: threading.Timer | None = None
        house.sessions.enter(self)

    # -- what others see --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        turn = self._turn
        return turn is not None and turn.over is None

    @property
    def has_progressed(self) -> bool:
        return self._given

    def viewing(self) -> Viewing | None:
        if not self._ref:
            return None
        manner = Manner.STREAMING
        if not self.is_running:
            manner = Manner.SUSPENDED
        elif time.monotonic() - self._moved_at > _STALLED_S:
            manner = Manner.STALLED
        return Viewing(
            session=self.key,
            ref=self._ref,
            user=self._user,
            content=self._source.words,
            client=self._client,
            profile=None if self._slot.place is None else self._source.name(self._slot.place),
            began_at=self._began_at,
            offset=self._position - len(self._ready or b""),
            manner=manner,
        )

    # -- the beginning ----------------------------------------------------------------------------

    def begin(self, start: int, stop: int | None) -> Entity:
        """Take a turn and open [start, stop) of the film (None: to its end); return what it is.

        Raises the GatewayError that keeps it from being played, ClientGone once it is closed.
        """
        turn = self._take_turn()
        while True:
            try:
                return self._open(turn, start, stop, None)
            except BaseException as exc:
                if not self._comes_again(turn, exc):
                    raise
            turn = self._another_turn(turn)

    def choose(self, start: int, stop: int) -> Entity:
        """Have the body hold [start, stop), which may be another range than the one begun with.

        Raises as `begin` does.
        """
        assert self._entity is not None
        if (start, stop) != (self._position, self.stop):
            turn = self._turn
            self._reader, self._position, self.stop = None, start, stop
            if turn is not None:
                self._reopen(turn)
        return self._entity

    def fetch(self) -> None:
        """Read the first bytes, so that what keeps them from coming is known before the status."""
        if self._position < self.stop:
            self._ready = self._next()

    # -- the body ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        try:
            chunk, self._ready = self._ready, None
            if chunk is None:
                if self._position == self.stop:
                    raise StopIteration
                chunk = self._next()
            self._handed = True
            return chunk
        except BaseException:  # StopIteration too
            self.close()
            raise

    def suspend(self) -> None:
        """Give connection and slot back while the viewer pauses. Quick."""
        if (turn := self._turn) is not None and self._end(turn, 0.0):
            self._house.tally.count("suspended")

    def close(self) -> None:
        """Give everything back. Any number of times."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            turn = self._turn
            self._changed.notify_all()
        if self._timer is not None:
            self._timer.cancel()
        had_turn = turn is not None and self._end(turn)
        self._house.sessions.leave(self, in_grace=had_turn)
        self._house.admission.wake()  # it may be among those who wait

    def _next(self) -> Chunk:
        while True:
            turn, reader = self._turn, self._reader
            if turn is None or turn.over is not None or reader is None:
                self._go_on(turn)
                continue
            try:
                chunk = reader.read(min(CHUNK, self.stop - self._position))
            except BaseException as exc:
                if self._comes_again(turn, exc):
                    continue
                if not isinstance(exc, ConnectionLost) or not self._may_open_anew():
                    raise
                log.warning("%s; going on from byte %d", exc, self._position)
                self._house.tally.count("upstream_reopened")
                self._anew_at, self._reader = self._position, None
                self._reopen(turn)
                continue
            self._position += len(chunk)
            self._given, self._moved_at = True, time.monotonic()
            if (probe := self._slot.probe) is not None:
                probe.left -= len(chunk)
                if probe.left <= 0:
                    self._end(turn, 0.0)
            return chunk

    def _go_on(self, turn: Turn | None) -> None:
        """Take another turn and open the rest of the range; who reads on is given no other film."""
        with self._changed:
            self._check_open()
        if turn is not None and turn.over not in _COMES_AGAIN | {None}:
            raise LeaseLost(f"the slot was taken back: {turn.over and turn.over.value}")
        if turn is None or turn.over is None:
            turn = self._take_turn()
        else:
            turn = self._another_turn(turn)
            self._house.tally.count("resumed")
        self._reopen(turn)

    def _reopen(self, turn: Turn) -> None:
        try:
            self._open(turn, self._position, self.stop, self._entity)
        except BaseException as exc:
            if not self._comes_again(turn, exc):
                raise

    def _open(self, turn: Turn, start: int, stop: int | None, resumed: Entity | None) -> Entity:
        assert self._slot.place is not None
        reader, entity = self._source.open(self._slot.place, start, stop, resumed, turn.use)
        if resumed is None:
            self._position = start
            self.stop = entity.length if stop is None else min(stop, entity.length)
        self._reader, self._entity = reader, entity
        return entity

    def _may_open_anew(self) -> bool:
        """Say whether a connection that was cut may be made anew: once, until it was of use."""
        if not self._given:
            return False
        return self._anew_at is None or self._position - self._anew_at >= _OF_USE

    # -- turns ------------------------------------------------------------------------------------

    def _take_turn(self, wait_s: float | None = None) -> Turn:
        """Return a turn of this session, once those whose turn it was have let go.

        *wait_s*: how long to wait for a slot, None: as usual. The turn may be over already. Raises
        as `Admission.acquire` does; ClientGone.
        """
        turn = Turn(self._turn_was_taken)
        with self._changed:
            self._check_open()
            self._turn = turn  # ends with `close` from here on
        self._reader, self._given = None, False
        try:
            held = self._slot.take(self.key, turn.lost, wait_s)
        except BaseException as exc:
            turn.end()
            if isinstance(exc, WaitEnded):
                raise ClientGone(str(exc)) from exc
            raise
        self._ref, self._moved_at = held.ref, time.monotonic()
        with suppress(LeaseLost):  # taken already, which the turn tells
            turn.begin(held)
            held.await_room()
        self._house.tally.count("admitted")
        if self._slot.probe is not None:
            self._house.tally.count("probes")
            self._watch_probe(turn, self._slot.probe)
        return turn

    def _watch_probe(self, turn: Turn, probe: Probe) -> None:
        timer = threading.Timer(probe.until - time.monotonic(), self._end, (turn, 0.0))
        timer.daemon = True
        timer.start()
        self._timer = timer

    def _end(self, turn: Turn, grace_s: float | None = None) -> bool:
        admission = self._house.admission
        ended = turn.end(State.RELEASED, grace_s)
        if ended:
            admission.wake(after_s=admission.grace_s if grace_s is None else grace_s)
        return ended

    def _turn_was_taken(self, turn: Turn) -> None:
        if turn.over is State.SUPERSEDED:
            self._was_taken_here = bool(self._house.sessions.others(self))
            self._house.tally.count("superseded")
            return
        self._house.tally.count("taken_back")
        self._house.admission.wake()
        if self._connection is not None:
            self._connection.abort()

    def _comes_again(self, turn: Turn, exc: BaseException) -> bool:
        """Say whether *exc* only tells that *turn* is over, and another one may come.

        If not, the turn is ended. Raises ClientGone once this is closed.
        """
        if self._closed:
            raise ClientGone("the response was closed") from exc
        if isinstance(exc, GatewayError) and turn.over in _COMES_AGAIN:
            return True
        self._end(turn)
        return False

    def _another_turn(self, turn: Turn) -> Turn:
        """Return the turn after *turn*, once this may ask for it.

        If nobody else of the session is running, it goes on as before; otherwise it becomes a
        session of its own. If there is no slot for that, and its client has been given nothing
        yet, it takes its turn back, once: of two requests at the same moment either may be first.
        """
        if turn.over is State.SUPERSEDED:
            self._await_reading()
        sessions, shared = self._house.sessions, self.key
        if self._was_taken_here and not sessions.others(self):
            return self._take_turn()
        self._was_taken_here = True
        own = hashlib.sha256(f"{shared} {uuid.uuid4().hex}".encode()).hexdigest()[:32]
        may_take_back = not self._handed and not self._took_back
        sessions.rename(self, own)
        try:
            another = self._take_turn(wait_s=0.0 if may_take_back else None)
        except PoolFull:
            if not may_take_back:
                raise
            self._took_back = True
            sessions.rename(self, shared)
            return self._take_turn()
        self._house.tally.count("split")
        log.info("%s: two viewers with one address and player", self._source.words)
        return another

    def _await_reading(self) -> None:
        """Return once the client demonstrably reads. Raises ClientGone, ConnectionLost."""
        house, watching = self._house, Watching(self._house.evidence)
        abandoned_at = time.monotonic() + house.abandon_s
        while (now := time.monotonic()) < abandoned_at:
            running = house.sessions.others(self)
            unsent = self._connection.unsent() if self._connection is not None else 0
            answered = any(one.has_progressed for one in running)
            with self._changed:
                self._check_open()
                if watching.reads(now, unsent, rivals=bool(running), answered=answered):
                    return
                self._changed.wait(house.evidence.look_s)
        raise ConnectionLost(f"the client has taken nothing for {house.abandon_s:g} s")

    def _check_open(self) -> None:
        if self._closed:
            raise ClientGone("the response was closed")
