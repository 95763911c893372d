"""The workers: when they take up what, and how they let go of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo import Fault, NewsServer, Post, make_post
from gateway.errors import StorageFull
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.usenet.client import UsenetClient
from gateway_queue import processor as module
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore

Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]


@pytest.fixture
def post(server: NewsServer, film: bytes) -> Post:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    return post


def add(queue: Queue, post: Post, name: str = "Job", **options: Any) -> str:
    return queue.add(post.nzb, filename=f"{name}.nzb", category="movies", **options)


def test_an_item_that_is_added_while_the_workers_sleep_is_taken_up_at_once(
    queue: Queue, processor: Processor, post: Post, find: Find, wait_until: WaitUntil
) -> None:
    processor.start()
    for number in range(5):
        nzo_id = add(queue, post, f"Job {number}")
        wait_until(lambda wanted=nzo_id: find(wanted).state is State.COMPLETED)  # type: ignore[misc]


def test_the_log_says_what_is_processed_and_with_which_connections(
    queue: Queue,
    processor: Processor,
    post: Post,
    find: Find,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    processor.start()
    nzo_id = add(queue, post)
    wait_until(lambda: find(nzo_id).state is State.COMPLETED)

    assert "[Queue] processing 'Job': Connections=10" in caplog.messages


def test_no_more_items_are_worked_on_at_a_time_than_is_set(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    post: Post,
    store: JobStore,
    wait_until: WaitUntil,
) -> None:
    server.fail(Fault.SILENCE)
    processor.start()
    for number in range(4):
        add(queue, post, f"Job {number}")
    server.wait_for(lambda counts: counts.stalled)
    wait_until(lambda: _working(store) == 2)

    server.heal()
    wait_until(lambda: not store.queue().items)
    assert len(store.history().items) == 4


def _working(store: JobStore) -> int:
    return sum(item.state is not State.QUEUED for item in store.queue().items)


def test_a_queue_that_rests_works_on_what_is_forced_and_on_the_rest_when_resumed(
    queue: Queue, processor: Processor, post: Post, find: Find, wait_until: WaitUntil
) -> None:
    queue.pause_all()
    processor.start()
    waiting = add(queue, post, "waiting", priority=1)
    forced = add(queue, post, "forced", priority=2)
    wait_until(lambda: find(forced).state is State.COMPLETED)
    assert queue.paused
    assert find(waiting).state is State.QUEUED

    queue.resume_all()
    wait_until(lambda: find(waiting).state is State.COMPLETED)


def test_an_item_that_rests_is_taken_up_when_its_time_has_come(
    usenet: UsenetClient,
    importer: Importer,
    library: Library,
    database: Database,
    server: NewsServer,
    post: Post,
    wait_until: WaitUntil,
) -> None:
    # On a clock of its own that is a minute short of the end of the pause.
    began = time.time()
    store = JobStore(database, clock=lambda: began)
    item = store.add(post.nzb, name="Job", filename="Job.nzb", category="movies")
    claimed = store.claim()
    assert claimed is not None
    store.postpone(claimed, "no")

    def clock() -> float:
        return time.time() + 59.5

    later = JobStore(database, clock=clock)
    processor = Processor(later, importer, 1, clock=clock)
    processor.start()
    wait_until(lambda: later.history().items)
    assert processor.stop(20)
    assert later.history().items[0].id == item.id


@pytest.mark.parametrize("stall_s", [60.0])
def test_items_that_are_deleted_while_they_are_worked_on_are_dropped_at_once(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    post: Post,
    store: JobStore,
    library: Library,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    first, second = work_on_two(queue, processor, server, post, store, wait_until)

    assert queue.remove(first)
    assert queue.remove_all(None) == [second]
    assert not queue.remove(first)

    # The provider says nothing still: both workers are free all the same.
    other = queue.add(another(server).nzb, filename="other.nzb", category="movies")
    wait_until(lambda: find(other).state is State.COMPLETED)
    assert [item.id for item in store.history().items] == [other]
    assert library.release("movies", "Job 0") is None


@pytest.mark.parametrize("stall_s", [60.0])
def test_items_that_are_paused_while_they_are_worked_on_stay_so_until_they_are_resumed(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    post: Post,
    store: JobStore,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    both = work_on_two(queue, processor, server, post, store, wait_until)

    assert set(queue.pause(both)) == set(both)
    other = queue.add(another(server).nzb, filename="other.nzb", category="movies")
    wait_until(lambda: find(other).state is State.COMPLETED)
    assert [find(nzo_id).state for nzo_id in both] == [State.PAUSED] * 2

    server.heal()
    assert set(queue.resume(both)) == set(both)
    wait_until(lambda: [find(nzo_id).state for nzo_id in both] == [State.COMPLETED] * 2)


def work_on_two(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    post: Post,
    store: JobStore,
    wait_until: WaitUntil,
) -> list[str]:
    """Have both workers wait for an article that does not come."""
    server.fail(Fault.SILENCE, post.message_ids[0], commands={"BODY"})
    processor.start()
    ids = [add(queue, post, f"Job {number}") for number in range(2)]
    server.wait_for(lambda counts: counts.stalled)
    wait_until(lambda: _working(store) == 2)
    return ids


def another(server: NewsServer) -> Post:
    """Post something that no fault befalls."""
    post = make_post("Another.Film.mkv", b"another" * 5_000, part_size=7_000)
    server.add(post)
    return post


@pytest.mark.parametrize("stall_s", [60.0])
def test_stopping_puts_back_what_is_worked_on_and_does_not_wait_for_a_provider(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    post: Post,
    store: JobStore,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    both = work_on_two(queue, processor, server, post, store, wait_until)

    assert processor.stop(20)
    for nzo_id in both:
        assert (find(nzo_id).state, find(nzo_id).attempts) == (State.QUEUED, 0)


def test_a_processor_that_never_started_stops(processor: Processor) -> None:
    assert processor.stop(20)
    assert processor.stop(20)


def test_a_full_disk_costs_an_item_nothing_but_time(
    importer: Importer,
    database: Database,
    post: Post,
    wait_until: WaitUntil,
    clock: Callable[[], float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FullDisk(JobStore):
        """Refuses to write from the first end of an item on, five times."""

        refusals = 5

        def finish(self, *args: Any, **options: Any) -> Item:
            return self._unless_full(lambda: JobStore.finish(self, *args, **options))

        def rest_for(self, *args: Any) -> Item:
            return self._unless_full(lambda: JobStore.rest_for(self, *args))

        def _unless_full(self, write: Callable[[], Item]) -> Item:
            if self.refusals:
                self.refusals -= 1
                raise StorageFull("the disk is full")
            return write()

    monkeypatch.setattr(module, "_STORAGE_PAUSE_S", 0.01)
    store = FullDisk(database, clock=clock)
    processor = Processor(store, importer, 1, clock=clock)
    store.add(post.nzb, name="Job", filename="Job.nzb", category="movies")
    processor.start()
    wait_until(lambda: store.queue().items[0].note)
    assert processor.stop(20)

    (item,) = store.queue().items
    assert (item.state, item.note) == (State.QUEUED, "the disk is full")
    assert item.attempts == 0, "nobody has to resume it, however long the disk is full"
    assert sum("cannot write down" in message for message in caplog.messages) == 4


def test_a_fault_of_the_program_costs_neither_the_worker_nor_the_item(
    queue: Queue,
    processor: Processor,
    importer: Importer,
    post: Post,
    find: Find,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(importer, "verify", fault)
        processor.start()
        first, second = add(queue, post, "first"), add(queue, post, "second")
        wait_until(lambda: find(first).attempts and find(second).attempts)
    assert find(first).state is State.QUEUED
    assert "ZeroDivisionError: a fault" in find(first).note

    third = add(queue, post, "third")
    wait_until(lambda: find(third).state is State.COMPLETED)


def test_what_waits_is_shown_by_category_under_names_of_its_own(
    queue: Queue, post: Post, store: JobStore
) -> None:
    first = add(queue, post, "Job")
    second = add(queue, post, "Job")
    queue.add(post.nzb, filename="Other.nzb", category="tv")

    shown = queue.pending("movies")
    assert [(each.nzo_id, each.name, each.size) for each in shown] == [
        (first, "Job.nzb", len(post.nzb)),
        (second, "Job (2).nzb", len(post.nzb)),
    ]
    queue.remove(first)
    assert [each.nzo_id for each in queue.pending("movies")] == [second]
    assert queue.pending("audio") == []


def test_what_the_queue_shows_of_an_item_is_what_its_nzb_states(
    queue: Queue, post: Post, find: Find
) -> None:
    item = find(add(queue, post, "Some.Film{{secret}}"))

    assert (item.name, item.articles, item.priority) == ("Some.Film", 72, 0)
    assert 500_000 < item.size < 600_000


@pytest.mark.parametrize(
    ("priority", "stands"),
    [(-2, State.PAUSED), (-100, State.QUEUED), (-1, State.QUEUED), (2, State.QUEUED)],
)
def test_priorities_mean_what_sabnzbd_means_by_them(
    queue: Queue, post: Post, find: Find, priority: int, stands: State
) -> None:
    assert find(add(queue, post, priority=priority)).state is stands


def test_nothing_is_told_to_the_log_while_nothing_happens(
    processor: Processor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    processor.start()
    processor.wake()
    assert processor.stop(20)
    assert not [record for record in caplog.records if record.name == module.__name__]
