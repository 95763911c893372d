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
# So many batches for each connection are on their way or wait for it: none is ever idle.
_AHEAD = 2
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
class Surveyed:
    """A verdict for each part, by index, and what some of them rest on.

    *claimed*, UNKNOWN: the only ones to say that they are there are not believed. *disputed*,
    MISSING: STAT says that they are there, and BODY has said a moment ago that they are not.
    """

    verdicts: dict[int, Verdict]
    claimed: list[int]
    disputed: list[int]


@dataclass(frozen=True, slots=True)
class Patience:
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
    providers: Sequence[Provider], parts: Sequence[Part], request: Request, patience: Patience
) -> Surveyed:
    """Return a verdict for each part; what *patience* does not suffice for is UNKNOWN.

    *providers* come in the order in which they are asked; each is asked only for what those
    before it lack, and a backup only for what another provider said it lacks.
    """
    wanted = {index: part.message_ids for index, part in enumerate(parts)}
    verdicts = dict.fromkeys(wanted, Verdict.MISSING if providers else Verdict.UNKNOWN)
    claimed: set[int] = set()
    lacking: set[int] = set()
    disputed: set[int] = set()
    for provider in providers:
        asked = sorted(lacking & wanted.keys()) if provider.is_backup else list(wanted)
        questions = [(index, message_id) for index in asked for message_id in wanted[index]]
        for index, found in _ask(provider, questions, request, patience, disputed).items():
            if found is True and provider.claims.believed:
                verdicts[index] = Verdict.PRESENT
                claimed.discard(index)
                del wanted[index]
            elif found is True:
                claimed.add(index)
            elif found is False:
                lacking.add(index)
            else:
                verdicts[index] = Verdict.UNKNOWN
    for index in claimed:
        verdicts[index] = Verdict.UNKNOWN
    missing = (index for index in disputed if verdicts[index] is Verdict.MISSING)
    return Surveyed(verdicts, sorted(claimed), sorted(missing))


def _ask(
    provider: Provider,
    questions: Sequence[Question],
    request: Request,
    patience: Patience,
    disputed: set[int],
) -> dict[int, bool | None]:
    """Ask one provider: True it has one of the part's ids, False it has none, None unknown.

    What it says it has, and its BODY did not have a moment ago, is False, and put into *disputed*.
    """
    if not questions:
        return {}
    answers: dict[int, bool | None] = {}
    if not patience.left_s() or provider.refusal() is not None:
        return {index: None for index, _ in questions}
    verb = b"STAT" if provider.knows_stat else b"HEAD"
    ended: queue.SimpleQueue[tuple[Sequence[Question], Call]] = queue.SimpleQueue()
    most = _AHEAD * max(1, provider.pool.status().allowed)
    calls: set[Call] = set()
    unsupported: list[Question] = []
    asked, failed = 0, False
    while True:
        while asked < len(questions) and len(calls) < most:
            if failed and provider.refusal() is not None:
                break
            batch = questions[asked : asked + BATCH]
            asked += len(batch)
            calls.add(_submit(provider, verb, batch, request, ended))
        if not calls:
            break
        try:
            batch, call = ended.get(timeout=patience.left_s())
        except queue.Empty:
            if patience.left_s():
                continue
            break
        calls.discard(call)
        failed = failed or call.error is not None
        responses = call.responses if call.error is None else ()
        for question, response in zip(batch, responses, strict=False):
            found = _reading(response)
            if found is None:
                if verb == b"STAT" and response.status_code == 500:
                    unsupported.append(question)
                    continue
                provider.refused(refusal(response, provider.name))
            elif found:
                found = provider.claims.said(question[1])
                if not found:
                    disputed.add(question[0])
            _merge(answers, question[0], found)
        for question in batch[len(responses) :]:
            _merge(answers, question[0], None)
    for call in calls:
        call.cancel()
    if unsupported:
        provider.knows_stat = False
        for index, found in _ask(provider, unsupported, request, patience, disputed).items():
            _merge(answers, index, found)
    return {index: answers.get(index) for index, _ in questions}


def _submit(
    provider: Provider,
    verb: bytes,
    batch: Sequence[Question],
    request: Request,
    ended: queue.SimpleQueue[tuple[Sequence[Question], Call]],
) -> Call:
    lines = [
        verb + b" <" + message_id.encode("utf-8", "surrogateescape") + b">\r\n"
        for _, message_id in batch
    ]
    return provider.submit(lines, request, _report(batch, ended))


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
