"""Whether a client whose turn was taken still reads: told from what it acknowledges (SIOCOUTQ).

FFmpeg asks for a new range, and closes the old connection once the new one has answered; it never
reads on from the old one. But several viewers behind one proxy look like one player that seeks. So
whoever was superseded is watched, from a while after the newer request got its first bytes:

    its unsent queue falls                                      it reads
    the queue stays empty, and nobody newer is running          it reads: it wants more
    the queue stays empty for EMPTY_S while a newer one runs    it reads: FFmpeg would be gone
    bytes lie there, and none is taken                          it is paused, or about to leave
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """How long, in seconds, it takes to tell a reader from a player that is about to close."""

    settle_s: float = 0.5  # a player on a slow line has heard of the new answer by then
    empty_s: float = 2.0
    look_s: float = 0.1  # between two looks


class Watching:
    """One client, watched from the moment its turn was taken."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._answered: float | None = None
        self._empty: float | None = None
        self._unsent: int | None = None

    def reads(self, now: float, unsent: int, *, rivals: bool, answered: bool) -> bool:
        """Say whether the client demonstrably reads; *unsent* is its queue, in bytes.

        *rivals*: somebody newer is running; *answered*: one of them has been given bytes.
        """
        if rivals and not answered:
            return False
        if self._answered is None:
            self._answered = now
        if now - self._answered < self._evidence.settle_s:
            return False
        before, self._unsent = self._unsent, unsent
        if before is not None and unsent < before:
            return True
        if unsent:
            self._empty = None
            return False
        if self._empty is None:
            self._empty = now
        return not rivals or now - self._empty >= self._evidence.empty_s
