"""Whether a connection is read to the end of what nobody wants any more, or closed (`Drain`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

# Closing is limited: dialling is dear, for the provider too.
CLOSINGS_PER_S = 2


class Drain:
    """What dialling costs one pool, and what a byte does, as averages. Kept under its lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._closings: deque[float] = deque(maxlen=CLOSINGS_PER_S)
        self.login_s = 0.0
        self.s_per_byte = 0.0

    def dialled(self, login_s: float) -> None:
        """Note how long one has dialled."""
        self.login_s = _average(self.login_s, login_s)

    def arrived(self, received: int, sent_at: float) -> None:
        """Note a reply of *received* bytes to what was sent at *sent_at*, which is all here now."""
        self.s_per_byte = _average(self.s_per_byte, (self._clock() - sent_at) / received)

    def is_sooner_closed(self, left: int) -> bool:
        """Say whether a new connection is there before *left* bytes are; True counts as closing."""
        now = self._clock()
        spent = len(self._closings) == CLOSINGS_PER_S and now - self._closings[0] < 1.0
        if spent or left * self.s_per_byte <= self.login_s:
            return False
        self._closings.append(now)
        return True


def _average(old: float, new: float) -> float:
    # An exponential average that starts with the first value.
    return new if not old else old + 0.2 * (new - old)
