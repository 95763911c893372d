"""Says when it is a provider that is ill, and not the library (`Brake`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Of the checks of one hour at most a fifth may go badly; fewer than five bad ones say nothing.
WINDOW_S = 3600.0
SHARE = 0.2
LEAST = 5


@dataclass(frozen=True, slots=True)
class Illness:
    """Why no check is to be believed, and since when: the first of those that went badly."""

    since: float
    reason: str


class Brake:
    """Counts the checks of the last hour, and those that went badly.

    Badly: nobody answered, or more is missing than was known. What was found broken before and
    is so again is no news, and stops nothing.
    """

    def __init__(self) -> None:
        self._checks: deque[tuple[float, bool]] = deque()
        self._bad = 0

    def reset(self) -> None:
        """Forget all checks."""
        self._checks.clear()
        self._bad = 0

    def note(self, now: float, *, bad: bool) -> Illness | None:
        """Count a check that ended *now*; return what is to be made of it, if it is too much."""
        self._checks.append((now, bad))
        self._bad += bad
        while self._checks[0][0] <= now - WINDOW_S:
            self._bad -= self._checks.popleft()[1]
        if self._bad < LEAST or self._bad <= SHARE * len(self._checks):
            return None
        since = next(at for at, went_badly in self._checks if went_badly)
        reason = (
            f"{self._bad:,} of {len(self._checks):,} checks within an hour found articles missing "
            "or got no answer: a provider is ill, rather than the library"
        )
        return Illness(since, reason)
