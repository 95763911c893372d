"""What holes mean for whoever wants to play a film: by where they lie, and in what."""

from __future__ import annotations

import pytest

from gateway.library.damage import Playable, judge, pack_spans, unpack_spans
from gateway.streams.padding import LIMITS, Gap

GIB = 1 << 30
ARTICLE = 700_000


def gap(at: float, articles: int = 1, size: int = GIB) -> Gap:
    begin = int(at * size)
    return Gap(begin, min(begin + articles * ARTICLE, size), articles)


def test_without_a_hole_a_file_is_whole() -> None:
    assert judge("film.mkv", GIB, []).playable is Playable.WHOLE


@pytest.mark.parametrize(
    ("name", "at", "playable", "why"),
    [
        ("film.mkv", 0.0, Playable.NO, "it begins with what says which tracks are in it"),
        ("film.mkv", 0.5, Playable.GAPS, "players go on at the next cluster"),
        ("film.mkv", 0.995, Playable.GAPS, "at its end, where the index for seeking may be hit"),
        ("film.WEBM", 0.5, Playable.GAPS, "players go on at the next cluster"),
        ("film.mp4", 0.0, Playable.NO, "an MP4 has its index"),
        ("film.mp4", 0.5, Playable.GAPS, "its index, at either end, is whole"),
        ("film.m4v", 0.995, Playable.NO, "an MP4 has its index"),
        ("film.ts", 0.0, Playable.GAPS, "each of its packets stands on its own"),
        ("film.m2ts", 0.995, Playable.GAPS, "each of its packets stands on its own"),
        ("film.avi", 0.5, Playable.NO, "what is missing of an AVI is not made up"),
        ("film.iso", 0.5, Playable.NO, "a file of this kind is of use only when it is whole"),
        ("film", 0.5, Playable.NO, "a file of this kind is of use only when it is whole"),
    ],
)
def test_the_container_decides_where_a_hole_may_lie(
    name: str, at: float, playable: Playable, why: str
) -> None:
    found = judge(name, GIB, [gap(at)])
    assert (found.playable, found.why[: len(why)]) == (playable, why)


@pytest.mark.parametrize(
    ("gaps", "why"),
    [
        ([gap(0.5, LIMITS.in_a_row + 1)], "5 articles in a row are missing, and at most 4 may be"),
        (
            [gap(0.1 + n / 100, size=100 * GIB) for n in range(LIMITS.in_all + 1)],
            "65 articles are missing, and at most 64 may be made up",
        ),
        ([gap(0.2 + n / 50, 4) for n in range(8)], "22,400,000 of "),
    ],
)
def test_more_than_can_be_made_up_does_not_play(gaps: list[Gap], why: str) -> None:
    found = judge("film.ts", GIB if len(gaps) < 10 else 100 * GIB, gaps)
    assert found.playable is Playable.NO
    assert found.why.startswith(why)


def test_the_places_are_told_in_percent_the_first_few_of_them() -> None:
    found = judge("film.ts", 1000, [Gap(n * 100, n * 100 + 1, 1) for n in range(10)])
    assert found.where(1000) == "0.0-0.1 %, 10.0-10.1 %, 20.0-20.1 %, 30.0-30.1 %, ..."
    assert found.lost_bytes == 10


def test_of_a_file_with_countless_holes_only_the_first_are_kept() -> None:
    found = judge("film.mkv", 10**9, [Gap(n * 1000, n * 1000 + 10, 1) for n in range(100_000)])
    assert len(found.lost) == LIMITS.in_all
    assert found.lost_bytes == 1_000_000


def test_spans_are_packed_and_read_again() -> None:
    spans = ((0, 700), (900, 1200))
    assert pack_spans(spans) == "0-700;900-1200"
    assert unpack_spans(pack_spans(spans)) == spans
    assert unpack_spans("") == ()
