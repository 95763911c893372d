"""What can go wrong on purpose: faults, by message-id or for all, a number of times or for ever."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

STAT, HEAD, BODY, ARTICLE = "STAT", "HEAD", "BODY", "ARTICLE"
_TEXT = frozenset({BODY, ARTICLE})
_ALL = frozenset({STAT, HEAD, BODY, ARTICLE})


class Fault(Enum):
    """A way to fail. The commands that it meets unless others are named are in FAULTY."""

    MISSING = "the article is not there: 430, or *code*"
    BUSY = "the server refuses (502, or *code*) and closes the connection"
    WRONG_ARTICLE = "the body of another article (*instead*) under the id that was asked for"
    DAMAGED = "one byte of the body is another one; the CRC tells"
    STALL = "the reply stops after *after* bytes, for *seconds* or until `release`"
    SILENCE = "no answer, for *seconds* or until `release`"
    CUT = "the connection is closed after *after* bytes of the reply"
    STAT_LIES = "STAT says 223 and BODY says 430"
    REFUSE_LOGIN = "AUTHINFO PASS is answered by 481, or *code*"
    REFUSE_CONNECTION = "the greeting is 502, or *code*, and the connection is closed"


FAULTY: dict[Fault, frozenset[str]] = {
    Fault.MISSING: _ALL,
    Fault.BUSY: _ALL,
    Fault.WRONG_ARTICLE: _TEXT,
    Fault.DAMAGED: _TEXT,
    Fault.STALL: _TEXT,
    Fault.SILENCE: _ALL,
    Fault.CUT: _TEXT,
    Fault.STAT_LIES: _TEXT | {HEAD},
    Fault.REFUSE_LOGIN: frozenset({"AUTHINFO"}),
    Fault.REFUSE_CONNECTION: frozenset({"CONNECT"}),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """When a fault happens, and how. *message_id* None: whatever is asked for.

    *after* counts bytes of the whole reply, its status line included; None: half of it.
    """

    fault: Fault
    commands: frozenset[str]
    message_id: str | None = None
    code: int | None = None
    after: int | None = None
    seconds: float | None = None
    instead: str | None = None


class FaultPlan:
    """The rules in force. Not thread-safe: `Site` locks it.

    A rule for a message-id comes before a rule for all; among equals the older comes first.
    """

    def __init__(self) -> None:
        self._rules: dict[str | None, list[tuple[Rule, int | None]]] = {}

    def add(self, rule: Rule, times: int | None) -> None:
        """Have *rule* happen *times* times; None: for ever."""
        if times is not None and times < 1:
            raise ValueError(f"a fault happens at least once, not {times} times")
        self._rules.setdefault(rule.message_id, []).append((rule, times))

    def take(self, command: str, message_id: str | None = None) -> Rule | None:
        """Return the rule that strikes now, and count that it did."""
        for key in {message_id: 0, None: 0}:
            rules = self._rules.get(key, [])
            for at, (rule, left) in enumerate(rules):
                if command not in rule.commands:
                    continue
                if left == 1:
                    del rules[at]
                elif left is not None:
                    rules[at] = (rule, left - 1)
                return rule
        return None

    def clear(self, fault: Fault | None = None, message_ids: Collection[str] = ()) -> None:
        """Forget all rules, or those of *fault*, or those of these message-ids."""
        for key, rules in self._rules.items():
            if message_ids and key not in message_ids:
                continue
            rules[:] = [pair for pair in rules if fault not in (None, pair[0].fault)]


def damage(pieces: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return a yEnc body with one data byte changed, such that its length stays the same."""
    largest = max(range(len(pieces)), key=lambda at: len(pieces[at]))
    piece = pieces[largest]
    for at in range(len(piece) // 2, len(piece)):
        old, new = piece[at], piece[at] ^ 1
        # Neither an escape nor a line end nor NUL may come or go, nor what follows an escape.
        if at and not {old, new} & {0, 10, 13, 46, 61} and piece[at - 1] not in (10, 61):
            changed = piece[:at] + bytes((new,)) + piece[at + 1 :]
            return (*pieces[:largest], changed, *pieces[largest + 1 :])
    raise ValueError("this article has no byte that can be damaged and still be decoded")
