"""Articles' checksums held against par2's slices, without reading anything."""

from __future__ import annotations

import random
import zlib

from hypothesis import given
from hypothesis import strategies as st

from gateway_queue.unpacking.quick import Piece, check, is_covered


def slices_of(data: bytes, size: int) -> list[int]:
    return [zlib.crc32(data[at : at + size].ljust(size, b"\0")) for at in range(0, len(data), size)]


def pieces_of(data: bytes, size: int) -> list[Piece]:
    return [
        Piece(at, len(data[at : at + size]), zlib.crc32(data[at : at + size]))
        for at in range(0, len(data), size)
    ]


DATA = random.Random(6).randbytes(10_000)


def test_a_file_is_whole_whatever_the_sizes_of_its_articles_and_slices() -> None:
    for slice_size in (4, 700, 1000, 9_996, 20_000):
        checked = check(
            len(DATA), slice_size, slices_of(DATA, slice_size), pieces_of(DATA, 700)[::-1]
        )
        assert checked.is_whole
        assert checked.least == 0


def test_slices_with_bytes_missing_are_bad_and_say_how_many_blocks_it_takes() -> None:
    pieces = pieces_of(DATA, 700)
    del pieces[3]  # 2100 to 2800

    checked = check(len(DATA), 1000, slices_of(DATA, 1000), pieces)

    assert checked.bad == (2,)
    assert checked.least == 1
    assert set(checked.unknown) == {0, 1, 3, 4, 5, 6}  # up to 7000, where both end


def test_where_articles_end_with_slices_the_damaged_slice_is_told() -> None:
    wrong = bytearray(DATA)
    wrong[4321] ^= 1

    checked = check(len(DATA), 1000, slices_of(DATA, 1000), pieces_of(bytes(wrong), 500))

    assert checked.bad == (4,)
    assert checked.unknown == ()
    assert checked.least == 1


def test_articles_in_each_others_places_are_noticed() -> None:
    swapped = DATA[700:1400] + DATA[:700] + DATA[1400:]

    checked = check(len(DATA), 1000, slices_of(DATA, 1000), pieces_of(swapped, 700))

    assert not checked.is_whole
    assert checked.least == 1
    assert not checked.bad  # which one it is cannot be told


def test_pieces_beyond_the_file_or_across_others_count_for_nothing() -> None:
    pieces = [*pieces_of(DATA, 700), Piece(9_990, 700, 1), Piece(50_000, 5, 1), Piece(10, 20, 3)]

    assert check(len(DATA), 1000, slices_of(DATA, 1000), pieces).is_whole
    assert is_covered(len(DATA), pieces)
    assert not is_covered(len(DATA) + 1, pieces)


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sets(st.integers(0, 300)),
    st.sets(st.integers(0, 299), max_size=3),
)
def test_no_damage_is_ever_called_whole_and_no_good_slice_bad(
    data: bytes, article: int, slice_size: int, dropped: set[int], flipped: set[int]
) -> None:
    held = bytearray(data)
    flipped = {at for at in flipped if at < len(data)}
    for at in flipped:
        held[at] ^= 0x55
    pieces = [one for n, one in enumerate(pieces_of(bytes(held), article)) if n not in dropped]
    there = {at for one in pieces for at in range(one.offset, one.offset + one.length)}
    lost = {at // slice_size for at in range(len(data)) if at not in there or at in flipped}

    checked = check(len(data), slice_size, slices_of(data, slice_size), pieces)

    assert checked.is_whole == (not lost)
    assert set(checked.bad) <= lost <= {*checked.bad, *checked.unknown}
    assert checked.least <= len(lost)
