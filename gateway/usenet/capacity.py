"""How many connections a pool may have at this moment, and what a change of that sets off.

Three have a say (`Limit`): what is configured, what the provider's refusals teach, and the slots
held of an account that other gateways use too (`Slots`). Every change goes one way: the limit,
what is above it, and the total of permits, as one.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace

from gateway.errors import ProviderBusy
from gateway.usenet.limit import Limit, SlotFigures, Slots
from gateway.usenet.permits import ExtendedSemaphore
from gateway.usenet.reactor import Reactor
from gateway.usenet.roster import Roster

log = logging.getLogger(__name__)

# After our own closing, a provider may count the old connection for a while.
FORGIVE_BUSY_S = 10.0
# A learned limit is tried again after this long.
RELEARN_S = 180.0


class Capacity:
    """The limit of the pool called *name*, whose *lock* guards *roster*.

    No method may be called with *lock* held but `closing`; `now` may be read with it or without.
    """

    # Invariants, true whenever `_resizing` is free:
    #   now == limit.now == the total of the permits
    #   live - leaving <= now, but for those whom a lower limit found at work: each of them
    #   leaves as its work is done
    # `_apply` restores them, and is the only one that changes the limit.
    #
    # Locks, in this order: `_resizing`, the pool's, that of the permits. Whoever is granted a
    # permit by a change runs with `_resizing` held, so none of them may change the limit.

    def __init__(
        self,
        name: str,
        configured: int,
        lock: threading.Lock,
        roster: Roster,
        permits: ExtendedSemaphore,
        reactor: Reactor,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._lock = lock
        self._roster = roster
        self._permits = permits
        self._reactor = reactor
        self._clock = clock
        self._resizing = threading.Lock()  # the limit and the total of permits change as one
        self._slots: Slots | None = None
        # Under the pool's lock.
        self.limit = Limit(configured)
        self.now = self.limit.now
        self._closed_at = -math.inf
        self._relearn_at = math.inf

    def resize(self, limit: int) -> None:
        """Allow *limit* connections from now on; what is above goes as it falls idle."""
        with self._lock:
            self._relearn_at = math.inf
        self._apply(lambda before: replace(before, configured=limit, learned=None))

    def share(self, slots: Slots) -> None:
        """Use the account together with other gateways: no connection before `allow` says so.

        *slots* is told from now on when somebody waits who could be served with more.
        """
        self._slots = slots
        self.allow(0)

    def allow(self, slots: int, *, cut: bool = False) -> None:
        """Hold at most *slots* connections from now on, and fewer where less is allowed.

        What is above goes as it falls idle; with *cut* it is closed now, and what was in flight
        on it is asked for again: that slot may be another gateway's already.
        """
        self._apply(lambda before: replace(before, slots=slots), cut=cut)

    def ask(self) -> None:
        """Say that somebody waits, to whoever shares out slots. From any thread, often."""
        if self._slots is not None:
            self._slots.ask()

    def figures(self) -> SlotFigures | None:
        """Return how the slots stand, None if the account is this gateway's alone."""
        return None if self._slots is None else self._slots.figures()

    def closing(self) -> None:
        """Note, under the pool's lock, that a connection was told to close just now."""
        self._closed_at = self._clock()

    def learn(self, refusal: ProviderBusy) -> None:
        """Have as many as there are, for a while, since the provider let no more in."""
        now = self._clock()
        with self._lock:
            # Those that dial still may get in; each that does not lowers the limit once more.
            could = self._roster.live
            if not could or now - self._closed_at < FORGIVE_BUSY_S or could >= self.now:
                return
            self._relearn_at = now + RELEARN_S
        log.warning(
            "%s allows fewer connections than the %d configured: using %d (%s)",
            self._name, self.limit.configured, could, refusal,
        )  # fmt: skip
        self._apply(lambda before: replace(before, learned=could))

    def relearn(self) -> None:
        """Forget what was learned, once it is time to try again."""
        if self._relearn_at > self._clock():
            return
        with self._lock:
            self._relearn_at = math.inf
        self._apply(lambda before: replace(before, learned=None))

    def _apply(self, change: Callable[[Limit], Limit], *, cut: bool = False) -> None:
        with self._resizing:
            with self._lock:
                self.limit = limit = change(self.limit)
                self.now = limit.now
                surplus = self._roster.shrink(limit.now, cut=cut)
                if surplus.connections:
                    self.closing()
            for connection in surplus.dialling:
                connection.abandon()
            for connection in surplus.connections:
                self._reactor.close(connection)
            self._permits.resize(limit.now, limit.allowed)
