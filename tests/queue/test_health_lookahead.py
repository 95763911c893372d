"""Files that are examined before their turn comes: small ones fill the connections, too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from gateway.demo import Fault, NewsServer, Post, Shape, make_bulk_post
from gateway.errors import NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.health import Findings, Health, Hole
from gateway.nzb.extents import Part, PartTable, Run
from gateway.streams.layout import Layout
from gateway.streams.source import Articles
from gateway.usenet.articles import Verdict
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.permits import ExtendedSemaphore
from gateway.usenet.shares import Shares
from gateway.usenet.workload import Workload
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker
from gateway_queue.item import LetGo
from gateway_queue.lookahead import AHEAD, Lookahead
from gateway_queue.ticket import Ticket

SMALL = 20
"""Articles of a small file: a part of one batch."""
WELL = [f"well {number}" for number in range(5)]
"""When so many were well, it looks as far ahead as ever."""
NAMES = [f"file {number}" for number in range(12)]
ALL = {
    name: make_bulk_post("small.mkv", SMALL * 1000, part_size=1000, seed=number)
    for number, name in enumerate(WELL + NAMES)
}
POSTS = [ALL[name] for name in NAMES]


def layout_of(post: Post) -> Layout:
    ids = [one.encode() for one in post.message_ids]
    size = len(ids) * 1000
    return Layout([Run(0, 0, size)], [PartTable.regular(ids, size, 1000)])


LAYOUTS = {name: layout_of(post) for name, post in ALL.items()}


def nobody(_done: int, _articles: int) -> None:
    """Is told how far an examination is, and does not care."""


def take(lookahead: Lookahead, *names: str, ticket: Ticket | None = None) -> list[Findings]:
    """Have these examined, one after the other; all are expected from the beginning on."""
    left = list(names)
    found = []
    while left:
        found.append(lookahead.examine(left[0], lambda: left, ticket or Ticket(), nobody).findings)
        del left[0]
    return found


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as beside:
        yield beside


@pytest.fixture
def small_server() -> Iterator[NewsServer]:
    with NewsServer(shape=Shape(round_trip_s=0.010)) as server:
        server.add(*ALL.values())
        yield server


@pytest.fixture
def client(small_server: NewsServer) -> Iterator[UsenetClient]:
    """Ten connections: checks are guaranteed 2 of them, and have 5 at most."""
    account = Account("main", small_server.host, small_server.port, connections=10)
    with UsenetClient([account], Shares(health_guarantee=2, health_cap=5), stall_s=30) as client:
        yield client


@pytest.fixture
def permits(client: UsenetClient) -> ExtendedSemaphore:
    return client.pools["main"].permits


@pytest.fixture
def new(client: UsenetClient) -> Lookahead:
    return Lookahead(Examiner(client.source, providers=1), LAYOUTS.__getitem__)


@pytest.fixture
def lookahead(new: Lookahead) -> Lookahead:
    """Looks as far ahead as ever."""
    assert take(new, *WELL) == [Findings(SMALL)] * len(WELL)
    return new


def test_files_of_one_batch_each_have_all_connections_that_checks_may_have(
    small_server: NewsServer,
    permits: ExtendedSemaphore,
    lookahead: Lookahead,
    beside: ThreadPoolExecutor,
) -> None:
    small_server.fail(Fault.SILENCE)
    found = beside.submit(take, lookahead, *NAMES)
    small_server.wait_for(lambda counts: counts.stalled == 5)
    books = permits.snapshot()
    assert (books.held[Workload.HEALTH], books.cap[Workload.HEALTH]) == (5, 5)
    small_server.heal()
    assert found.result(30) == [Findings(SMALL)] * len(NAMES)
    assert permits.snapshot().unattributed == 0


def test_every_file_has_its_own_findings_and_nothing_is_asked_for_twice(
    small_server: NewsServer, lookahead: Lookahead
) -> None:
    small_server.remove([POSTS[number].message_ids[number] for number in range(len(POSTS))])
    assert take(lookahead, *NAMES) == [
        Findings(SMALL, 1, 0, (Hole(0, number, number),)) for number in range(len(NAMES))
    ]
    assert small_server.counts.commands["STAT"] == SMALL * len(ALL)


def test_it_looks_ahead_once_files_are_well_and_no_longer_while_they_are_not(
    small_server: NewsServer, new: Lookahead
) -> None:
    def asked_for(name: str, *others: str) -> int:
        """Have *name* examined, where the *others* come next; return how many files are asked."""
        before = small_server.counts.commands["STAT"]
        new.examine(name, lambda: [name, *others], Ticket(), nobody)
        return (small_server.counts.commands["STAT"] - before) // SMALL

    small_server.fail(Fault.MISSING)
    assert [asked_for(name, *NAMES[6:]) for name in NAMES[:6]] == [1] * 6
    small_server.heal()
    assert take(new, *WELL) == [Findings(SMALL)] * len(WELL)
    small_server.fail(Fault.MISSING)
    for name in NAMES[:6]:
        asked_for(name)
    assert [asked_for(name, *NAMES[6:]) for name in NAMES[:6]] == [1] * 6


def test_a_file_that_nobody_told_of_is_examined_all_the_same(lookahead: Lookahead) -> None:
    found = lookahead.examine(NAMES[0], list, Ticket(), nobody)
    assert (found.layout, found.findings) == (LAYOUTS[NAMES[0]], Findings(SMALL))


def test_what_comes_no_longer_is_left_and_what_was_found_of_it_is_forgotten(
    small_server: NewsServer, permits: ExtendedSemaphore, lookahead: Lookahead
) -> None:
    small_server.fail(Fault.SILENCE, POSTS[1].message_ids[3])
    first = lookahead.examine(NAMES[2], lambda: [NAMES[2], NAMES[0], NAMES[1]], Ticket(), nobody)
    assert first.findings == Findings(SMALL)
    ids = {*POSTS[0].message_ids, *POSTS[1].message_ids}
    small_server.wait_for(lambda counts: counts.stalled == 1 and ids <= counts.stats.keys())
    assert take(lookahead, NAMES[3]) == [Findings(SMALL)]
    small_server.heal()
    small_server.remove([POSTS[0].message_ids[7], POSTS[1].message_ids[8]])
    assert take(lookahead, *NAMES[:2]) == [
        Findings(SMALL, 1, 0, (Hole(0, 7, 7),)),
        Findings(SMALL, 1, 0, (Hole(0, 8, 8),)),
    ]
    assert not permits.snapshot().waiting[Workload.HEALTH]


def test_all_that_is_ahead_can_be_left(small_server: NewsServer, lookahead: Lookahead) -> None:
    lookahead.examine(NAMES[0], lambda: NAMES[:2], Ticket(), nobody)
    small_server.wait_for(lambda counts: set(POSTS[1].message_ids) <= counts.stats.keys())
    lookahead.leave()
    small_server.remove([POSTS[1].message_ids[0]])
    assert take(lookahead, NAMES[1]) == [Findings(SMALL, 1, 0, (Hole(0, 0, 0),))]


def test_a_file_under_way_is_left_with_the_ticket_of_whoever_takes_it(
    small_server: NewsServer, lookahead: Lookahead, beside: ThreadPoolExecutor
) -> None:
    small_server.fail(Fault.SILENCE)
    ticket = Ticket()
    found = beside.submit(take, lookahead, NAMES[0], ticket=ticket)
    small_server.wait_for(lambda counts: counts.stalled)
    ticket.cancel()
    with pytest.raises(LetGo):
        found.result(20)
    small_server.heal()


def test_a_file_that_is_gone_or_damaged_is_told_of_when_its_turn_comes(
    client: UsenetClient,
) -> None:
    def layout(file_id: str) -> Layout:
        if file_id == "gone":
            raise NotInLibrary("it is not there any more")
        if file_id == "wrong":
            raise ZeroDivisionError
        return LAYOUTS[file_id]

    lookahead = Lookahead(Examiner(client.source, providers=1), layout)
    take(lookahead, *WELL)
    coming = [NAMES[0], "gone", "wrong", NAMES[1]]
    first = lookahead.examine(NAMES[0], lambda: coming, Ticket(), nobody)
    assert first.findings == Findings(SMALL)
    with pytest.raises(NotInLibrary):
        lookahead.examine("gone", lambda: coming[1:], Ticket(), nobody)
    with pytest.raises(ZeroDivisionError):
        lookahead.examine("wrong", lambda: coming[2:], Ticket(), nobody)
    assert take(lookahead, NAMES[1]) == [Findings(SMALL)]


class Held:
    """Says of every article that it is there, but not before it is told to."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self._asked = threading.Semaphore(0)

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        self._asked.release()
        assert self.answers.wait(timeout_s)
        return [Verdict.PRESENT] * len(parts)

    def warm(self, layout: Callable[[str], Layout]) -> Lookahead:
        """Return one that looks as far ahead as ever, and have no further answer."""
        lookahead = Lookahead(Examiner(cast("Articles", self), providers=1), layout)
        self.answers.set()
        take(lookahead, *WELL)
        self.answers.clear()
        self.wait_until_asked(len(WELL))
        return lookahead

    def wait_until_asked(self, times: int) -> None:
        for _ in range(times):
            assert self._asked.acquire(timeout=20)


def test_beside_a_large_file_no_further_one_is_begun(beside: ThreadPoolExecutor) -> None:
    held, loaded = Held(), []
    large = layout_of(make_bulk_post("large.mkv", 12_000_000, part_size=1000))

    def layout(file_id: str) -> Layout:
        loaded.append(file_id)
        return large if file_id == "large" else LAYOUTS[file_id]

    lookahead = held.warm(layout)
    loaded.clear()
    found = beside.submit(take, lookahead, NAMES[0], "large", NAMES[1])
    held.wait_until_asked(2)
    assert loaded == [NAMES[0], "large"]
    held.answers.set()
    assert found.result(30) == [Findings(SMALL), Findings(12_000), Findings(SMALL)]
    assert loaded == [NAMES[0], "large", NAMES[1]]


def test_whoever_takes_a_file_is_told_how_far_it_is_from_then_on() -> None:
    held = Held()
    held.answers.set()
    large = layout_of(make_bulk_post("large.mkv", 3_000_000, part_size=1000))
    lookahead = Lookahead(Examiner(cast("Articles", held), providers=1), lambda _: large)
    told: list[tuple[int, int]] = []
    lookahead.examine("large", lambda: ["large"], Ticket(), lambda *done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == (3_000, 3_000)


def test_so_many_files_are_ahead_at_most_and_never_less_than_half(
    beside: ThreadPoolExecutor,
) -> None:
    held, loaded = Held(), []
    names = [str(number) for number in range(1_000)]

    def layout(file_id: str) -> Layout:
        loaded.append(file_id)
        return LAYOUTS[NAMES[0]]

    lookahead = held.warm(layout)
    loaded.clear()
    first = beside.submit(lookahead.examine, "0", lambda: names, Ticket(), nobody)
    held.wait_until_asked(AHEAD)
    assert loaded == names[:AHEAD]
    held.answers.set()
    assert first.result(20).findings == Findings(SMALL)
    for number in range(1, AHEAD):
        lookahead.examine(names[number], lambda: names[number:], Ticket(), nobody)  # noqa: B023
    assert loaded == names[: len(loaded)]
    assert 3 * AHEAD // 2 <= len(loaded) <= 2 * AHEAD


def test_a_library_of_small_files_is_checked_over_all_connections_that_checks_may_have(
    small_server: NewsServer,
    client: UsenetClient,
    database: Database,
    library: Library,
    records: CheckRecords,
    publish: Callable[..., Release],
    wait_until: Callable[[Callable[[], object]], None],
    said: list[str],
) -> None:
    agenda, examiner = CheckAgenda(database), Examiner(client.source, providers=1)
    of_release = {publish(post, name).id: post for name, post in ALL.items()}
    order = [records.of_file(file_id) for file_id in agenda.old(1.0, len(ALL))]
    last = [of_release[known.file.release.id] for known in order[len(WELL) :] if known is not None]
    worker = HealthWorker(examiner, library, records, agenda, scheduled=False)
    small_server.fail(Fault.SILENCE, *(one for post in last for one in post.message_ids))
    worker.start()
    worker.check(None)
    small_server.wait_for(lambda counts: counts.stalled == 5)
    small_server.heal()
    wait_until(lambda: any("what was asked for is checked" in line for line in said))
    assert worker.stop(timeout_s=20)
    found = records.of_releases(list(of_release))
    assert [known.health for known in found] == [Health.HEALTHY] * len(ALL)
    assert small_server.counts.commands["STAT"] == SMALL * len(ALL)
