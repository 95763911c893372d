"""The jobs of the queue in a database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, update

from gateway.errors import StorageError
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import LinkKind, NewRelease, Release
from gateway.library.links import Links
from gateway.library.schema import jobs
from gateway_queue.item import STEPS, Item, LetGo, Priority, State
from gateway_queue.listing import Wanted
from gateway_queue.store import JobStore

Find = Callable[[str], Item]


def add(store: JobStore, name: str = "Job", **options: Any) -> Item:
    return store.add(
        b"<nzb/>", name=name, **{"filename": f"{name}.nzb", "category": "movies", **options}
    )


def publishing(library: Library, item: Item) -> Callable[[Connection], Release]:
    kind = LinkKind.SYMLINK
    new = NewRelease(item.category, item.name, 1.0, b"<nzb/>", (), (), links=kind)
    return lambda tx: library.publish(tx, new)


def complete(store: JobStore, library: Library, item: Item) -> Item:
    claimed = store.claim()
    assert claimed is not None
    assert claimed.id == item.id
    verifying = store.advance(claimed, State.VERIFYING)
    return store.finish(verifying, publishing(library, item), size=7, took_s=1.5)


def test_what_was_added_is_there_for_whoever_opens_the_database_next(
    store: JobStore, address: str
) -> None:
    item = add(store, size=5, articles=2, password="secret")

    other = Database(address)
    assert JobStore(other).queue().items == (item,)
    assert JobStore(other).document(item.id) == b"<nzb/>"
    other.close()


def test_ids_look_like_sabnzbds_and_are_never_the_same(store: JobStore) -> None:
    ids = {add(store).id for _ in range(50)}

    assert len(ids) == 50
    assert all(nzo_id.startswith("SABnzbd_nzo_") and len(nzo_id) > 16 for nzo_id in ids)


def test_the_higher_priority_goes_first_and_among_equals_who_came_first(store: JobStore) -> None:
    for name, priority in [("c", 0), ("d", 0), ("b", 1), ("e", -1), ("a", 2)]:
        add(store, name, priority=Priority(priority))

    assert [item.name for item in store.queue().items] == ["a", "b", "c", "d", "e"]
    claimed = [item.name for item in iter(store.claim, None)]
    assert claimed == ["a", "b", "c", "d", "e"]


def test_however_many_claim_at_once_each_item_goes_to_one_of_them(store: JobStore) -> None:
    added = {add(store, f"job {number}").id for number in range(40)}
    claimed: list[str] = []
    gate = threading.Barrier(8)

    def claim_all() -> None:
        gate.wait()
        claimed.extend(item.id for item in iter(store.claim, None))

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(claimed) == Counter(added)


def test_only_forced_items_can_be_claimed_of_a_queue_that_rests(store: JobStore) -> None:
    add(store, "normal", priority=Priority.HIGH)
    forced = add(store, "forced", priority=Priority.FORCE)

    claimed = store.claim(forced_only=True)
    assert claimed is not None
    assert claimed.id == forced.id
    assert store.claim(forced_only=True) is None


@pytest.mark.parametrize(("start", "end"), list(product(State, State)))
def test_the_store_takes_no_step_that_does_not_exist(
    store: JobStore, database: Database, find: Find, start: State, end: State
) -> None:
    item = add(store)
    completed = 1.0 if start in {State.COMPLETED, State.FAILED} else None
    with database.begin() as tx:
        tx.execute(update(jobs).values(state=start, completed=completed))
    standing = Item(**{**_fields(item), "state": start, "completed": completed})

    if (start, end) in STEPS:
        assert store.advance(standing, end).state is end
    else:
        with pytest.raises(ValueError, match=f"cannot go from {start} to {end}"):
            store.advance(standing, end)
        if start is not State.DELETED:
            assert find(item.id).state is start


def _fields(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Item.__dataclass_fields__}


def test_a_worker_whose_item_was_taken_away_is_told_to_let_go(
    store: JobStore, library: Library
) -> None:
    add(store)
    claimed = store.claim()
    assert claimed is not None
    store.pause([claimed.id])

    with pytest.raises(LetGo):
        store.advance(claimed, State.VERIFYING)
    with pytest.raises(LetGo):
        store.fail(claimed, "no", took_s=0)
    with pytest.raises(LetGo):
        store.postpone(claimed, "no")


def test_a_release_is_published_together_with_its_history_or_not_at_all(
    store: JobStore, library: Library
) -> None:
    item = add(store)
    claimed = store.claim()
    assert claimed is not None
    verifying = store.advance(claimed, State.VERIFYING)
    store.remove([item.id])

    with pytest.raises(LetGo):
        store.finish(verifying, publishing(library, item), size=7, took_s=1.5)

    assert library.release("movies", "Job") is None
    assert store.history().items == ()


def test_a_completed_item_carries_its_releases_name_and_leaves_the_document_to_it(
    store: JobStore, library: Library
) -> None:
    first = complete(store, library, add(store))
    second = complete(store, library, add(store))

    assert (first.name, second.name) == ("Job", "Job (2)")
    assert second.filename == "Job.nzb"
    assert (second.size, second.took_s) == (7, 1.5)
    with pytest.raises(StorageError):
        store.document(second.id)


def test_an_item_that_failed_for_now_rests_and_is_taken_up_again(
    store: JobStore, clock: Any
) -> None:
    add(store)
    for minutes in (1, 2, 5, 15, 60, 60):
        claimed = store.claim()
        assert claimed is not None
        resting = store.postpone(claimed, "the provider is down")
        assert resting.state is State.QUEUED
        assert resting.note == "the provider is down"
        assert store.claim() is None
        assert store.next_due() == clock.now + 60 * minutes
        clock.now += 60 * minutes


@pytest.mark.parametrize("attempts", [0, 4])
def test_an_item_does_not_wait_for_a_clock_that_was_an_hour_ahead(
    store: JobStore, clock: Any, attempts: int
) -> None:
    add(store)
    for _ in range(attempts):
        claimed = store.claim()
        assert claimed is not None
        clock.now = store.postpone(claimed, "the provider is down").not_before
    clock.now += 3_600
    claimed = store.claim()
    assert claimed is not None
    resting = store.postpone(claimed, "the provider is down")
    clock.now -= 3_600

    assert store.claim() is not None
    assert resting.not_before > clock.now


def test_after_a_day_without_an_answer_an_item_waits_for_a_person(
    store: JobStore, clock: Any
) -> None:
    item, began = add(store), clock.now
    while (claimed := store.claim()) is not None:
        last = store.postpone(claimed, "the provider is down")
        clock.now = max(clock.now, last.not_before)

    assert last.state is State.PAUSED
    assert last.note == "paused after 24 hours without an answer: the provider is down"
    assert 86_400 <= clock.now - began < 90_000

    assert store.resume([item.id]) == [item.id]
    again = store.claim()
    assert again is not None
    assert again.attempts == 0


def test_what_a_program_that_died_was_working_on_is_queued_again(
    store: JobStore, database: Database
) -> None:
    items = [add(store, name) for name in "abc"]
    first, second = store.claim(), store.claim()
    assert first is not None
    assert second is not None
    store.advance(second, State.VERIFYING)

    after = JobStore(database)
    assert after.recover() == 2
    assert after.recover() == 0
    assert [item.state for item in after.queue().items] == [State.QUEUED] * 3
    assert [item.id for item in iter(after.claim, None)] == [item.id for item in items]


def test_an_item_that_rests_is_taken_up_at_the_next_start_and_keeps_its_attempts(
    store: JobStore, database: Database
) -> None:
    add(store)
    claimed = store.claim()
    assert claimed is not None
    store.postpone(claimed, "the provider refused the login")
    assert store.claim() is None

    after = JobStore(database)
    assert after.recover() == 0
    again = after.claim()
    assert again is not None
    assert again.attempts == 1


def test_a_paused_item_is_not_taken_up_until_it_is_resumed(store: JobStore) -> None:
    item = add(store, paused=True)
    assert store.claim() is None
    assert store.pause([item.id]) == []

    assert store.resume([item.id, "unknown"]) == [item.id]
    assert store.claim() is not None


@pytest.mark.parametrize("archive", [False, True])
def test_forgetting_takes_the_folder_of_links_along_and_leaves_the_release(
    store: JobStore, library: Library, database: Database, archive: bool
) -> None:
    ids = {name: complete(store, library, add(store, name)).id for name in ("kept", "gone")}
    links = Links(database)
    assert [one.name for one in links.members("movies")] == ["gone", "kept"]
    store.forget([ids["gone"]], archive=archive)
    assert [one.name for one in links.members("movies")] == ["kept"]
    assert library.release("movies", "gone") is not None


def test_who_removes_the_folder_of_links_leaves_the_history(
    store: JobStore, library: Library, database: Database
) -> None:
    done = complete(store, library, add(store, "Job"))
    links = Links(database)
    folder = links.find("movies", "Job")
    assert folder is not None
    links.remove(folder)
    assert [item.id for item in store.history().items] == [done.id]
    assert store.forget([done.id]) == [done.id]


def test_removing_leaves_the_history_and_forgetting_leaves_the_queue(
    store: JobStore, library: Library
) -> None:
    done = complete(store, library, add(store, "done"))
    waiting = add(store, "waiting")
    ids = [done.id, waiting.id, "unknown"]

    assert store.remove(ids) == [waiting.id]
    assert store.queue().items == ()
    waiting = add(store, "waiting")
    assert store.forget([*ids, waiting.id]) == [done.id]
    assert [item.id for item in store.queue().items] == [waiting.id]
    assert library.release("movies", "done") is not None


def test_all_of_the_queue_can_be_removed_and_all_failed_forgotten(
    store: JobStore, library: Library
) -> None:
    done = complete(store, library, add(store))
    add(store)
    claimed = store.claim()
    assert claimed is not None
    failed = store.fail(claimed, "no", took_s=0)
    add(store)
    add(store)

    assert len(store.remove(None)) == 2
    assert store.forget(None, state=State.FAILED) == [failed.id]
    assert [item.id for item in store.history().items] == [done.id]


def test_what_is_archived_is_out_of_sight_and_not_gone(store: JobStore, library: Library) -> None:
    done = complete(store, library, add(store))
    store.forget([done.id], archive=True)

    assert store.history().items == ()
    assert [item.id for item in store.history(Wanted(archived=True)).items] == [done.id]


def test_a_change_of_the_history_can_be_seen_from_its_number(
    store: JobStore, library: Library, database: Database, clock: Any
) -> None:
    numbers = [store.history_revision]
    done = complete(store, library, add(store))
    numbers.append(store.history_revision)
    store.forget([done.id])
    numbers.append(store.history_revision)
    clock.now += 10
    numbers.append(JobStore(database, clock=clock).history_revision)

    assert numbers == sorted(set(numbers))


def test_a_listing_is_paged_and_filtered_and_says_how_much_there_is(store: JobStore) -> None:
    for number in range(10):
        add(store, f"Job_{number}", category="tv" if number % 2 else "movies", size=100)
    names = [f"Job_{number}" for number in range(10)]

    def listed(**wanted: Any) -> tuple[list[str], int]:
        page = store.queue(Wanted(**wanted))
        assert (page.total, page.size) == (10, 1000)
        return [item.name for item in page.items], page.found

    assert listed() == (names, 10)
    assert listed(limit=0) == (names, 10)
    assert listed(start=2, limit=3) == (names[2:5], 10)
    assert listed(start=9, limit=3) == (names[9:], 10)
    assert listed(categories=["TV"]) == (names[1::2], 5)
    assert listed(categories=["tv"], limit=2) == (["Job_1", "Job_3"], 5)
    assert listed(search="b_7") == (["Job_7"], 1)
    assert listed(search="%") == ([], 0)


def test_the_whole_queue_and_a_page_say_alike_whether_any_of_it_is_worked_on(
    store: JobStore,
) -> None:
    add(store, "first", size=1)
    add(store, "second", size=2)

    def working() -> list[bool]:
        return [store.queue(wanted).working for wanted in (Wanted(), Wanted(start=1, limit=1))]

    assert working() == [False, False]
    store.claim()
    assert working() == [True, True]


def test_the_history_is_newest_first(store: JobStore, library: Library, clock: Any) -> None:
    for name in ("old", "month", "week", "today"):
        clock.now += 86_400
        complete(store, library, add(store, name))

    names = [item.name for item in store.history().items]
    assert names == ["today", "week", "month", "old"]
