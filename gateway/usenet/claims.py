"""What a provider's STAT is worth: what it said, held against what its BODY said (`Claims`).

Some providers answer STAT from an index that still lists what is gone: 223, and then 430 to BODY.
BODY is right then. Both answers of the same few minutes are compared; over a longer time an
article may have gone, or come, without anybody having lied.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# A provider is not believed while so large a share of its tested claims was false.
DISTRUST = 0.01
# Claims that were tested: at so many, all counts are halved, so that old ones fade.
_REMEMBERED = 1_000
# How many answers are kept for comparison, twice, and for how long at least and, twice, at most.
_KEPT = 16_384
_KEPT_S = 600.0


class Claims:
    """The claims of one provider. Safe to use from any thread; bounded in memory."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._said = _Recent(clock)  # STAT: it is there
        self._refused = _Recent(clock)  # BODY: there is no such article
        self._kept = 0.0
        self._broken = 0.0

    @property
    def believed(self) -> bool:
        """Whether its STAT suffices for "present"."""
        return self._broken <= DISTRUST * (self._kept + self._broken)

    @property
    def lies(self) -> float:
        """Return the share of false ones among the claims that were tested, from 0 to 1."""
        return self._broken / (self._kept + self._broken) if self._broken else 0.0

    def said(self, message_id: str) -> bool:
        """STAT says that it is there; return False if BODY said a moment ago that it is not.

        Either it has lied, or the article has come: only another BODY can tell.
        """
        with self._lock:
            self._said.add(message_id)
            return message_id not in self._refused

    def delivered(self, message_id: str) -> None:
        """BODY brought it: whatever was said before, it is there now."""
        with self._lock:
            self._refused.discard(message_id)
        if message_id in self._said:
            self._count(kept=True)

    def refused(self, message_id: str) -> None:
        """BODY says that there is no such article."""
        with self._lock:
            self._refused.add(message_id)
        if message_id in self._said:
            self._count(kept=False)

    def _count(self, *, kept: bool) -> None:
        with self._lock:
            believed = self.believed
            if kept:
                self._kept += 1
            else:
                self._broken += 1
            if self._kept + self._broken >= _REMEMBERED:
                self._kept /= 2
                self._broken /= 2
            changed = believed != self.believed
        if changed and believed:
            log.warning(
                "%s says of articles that they are there and then has none (STAT 223, BODY 430): "
                "its word is held against a few articles that are fetched, from now on",
                self._name,
            )
        elif changed:
            log.info("%s has what it says again: its STAT is believed", self._name)


class _Recent:
    """Message-ids of the last minutes, as hashes: in two generations, the older of which falls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._new: set[int] = set()
        self._old: set[int] = set()

    def add(self, message_id: str) -> None:
        self._turn()
        self._new.add(hash(message_id))

    def discard(self, message_id: str) -> None:
        if self._new or self._old:
            key = hash(message_id)
            self._new.discard(key)
            self._old.discard(key)

    def __contains__(self, message_id: str) -> bool:
        if not self._new and not self._old:
            return False
        self._turn()
        key = hash(message_id)
        return key in self._new or key in self._old

    def _turn(self) -> None:
        if len(self._new) < _KEPT and self._clock() - self._began < _KEPT_S:
            return
        stale = self._clock() - self._began >= 2 * _KEPT_S
        self._old = set() if stale else self._new
        self._new = set()
        self._began = self._clock()
