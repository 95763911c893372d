"""How many replacements may be asked for: a library that fails as a whole is no storm (`Limits`).

Each makes an *arr search all of its indexers, which allow a hundred searches a day or so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Sent:
    """A replacement that was asked for *at*, of *arr*, for what that calls *titles*."""

    at: float
    arr: str
    titles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Over:
    """A limit is reached, until *until*; *words* say which."""

    until: float
    words: str


@dataclass(frozen=True, slots=True)
class Limits:
    """At most *per_title* in *title_s* for one title, and so many of all *per_hour*, *per_day*."""

    per_title: int = 3
    title_s: float = 6 * HOUR_S
    per_hour: int = 10
    per_day: int = 40

    @property
    def longest_s(self) -> float:
        """How far back it counts what was sent."""
        return max(self.title_s, DAY_S)

    def of_all(self, sent: Sequence[Sent], now: float) -> Over | None:
        """Return which limit of all titles together is reached, None: none is."""
        times = [one.at for one in sent]
        hour = _full(times, self.per_hour, HOUR_S, now)
        day = _full(times, self.per_day, DAY_S, now)
        if day is not None:
            return Over(day, f"{self.per_day} replacements have been asked for within a day")
        if hour is not None:
            return Over(hour, f"{self.per_hour} replacements have been asked for within an hour")
        return None

    def of_title(
        self, sent: Sequence[Sent], arr: str, titles: Collection[str], now: float
    ) -> Over | None:
        """Return until when no more may be asked for of any of *titles*, None: at once.

        An episode counts for itself, whether it came alone or with its season.
        """
        ends = []
        for title in titles:
            times = [one.at for one in sent if one.arr == arr and title in one.titles]
            end = _full(times, self.per_title, self.title_s, now)
            if end is not None:
                ends.append(end)
        if not ends:
            return None
        hours = f"{self.title_s / HOUR_S:g} hours"
        return Over(
            max(ends), f"{self.per_title} replacements of it have been asked for within {hours}"
        )


def _full(times: Sequence[float], most: int, window_s: float, now: float) -> float | None:
    """Return when fewer than *most* of *times* will lie within the last *window_s*, if not now.

    A time to come, left by a clock that was set back, counts as one of now.
    """
    within = sorted((min(at, now) for at in times if at + window_s > now), reverse=True)
    return within[most - 1] + window_s if len(within) >= most else None
