"""What is fetched before it is asked for, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.nzb.extents import PartTable, Run
from gateway.streams.budget import Budget
from gateway.streams.layout import Layout
from gateway.streams.readahead import ReadAhead
from gateway.streams.streams import Streams
from gateway.usenet.workload import Reservation, Workload

if TYPE_CHECKING:
    from tests.streams.conftest import Opener, Shelf

CONTENT = bytes(range(251)) * 400  # 100,400 bytes
MIB = 1 << 20


def test_a_seek_reads_nothing_ahead_and_reading_on_does(shelf: Shelf, make_streams: Opener) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 1000)) as stream:
        stream.seek(50_000)
        stream.read(499)
        assert shelf.asked == ["1.50@test"]
        stream.read(501)
        assert shelf.asked == ["1.50@test", "1.51@test", "1.52@test"]


@given(st.lists(st.integers(1, 4000), max_size=40))
def test_what_lies_ahead_is_at_most_twice_what_was_read(
    make_shelf: Callable[[], Shelf], sizes: list[int]
) -> None:
    shelf = make_shelf()
    streams = Streams(
        shelf, readahead_budget=MIB, article_cache=0, read_timeout_s=20, connections=lambda: 4
    )
    with streams.open(shelf.plain(CONTENT, 1000)) as stream:
        read = 0
        for size in sizes:
            read += len(stream.read(size))
            assert len(shelf.parcels) * 1000 <= 3 * read + 2 * 999
            assert streams.budget.used <= 2 * read


def test_reading_on_trebles_what_has_been_fetched_with_every_round(
    shelf: Shelf, make_streams: Opener
) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 1000)) as stream:
        fetched = 1
        for _ in range(4):
            stream.read(1000 * fetched - stream.tell())  # all that a round trip has brought
            assert len(shelf.parcels) == 3 * fetched
            fetched = len(shelf.parcels)


@given(
    st.integers(0, 100_400),
    st.integers(0, 5000) | st.integers(0, 20).map(lambda parts: parts * 1000),
    st.integers(1, 3000),
)
@example(begin=0, length=10_000, chunk=1000)
def test_nothing_is_fetched_at_or_behind_the_end_of_the_range(
    make_shelf: Callable[[], Shelf], begin: int, length: int, chunk: int
) -> None:
    shelf = make_shelf()
    streams = Streams(
        shelf, readahead_budget=MIB, article_cache=0, read_timeout_s=20, connections=lambda: 4
    )
    stop = begin + length
    with streams.open(shelf.plain(CONTENT, 1000), stop=stop) as stream:
        stream.seek(begin)
        while stream.read(chunk):
            pass
    assert stop >= len(CONTENT) or all(
        parcel.part.begin is not None and parcel.part.begin < stop for parcel in shelf.parcels
    )
    assert len(shelf.asked) == len(set(shelf.asked)) <= length // 1000 + 2


def test_reading_ahead_passes_the_ends_of_volumes(shelf: Shelf, make_streams: Opener) -> None:
    tables = [
        PartTable.regular(shelf.post(CONTENT[:250], [100, 100, 50]), 250, 100) for _ in range(3)
    ]
    layout = Layout([Run(0, 30, 200), Run(1, 30, 200), Run(2, 30, 200)], tables)
    with make_streams(shelf).open(layout) as stream:
        stream.read(200)
        assert shelf.asked[3:6] == ["2.0@test", "2.1@test", "2.2@test"]
        shelf.held = True
        assert stream.read(130) == CONTENT[30:160]


def test_two_runs_that_meet_within_an_article_fetch_it_once(
    shelf: Shelf, make_streams: Opener
) -> None:
    table = PartTable.regular(shelf.post(CONTENT[:400], [100] * 4), 400, 100)
    layout = Layout([Run(0, 0, 150), Run(0, 160, 20), Run(0, 190, 200)], [table])
    with make_streams(shelf).open(layout) as stream:
        assert stream.readall() == CONTENT[:150] + CONTENT[160:180] + CONTENT[190:390]
    assert shelf.asked == [f"1.{number}@test" for number in range(4)]


def test_reading_ahead_ends_at_a_gap_in_the_nzb(shelf: Shelf, make_streams: Opener) -> None:
    ids = shelf.post(CONTENT[:1000], [100] * 10)
    ids[3] = b""
    layout = Layout([Run(0, 0, 1000)], [PartTable.regular(ids, 1000, 100)])
    with make_streams(shelf).open(layout) as stream:
        stream.read(300)
        assert shelf.asked == ["1.0@test", "1.1@test", "1.2@test"]


def test_a_seek_drops_what_was_on_its_way(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf)
    with streams.open(shelf.plain(CONTENT, 1000)) as stream, ThreadPoolExecutor(1) as reader:
        stream.read(1)
        shelf.held = True
        stream.read(999)
        assert streams.budget.used == 2000
        stream.seek(60_000)
        blocked = reader.submit(stream.read, 10)
        shelf.wait_for(lambda: "1.60@test" in shelf.asked)
        assert [parcel.cancelled for parcel in shelf.parcels] == [False, True, True, False]
        assert streams.budget.used == 0
        shelf.release()
        assert blocked.result(20) == CONTENT[60_000:60_010]


def test_a_seek_to_what_lies_ahead_keeps_it_and_drops_what_was_skipped(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    with streams.open(shelf.plain(CONTENT, 1000)) as stream:
        stream.read(3000)
        asked = len(shelf.asked)
        assert streams.budget.used == 6000
        stream.seek(5500)
        assert stream.read(100) == CONTENT[5500:5600]
        assert len(shelf.asked) == asked
        assert streams.budget.used == 3000


def test_a_seek_forth_and_back_without_reading_drops_nothing(
    shelf: Shelf, make_streams: Opener
) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 1000)) as stream:
        stream.read(3000)
        asked = list(shelf.asked)
        stream.seek(0, 2)
        stream.seek(3000)
        stream.read(1)
        assert shelf.asked[: len(asked)] == asked
        assert len(set(shelf.asked)) == len(shelf.asked)


def test_a_reader_that_comes_to_an_article_on_its_way_promotes_it(
    shelf: Shelf, make_streams: Opener
) -> None:
    with make_streams(shelf).open(shelf.plain(CONTENT, 1000)) as stream:
        stream.seek(500)
        stream.read(1)
        shelf.held = True
        stream.read(499)
        ahead = shelf.parcels[1]
        assert (ahead.demand, ahead.promoted) == (False, False)
        with ThreadPoolExecutor(1) as reader:
            blocked = reader.submit(stream.read, 10)
            shelf.wait_for(lambda: ahead.promoted)
            shelf.release()
            assert blocked.result(20) == CONTENT[1000:1010]


def test_a_stream_closed_while_it_asks_ahead_gives_that_back(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    stream = streams.open(shelf.plain(CONTENT, 1000))
    stream.read(500)
    shelf.held = True
    shelf.on_request = lambda _: stream.close()
    stream.read_view(500)
    assert shelf.parcels[-1].cancelled
    assert streams.budget.used == 0


def test_a_suspended_stream_holds_nothing_ahead_and_goes_on_where_it_was(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    with streams.open(shelf.plain(CONTENT, 1000)) as stream:
        begin = stream.read(2000)
        shelf.held = True
        begin += stream.read(1000)
        assert streams.budget.used == 6000
        stream.suspend()
        assert streams.budget.used == 0
        assert stream.info().position == 3000
        assert [parcel.cancelled for parcel in shelf.parcels[6:]] == [True] * 3
        stream.suspend()
        shelf.release()
        shelf.held = False
        assert begin + stream.read(1000) == CONTENT[:4000]
        assert streams.budget.used == 8000
        assert stream.readall() == CONTENT[4000:]


def test_a_stream_suspended_while_it_asks_ahead_gives_that_back(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    with streams.open(shelf.plain(CONTENT, 1000)) as stream:
        stream.read(500)
        shelf.held = True
        shelf.on_request = lambda _: stream.suspend()
        stream.read_view(500)
        assert shelf.parcels[-1].cancelled
        assert streams.budget.used == 0


def test_a_suspended_stream_leaves_its_share_to_others(shelf: Shelf) -> None:
    shelf.held = True
    budget = Budget(40 * MIB)
    paused, watched = (ahead_of(shelf, budget, MIB, connections=8) for _ in range(2))
    paused.drop()
    watched.extend(virtual(1000, MIB).locate(0), 10**9)
    assert (paused.size, watched.size) == (0, 40 * MIB)
    for ahead in (paused, watched):
        ahead.close()
    assert budget.used == 0


def virtual(count: int, part_size: int) -> Layout:
    ids = [b"%d@test" % number for number in range(count)]
    return Layout(
        [Run(0, 0, count * part_size)], [PartTable.regular(ids, count * part_size, part_size)]
    )


def ahead_of(shelf: Shelf, budget: Budget, part_size: int, connections: int) -> ReadAhead:
    layout = virtual(1000, part_size)
    ahead = ReadAhead(
        layout,
        shelf,
        Reservation(Workload.STREAM, 1),
        budget,
        stop=layout.size,
        connections=connections,
    )
    ahead.extend(layout.locate(0), 10**9)
    return ahead


def test_one_stream_reads_ahead_64_mib_or_two_articles_a_connection(shelf: Shelf) -> None:
    shelf.held = True
    budget = Budget(1 << 30)
    few = ahead_of(shelf, budget, MIB, connections=8)
    assert few.size == 64 * MIB
    few.close()
    many = ahead_of(shelf, budget, MIB, connections=100)
    assert many.size == 200 * MIB
    many.close()
    assert budget.used == 0
    assert all(parcel.cancelled for parcel in shelf.parcels)


def test_a_stream_that_is_at_its_limit_is_refilled_by_an_eighth_at_a_time(shelf: Shelf) -> None:
    shelf.held = True
    budget = Budget(1 << 30)
    ahead, layout = ahead_of(shelf, budget, MIB, connections=8), virtual(1000, MIB)
    sizes = []
    for number in range(1, 17):
        piece = layout.locate(number * MIB)
        ahead.take(piece)
        ahead.extend(piece, 10**9)
        sizes.append(ahead.size // MIB)
    assert sizes == [*range(63, 56, -1), 64] * 2
    ahead.close()
    assert budget.used == 0


def test_a_stream_has_the_whole_budget_alone_and_half_beside_others(shelf: Shelf) -> None:
    shelf.held = True
    budget = Budget(40 * MIB)
    first = ahead_of(shelf, budget, MIB, connections=8)
    assert first.size == 40 * MIB
    second = ahead_of(shelf, budget, MIB, connections=8)
    assert (first.size, second.size) == (20 * MIB, 20 * MIB)
    third = ahead_of(shelf, budget, MIB, connections=8)
    assert third.size == 13 * MIB
    assert budget.used <= budget.total
    # What was given back was not fetched: farthest from the reader, and given up.
    given_up = [p.part.number for p in shelf.parcels if p.cancelled]
    assert set(given_up) <= set(range(14, 42))
    for ahead in (first, second, third):
        ahead.close()
    assert budget.used == 0


def test_a_stream_alone_again_has_it_all_again(shelf: Shelf) -> None:
    shelf.held = True
    budget = Budget(40 * MIB)
    first, second = (ahead_of(shelf, budget, MIB, connections=8) for _ in range(2))
    assert first.size == 20 * MIB
    second.close()
    first.extend(virtual(1000, MIB).locate(0), 10**9)
    assert first.size == 40 * MIB
    # It goes on behind what it had left.
    assert [parcel.part.number for parcel in shelf.parcels[-20:]] == list(range(22, 42))
    first.close()


def test_whoever_wants_little_gets_it_whatever_others_hold(shelf: Shelf) -> None:
    shelf.held = True
    budget = Budget(40 * MIB)
    hungry = [ahead_of(shelf, budget, MIB, connections=8) for _ in range(3)]
    layout = virtual(10, MIB)
    small = ReadAhead(
        layout, shelf, Reservation(Workload.STREAM, 9), budget, stop=layout.size, connections=8
    )
    small.extend(layout.locate(0), 2 * MIB)
    assert small.size == 4 * MIB
    for ahead in (*hungry, small):
        ahead.close()
    assert budget.used == 0


def test_a_read_never_waits_for_the_budget(shelf: Shelf, make_streams: Opener) -> None:
    for budget in (0, 10, 1500):
        streams = make_streams(shelf, readahead_budget=budget)
        with streams.open(shelf.plain(CONTENT, 1000)) as stream:
            assert stream.readall() == CONTENT
            assert streams.budget.used <= budget
