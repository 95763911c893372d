"""Tells others that an item of the queue has ended: an *arr, and rclone, which caches folders.

On a thread of its own, so that no worker waits for them. Whoever cannot be told is told again
later, a few times, all that has ended meanwhile at once; then it finds out by itself, as
everybody else does: an *arr asks every minute, and what a mount has cached grows old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

# Between one attempt and the next; after the last one it is given up.
_PAUSES_S = (1.0, 5.0, 30.0, 120.0)
# More is not remembered for one listener: it is told that anything may have ended.
_MOST = 200


class NotTold(GatewayError):
    """A listener could not be told. *again*: it may be tried again."""

    def __init__(self, words: str, *, again: bool = True) -> None:
        super().__init__(words)
        self.again = again


@dataclass(frozen=True, slots=True)
class Ended:
    """An item that has become history: *folder* is that of its category.

    *completed*: its release is published, as *name*. Or no item has ended, but of a published
    release the file whose id is *changed* has got other bytes, or it is *removed*.
    """

    folder: str
    name: str
    completed: bool
    changed: str = ""
    removed: bool = False


class Listener(Protocol):
    """Somebody who is told; *name* is what the log calls them."""

    @property
    def name(self) -> str: ...

    def tell(self, ended: Sequence[Ended] | None) -> None:
        """Tell that these have ended; None: so many that nobody remembers which.

        Takes a few seconds at most. Raises NotTold.
        """
        ...


@dataclass(slots=True)
class _Untold:
    """What *listener* is still to be told, not before *due*."""

    listener: Listener
    ended: list[Ended] | None = field(default_factory=list)
    attempts: int = 0
    due: float = 0.0


class Teller:
    """Tells *listeners*, in their order, from `start` to `stop`."""

    # Under the condition: all of an _Untold but its listener, and _stopping.

    def __init__(
        self, listeners: Sequence[Listener], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._untold = [_Untold(listener) for listener in listeners]
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="telling", daemon=True)

    def start(self) -> None:
        """Begin to tell; without listeners there is nothing to begin."""
        if self._untold:
            self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Tell no more. Who is being told at this moment is left to it after *timeout_s*."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def ended(self, one: Ended) -> None:
        """Have all listeners told that *one* has ended. Never blocks."""
        with self._changed:
            for untold in self._untold:
                if untold.ended is not None:
                    untold.ended.append(one)
                    if len(untold.ended) > _MOST:
                        untold.ended = None
            self._changed.notify_all()

    def wake(self) -> None:
        """Look at the clock again."""
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                found = self._next()
                while found is None:
                    if self._stopping:
                        return
                    self._changed.wait(self._pause_s())
                    found = self._next()
                if self._stopping:
                    return
                ended, found.ended = found.ended, []
            try:
                found.listener.tell(ended)
            except NotTold as exc:
                self._failed(found, ended, exc)
            except Exception:
                log.exception("a fault of the gateway kept %s from being told", found.listener.name)
            else:
                found.attempts = 0

    def _next(self) -> _Untold | None:
        now = self._clock()
        return next((one for one in self._untold if one.ended != [] and one.due <= now), None)

    def _pause_s(self) -> float | None:
        """Return how long nobody is to be told again, None: until something ends."""
        dues = [one.due for one in self._untold if one.ended != []]
        return max(0.0, min(dues) - self._clock()) if dues else None

    def _failed(self, untold: _Untold, ended: list[Ended] | None, error: NotTold) -> None:
        """Have it told again later, or give it up until the next item ends."""
        name = untold.listener.name
        if not error.again or untold.attempts == len(_PAUSES_S):
            untold.attempts = 0
            log.warning("%s was not told of what has ended: %s", name, error)
            return
        pause_s = _PAUSES_S[untold.attempts]
        untold.attempts += 1
        with self._changed:
            untold.due = self._clock() + pause_s
            if ended is None or untold.ended is None or len(ended + untold.ended) > _MOST:
                untold.ended = None
            else:
                untold.ended = ended + untold.ended
        log.info("%s is told again in %g s: %s", name, pause_s, error)
