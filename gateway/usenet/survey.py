"""Asking whether articles are there: STAT in pipelined batches, by every provider in turn."""

from __future__ import annotations

import enum
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import sabctools

from gateway.nzb.extents import Part
from gateway.usenet.body import refusal
from gateway.usenet.call import Call
from gateway.usenet.permits import Request
from gateway.usenet.provider import Provider
from gateway.usenet.replies import Meaning, meaning

# One permit covers one batch of at most so many commands.
BATCH = 100
# How long it takes at most until it is noticed that the asker has given up.
_LOOK_S = 0.1


class Verdict(enum.Enum):
    """What is known about an article."""

    PRESENT = "a provider has it"
    MISSING = "every enabled provider says that it has no such article"
    UNKNOWN = "somebody did not answer"


# An article to ask for: the index of its part, and one of the part's message-ids.
Question = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long to wait for answers: until a time of the monotonic clock, or until told."""

    deadline: float
    given_up: Callable[[], bool] | None

    def left_s(self) -> float:
        """Return how long may be waited in one go; 0: the patience is at its end."""
        left_s = max(0.0, self.deadline - time.monotonic())
        if self.given_up is None:
            return left_s
        return 0.0 if self.given_up() else min(left_s, _LOOK_S)


def survey(
    providers: Sequence[Provider],
    parts: Sequence[Part],
    request: Request,
    timeout_s: float,
    given_up: Callable[[], bool] | None = None,
) -> list[Verdict]:
    """Return a verdict for each part, in order. What *timeout_s* does not suffice for is UNKNOWN.

    *providers* come in the order in which they are asked; each is asked only for what those
    before it lack, and a backup only for what another provider said it lacks. *given_up* is
    asked ten times a second: once it says True, nobody is asked any more.
    """
    patience = _Patience(time.monotonic() + timeout_s, given_up)
    present: set[int] = set()
    unknown: set[int] = set() if providers else set(range(len(parts)))
    lacking: set[int] = set()
    for provider in providers:
        asked = range(len(parts)) if not provider.is_backup else sorted(lacking)
        questions = [
            (index, message_id)
            for index in asked
            if index not in present
            for message_id in parts[index].message_ids
        ]
        answers = _ask(provider, questions, request, patience)
        for index, found in answers.items():
            if found is True:
                present.add(index)
            elif found is False:
                lacking.add(index)
            else:
                unknown.add(index)
    return [
        Verdict.PRESENT
        if index in present
        else Verdict.UNKNOWN
        if index in unknown
        else Verdict.MISSING
        for index in range(len(parts))
    ]


def _ask(
    provider: Provider, questions: Sequence[Question], request: Request, patience: _Patience
) -> dict[int, bool | None]:
    """Ask one provider: True it has one of the part's ids, False it has none, None unknown."""
    answers: dict[int, bool | None] = {}
    if not questions:
        return answers
    if not patience.left_s() or provider.refusal() is not None:
        return {index: None for index, _ in questions}
    verb = b"STAT" if provider.knows_stat else b"HEAD"
    ended: queue.SimpleQueue[tuple[Sequence[Question], Call]] = queue.SimpleQueue()
    calls = _submit(provider, verb, questions, request, ended)
    waiting = len(calls)
    unsupported: list[Question] = []
    while waiting:
        try:
            batch, call = ended.get(timeout=patience.left_s())
        except queue.Empty:
            if patience.left_s():
                continue
            break
        waiting -= 1
        responses = call.responses if call.error is None else ()
        for number, question in enumerate(batch):
            found = _reading(responses[number]) if number < len(responses) else None
            if found is None and number < len(responses):
                if verb == b"STAT" and responses[number].status_code == 500:
                    unsupported.append(question)
                    continue
                provider.refused(refusal(responses[number], provider.name))
            _merge(answers, question[0], found)
    if waiting:
        for call in calls:
            call.cancel()
    if unsupported:
        provider.knows_stat = False
        for index, found in _ask(provider, unsupported, request, patience).items():
            _merge(answers, index, found)
    return {index: answers.get(index) for index, _ in questions}


def _submit(
    provider: Provider,
    verb: bytes,
    questions: Sequence[Question],
    request: Request,
    ended: queue.SimpleQueue[tuple[Sequence[Question], Call]],
) -> list[Call]:
    calls = []
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        lines = [
            verb + b" <" + message_id.encode("utf-8", "surrogateescape") + b">\r\n"
            for _, message_id in batch
        ]
        calls.append(provider.submit(lines, request, _report(batch, ended)))
    return calls


def _report(
    batch: Sequence[Question], ended: queue.SimpleQueue[tuple[Sequence[Question], Call]]
) -> Callable[[Call], None]:
    return lambda call: ended.put((batch, call))


def _reading(response: sabctools.NNTPResponse) -> bool | None:
    with suppress(KeyError):
        return {Meaning.PRESENT: True, Meaning.MISSING: False}[meaning(response.status_code)]
    return None


def _merge(answers: dict[int, bool | None], index: int, found: bool | None) -> None:
    # One alternate that is there suffices; one that is unknown leaves the part unknown.
    known = answers.get(index, False)
    answers[index] = True if True in (known, found) else None if None in (known, found) else False
