"""Part tables: what they know, what they guess, and what they keep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nzb.extents import Part, PartTable

message_id = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_categories=["Cc", "Zs"]),
    min_size=1,
    max_size=30,
)
entry = st.lists(message_id, max_size=3).map(lambda ids: "\t".join(ids).encode())
sizes = st.lists(st.integers(1, 2000), min_size=1, max_size=40)


@st.composite
def regular(draw: st.DrawFn) -> PartTable:
    ids = draw(st.lists(entry, min_size=1, max_size=30))
    part_size = draw(st.integers(1, 10**6))
    last = draw(st.integers(1, part_size))
    return PartTable.regular(ids, part_size * (len(ids) - 1) + last, part_size)


@st.composite
def irregular(draw: st.DrawFn) -> tuple[PartTable, list[tuple[int, int]]]:
    """Give a table that has learned some of its parts, and the true bounds of all."""
    truth = draw(sizes)
    bounds = list(pairwise(accumulate(truth, initial=0)))
    weights = draw(st.lists(st.integers(-5, 2**40), min_size=len(truth), max_size=len(truth)))
    ids = draw(st.lists(entry, min_size=len(truth), max_size=len(truth)))
    table = PartTable.estimated(ids, sum(truth), weights)
    for index in draw(st.lists(st.integers(0, len(truth) - 1))):
        table.learn(index, *bounds[index])
    return table, bounds


def everything(table: PartTable) -> list[tuple[Part, tuple[int, int], bool]]:
    return [
        (table.part(index), table.bounds(index), table.is_exact(index))
        for index in range(len(table))
    ]


# Regular ---------------------------------------------------------------------------------------


def test_parts_of_one_size_are_found_by_division() -> None:
    table = PartTable.regular([b"a@x", b"b@x", b"c@x"], 2500, 1000)
    assert [table.bounds(index) for index in range(3)] == [(0, 1000), (1000, 2000), (2000, 2500)]
    assert [table.find(offset) for offset in (0, 999, 1000, 2499)] == [0, 0, 1, 2]
    assert table.part(2) == Part(("c@x",), 3, 3, 2000, 2500, 2500)
    assert table.is_regular
    assert table.is_exact(1)


@pytest.mark.parametrize(
    ("count", "size", "part_size"), [(3, 3001, 1000), (3, 2000, 1000), (1, 0, 5)]
)
def test_parts_that_do_not_make_the_size_are_refused(count: int, size: int, part_size: int) -> None:
    with pytest.raises(ValueError, match=f"{count} parts of {part_size} bytes do not make {size}"):
        PartTable.regular([b"x"] * count, size, part_size)


@pytest.mark.parametrize("part_size", [0, -1])
def test_parts_of_no_size_are_refused(part_size: int) -> None:
    with pytest.raises(ValueError, match="make no file"):
        PartTable.regular([b"x"], 10, part_size)


def test_a_posted_file_has_a_part() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        PartTable.estimated([], 10, [])


@given(regular(), st.data())
def test_every_offset_lies_within_the_part_that_is_found(
    table: PartTable, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, table.size - 1))
    begin, end = table.bounds(table.find(offset))
    assert begin <= offset < end


@pytest.mark.parametrize("offset", [-1, 10, 11])
def test_offsets_outside_of_the_file_are_in_no_part(offset: int) -> None:
    for table in (PartTable.regular([b"x"], 10, 10), PartTable.estimated([b"x"], 10, [1])):
        with pytest.raises(ValueError, match=f"offset {offset} is outside of 10 bytes"):
            table.find(offset)
        with pytest.raises(IndexError):
            table.bounds(offset)


def test_a_regular_table_takes_only_what_it_knows() -> None:
    table = PartTable.regular([b"a", b"b"], 15, 10)
    table.learn(1, 10, 15)
    with pytest.raises(ValueError, match="part 2 carries 9-15"):
        table.learn(1, 9, 15)


def test_alternates_are_asked_for_after_the_first_and_a_gap_has_none() -> None:
    table = PartTable.regular([b"a@x\tb@x", b""], 15, 10)
    assert table.message_ids(0) == ("a@x", "b@x")
    assert table.part(1).message_ids == ()


# Irregular -------------------------------------------------------------------------------------


def test_guesses_follow_the_weights_and_say_that_they_are_guesses() -> None:
    table = PartTable.estimated([b"a", b"b", b"c"], 1003, [100, 300, 600])
    assert [table.bounds(index) for index in range(3)] == [(0, 101), (101, 402), (402, 1003)]
    assert not table.is_regular
    assert not any(table.is_exact(index) for index in range(3))
    assert table.part(1) == Part(("b",), 2, 3, None, None, 1003)


def test_what_is_learned_is_exact_and_the_guesses_around_it_follow() -> None:
    table = PartTable.estimated([b"a", b"b", b"c", b"d"], 1000, [1, 1, 1, 1])
    table.learn(1, 100, 300)
    assert table.bounds(0) == (0, 100)
    assert [table.is_exact(index) for index in range(4)] == [True, True, False, False]
    assert table.part(1) == Part(("b",), 2, 4, 100, 300, 1000)
    assert table.bounds(2) == (300, 650)


@given(irregular())
def test_offsets_ascend_and_every_part_holds_a_byte(made: tuple[PartTable, object]) -> None:
    table, _ = made
    bounds = [table.bounds(index) for index in range(len(table))]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == table.size
    assert all(begin < end for begin, end in bounds)
    assert all(before[1] == after[0] for before, after in pairwise(bounds))


@given(irregular(), st.data())
def test_what_is_exact_is_true_and_stays(
    made: tuple[PartTable, list[tuple[int, int]]], data: st.DataObject
) -> None:
    table, truth = made
    exact = [index for index in range(len(table)) if table.is_exact(index)]
    for index in data.draw(st.permutations(range(len(table)))):
        table.learn(index, *truth[index])
        exact.append(index)
        assert all(table.is_exact(known) for known in exact)
        assert all(table.bounds(known) == truth[known] for known in exact)
    assert [table.find(begin) for begin, _ in truth] == list(range(len(table)))


@given(irregular(), st.data())
def test_a_guess_is_found_where_it_is_guessed(
    made: tuple[PartTable, object], data: st.DataObject
) -> None:
    table, _ = made
    offset = data.draw(st.integers(0, table.size - 1))
    begin, end = table.bounds(table.find(offset))
    assert begin <= offset < end


@given(irregular(), st.integers(0, 39), st.integers(-10, 90_000), st.integers(-10, 90_000))
def test_what_contradicts_is_refused_and_changes_nothing(
    made: tuple[PartTable, object], index: int, begin: int, end: int
) -> None:
    table, _ = made
    index %= len(table)
    before = everything(table)
    try:
        table.learn(index, begin, end)
    except ValueError:
        assert everything(table) == before
    else:
        assert table.bounds(index) == (begin, end)
        assert table.is_exact(index)
        for known, (_, bounds, was_exact) in enumerate(before):
            assert not was_exact or table.bounds(known) == bounds


@pytest.mark.parametrize(
    ("index", "begin", "end"),
    [
        (1, 90, 300),  # part 2 begins at 100
        (1, 100, 310),  # part 3 begins at 300
        (2, 300, 1000),  # nothing would be left for part 4
        (3, 300, 1000),  # nor for part 3, which begins at 300
        (3, 500, 999),  # the file ends at 1000
        (2, 500, 400),
        (2, 400, 400),
        (0, 1, 100),
    ],
)
def test_an_article_that_leaves_no_room_for_its_neighbours_is_refused(
    index: int, begin: int, end: int
) -> None:
    table = PartTable.estimated([b"a", b"b", b"c", b"d"], 1000, [1, 1, 1, 1])
    table.learn(1, 100, 300)
    before = everything(table)
    with pytest.raises(ValueError, match="part"):
        table.learn(index, begin, end)
    assert everything(table) == before


def test_one_byte_is_room_enough() -> None:
    table = PartTable.estimated([b"a", b"b", b"c", b"d"], 1000, [1, 1, 1, 1])
    table.learn(3, 3, 1000)
    assert [table.bounds(index) for index in range(3)] == [(0, 1), (1, 2), (2, 3)]


def test_a_file_with_fewer_bytes_than_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="3 parts"):
        PartTable.estimated([b"a", b"b", b"c"], 2, [1, 1, 1])
    with pytest.raises(ValueError, match="2 weights for 3 parts"):
        PartTable.estimated([b"a", b"b", b"c"], 20, [1, 1])


# Packed ----------------------------------------------------------------------------------------


@given(regular() | irregular().map(lambda made: made[0]))
def test_a_table_is_unpacked_as_it_was_packed(table: PartTable) -> None:
    packed = table.pack()
    copy = PartTable.unpack(packed)
    assert everything(copy) == everything(table)
    assert (copy.size, copy.part_size) == (table.size, table.part_size)
    assert copy.pack() == packed


@given(regular() | irregular().map(lambda made: made[0]), st.data())
def test_damaged_bytes_are_refused_or_make_a_sound_table(
    table: PartTable, data: st.DataObject
) -> None:
    packed = bytearray(table.pack())
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    for damaged in (bytes(packed), bytes(packed[:cut])):
        try:
            copy = PartTable.unpack(damaged)
        except ValueError:
            continue
        assert all(begin < end for begin, end in map(copy.bounds, range(min(len(copy), 50))))


def test_a_regular_table_takes_one_byte_a_part_beside_its_ids() -> None:
    table = PartTable.regular([b"x" * 43] * 70_000, 70_000 * 716_800, 716_800)
    assert len(table.pack()) < 70_000 * 44 + 100


class Interrupted(list[int]):
    """A list that lets something else happen just when it has been copied for the first time."""

    def __init__(self, content: list[int], happen: Callable[[], None]) -> None:
        super().__init__(content)
        self._happen: Callable[[], None] | None = happen

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        if isinstance(at, slice) and self._happen is not None:
            happen, self._happen = self._happen, None
            happen()
        return found


@pytest.mark.parametrize("interrupted", ["_marks", "_begins"])
def test_a_table_may_be_packed_while_another_thread_learns(interrupted: str) -> None:
    table = PartTable.estimated([b"a", b"b", b"c"], 30, [1, 1, 1])
    content = list(getattr(table, interrupted))
    setattr(table, interrupted, Interrupted(content, lambda: table.learn(1, 9, 21)))
    packed = PartTable.unpack(table.pack())
    assert table.bounds(1) == (9, 21)
    assert packed.bounds(1) in ((9, 21), (10, 20))
