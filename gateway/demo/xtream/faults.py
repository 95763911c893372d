"""What a VOD service does wrong on purpose: by account, item or action, some times or for ever."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Trouble(Enum):
    """A way to fail. Streams meet all of these; player_api.php meets those that API names."""

    REFUSE = "the answer is *status* (403, 458, 503), with *body* if given"
    SILENCE = "no answer at all, for *seconds* or until `release`"
    STALL = "the answer stops after *after* bytes, for *seconds* or until `release`"
    CUT = "the connection is closed after *after* bytes of the body; *reset*: with a RST"
    SLOW = "the body comes at *rate* bytes a second"
    IGNORE_RANGE = "the whole film (200), whatever range was asked for"
    OTHER_RANGE = "206 for a range that begins *after* bytes later than the one asked for"
    CHANGE_ETAG = "the ETag is another one, as of a film that was replaced"
    NO_ETAG = "neither ETag nor Last-Modified"
    REDIRECT = "302 to another path with a token, which then serves"
    REDIRECT_AWAY = "302 to *location*"
    ANSWER = "200 with *body*, whatever that is; *endless*: again and again, for ever"


API = frozenset(
    {Trouble.REFUSE, Trouble.SILENCE, Trouble.CUT, Trouble.ANSWER, Trouble.REDIRECT_AWAY}
)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a trouble happens, and how.

    *account* None: to all; *target* None: to whatever is asked for, otherwise an item's id, or
    the action of player_api.php ("" is the login). *times* None: for ever.
    """

    trouble: Trouble
    api: bool = False
    account: str | None = None
    target: str | None = None
    times: int | None = None
    status: int = 503
    body: bytes = b""
    content_type: str = "application/json"
    after: int = 0
    seconds: float | None = None
    rate: int = 1 << 20
    reset: bool = False
    endless: bool = False
    location: str = ""


class Plan:
    """The rules in force, the oldest first. Not thread-safe: `Site` locks it."""

    def __init__(self) -> None:
        self._rules: list[tuple[Rule, int | None]] = []

    def add(self, rule: Rule) -> None:
        if rule.times is not None and rule.times < 1:
            raise ValueError(f"a trouble happens at least once, not {rule.times} times")
        if rule.api and rule.trouble not in API:
            raise ValueError(f"{rule.trouble.name} cannot happen to player_api.php")
        self._rules.append((rule, rule.times))

    def take(self, *, api: bool, account: str, target: str) -> dict[Trouble, Rule]:
        """Return what strikes this request, one rule for each trouble, and count that it did."""
        struck: dict[Trouble, Rule] = {}
        kept: list[tuple[Rule, int | None]] = []
        for rule, left in self._rules:
            strikes = (
                rule.api == api
                and rule.trouble not in struck
                and rule.account in (None, account)
                and rule.target in (None, target)
            )
            if strikes:
                struck[rule.trouble] = rule
                left = None if left is None else left - 1
            if left != 0:
                kept.append((rule, left))
        self._rules = kept
        return struck

    def clear(self) -> None:
        self._rules = []
