"""From an offset to the article that holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ArticleDamaged
from gateway.nzb.extents import PartTable, Run
from gateway.streams.layout import Layout, Piece, Search

if TYPE_CHECKING:
    from tests.streams.conftest import Shelf


def ids(count: int) -> list[bytes]:
    return [b"%d@test" % number for number in range(count)]


def walk(layout: Layout) -> list[Piece]:
    pieces = []
    piece = layout.locate(0) if layout.size else None
    while piece is not None:
        pieces.append(piece)
        piece = layout.following(piece)
    return pieces


def test_an_offset_in_a_regular_post_is_found_by_arithmetic() -> None:
    layout = Layout([Run(0, 0, 2500)], [PartTable.regular(ids(3), 2500, 1000)])
    piece = layout.locate(2100)
    assert piece.exact
    assert (piece.segment, piece.position, piece.end) == (2, 2000, 2500)
    assert (piece.extent.offset, piece.extent.length) == (0, 500)
    assert (piece.extent.part.begin, piece.extent.part.end) == (2000, 2500)


def test_a_run_that_begins_and_ends_within_articles_takes_only_its_bytes() -> None:
    layout = Layout([Run(0, 300, 1900)], [PartTable.regular(ids(3), 2500, 1000)])
    assert [(p.position, p.extent.offset, p.extent.length) for p in walk(layout)] == [
        (0, 300, 700),
        (700, 0, 1000),
        (1700, 0, 200),
    ]


def test_pieces_go_on_over_the_ends_of_volumes() -> None:
    tables = [PartTable.regular(ids(2), 150, 100), PartTable.regular(ids(2), 120, 100)]
    layout = Layout([Run(0, 20, 110), Run(1, 10, 0), Run(1, 10, 105)], tables)
    found = [(p.run, p.posted, p.segment, p.position, p.extent.length) for p in walk(layout)]
    assert found == [
        (0, 0, 0, 0, 80),
        (0, 0, 1, 80, 30),
        (1, 1, 0, 110, 90),
        (1, 1, 1, 200, 15),
    ]
    assert layout.size == 215


@pytest.mark.parametrize("run", [Run(0, 0, 2501), Run(0, 2501, 0), Run(0, -1, 5), Run(0, 5, -1)])
def test_a_run_outside_of_its_posted_file_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="not within posted file"):
        Layout([run], [PartTable.regular(ids(3), 2500, 1000)])


def test_an_offset_outside_of_the_file_is_refused() -> None:
    layout = Layout([Run(0, 0, 2500)], [PartTable.regular(ids(3), 2500, 1000)])
    for offset in (-1, 2500):
        with pytest.raises(ValueError, match="outside of 2500 bytes"):
            layout.locate(offset)


def test_an_empty_file_has_no_pieces() -> None:
    assert walk(Layout([Run(0, 0, 0)], [PartTable.regular(ids(3), 2500, 1000)])) == []


SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=40)
WEIGHTS = st.sampled_from([0, 1, 50, 10**9])  # as seen in the wild


def search(layout: Layout, sizes: list[int], offset: int) -> tuple[Piece, int]:
    begins = [sum(sizes[:index]) for index in range(len(sizes))]
    found, articles = Search(layout, offset), 1
    while not found.learn(
        begins[found.piece.segment], begins[found.piece.segment] + sizes[found.piece.segment]
    ):
        articles += 1
    return found.piece, articles


@given(SIZES, st.data())
def test_in_an_irregular_post_any_offset_is_found_and_the_search_ends(
    sizes: list[int], data: st.DataObject
) -> None:
    count, total = len(sizes), sum(sizes)
    weights = data.draw(st.lists(WEIGHTS, min_size=count, max_size=count))
    table = PartTable.estimated(ids(count), total, weights)
    begin = data.draw(st.integers(0, total - 1))
    length = data.draw(st.integers(1, total - begin))
    layout = Layout([Run(0, begin, length)], [table])
    for _ in range(4):
        offset = data.draw(st.integers(0, length - 1))
        piece, articles = search(layout, sizes, offset)
        assert piece.exact
        assert piece.position <= offset < piece.end
        assert articles <= 4 + count.bit_length()
        # And it is remembered: next time, and in another layout over the same table, at once.
        assert Layout([Run(0, begin, length)], [table]).locate(offset) == piece
        assert search(layout, sizes, offset) == (piece, 1)


@given(SIZES, st.data())
def test_read_in_sequence_an_irregular_post_is_never_guessed_wrong(
    sizes: list[int], data: st.DataObject
) -> None:
    count, total = len(sizes), sum(sizes)
    weights = data.draw(st.lists(WEIGHTS, min_size=count, max_size=count))
    layout = Layout([Run(0, 0, total)], [PartTable.estimated(ids(count), total, weights)])
    begins = [sum(sizes[:index]) for index in range(count)]
    piece: Piece | None = layout.locate(0)
    seen = []
    while piece is not None:
        begin = begins[piece.segment]
        piece = layout.learn(piece, begin, begin + sizes[piece.segment])
        seen.append((piece.position, piece.extent.length))
        piece = layout.following(piece)
    assert seen == list(zip(begins, sizes, strict=True))


def test_weights_that_mislead_cost_no_more_than_halving() -> None:
    sizes = [100] * 32
    table = PartTable.estimated(ids(32), 3200, [2**number for number in range(32)])
    assert search(Layout([Run(0, 0, 3200)], [table]), sizes, 250)[1] <= 4 + 5


def test_what_was_learned_is_reported_once() -> None:
    learned: list[int] = []
    tables = [
        PartTable.regular(ids(2), 150, 100),
        PartTable.estimated(ids(3), 100, [1, 1, 1]),
    ]
    layout = Layout([Run(0, 0, 150), Run(1, 0, 100)], tables, learned=learned.append)
    layout.learn(layout.locate(0), 0, 100)
    assert learned == []
    for piece in (layout.locate(150), layout.locate(150)):  # two readers, at the same time
        layout.learn(piece, 0, 70)
    layout.learn(layout.locate(150), 0, 70)
    assert learned == [1]


def test_an_article_that_contradicts_what_is_known_is_damaged() -> None:
    regular = Layout([Run(0, 0, 2500)], [PartTable.regular(ids(3), 2500, 1000)])
    with pytest.raises(ArticleDamaged, match="part 2 carries 900-1900, not 1000-2000"):
        regular.learn(regular.locate(1500), 900, 1900)
    irregular = Layout([Run(0, 0, 90)], [PartTable.estimated(ids(3), 90, [1, 1, 1])])
    irregular.learn(irregular.locate(0), 0, 40)
    with pytest.raises(ArticleDamaged, match="part 2 begins at 30, known as 40"):
        irregular.learn(irregular.locate(50), 30, 60)
    with pytest.raises(ArticleDamaged, match="the last part ends at 80"):
        irregular.learn(irregular.locate(89), 60, 80)


def test_an_article_that_contradicts_what_is_known_teaches_nothing() -> None:
    table = PartTable.estimated(ids(4), 400, [1, 1, 1, 1])
    layout = Layout([Run(0, 0, 400)], [table])
    layout.learn(layout.locate(200), 210, 320)
    before = table.pack()
    for begin, end in ((90, 230), (90, 90), (210, 330)):
        with pytest.raises(ArticleDamaged):
            layout.learn(layout.locate(150), begin, end)
    assert table.pack() == before


def test_thousands_of_runs_are_searched_by_bisection(make_shelf: Callable[[], Shelf]) -> None:
    count = 20_000
    table = PartTable.regular(ids(count), count * 100, 100)
    layout = Layout([Run(0, 100 * number + 7, 50) for number in range(count)], [table])
    for number in (0, 1, 777, count - 1):
        piece = layout.locate(50 * number + 49)
        assert (piece.run, piece.segment, piece.extent.offset) == (number, number, 7)
