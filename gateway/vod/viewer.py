"""A viewer: one request as its session sees it, whose turn it is and who takes it.

The slot belongs to the session, so a newer request of it takes the turn over: the older one's
connection is closed at once, its response is kept. If its client demonstrably reads on beside the
newer one, it is another viewer, and becomes a session of its own.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import ConnectionLost, GatewayError, LeaseLost, NoSuchFilm, PoolFull
from gateway.http.wire import ClientGone
from gateway.leases.lease import State
from gateway.leases.viewing import Manner, Viewing
from gateway.vod.admission import Admission, WaitEnded
from gateway.vod.answer import RangeMissed
from gateway.vod.probes import Probe, Probes
from gateway.vod.reading import Evidence, Watching
from gateway.vod.sessions import Sessions
from gateway.vod.slot import Slot
from gateway.vod.sources import Source
from gateway.vod.tally import Tally
from gateway.vod.turn import Turn

log = logging.getLogger(__name__)

_STALLED_S = 5.0
_COMES_AGAIN = frozenset({State.SUPERSEDED, State.RELEASED})  # how a turn ends that another follows


class Client(Protocol):
    """The connection of whoever asks (`gateway.connection` in environ)."""

    def unsent(self) -> int: ...


class Response(Protocol):
    """The response that the viewer is given (`Scope.body`), once it streams."""

    def abort(self) -> None:
        """Cut the client's connection, unless another response runs on it by now."""


@dataclass(frozen=True, slots=True)
class House:
    """What all viewers share. Who has not read for *abandon_s* is not waited for any more."""

    admission: Admission
    sessions: Sessions
    tally: Tally
    probes: Probes = field(default_factory=Probes)
    evidence: Evidence = field(default_factory=Evidence)
    abandon_s: float = 1800.0


class Viewer:
    """One request of session *key*, by *user* at *client*. `suspend` and `close` from any thread.

    Whoever reads for it says so: `offset` is the next byte of the film that it will be given.
    """

    def __init__(
        self,
        house: House,
        source: Source,
        *,
        key: str,
        user: str,
        client: str,
        connection: Client | None,
    ) -> None:
        self.key = key
        self.offset = 0
        self.slot = Slot(house.admission, house.probes, source, lambda: self._closed)
        self.turn: Turn | None = None
        self.response: Response | None = None
        self._house, self._source = house, source
        self._user, self._client, self._connection = user, client, connection
        self._began_at = time.time()
        self._changed = threading.Condition()
        self._closed = False
        self._ref = ""
        self._has_bytes = self._ever_had_bytes = False  # in this turn; in any
        self._moved_at = time.monotonic()
        self._was_taken_here = True
        self._took_back = False
        self._timer: threading.Timer | None = None
        house.sessions.enter(self)

    # -- what others see --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        turn = self.turn
        return turn is not None and turn.over is None

    @property
    def was_superseded(self) -> bool:
        turn = self.turn
        return turn is not None and turn.over is State.SUPERSEDED

    @property
    def has_progressed(self) -> bool:
        return self._has_bytes

    def viewing(self) -> Viewing | None:
        if not self._ref:
            return None
        manner, place = Manner.STREAMING, self.slot.place
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
            profile=None if place is None else self._source.name(place),
            began_at=self._began_at,
            offset=self.offset,
            manner=manner,
        )

    # -- turns ------------------------------------------------------------------------------------

    def take_turn(self, wait_s: float | None = None) -> Turn:
        """Return a turn of this session, once those whose turn it was have let go.

        *wait_s*: how long to wait for a slot, None: as usual. The turn may be over already. Raises
        as `Admission.acquire` does; ClientGone.
        """
        turn = Turn(self._turn_was_taken)
        with self._changed:
            self.check_open()
            self.turn = turn  # ends with `close` from here on
        self._has_bytes = False
        try:
            held = self.slot.take(self.key, turn.lost, wait_s)
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
        for one in self._house.sessions.crowd(self.key):
            one.cut()
        if self.slot.probe is not None:
            self._house.tally.count("probes")
            self._end_in_time(turn, self.slot.probe)
        return turn

    def another_turn(self, turn: Turn) -> Turn:
        """Return the turn after *turn*, once this may ask for it.

        If nobody else of the session is running, it goes on as before; otherwise it becomes a
        session of its own. If there is no slot for that, and its client has been given nothing
        yet, it takes its turn back, once: of two requests at the same moment either may be first.

        Raises as `take_turn` does, LeaseLost if *turn* was taken for good, and ConnectionLost if
        the client never reads on.
        """
        if turn.over not in _COMES_AGAIN:
            raise LeaseLost(f"the slot was taken back: {turn.over.value if turn.over else ''}")
        if turn.over is State.SUPERSEDED:
            self._await_reading()
        sessions, shared = self._house.sessions, self.key
        if self._was_taken_here and not sessions.others(self):
            return self.take_turn()
        self._was_taken_here = True
        own = hashlib.sha256(f"{shared} {uuid.uuid4().hex}".encode()).hexdigest()[:32]
        may_take_back = not self._ever_had_bytes and not self._took_back
        sessions.rename(self, own)
        try:
            another = self.take_turn(wait_s=0.0 if may_take_back else None)
        except PoolFull:
            if not may_take_back:
                raise
            self._took_back = True
            sessions.rename(self, shared)
            return self.take_turn()
        self._house.tally.count("split")
        log.info("%s: two viewers with one address and player", self._source.words)
        return another

    def comes_again(self, turn: Turn, exc: BaseException) -> bool:
        """Say whether *exc* only tells that *turn* is over, and another one may come.

        If not, the turn is ended. Raises ClientGone once this is closed.
        """
        if self._closed:
            raise ClientGone("the response was closed") from exc
        if isinstance(exc, GatewayError) and turn.over in _COMES_AGAIN:
            return True
        # Where there is nothing to play, there is nothing to keep a place for.
        self._end(turn, 0.0 if isinstance(exc, NoSuchFilm | RangeMissed) else None)
        return False

    def read(self, size: int) -> None:
        """Note that *size* bytes have come for the client."""
        self._has_bytes, self._moved_at = True, time.monotonic()
        probe, turn = self.slot.probe, self.turn
        if probe is not None and turn is not None:
            probe.left -= size
            if probe.left <= 0:
                self._end(turn, 0.0)

    def handed(self, size: int) -> None:
        """Note that *size* bytes are handed to the client."""
        self._ever_had_bytes = True
        self.offset += size

    def suspend(self) -> None:
        """Give connection and slot back while the viewer pauses. Quick."""
        if (turn := self.turn) is not None and self._end(turn, 0.0):
            self._house.tally.count("suspended")

    def close(self) -> None:
        """Give everything back. Any number of times."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            turn, timer = self.turn, self._timer
            self._changed.notify_all()
        if timer is not None:
            timer.cancel()
        had_turn = turn is not None and self._end(turn)
        self._house.sessions.leave(self, in_grace=had_turn)
        self._house.admission.wake()  # it may be among those who wait

    def cut(self) -> None:
        """End this as whoever evicts the session wants it: without grace, its client cut."""
        if (turn := self.turn) is not None:
            self._end(turn, 0.0)
        if self.response is not None:
            self.response.abort()
        self.close()

    def check_open(self) -> None:
        """Raise ClientGone if this is closed."""
        if self._closed:
            raise ClientGone("the response was closed")

    def _end(self, turn: Turn, grace_s: float | None = None) -> bool:
        admission = self._house.admission
        ended = turn.end(State.RELEASED, grace_s)
        if ended:
            admission.wake(after_s=admission.grace_s if grace_s is None else grace_s)
        return ended

    def _end_in_time(self, turn: Turn, probe: Probe) -> None:
        timer = threading.Timer(probe.until - time.monotonic(), self._end, (turn, 0.0))
        timer.daemon = True
        with self._changed:
            if self._closed:
                return
            self._timer, before = timer, self._timer
            timer.start()
        if before is not None:
            before.cancel()

    def _turn_was_taken(self, turn: Turn) -> None:
        if turn.over is State.SUPERSEDED:
            self._was_taken_here = bool(self._house.sessions.others(self))
            self._house.tally.count("superseded")
            return
        self._house.tally.count("taken_back")
        self._house.admission.wake()
        if turn.over is State.EVICTED:
            self._house.sessions.end(self.key)  # those of it that wait without a slot, too
        else:
            self.cut()

    def _await_reading(self) -> None:
        """Return once the client demonstrably reads."""
        house, watching = self._house, Watching(self._house.evidence)
        abandoned_at = time.monotonic() + house.abandon_s
        while (now := time.monotonic()) < abandoned_at:
            running = house.sessions.others(self)
            unsent = self._connection.unsent() if self._connection is not None else 0
            answered = any(one.has_progressed for one in running)
            with self._changed:
                self.check_open()
                if watching.reads(now, unsent, rivals=bool(running), answered=answered):
                    return
                self._changed.wait(house.evidence.look_s)
        raise ConnectionLost(f"the client has taken nothing for {house.abandon_s:g} s")
