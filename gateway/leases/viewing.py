"""What the viewers of this process are doing: told by whoever answers their requests."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


class Manner(enum.Enum):
    """How it goes with one request of a session."""

    STREAMING = "streaming"  # bytes have reached the client lately
    STALLED = "stalled"  # for some seconds none have: a paused client, or a slow upstream
    SUSPENDED = "suspended"  # paused for long: its upstream is closed and its slot given back
    GRACE = "grace"  # its last request has ended, and its place is kept for a moment


@dataclass(frozen=True, slots=True)
class Viewing:
    """One request that is being answered here, as an operator sees it. Holds no secret."""

    session: str
    ref: str
    user: str
    content: str
    """What is watched, in a few words: `movie 4711`, or the name of a file of the library."""
    client: str
    """The client's address."""
    profile: str | None
    """The account that serves it; None for a file of the library."""
    began_at: float
    """Seconds of the epoch."""
    offset: int
    """The first byte of the file that has not been handed to the client yet."""
    manner: Manner


Viewings: TypeAlias = Callable[[], Sequence[Viewing]]
"""Returns who is being served in this process at this moment."""
