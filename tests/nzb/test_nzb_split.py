"""Split files: joined by their numbers, or refused by the numbers that lack."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ImportFailed, IncompletePost
from gateway.nzb.archive import Volume
from gateway.nzb.nesting import view
from gateway.nzb.split import ordered, read, sets


def volume(name: str, data: bytes) -> Volume:
    return Volume(name, len(data), io.BytesIO(data))


@pytest.mark.parametrize(
    ("pattern", "first", "name"),
    [("film.mkv.{:03}", 1, "film.mkv"), (".{:03}", 0, ""), ("a.{:04}", 1, "a"), ("{:03}", 1, "")],
)
def test_pieces_in_any_order_are_joined_by_their_numbers(
    pattern: str, first: int, name: str
) -> None:
    pieces = [bytes([65 + number]) * (7 + number) for number in range(12)]
    volumes = [volume(pattern.format(n), data) for n, data in enumerate(pieces, first)]
    random.Random(5).shuffle(volumes)
    (inner,) = read(volumes, None)
    assert (inner.name, inner.size) == (name, sum(map(len, pieces)))
    assert view(inner, volumes).read() == b"".join(pieces)


def test_what_lacks_between_the_numbers_is_named() -> None:
    with pytest.raises(IncompletePost, match=r'2 of 6 pieces .* "film\.mkv\.002", "film\.mkv\.00'):
        ordered(["film.mkv.001", "film.mkv.003", "film.mkv.004", "film.mkv.006"])
    with pytest.raises(IncompletePost, match=r'1 of 3 pieces are not in the post: "a\.001"'):
        ordered(["a.002", "a.003"])
    with pytest.raises(IncompletePost, match=r"99,998 of 99,999 pieces .*, \.\.\.$"):
        ordered(["a.99999"])


def test_two_of_one_number_and_names_without_one_are_refused() -> None:
    with pytest.raises(ImportFailed, match="the same piece"):
        ordered(["a.001", "b.001"])
    with pytest.raises(ImportFailed, match="no number"):
        ordered(["a.001", "a.nfo"])


def test_pieces_of_several_files_are_told_apart() -> None:
    names = ["b.mkv.002", "a.7z.001", "film", "A.7z.002", "b.mkv.001", "film.001", "film"]
    assert sets(names) == [[0, 4], [1, 3], [2, 6], [5]]
    assert [ordered([names[place] for place in one]) for one in sets(names)[:2]] == [[1, 0], [0, 1]]


def test_of_nothing_nothing_is_made() -> None:
    assert read([], None) == []


@given(st.lists(st.text(alphabet="a.019", max_size=8), max_size=6))
def test_whatever_the_names_all_are_joined_or_refused_in_words(names: list[str]) -> None:
    try:
        inners = read([volume(name, b"x") for name in names], None)
    except ImportFailed:
        return
    except IncompletePost:
        return
    assert sum(inner.size for inner in inners) == len(names)
