"""The budget of what is read ahead: never exceeded, shared fairly, always given back."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.errors import ArticleMissing
from gateway.streams.budget import Account, Budget
from gateway.streams.on_disk import FileLayout
from gateway.streams.streams import Stream, Streams

if TYPE_CHECKING:
    from tests.streams.conftest import Opener, Shelf

CONTENT = bytes(range(251)) * 400


def keeps(excess: int) -> None:
    """Give nothing back, as a stream that is busy."""


def test_more_than_there_is_is_neither_taken_nor_given() -> None:
    budget = Budget(100)
    account = budget.open(keeps)
    assert not account.take(1)  # it has not said that it wants any
    account.aim(1000)
    assert account.take(100)
    assert not account.take(1)
    with pytest.raises(ValueError, match="101 bytes given back, 100 charged"):
        account.give(101)
    account.give(100)
    assert budget.used == 0


def giver(accounts: list[Account], index: int) -> Callable[[int], None]:
    return lambda excess: accounts[index].give(excess)


def fair_shares(total: int, wants: list[int]) -> list[int]:
    """Deal out byte by byte, to one after the other who wants more; half at most if shared."""
    most = total if sum(1 for want in wants if want) < 2 else total // 2
    given = [0] * len(wants)
    while hungry := [i for i, want in enumerate(wants) if given[i] < min(want, most)]:
        if sum(given) + len(hungry) > total:
            break
        for i in hungry:
            given[i] += 1
    return given


@given(st.integers(1, 200), st.lists(st.integers(0, 150), min_size=1, max_size=8), st.randoms())
def test_all_that_take_in_any_order_end_with_fair_shares(
    total: int, wants: list[int], order: random.Random
) -> None:
    budget = Budget(total)
    accounts: list[Account] = []
    for _ in wants:
        accounts.append(budget.open(giver(accounts, len(accounts))))
    turns = [i for i, want in enumerate(wants) for _ in range(want)]
    order.shuffle(turns)
    for account, want in zip(accounts, wants, strict=True):
        account.aim(want)
    for i in turns + list(range(len(wants))) * total:
        accounts[i].take(1)
        assert budget.used == sum(account.used for account in accounts) <= total
    assert [account.used for account in accounts] == fair_shares(total, wants)


def test_a_paused_stream_gives_back_to_one_that_reads(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf, readahead_budget=20_000)
    layout = shelf.plain(CONTENT, 1000)
    paused, reading = streams.open(layout, name="paused"), streams.open(layout, name="reading")
    paused.read(15_000)
    assert [info.readahead for info in streams.active()] == [20_000, 0]
    assert reading.read(15_000) == CONTENT[:15_000]
    assert [info.readahead for info in streams.active()] == [10_000, 10_000]
    assert paused.read() == CONTENT[15_000:]  # what was given back is fetched again


class OpenStreams(RuleBasedStateMachine):
    """Streams that read, seek, fail and are closed, over a source with errors in it."""

    def __init__(self, make_shelf: Callable[[], Shelf]) -> None:
        super().__init__()
        self.shelf = make_shelf()
        self.layouts: list[FileLayout] = [
            self.shelf.plain(CONTENT, 1000),
            self.shelf.encrypted(CONTENT, 1000),
        ]
        for post in (1, 2):
            error = ArticleMissing("segment 41 of 101: not there")
            self.shelf.errors[f"{post}.40@test"] = error
        self.streams = Streams(
            self.shelf,
            readahead_budget=30_000,
            article_cache=0,
            read_timeout_s=0.001,
            connections=lambda: 4,
        )
        self.open: list[Stream] = []

    @rule(encrypted=st.booleans(), stop=st.none() | st.integers(0, len(CONTENT)))
    def opens(self, encrypted: bool, stop: int | None) -> None:
        self.open.append(self.streams.open(self.layouts[encrypted], stop=stop))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(0, 30_000))
    def reads(self, data: st.DataObject, size: int) -> None:
        stream = data.draw(st.sampled_from(self.open))
        begin = stream.tell()
        try:
            got = stream.read(size)
        except Exception:  # noqa: BLE001
            assert stream.tell() == begin
        else:
            assert CONTENT[begin : begin + size].startswith(got)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), to=st.integers(0, len(CONTENT)))
    def seeks(self, data: st.DataObject, to: int) -> None:
        data.draw(st.sampled_from(self.open)).seek(to)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def closes(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.open))
        self.open.remove(stream)
        stream.close()

    @rule(held=st.booleans())
    def answers_or_not(self, held: bool) -> None:
        if not held:
            self.shelf.release()
        self.shelf.held = held

    @invariant()
    def charged_is_what_lies_ahead(self) -> None:
        ahead = [info.readahead for info in self.streams.active()]
        assert self.streams.budget.used == sum(ahead) <= self.streams.budget.total

    def teardown(self) -> None:
        self.streams.close()
        assert self.streams.budget.used == 0
        assert not [p for p in self.shelf.parcels if not (p.done or p.cancelled)]


def test_whatever_streams_do_all_is_given_back(make_shelf: Callable[[], Shelf]) -> None:
    class OverThisSource(OpenStreams):
        def __init__(self) -> None:
            super().__init__(make_shelf)

    run_state_machine_as_test(OverThisSource)


def test_many_streams_on_many_threads_share_one_budget(shelf: Shelf, make_streams: Opener) -> None:
    layout = shelf.plain(CONTENT, 1000)
    streams = make_streams(shelf, readahead_budget=25_000, article_cache=10_000)
    shelf.held = True
    finished = threading.Event()

    def carry() -> None:
        # Answer in random order, as a provider with many connections does.
        chance = random.Random(7)
        while not finished.is_set():
            with shelf.changed:
                shelf.changed.wait_for(lambda: finished.is_set() or bool(shelf.waiting()), 20)
                waiting = shelf.waiting()
            for parcel in chance.sample(waiting, len(waiting)):
                parcel.complete()

    def watch(seed: int) -> None:
        chance = random.Random(seed)
        stop = chance.choice([70_000, len(CONTENT)])
        with streams.open(layout, stop=stop) as stream:
            for _ in range(15):
                begin = chance.randrange(60_000)
                stream.seek(begin)
                size = chance.choice([10, 3_000, 40_000])
                assert stream.read(size) == CONTENT[begin : min(begin + size, stop)]
                assert streams.budget.used <= 25_000

    with ThreadPoolExecutor(13) as pool:
        carrier = pool.submit(carry)
        try:
            for viewer in [pool.submit(watch, seed) for seed in range(12)]:
                viewer.result(60)
        finally:
            finished.set()
            with shelf.changed:
                shelf.changed.notify_all()
        carrier.result(20)
    assert streams.budget.used == 0
