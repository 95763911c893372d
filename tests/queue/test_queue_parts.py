"""Small parts of the queue: samples, kinds of files, tickets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IncompletePost, ProviderError
from gateway.nzb.extents import Part
from gateway.streams.source import Pending
from gateway.usenet.articles import Body, Verdict
from gateway.usenet.workload import Reservation
from gateway_queue.contents import Kind, kind_of
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Tally, Verifier, sample

HAVE, LACK, UNSURE = Verdict.PRESENT, Verdict.MISSING, Verdict.UNKNOWN


@given(st.integers(1, 1_000_000))
def test_a_sample_has_the_first_the_last_and_one_percent_but_5_to_200(articles: int) -> None:
    indexes = sample(articles)

    assert indexes == sorted(set(indexes))
    assert {0, articles - 1} <= set(indexes)
    assert len(indexes) == min(articles, max(5, min(200, -(-articles // 100))))
    gaps = {after - before for before, after in pairwise(indexes)}
    assert not gaps or max(gaps) - min(gaps) <= 1


class Answers:
    """A source that knows nothing but verdicts."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        return [self.verdicts.pop(0) for _ in parts]

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Pending:
        raise AssertionError("nothing is fetched to verify")

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        raise AssertionError("nothing is fetched to verify")


def verify(*verdicts: Verdict, providers: int = 2, total: int = 4_120, known: int = 0) -> Tally:
    parts = [Part((f"{number}@a",)) for number in range(len(verdicts))]
    verifier = Verifier(Answers(*verdicts), providers=providers)
    return verifier.verify(parts, Ticket(), total=total, known=known)


def test_present_missing_and_unknown_are_counted_apart() -> None:
    assert verify(HAVE, HAVE, known=3) == Tally(total=4_120, asked=5, missing=0, unknown=0)
    with pytest.raises(IncompletePost):
        verify(HAVE, LACK, UNSURE)
    with pytest.raises(ProviderError):
        verify(HAVE, UNSURE)


@pytest.mark.parametrize(
    ("verdicts", "options", "words"),
    [
        ([LACK] * 37, {"known": 4_083}, "37 of 4,120 articles are missing from all 2 providers"),
        ([LACK], {"total": 1, "providers": 1}, "1 of 1 articles is missing from the provider"),
        (
            [HAVE, LACK, LACK],
            {"known": 58},
            "2 of 61 articles checked (of 4,120) are missing from all 2 providers",
        ),
    ],
)
def test_the_verdict_says_how_many_were_asked_for_and_how_many_are_missing(
    verdicts: list[Verdict], options: dict[str, int], words: str
) -> None:
    with pytest.raises(IncompletePost) as caught:
        verify(*verdicts, **options)
    assert str(caught.value) == words


def test_an_unknown_article_is_no_verdict_and_says_how_many_there_are() -> None:
    with pytest.raises(ProviderError, match="2 of 10 articles could not be checked"):
        verify(UNSURE, UNSURE, known=8)


def test_a_verifier_that_is_told_to_let_go_asks_nothing() -> None:
    ticket = Ticket()
    ticket.cancel()
    with pytest.raises(LetGo):
        Verifier(Answers(), providers=1).verify([Part(("a@b",))], ticket, total=1)


@pytest.mark.parametrize(
    ("names", "head", "kind"),
    [
        (["film.mkv"], b"", Kind.PLAIN),
        (["film.PAR2"], b"", Kind.PAR2),
        (["film.vol003+04.par2"], b"", Kind.PAR2),
        (["a1b2"], b"PAR2\0PKT", Kind.PAR2),
        (["film.rar"], b"", Kind.RAR),
        (["film.r00"], b"", Kind.RAR),
        (["film.r100"], b"", Kind.RAR),
        (["film.s12"], b"", Kind.RAR),
        (["film.part001.rar"], b"", Kind.RAR),
        (["film.7z"], b"", Kind.SEVEN_ZIP),
        (["film.7z.001"], b"7z\xbc\xaf\x27\x1c", Kind.SPLIT),
        (["film.zip"], b"", Kind.ZIP),
        (["film.z01"], b"", Kind.ZIP),
        (["film.mkv.001"], b"", Kind.SPLIT),
        (["film.1080p.x264"], b"", Kind.PLAIN),
        (["film.2026"], b"", Kind.PLAIN),
        (["comic.cbr"], b"Rar!\x1a\x07\x00", Kind.PLAIN),
        (["book.epub"], b"PK\x03\x04", Kind.PLAIN),
        (["", "film.rar"], b"", Kind.RAR),
        (["a1b2", "film.mkv"], b"Rar!\x1a\x07\x00", Kind.RAR),
        (["film.rar"], b"7z\xbc\xaf\x27\x1c", Kind.SEVEN_ZIP),
        (["a1b2"], b"7z\xbc\xaf\x27\x1c", Kind.SEVEN_ZIP),
        (["a1b2"], b"PK\x03\x04", Kind.ZIP),
        ([], b"", Kind.PLAIN),
    ],
)
def test_a_file_is_what_its_names_and_its_first_bytes_say(
    names: list[str], head: bytes, kind: Kind
) -> None:
    assert kind_of(names, head) is kind


def test_a_cancelled_ticket_is_told_to_everybody_once() -> None:
    ticket, told = Ticket(), []
    ticket.check()
    with ticket.on_cancel(lambda: told.append("left in time")):
        pass
    with ticket.on_cancel(lambda: told.append("waiting")):
        thread = threading.Thread(target=ticket.cancel)
        thread.start()
        thread.join()
        ticket.cancel()
        with ticket.on_cancel(lambda: told.append("late")):
            pass

    assert told == ["waiting", "late"]
    with pytest.raises(LetGo):
        ticket.check()
