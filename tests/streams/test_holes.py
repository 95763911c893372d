"""Holes in a film while it is read: an error, or filled, and then for everybody alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import ArticleDamaged, ArticleMissing, ConnectionLost, GatewayError
from gateway.nzb.extents import PartTable, Run
from gateway.streams.holes import Edition, Holes, PartKey
from gateway.streams.layout import Layout
from gateway.streams.padding import HEAD, Container, PaddingLimits, container_of, rows
from gateway.streams.streams import Stream, Streams

PART = 1_000
SIZE = 200_500  # 201 parts, of which two in a hundred are four
PARTS = -(-SIZE // PART)
LOOSE = PaddingLimits(4, 64, 100)
REGULAR = [PART] * 29 + [PART - 123]
PACKET = b"\x47\x01\x00\x10"

drawn = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def film(name: str, size: int = SIZE) -> bytes:
    """Return a film of the kind that *name* says, in so far as anybody looks at it here."""
    noise = random.Random(name).randbytes(size)
    if name.endswith(".mkv"):
        return (b"\x1a\x45\xdf\xa3" + noise)[:size]
    if name.endswith(".mp4"):
        return (b"\0\0\0\x18ftyp" + noise)[:size]
    packets = (PACKET + noise[at : at + 184] for at in range(0, size, 188))
    return b"".join(packets)[:size]


@dataclass
class Told:
    """What was reported, and what was written down."""

    reported: list[PartKey] = field(default_factory=list)
    noted: list[PartKey] = field(default_factory=list)
    is_alone: bool = True

    def report(self, posted: int, part: int) -> None:
        self.reported.append((posted, part))

    def note(self, parts: Collection[PartKey]) -> bool:
        self.noted.extend(parts)
        return self.is_alone


@pytest.fixture
def told() -> Told:
    return Told()


def edition(
    layout: Layout,
    told: Told,
    *missing: int,
    name: str = "film.mkv",
    is_alone: bool = True,
    limits: PaddingLimits = LOOSE,
) -> Edition:
    keys = [(0, part) for part in missing]
    return Edition(
        layout,
        name,
        keys,
        is_alone=is_alone,
        note=told.note,
        report=told.report,
        limits=limits,
    )


def lose(shelf: Any, layout: Layout, *parts: int, posted: int = 0) -> None:
    for part in parts:
        del shelf.bodies[layout.article(posted, part).message_ids[0]]


def filled(data: bytes, name: str, *parts: int) -> bytes:
    """Return *data* as it is with these parts filled."""
    container = container_of(name, b"" if 0 in parts else data[:HEAD])
    assert container is not None
    made = bytearray(data)
    for part in parts:
        begin, end = part * PART, min((part + 1) * PART, len(data))
        made[begin:end] = container.fill(begin, end)
    return bytes(made)


@pytest.fixture
def streams(shelf: Any, make_streams: Any) -> Streams:
    opened: Streams = make_streams(shelf)
    return opened


# An error ----------------------------------------------------------------------------------------


def test_a_hole_is_an_error_and_what_lies_before_and_behind_it_is_read(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("a.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 50, 51)
    with streams.open(layout, holes=Holes(told.report)) as stream:
        assert stream.read(50 * PART) == data[: 50 * PART]
        for _ in range(2):
            with pytest.raises(ArticleMissing):
                stream.read(1)
            assert stream.tell() == 50 * PART
        stream.seek(52 * PART)
        assert stream.read() == data[52 * PART :]
    with streams.open(layout, holes=Holes(told.report)) as another:
        another.seek(52 * PART + 7)
        assert another.read(5 * PART) == data[52 * PART + 7 : 57 * PART + 7]
    assert set(told.reported) == {(0, 50)}


def test_a_hole_ahead_of_the_reader_fails_no_byte_before_it(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("a.mkv")
    layout = shelf.plain(data, PART)
    gone = layout.article(0, 12).message_ids[0]
    lose(shelf, layout, 12)
    with streams.open(layout, holes=Holes(told.report)) as stream:
        read = b""
        while gone not in shelf.asked:  # ahead of the reader
            read += bytes(stream.read_view(PART))
        assert len(read) < 12 * PART
        assert not told.reported
        read += stream.read(12 * PART - len(read))
        assert read == data[: 12 * PART]


def test_a_gap_in_the_nzb_is_reported_as_any_hole(shelf: Any, streams: Streams, told: Told) -> None:
    data = film("a.mkv")
    layout = shelf.plain(data, PART)
    layout._tables[0]._ids[7] = b""
    shelf.errors[""] = ArticleMissing("not listed")
    request = shelf.request
    shelf.request = lambda part, **how: request(
        part if part.message_ids else part._replace(message_ids=("",)), **how
    )
    with streams.open(layout, holes=Holes(told.report)) as stream:
        stream.seek(7 * PART)
        with pytest.raises(ArticleMissing):
            stream.read(1)
    assert told.reported == [(0, 7)]
    with streams.open(layout, holes=edition(layout, told)) as stream:
        assert stream.read() == filled(data, "film.mkv", 7)


def _irregular(shelf: Any, data: bytes, sizes: list[int]) -> Layout:
    ids = shelf.post(data, sizes)
    # What the NZB says is off, as it is with posts like this.
    weights = [size * (3 if number % 3 else 1) for number, size in enumerate(sizes)]
    return Layout([Run(0, 0, len(data))], [PartTable.estimated(ids, len(data), weights)])


@st.composite
def _cut(draw: st.DrawFn) -> tuple[list[int], set[int]]:
    sizes = draw(st.lists(st.integers(1, 700), min_size=3, max_size=40))
    gone = draw(st.sets(st.integers(0, len(sizes) - 1), max_size=8))
    return sizes, gone


@drawn
@given(cut=_cut(), data=st.data())
def test_a_post_without_regular_sizes_is_read_around_its_holes_from_wherever_one_begins(
    make_shelf: Callable[[], Any],
    make_streams: Any,
    cut: tuple[list[int], set[int]],
    data: st.DataObject,
) -> None:
    sizes, gone = cut
    whole, shelf, told = random.Random(5).randbytes(sum(sizes)), make_shelf(), Told()
    layout = _irregular(shelf, whole, sizes)
    lose(shelf, layout, *gone)
    spans = _spans(sizes)
    streams = make_streams(shelf)
    for _ in range(5):
        at = data.draw(st.integers(0, len(whole) - 1))
        with streams.open(layout, holes=Holes(told.report)) as stream:
            stream.seek(at)
            part = next(number for number, (_, end) in enumerate(spans) if at < end)
            if part in gone:
                with pytest.raises(ArticleMissing):
                    stream.read(1)
            else:
                assert stream.read(1) == whole[at : at + 1]
    assert {part for _, part in told.reported} <= gone


def _spans(sizes: list[int]) -> list[tuple[int, int]]:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return list(zip([0, *ends], ends, strict=False))


@drawn
@given(cut=_cut(), data=st.data())
def test_holes_of_a_post_without_regular_sizes_are_filled_with_zeros_in_their_exact_place(
    make_shelf: Callable[[], Any],
    make_streams: Any,
    cut: tuple[list[int], set[int]],
    data: st.DataObject,
) -> None:
    sizes, gone = cut
    gone -= {0}
    sizes = [max(size, 4) for size in sizes]
    whole, shelf, told = film("a.mkv", sum(sizes)), make_shelf(), Told()
    layout = _irregular(shelf, whole, sizes)
    lose(shelf, layout, *gone)
    expected = bytearray(whole)
    for part in gone:
        begin, end = _spans(sizes)[part]
        expected[begin:end] = bytes(end - begin)
    loosest = PaddingLimits(len(sizes), len(sizes), 100)
    with make_streams(shelf).open(layout, holes=edition(layout, told, limits=loosest)) as stream:
        for _ in range(3):
            stream.seek(data.draw(st.integers(0, len(whole) - 1)))
            at, length = stream.tell(), data.draw(st.integers(1, 2_000))
            assert stream.read(length) == bytes(expected)[at : at + length]
        stream.seek(0)
        assert stream.readall() == bytes(expected)


# Filled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.ts"])
def test_a_hole_is_filled_and_everything_else_is_as_it_was(
    shelf: Any, streams: Streams, told: Told, name: str
) -> None:
    data = film(name)
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 50, 51, 200)
    with streams.open(layout, holes=edition(layout, told, name=name)) as stream:
        assert stream.read() == filled(data, name, 50, 51, 200)
    assert told.noted == [(0, 50), (0, 51), (0, 200)]
    assert told.reported == told.noted


def test_what_is_known_to_be_missing_is_not_asked_for(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 50, 51)
    with streams.open(layout, holes=edition(layout, told, 50, 51)) as stream:
        assert stream.read() == filled(data, "film.mkv", 50, 51)
    assert not set(shelf.asked) & {layout.article(0, n).message_ids[0] for n in (50, 51)}
    assert not told.noted


@pytest.mark.parametrize(
    "error",
    [
        ConnectionLost("nobody answers"),
        ArticleDamaged("CRC-32"),
    ],
)
def test_what_is_not_missing_for_certain_is_never_filled(
    shelf: Any, streams: Streams, told: Told, error: GatewayError
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    shelf.errors[layout.article(0, 50).message_ids[0]] = error
    with streams.open(layout, holes=edition(layout, told)) as stream:
        assert stream.read(50 * PART) == data[: 50 * PART]
        with pytest.raises(type(error)):
            stream.read(1)
        shelf.errors.clear()
        assert stream.read() == data[50 * PART :]
    assert not told.reported
    assert not told.noted


def test_where_the_beginning_cannot_be_asked_for_nothing_is_filled(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 50)
    shelf.errors[layout.article(0, 0).message_ids[0]] = ConnectionLost("nobody answers")
    with streams.open(layout, holes=edition(layout, told)) as stream:
        stream.seek(50 * PART)
        with pytest.raises(ConnectionLost):
            stream.read(1)
        shelf.errors.clear()
        assert stream.read(PART) == filled(data, "film.mkv", 50)[50 * PART : 51 * PART]


@pytest.mark.parametrize("name", ["film.mkv", "film.m2ts", "film.mp4"])
def test_a_missing_beginning_is_filled_as_the_name_says(
    shelf: Any, streams: Streams, told: Told, name: str
) -> None:
    data = film(name)
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 0, 50)
    with streams.open(layout, holes=edition(layout, told, name=name)) as stream:
        stream.seek(50 * PART)
        made = stream.read(PART)
        stream.seek(0)
        assert stream.read(PART) == filled(data, name, 0, 50)[:PART]
        assert made == filled(data, name, 0, 50)[50 * PART : 51 * PART]


@pytest.mark.parametrize("name", ["film.avi", "film.srt", "film.rar"])
def test_what_is_no_film_is_not_filled(shelf: Any, streams: Streams, told: Told, name: str) -> None:
    layout = shelf.plain(film("film.mkv"), PART)
    lose(shelf, layout, 50)
    with streams.open(layout, holes=edition(layout, told, name=name)) as stream:
        stream.seek(50 * PART)
        with pytest.raises(ArticleMissing):
            stream.read(1)
    assert told.reported == [(0, 50)]
    assert not told.noted


def test_a_film_whose_bytes_say_something_else_is_not_filled(
    shelf: Any, streams: Streams, told: Told
) -> None:
    layout = shelf.plain(bytes(SIZE), PART)
    lose(shelf, layout, 50)
    with streams.open(layout, holes=edition(layout, told)) as stream:
        stream.seek(50 * PART)
        with pytest.raises(ArticleMissing):
            stream.read(1)
    assert not told.noted


def test_an_encrypted_film_is_not_filled(shelf: Any, streams: Streams, told: Told) -> None:
    data = film("film.mkv")
    layout = shelf.encrypted(data, PART)
    lose(shelf, layout, 50)
    with streams.open(layout, holes=Holes(told.report)) as stream:
        with pytest.raises(ArticleMissing):
            stream.read()
        stream.seek(52 * PART)
        assert stream.read(PART) == data[52 * PART : 53 * PART]
    assert set(told.reported) == {(0, 50)}


# Limits ------------------------------------------------------------------------------------------


def test_four_articles_in_a_row_are_filled_and_the_fifth_is_an_error(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 50, 51, 52, 53, 54)
    with streams.open(layout, holes=edition(layout, told)) as stream:
        assert stream.read(54 * PART) == filled(data, "film.mkv", 50, 51, 52, 53)[: 54 * PART]
        with pytest.raises(ArticleMissing):
            stream.read(1)
        stream.seek(55 * PART)
        assert stream.read(PART) == data[55 * PART : 56 * PART]
    # Whoever comes later is told at once.
    with streams.open(layout, holes=edition(layout, told, 50, 51, 52, 53, 54)) as stream:
        stream.seek(50 * PART)
        with pytest.raises(ArticleMissing):
            stream.read(1)


def test_two_percent_are_filled_and_what_is_beyond_is_an_error(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 20, 30, 40, 50, 60)
    strict = PaddingLimits()
    with streams.open(layout, holes=edition(layout, told, limits=strict)) as stream:
        assert stream.read(60 * PART) == filled(data, "film.mkv", 20, 30, 40, 50)[: 60 * PART]
        with pytest.raises(ArticleMissing):
            stream.read(1)
        # What was made up before stays as it was given.
        stream.seek(20 * PART)
        assert stream.read(PART) == filled(data, "film.mkv", 20)[20 * PART : 21 * PART]
    known = edition(layout, told, 20, 30, 40, 50, 60, limits=strict)
    with streams.open(layout, holes=known) as stream:
        stream.seek(20 * PART)
        with pytest.raises(ArticleMissing):
            stream.read(1)


def test_sixty_four_articles_are_filled_and_one_more_is_an_error(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    gone = list(range(1, 131, 2))  # 65
    lose(shelf, layout, *gone)
    with streams.open(layout, holes=edition(layout, told)) as stream:
        assert stream.read(129 * PART) == filled(data, "film.mkv", *gone[:64])[: 129 * PART]
        with pytest.raises(ArticleMissing):
            stream.read(1)


# One edition, one row of bytes -------------------------------------------------------------------


def test_a_hole_where_bytes_were_given_is_not_filled_in_that_edition(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    shared = edition(layout, told)
    with streams.open(layout, holes=shared) as early:
        early.seek(50 * PART)
        assert early.read(PART) == data[50 * PART : 51 * PART]
    lose(shelf, layout, 50, 60)
    with streams.open(layout, holes=shared) as late:
        late.seek(50 * PART)
        with pytest.raises(ArticleMissing):
            late.read(1)
        # Nobody has had this one.
        late.seek(60 * PART)
        assert late.read(PART) == filled(data, "film.mkv", 60)[60 * PART : 61 * PART]
    assert told.noted == [(0, 50), (0, 60)]


def test_an_edition_that_others_have_read_is_filled_where_its_holes_are_known_and_nowhere_else(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, 50, 60)
    with streams.open(layout, holes=edition(layout, told, 50, is_alone=False)) as stream:
        assert stream.read(60 * PART) == filled(data, "film.mkv", 50)[: 60 * PART]
        with pytest.raises(ArticleMissing):
            stream.read(1)
    assert told.noted == [(0, 60)]


def test_a_hole_that_cannot_be_written_down_is_an_error(
    shelf: Any, streams: Streams, told: Told
) -> None:
    told.is_alone = False
    layout = shelf.plain(film("film.mkv"), PART)
    lose(shelf, layout, 50)
    with streams.open(layout, holes=edition(layout, told)) as stream:
        stream.seek(50 * PART)
        with pytest.raises(ArticleMissing):
            stream.read(1)


def test_what_was_filled_stays_filled_when_the_article_is_there_again(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    mid = layout.article(0, 50).message_ids[0]
    body = shelf.bodies.pop(mid)
    shared = edition(layout, told)
    with streams.open(layout, holes=shared) as early:
        early.seek(50 * PART)
        early.read(PART)
    shelf.bodies[mid] = body
    with streams.open(layout, holes=shared) as late:
        assert late.read() == filled(data, "film.mkv", 50)
    # Asked for before it was filled, come after it.
    assert not shared.give((0, 50))


def test_what_is_asked_for_before_it_is_filled_and_comes_after_is_filled(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    shared = edition(layout, told)
    parcels: list[Any] = []

    def meet(parcel: Any) -> None:
        if parcel.part.number == 51 and not parcels:
            parcels.append(parcel)
            assert shared.meet(
                [(0, 50)], layout
            )  # by another reader, of whom the provider thought worse

    shelf.on_request = meet
    with streams.open(layout, holes=shared) as stream:
        stream.seek(50 * PART)
        assert stream.read(PART) == filled(data, "film.mkv", 50)[50 * PART : 51 * PART]
    assert parcels


class Cloud:
    """Articles that come and go, and what readers have seen of one edition."""

    def __init__(self, shelf: Any, layout: Layout) -> None:
        self.shelf, self.layout = shelf, layout
        self.away: dict[int, Any] = {}
        self.seen: dict[int, int] = {}

    def toggle(self, part: int) -> None:
        mid = self.layout.article(0, part).message_ids[0]
        if part in self.away:
            self.shelf.bodies[mid] = self.away.pop(part)
        else:
            self.away[part] = self.shelf.bodies.pop(mid)

    def see(self, at: int, data: bytes) -> None:
        for offset, byte in enumerate(data, at):
            assert self.seen.setdefault(offset, byte) == byte, offset


@drawn
@given(
    name=st.sampled_from(["film.mkv", "film.mp4", "film.ts", "film.m2ts"]),
    sizes=st.just(REGULAR) | st.lists(st.integers(300, 1_500), min_size=30),
    known=st.sets(st.integers(0, 29), max_size=6),
    is_alone=st.booleans(),
    data=st.data(),
)
def test_every_byte_of_an_edition_is_one_whoever_reads_it_while_articles_come_and_go(
    make_shelf: Callable[[], Any],
    make_streams: Any,
    name: str,
    sizes: list[int],
    known: set[int],
    is_alone: bool,
    data: st.DataObject,
) -> None:
    shelf, told = make_shelf(), Told()
    whole, is_regular = film(name, sum(sizes)), sizes == REGULAR
    layout = shelf.plain(whole, PART) if is_regular else _irregular(shelf, whole, sizes)
    shared = edition(layout, told, *known, name=name, is_alone=is_alone)
    cloud = Cloud(shelf, layout)
    for part in known:
        cloud.toggle(part)
    streams = make_streams(shelf)
    readers = [streams.open(layout, holes=shared) for _ in range(3)]
    for _ in range(data.draw(st.integers(1, 30))):
        match data.draw(st.sampled_from(["toggle", "read", "read", "seek"])):
            case "toggle":
                cloud.toggle(data.draw(st.integers(0, len(sizes) - 1)))
            case "seek":
                data.draw(st.sampled_from(readers)).seek(data.draw(st.integers(0, len(whole))))
            case "read":
                _read_some(data.draw(st.sampled_from(readers)), cloud, data)
    for reader in readers:
        reader.close()
    ever = known | {part for _, part in told.noted}
    for part, (begin, end) in enumerate(_spans(sizes)):
        seen = {at: cloud.seen[at] for at in range(begin, end) if at in cloud.seen}
        if any(byte != whole[at] for at, byte in seen.items()):
            assert part in ever
            made = [
                one.fill(begin, end, is_part=is_regular)
                for one in (container_of(name, whole[:HEAD]), container_of(name, b""))
                if one is not None
            ]
            assert any(all(one[at - begin] == byte for at, byte in seen.items()) for one in made)


def _read_some(reader: Stream, cloud: Cloud, data: st.DataObject) -> None:
    at, length = reader.tell(), data.draw(st.integers(1, 5 * PART))
    try:
        read = reader.read(length)
    except ArticleMissing:
        assert reader.tell() == at
        return
    assert len(read) == max(0, min(length, reader.size - at))
    cloud.see(at, read)


@drawn
@given(
    name=st.sampled_from(["film.mkv", "film.mp4", "film.ts"]),
    gone=st.sets(st.integers(0, 29), max_size=12),
    known=st.booleans(),
    data=st.data(),
)
def test_any_range_of_a_film_with_holes_has_its_length_and_the_bytes_that_belong_there(
    make_shelf: Callable[[], Any],
    make_streams: Any,
    read_alike: Any,
    name: str,
    gone: set[int],
    known: bool,
    data: st.DataObject,
) -> None:
    shelf, told = make_shelf(), Told()
    whole = film(name, 30 * PART - 123)
    layout = shelf.plain(whole, PART)
    lose(shelf, layout, *gone)
    loosest = PaddingLimits(30, 30, 100)
    shared = edition(layout, told, *(gone if known else ()), name=name, limits=loosest)
    expected = filled(whole, name, *gone)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    with make_streams(shelf).open(layout, stop=stop, holes=shared) as stream:
        stream.seek(start)
        assert stream.read() == expected[start:stop]
        for _ in range(5):
            at = data.draw(st.integers(0, stop))
            stream.seek(at)
            assert bytes(stream.read_view(700)) == expected[at : stream.tell()]


def test_readers_at_once_see_one_row_of_bytes(make_shelf: Any, make_streams: Any) -> None:
    told, shelf = Told(), make_shelf()
    data = film("film.mkv")
    layout = shelf.plain(data, PART)
    lose(shelf, layout, *range(10, 190, 12))
    shared = edition(layout, told)
    streams = make_streams(shelf)
    expected = filled(data, "film.mkv", *range(10, 190, 12))

    def read(seed: int) -> None:
        rng = random.Random(seed)
        with streams.open(layout, holes=shared) as stream:
            for _ in range(60):
                at, length = rng.randrange(SIZE), rng.randrange(1, 20 * PART)
                stream.seek(at)
                assert stream.read(length) == expected[at : at + length]

    with ThreadPoolExecutor(6) as readers:
        list(readers.map(read, range(6)))
    assert sorted(told.noted) == [(0, part) for part in range(10, 190, 12)]  # each once


def _volumes(shelf: Any, data: bytes) -> Layout:
    """Post *data* stored in volumes, with a header before each and a footer behind."""
    tables, runs = [], []
    for number, at in enumerate(range(0, len(data), 2_300)):
        piece = data[at : at + 2_300]
        volume = b"h" * 70 + piece + b"f" * 30
        sizes = [PART] * (len(volume) // PART) + [len(volume) % PART] * bool(len(volume) % PART)
        tables.append(PartTable.regular(shelf.post(volume, sizes), len(volume), PART))
        runs.append(Run(number, 70, len(piece)))
    return Layout(runs, tables)


def _lacking(shelf: Any, layout: Layout, rng: random.Random) -> Iterator[PartKey]:
    for posted, parts in layout.touched():
        for part in parts:
            if (posted, part) != (0, 0) and rng.random() < 0.2:
                lose(shelf, layout, part, posted=posted)
                yield posted, part


def test_a_film_stored_in_volumes_is_filled_across_their_bounds(
    shelf: Any, streams: Streams, told: Told
) -> None:
    data = film("film.mkv", 20_000)
    layout = _volumes(shelf, data)
    gone = list(_lacking(shelf, layout, random.Random(3)))
    expected = bytearray(data)
    for posted, part in gone:
        ((begin, end),) = layout.shown(posted, part, part)
        expected[begin:end] = Container(container_of("a.mkv", data).kind).fill(begin, end)  # type: ignore[union-attr]
    assert any(gap.articles > 1 for gap in rows(s for g in gone for s in layout.shown(*g, g[1])))
    shared = edition(layout, told, limits=PaddingLimits(99, 99, 100))
    with streams.open(layout, holes=shared) as stream:
        assert stream.read() == bytes(expected)
    assert sorted(told.noted) == sorted(gone)
