"""FileStream: the right bytes, or an error."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ArticleDamaged, ArticleMissing, ConnectionLost, ProviderBusy
from gateway.nzb.extents import PartTable, Run
from gateway.streams.layout import Layout
from gateway.streams.streams import Streams
from gateway.usenet.articles import Body
from gateway.usenet.workload import Reservation, Workload, scope

if TYPE_CHECKING:
    from tests.streams.conftest import Opener, ReadAlike, Shelf

CONTENT = bytes(range(251)) * 40  # 10,040 bytes; no two places within 251 bytes look alike


@st.composite
def layouts(draw: st.DrawFn, shelf: Shelf) -> tuple[Layout, bytes]:
    """A file of several runs over several posts, regular and irregular, and its bytes."""
    tables, posted = [], []
    for _ in range(draw(st.integers(1, 3))):
        content = draw(st.integers(0, 200).map(lambda at: CONTENT[at : at + 700 + at]))
        size = len(content)
        if draw(st.booleans()):
            part_size = draw(st.integers(20, 300))
            sizes = [min(part_size, size - at) for at in range(0, size, part_size)]
            tables.append(PartTable.regular(shelf.post(content, sizes), size, part_size))
        else:
            cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=12)))
            sizes = [end - begin for begin, end in zip([0, *cuts], [*cuts, size], strict=True)]
            weights = draw(st.lists(st.integers(0, 900), min_size=len(sizes), max_size=len(sizes)))
            tables.append(PartTable.estimated(shelf.post(content, sizes), size, weights))
        posted.append(content)
    runs, expected = [], b""
    for _ in range(draw(st.integers(1, 5))):
        number = draw(st.integers(0, len(tables) - 1))
        begin = draw(st.integers(0, len(posted[number])))
        length = draw(st.integers(0, len(posted[number]) - begin))
        runs.append(Run(number, begin, length))
        expected += posted[number][begin : begin + length]
    return Layout(runs, tables), expected


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_split_into_reads_gives_the_same_bytes(
    make_shelf: Callable[[], Shelf], read_alike: ReadAlike, data: st.DataObject
) -> None:
    shelf = make_shelf()
    layout, expected = data.draw(layouts(shelf))
    stop = data.draw(st.none() | st.integers(0, len(expected) + 10))
    streams = Streams(
        shelf,
        readahead_budget=data.draw(st.sampled_from([0, 500, 10**6])),
        article_cache=data.draw(st.sampled_from([0, 700, 10**6])),
        read_timeout_s=20,
        connections=lambda: 4,
    )
    reference = io.BytesIO(expected[:stop])
    with streams.open(layout, stop=stop) as stream:
        read_alike(stream, reference, len(expected), data)
    assert streams.budget.used == 0


def test_opening_and_seeking_fetch_nothing(shelf: Shelf, make_streams: Opener) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 100)) as stream:
        assert stream.seek(0, io.SEEK_END) == len(CONTENT)
        assert stream.seek(-40, io.SEEK_CUR) == len(CONTENT) - 40
        assert stream.seek(5) == stream.tell() == 5
    assert shelf.asked == []


def test_a_cold_seek_costs_one_article(shelf: Shelf, make_streams: Opener) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 1000)) as stream:
        for number, offset in enumerate((4_100, 9_000, 2_222, 7_999), 1):
            stream.seek(offset)
            assert stream.read(1) == CONTENT[offset : offset + 1]
            assert len(shelf.parcels) == number


def test_views_copy_nothing_and_cannot_be_written(shelf: Shelf, make_streams: Opener) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 1000)) as stream:
        view = stream.read_view(10_000)
        assert view.obj is shelf.bodies["1.0@test"].data
        assert view.readonly
        assert len(view) == 1000


def test_an_error_is_not_an_end(shelf: Shelf, make_streams: Opener) -> None:
    layout = shelf.plain(CONTENT, 1000)
    shelf.errors["1.3@test"] = ArticleMissing("segment 4 of 11: 430 from all 3 providers")
    with make_streams(shelf).open(layout) as stream:
        stream.seek(500)
        for read in (lambda: stream.read(9_000), lambda: stream.readinto(bytearray(9_000))):
            with pytest.raises(ArticleMissing):
                read()
            assert stream.tell() == 500
        assert stream.read(2500) == CONTENT[500:3000]
        with pytest.raises(ArticleMissing):
            stream.read_view(1)
        with pytest.raises(ArticleMissing):
            stream.read(1)
        stream.seek(4000)  # what lies behind stays readable
        assert stream.readall() == CONTENT[4000:]


def test_what_failed_while_nobody_waited_is_asked_for_once_more(
    shelf: Shelf, make_streams: Opener
) -> None:
    layout = shelf.plain(CONTENT, 1000)
    shelf.errors["1.1@test"] = ProviderBusy("the provider refuses for now")
    with make_streams(shelf).open(layout) as stream:
        stream.read_view(1000)
        del shelf.errors["1.1@test"]
        assert stream.read(1000) == CONTENT[1000:2000]
    assert shelf.asked.count("1.1@test") == 2


def test_an_article_of_other_bytes_than_the_layout_says_is_damage(
    shelf: Shelf, make_streams: Opener
) -> None:
    layout = shelf.plain(CONTENT, 1000)
    other = shelf.bodies["1.2@test"]
    shelf.bodies["1.1@test"] = Body(other.data, 2000, 3000, len(CONTENT), "a.bin", "x", "memory")
    with make_streams(shelf).open(layout) as stream:
        stream.seek(1000)
        with pytest.raises(ArticleDamaged):
            stream.read(1)


def test_a_read_that_gets_nothing_in_time_says_so(shelf: Shelf, make_streams: Opener) -> None:
    layout = shelf.plain(CONTENT, 1000)
    shelf.held = True
    with make_streams(shelf, read_timeout_s=0.05).open(layout) as stream:
        with pytest.raises(ConnectionLost, match=r"nothing within 0.05 s"):
            stream.read(1)
        assert stream.tell() == 0
        assert shelf.parcels[0].cancelled
        shelf.release()
        assert stream.read(3) == CONTENT[:3]


def test_a_closed_stream_reads_no_more(shelf: Shelf, make_streams: Opener) -> None:
    stream = make_streams(shelf).open(shelf.plain(CONTENT, 1000), name="film.mkv")
    stream.close()
    stream.close()
    assert stream.closed
    for call in (
        lambda: stream.read(1),
        lambda: stream.read(0),
        lambda: stream.read_view(1),
        lambda: stream.readinto(bytearray(1)),
        stream.tell,
        lambda: stream.seek(0),
    ):
        with pytest.raises(ValueError, match="is closed"):
            call()


def test_closing_while_another_thread_reads_ends_that_read_with_an_error(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    stream = streams.open(shelf.plain(CONTENT, 100))
    stream.read(1000)
    shelf.held = True
    before = len(shelf.parcels)
    with ThreadPoolExecutor(1) as reader:
        blocked = reader.submit(stream.readall)
        shelf.wait_for(lambda: len(shelf.parcels) > before)
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            blocked.result(20)
    # Given up by whoever closes: nothing is asked for any more when `close` returns.
    assert {parcel.cancelled_by for parcel in shelf.parcels[before:]} == {threading.get_ident()}
    assert streams.budget.used == 0
    assert streams.active() == []


def test_a_stream_keeps_the_reservation_of_the_scope_that_it_was_opened_in(
    shelf: Shelf, make_streams: Opener
) -> None:
    layout = shelf.plain(CONTENT, 100)
    streams = make_streams(shelf)
    with scope(Reservation(Workload.QUEUE, 77)):
        stream = streams.open(layout)
    with ThreadPoolExecutor(1) as other, scope(Reservation(Workload.HEALTH)):
        assert other.submit(stream.read).result(20) == CONTENT
        stream.seek(50)
        stream.read(10)
    stream.close()
    assert {parcel.reservation for parcel in shelf.parcels} == {Reservation(Workload.QUEUE, 77)}
    assert {parcel.demand for parcel in shelf.parcels} == {True, False}


def test_streams_that_nobody_named_are_viewers_with_ids_of_their_own(
    shelf: Shelf, make_streams: Opener
) -> None:
    layout = shelf.plain(CONTENT, 100)
    streams = make_streams(shelf)
    with scope(Reservation(Workload.QUEUE)):
        opened = [streams.open(layout, reservation=Reservation(Workload.STREAM)) for _ in "12"]
        opened.append(streams.open(layout))
    opened.append(streams.open(layout))
    workloads = [stream.reservation.workload for stream in opened]
    assert workloads == [Workload.STREAM, Workload.STREAM, Workload.QUEUE, Workload.STREAM]
    ids = {stream.reservation.stream for stream in opened}
    assert len(ids) == 4
    assert 0 not in ids


def test_open_streams_are_listed_until_they_are_closed(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf)
    stream = streams.open(shelf.plain(CONTENT, 1000), name="film.mkv")
    stream.read_view(1000)
    (info,) = streams.active()
    assert (info.name, info.position, info.size) == ("film.mkv", 1000, len(CONTENT))
    assert (info.reservation, info.readahead) == (stream.reservation, 2000)
    stream.close()
    assert streams.active() == []


def test_one_thread_may_close_all_streams_and_none_opens_after_that(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    layout = shelf.plain(CONTENT, 1000)
    opened = [streams.open(layout) for _ in range(5)]
    closer = threading.Thread(target=streams.close)
    closer.start()
    closer.join()
    assert all(stream.closed for stream in opened)
    with pytest.raises(Exception, match="stopping") as caught:
        streams.open(layout)
    assert getattr(caught.value, "http_status", None) == 503
