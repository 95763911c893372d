"""What stands for articles that cannot be had: limits, containers, bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nzb.extents import PartTable, Run
from gateway.streams.layout import Layout
from gateway.streams.padding import (
    LIMITS,
    Container,
    Gap,
    Kind,
    container_of,
    is_film,
    rows,
)

NULL = b"\x47\x1f\xff\x10" + b"\xff" * 184
VIDEO = b"\x47\x01\x00\x10" + bytes(range(184))
FILM = 1_000_000


def _gap(articles: int, begin: int = 0, size: int = 100) -> Gap:
    return Gap(begin, begin + articles * size, articles)


# Limits ----------------------------------------------------------------------------------------


def test_four_articles_in_a_row_are_filled_and_five_are_not() -> None:
    four, five = _gap(4), _gap(5, 1_000)
    assert LIMITS.tolerated([four, five], FILM) == [four]


def test_sixty_four_articles_in_all_are_filled_and_one_more_ends_all_filling() -> None:
    gaps = [_gap(4, 1_000 * number) for number in range(16)]
    assert LIMITS.tolerated(gaps, FILM) == gaps
    more = [*gaps, _gap(1, 90_000)]
    assert LIMITS.tolerated(more, FILM) == []
    assert LIMITS.refusal(more, FILM) == ("65 articles are missing, and at most 64 may be made up")


def test_two_percent_of_the_bytes_are_filled_and_one_byte_more_ends_all_filling() -> None:
    just = [Gap(0, 20_000, 1)]
    assert LIMITS.tolerated(just, FILM) == just
    assert LIMITS.tolerated([Gap(0, 20_001, 1)], FILM) == []
    assert LIMITS.refusal([Gap(0, 20_001, 1)], FILM) == (
        "20,001 of 1,000,000 bytes are missing, and at most 2 % may be made up"
    )


def test_what_is_too_long_a_row_counts_among_all() -> None:
    assert LIMITS.tolerated([_gap(1), _gap(64, 1_000)], FILM) == []


def test_articles_one_behind_the_other_are_one_row() -> None:
    assert rows([(300, 400), (0, 100), (100, 200)]) == [Gap(0, 200, 2), Gap(300, 400, 1)]


def test_articles_in_two_volumes_are_one_row_where_the_film_runs_on() -> None:
    tables = [PartTable.regular([b"a", b"b"], 20, 10), PartTable.regular([b"c", b"d"], 20, 10)]
    layout = Layout([Run(0, 3, 17), Run(1, 4, 16)], tables)
    spans = [*layout.shown(0, 1, 1), *layout.shown(1, 0, 0)]
    assert spans == [(7, 17), (17, 23)]
    assert rows(spans) == [Gap(7, 23, 2)]
    assert layout.shown(0, 0, 1) == [(0, 17)]


# Which container -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mkv", "a.WEBM", "a.mp4", "a.m4v", "a.mov", "a.ts", "a.m2ts"])
def test_films_are_known_by_their_names(name: str) -> None:
    assert is_film(name)


@pytest.mark.parametrize("name", ["a.srt", "a.rar", "a.avi", "mkv", "a.nfo", "a", "a.mkv.nzb"])
def test_nothing_else_is_ever_filled(name: str) -> None:
    assert not is_film(name)
    assert container_of(name, b"\x1a\x45\xdf\xa3" + bytes(100)) is None


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x1a\x45\xdf\xa3" + bytes(96), Container(Kind.MATROSKA)),
        (b"\0\0\0\x20ftypisom" + bytes(88), Container(Kind.MP4)),
        (VIDEO * 6, Container(Kind.TS, 188, 0)),
        (VIDEO[100:] + VIDEO * 6, Container(Kind.TS, 188, 88)),
        ((b"\x12\x34\x56\x78" + VIDEO) * 6, Container(Kind.TS, 192, 0)),
        (VIDEO[90:] + (b"\x12\x34\x56\x78" + VIDEO) * 6, Container(Kind.TS, 192, 98)),
    ],
)
def test_a_films_bytes_say_what_it_is_whatever_its_name_says(
    head: bytes, container: Container
) -> None:
    for name in ("a.mkv", "a.mp4", "a.ts", "a.m2ts"):
        assert container_of(name, head) == container


def test_a_film_whose_bytes_say_nothing_is_not_filled() -> None:
    assert container_of("a.ts", bytes(2000)) is None
    assert container_of("a.mkv", b"no film at all") is None


def test_where_the_beginning_is_missing_the_name_has_to_do() -> None:
    assert container_of("a.mkv", b"") == Container(Kind.MATROSKA)
    assert container_of("a.mp4", b"") == Container(Kind.MP4)
    assert container_of("a.ts", b"") == Container(Kind.TS, 188)
    assert container_of("a.m2ts", b"") == Container(Kind.TS, 192)


# Which bytes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length", [2, 3, 127, 128, 129, 130, 16_384, 16_385, 16_386, 16_387, 750_000, 2_097_160]
)
def test_a_void_element_is_as_long_as_its_hole(length: int) -> None:
    void = Container(Kind.MATROSKA).fill(1234, 1234 + length)
    assert len(void) == length
    assert _is_void(void)


@given(st.integers(2, 70_000))
def test_a_void_element_fits_every_length_from_two_bytes(length: int) -> None:
    assert _is_void(Container(Kind.MATROSKA).fill(0, length))


def test_a_hole_of_one_byte_has_no_room_for_an_element() -> None:
    assert Container(Kind.MATROSKA).fill(5, 6) == b"\0"


def test_an_mp4_gets_zeros() -> None:
    assert Container(Kind.MP4).fill(100, 300) == bytes(200)


def _is_void(element: bytes) -> bool:
    width = 9 - element[1].bit_length()
    size = int.from_bytes(element[1 : 1 + width], "big") & (1 << 7 * width) - 1
    unknown = (1 << 7 * width) - 1
    return (
        element[0] == 0xEC
        and size != unknown
        and 1 + width + size == len(element)
        and not any(element[1 + width :])
    )


@given(
    st.sampled_from([188, 192]),
    st.integers(0, 191),
    st.integers(0, 5_000),
    st.integers(0, 3_000),
)
def test_null_packets_lie_on_the_files_own_grid(
    packet: int, phase: int, begin: int, length: int
) -> None:
    phase %= packet
    whole = Container(Kind.TS, packet, phase)
    filled = whole.fill(begin, begin + length)
    assert len(filled) == length
    for at in range(phase, begin + length - packet + 1, packet):
        if at >= begin:
            assert filled[at - begin : at - begin + packet] == bytes(packet - 188) + NULL
    # Cut anywhere, the pieces make the same bytes.
    middle = begin + length // 3
    assert whole.fill(begin, middle) + whole.fill(middle, begin + length) == filled


def test_a_packet_cut_by_a_hole_goes_on_as_stuffing_and_the_next_one_is_null() -> None:
    filled = Container(Kind.TS).fill(188 + 40, 188 * 3 + 10)
    assert filled == b"\xff" * 148 + NULL + NULL[:10]
