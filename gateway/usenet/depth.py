"""Which exchanges have another one behind them on their connection (`Depth`).

A command that is sent while the reply to another still arrives costs no round trip. Two deep
takes all there is to be had. It is for who waits for nobody: articles of the queue. Some
connections stay one deep, so that one whose article is nearly done is always near.

Servers are known that hang up on a second command, or never answer it. Until second ones have
been answered in a row, connections that are lost with two commands on them raise doubts. One
answer proves nothing: its command may have come just when the server was done with the first.

    front   its reply arrives, or will next; it holds the permit
    rider   its command is sent behind that of the front, whose permit is passed on to it
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.usenet.call import Call
from gateway.usenet.permits import ExtendedSemaphore, Request
from gateway.usenet.workload import Workload

# So many at least stay one deep, but no more than one in ten. They end at different times: with
# two of them one is free within a third of what an article takes, on an average.
_NEAR = 2
# For so long after a read of any stream, what streams are guaranteed stays one deep.
STREAMS_S = 60.0
# After so many doubts all connections stay one deep for so long.
DOUBTS = 3
DOUBTED_S = 600.0
# So many second commands that are answered in a row, and there is no doubt any more.
PROOFS = 10


class Depth:
    """The fronts of one pool that may have riders. Kept under the pool's lock, without I/O.

    *pipeline*: how many commands there may be on one connection, 1 or 2.
    """

    # Invariants: a front is in `_single` or, with its rider, in `_double`; front.rider and
    # rider.ahead name each other. A call that may not ride is in neither, nor is in `_single` one
    # that nobody wants any more: it is to be closed, or drained, and nobody waits for that.

    def __init__(
        self, permits: ExtendedSemaphore, pipeline: int, clock: Callable[[], float]
    ) -> None:
        self._permits = permits
        self._pipeline = pipeline
        self._clock = clock
        self._streamed_at = -math.inf
        self._proofs = 0
        self._doubts = 0
        self._resumes_at = -math.inf
        self._single: dict[Call, None] = {}  # the one that has been sent longest ago first
        self._double: set[Call] = set()

    def see(self, call: Call) -> None:
        """Note who asks for *call*, which decides whether it may ride."""
        call.may_ride = self._pipeline > 1 and bool(call.expected_bytes) and _waits_for_nobody(call)
        self._see_stream(call.request)

    def promoted(self, call: Call) -> None:
        """Note that *call* is asked for by somebody else, who may wait for it."""
        if not _waits_for_nobody(call):
            call.may_ride = False
        self._see_stream(call.request)

    def begin(self, call: Call) -> None:
        """Note that the reply to *call* is the next on its connection."""
        if call.may_ride and not call.abandoned:
            self._single[call] = None

    def forget(self, call: Call) -> None:
        """Let nobody else go along with *call*, which nobody wants any more."""
        self._single.pop(call, None)

    def board(self, limit: int, front: Call | None = None) -> Call | None:
        """Return the call that goes along with *front*, or with the oldest; None: none does.

        It has its connection and a permit that rides. At most so many of *limit* connections
        are two deep that enough are left for viewers.
        """
        if front is None:
            front = next(iter(self._single), None)
        if front is None or front not in self._single or front.permit is None:
            return None
        if len(self._double) >= limit - self._kept(limit) or self._clock() < self._resumes_at:
            return None
        waiter = self._permits.ride(front.permit)
        if waiter is None:
            return None
        call, waiter.passenger = waiter.passenger, None  # or they would hold each other
        assert isinstance(call, Call)
        call.permit, call.connection = waiter.permit, front.connection
        call.rode, call.ahead, front.rider = True, front, call
        del self._single[front]
        self._double.add(front)
        return call

    def learn(self, call: Call, *, is_lost: bool) -> bool:
        """Note, before `end`, how *call* has ended; return whether the server is doubted now.

        *is_lost*: the connection was, and nobody here had closed it.
        """
        if self._proofs >= PROOFS:
            return False
        if not is_lost:
            self._proofs += call.rode
            return False
        was_double = call.rider is not None or (call.rode and call.may_ride)
        if not was_double:
            return False
        self._proofs = 0
        if self._clock() < self._resumes_at:
            return False  # it was two deep already when the doubts arose
        self._doubts += 1
        if self._doubts < DOUBTS:
            return False
        self._doubts = 0
        self._resumes_at = self._clock() + DOUBTED_S
        return True

    def end(self, front: Call, *, is_over: bool) -> Call | None:
        """Note that *front* has ended; return its rider, which has its permit.

        The rider is the new front. *is_over*: or it is lost as well, as the connection is, or is
        about to be. Who is lost that was not alone is tried once more than others, alone: that may
        have been the reason.
        """
        self._single.pop(front, None)
        rider, permit = front.rider, front.permit
        if is_over and (rider is not None or front.rode):
            _retry_alone(front)
        if rider is None:
            return None
        assert permit is not None
        assert rider.permit is not None
        self._double.discard(front)
        front.rider = rider.ahead = front.permit = None
        self._permits.pass_on(permit, rider.permit)
        if is_over:
            _retry_alone(rider)
        else:
            self.begin(rider)
        return rider

    def _see_stream(self, request: Request) -> None:
        reservation = request.reservation
        if reservation is not None and reservation.workload is Workload.STREAM:
            self._streamed_at = self._clock()

    def _kept(self, limit: int) -> int:
        kept = max(1, min(_NEAR, limit // 10))
        if self._clock() - self._streamed_at < STREAMS_S:
            kept = max(kept, self._permits.guarantee(Workload.STREAM))
        return kept


def partner(call: Call) -> Call | None:
    """Return who else is on the connection of *call*."""
    return call.rider if call.rider is not None else call.ahead


def _retry_alone(call: Call) -> None:
    call.retries += call.may_ride
    call.may_ride = False


def _waits_for_nobody(call: Call) -> bool:
    request = call.request
    return (
        request.reservation is not None
        and request.reservation.workload is Workload.QUEUE
        and not request.demand
        and request.required_available is None
    )
