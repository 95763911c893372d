"""What is known of films: size, type and validators, learnt when they are asked for.

With it HEAD, 304 and 416 are answered without a slot. A film is learnt by one request at a time,
and those that come meanwhile wait for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.http.ranges import Entity
from gateway.vod.film import Film

_KEPT = 10_000
_FRESH_S = 900.0


class Metadata:
    """The films that were asked for last, each believed for *fresh_s*."""

    def __init__(
        self, *, fresh_s: float = _FRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fresh_s, self._clock = fresh_s, clock
        self._changed = threading.Condition()
        self._known: OrderedDict[Film, tuple[Entity, float]] = OrderedDict()
        self._learning: set[Film] = set()

    def get(self, film: Film) -> Entity | None:
        """Return what *film* is, None if that is not known (any more)."""
        with self._changed:
            entity, learnt = self._known.get(film, (None, 0.0))
            return entity if self._clock() - learnt < self._fresh_s else None

    def put(self, film: Film, entity: Entity) -> None:
        with self._changed:
            self._known[film] = (entity, self._clock())
            self._known.move_to_end(film)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            # Whoever waits for it has it, even if it is not played yet.
            self._learning.discard(film)
            self._changed.notify_all()

    def forget(self, film: Film) -> None:
        with self._changed:
            self._known.pop(film, None)

    @contextmanager
    def learning(self, film: Film, timeout_s: float) -> Iterator[bool]:
        """Be the one who learns *film*: True. Or wait until another one has tried to: False."""
        with self._changed:
            mine = film not in self._learning
            if mine:
                self._learning.add(film)
            else:
                self._changed.wait_for(lambda: film not in self._learning, timeout_s)
        try:
            yield mine
        finally:
            if mine:
                with self._changed:
                    self._learning.discard(film)
                    self._changed.notify_all()
