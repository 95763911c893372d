"""When a file is checked again: once its age has doubled, within bounds, and sooner in doubt.

A file's age is the time since it was published. What is gone of a post goes early, and the
import has asked for a few articles only: the first whole check comes after an hour, the next
after two, four, eight, and from a month on one comes a month.
"""

from __future__ import annotations

import zlib

HOUR_S = 3600.0
LEAST_S, MOST_S = HOUR_S, 30 * 86_400.0
"""How far apart two checks of a file are, at least and at most."""

CONFIRM_S = HOUR_S
"""So long after the first check that finds a file FAILED a second one confirms it."""

# What is due at one time comes apart: each wait is shorter by up to a fifth.
_JITTER = 0.2
# A file of which a check got no answer is tried again after 5 min, then 15, 45, ..., at most a day.
_SOON_S, _GROWTH, _LATEST_S = 300.0, 3.0, 86_400.0
# What is to be confirmed comes a little later than it has to.
_LATER_S = 300.0


def first_due(published: float) -> float:
    """Return when a file is due for its first check."""
    return published + LEAST_S


def due_again(file_id: str, published: float, at: float) -> float:
    """Return when a file is due again after a check at *at*: jittered, by its age."""
    age = at - published
    return at + max(LEAST_S, min(age, MOST_S) * (1 - _JITTER * _share(file_id, at)))


def due_to_confirm(file_id: str, failed_at: float, at: float) -> float:
    """Return when a file is due again that a check at *at* has found FAILED, not confirmed yet.

    *failed_at*: the first that did.
    """
    return max(failed_at + CONFIRM_S, at) + _LATER_S * _share(file_id, at)


def due_unanswered(file_id: str, at: float, times: int) -> float:
    """Return when a file is due again that a check at *at* got no answer of, so often in a row."""
    pause = _SOON_S * _GROWTH ** min(times - 1, 20)
    return at + min(pause, _LATEST_S) * (1 - _JITTER * _share(file_id, at))


def _share(file_id: str, at: float) -> float:
    """Return a number in [0, 1) that is another one for each file and each check."""
    return zlib.crc32(f"{file_id} {at:.0f}".encode()) / 2**32
