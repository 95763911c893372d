"""A replacement: that an *arr is told to mark a release as failed, and to search for another.

Nothing is deleted by it, here or there. Its steps, each written down before the next is taken:

    WAITING → MARKING → SEARCHING → TOLD

MARKING and SEARCHING say what may have been sent already: whoever finds a replacement there
looks into the *arr's history, and at its commands, before it sends anything again.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.errors import GatewayError


class Step(enum.StrEnum):
    """How far a replacement has come."""

    WAITING = "waiting"  # nothing has been sent
    MARKING = "marking"  # the release is being marked as failed, or is so by now
    SEARCHING = "searching"  # it is marked, and a search is being asked for, or has been
    TOLD = "told"  # the *arr has been told all there is to tell
    NOBODY = "nobody"  # no *arr that is configured has grabbed the release
    REFUSED = "refused"  # somebody asked for it who has asked too often


UNFINISHED = (Step.WAITING, Step.MARKING, Step.SEARCHING)


class TooMany(GatewayError):
    """So many replacements have been asked for lately that this one may not be."""

    http_status = 429
    retryable = True


class NotReplaceable(GatewayError):
    """This release cannot be replaced, and the message says why."""

    http_status = 409


@dataclass(frozen=True, slots=True)
class Replacement:
    """What has become of the replacement of a release. Times are seconds since 1970.

    *release_id* None: the release has been removed meanwhile. *asked*: since when its failure is
    confirmed, or when somebody asked (*by_hand*). *arr* is the name of the *arr that grabbed it,
    *titles* are what that calls it (`episode:7 episode:8`, `movie:3`), *title* the same in words;
    empty until they are known. *sent*: when it was last told anything; *marked*: when it was
    seen that we had marked it; *ended*: when it came to its last step. *answer* says what came of
    it, *note* why it waits, until *not_before*, after so many *attempts* that failed.
    """

    id: int
    release_id: int | None
    nzo_id: str
    category: str
    name: str
    by_hand: bool
    step: Step
    asked: float
    arr: str = ""
    titles: str = ""
    title: str = ""
    sent: float | None = None
    marked: float | None = None
    ended: float | None = None
    answer: str = ""
    note: str = ""
    attempts: int = 0
    not_before: float = 0.0

    @property
    def is_finished(self) -> bool:
        return self.step not in UNFINISHED


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an *arr was told that a release has failed, in *words*; or why it was not.

    *replacement* None: nothing is written down of one.
    """

    words: str
    replacement: Replacement | None = None
