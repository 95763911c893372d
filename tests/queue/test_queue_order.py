"""What people do with the queue: its order, names and priorities, its rest, another attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.errors import NotXml
from gateway.library.database import Database
from gateway_queue.intake import Queue, urgency_of
from gateway_queue.item import Item, LetGo, Priority, State
from gateway_queue.order import Order
from gateway_queue.store import JobStore

NZB = (
    b"<nzb><file subject='a' date='%d'><segments>"
    b"<segment number='1'>a@b</segment></segments></file></nzb>"
)


@pytest.fixture
def order(database: Database) -> Order:
    return Order(database)


@pytest.fixture
def five(store: JobStore) -> list[str]:
    """The ids of five items in their order: one High, three Normal, one Low."""
    priorities = [Priority.HIGH, *[Priority.NORMAL] * 3, Priority.LOW]
    return [
        store.add(
            NZB,
            name=f"job {number}",
            filename="a.nzb",
            category="tv",
            priority=priority,
            size=100 - number,
            posted=1_000.0 * number,
        ).id
        for number, priority in enumerate(priorities)
    ]


def ids(store: JobStore) -> list[str]:
    return [item.id for item in store.queue().items]


def test_an_item_can_be_moved_to_the_place_of_another_or_to_a_number(
    store: JobStore, order: Order, five: list[str]
) -> None:
    high, first, second, third, low = five
    assert order.move(third, first) == (1, Priority.NORMAL)
    assert ids(store) == [high, third, first, second, low]
    assert order.move(third, 3) == (3, Priority.NORMAL)
    assert ids(store) == five
    assert order.move(first, 10_000) == (4, Priority.LOW)
    assert ids(store) == [high, second, third, low, first]


def test_an_item_that_is_moved_to_another_priority_gets_it(
    store: JobStore, order: Order, five: list[str]
) -> None:
    high, first, second, third, low = five
    assert order.move(low, -1) == (0, Priority.HIGH)
    assert ids(store) == [low, high, first, second, third]
    claimed = store.claim()
    assert claimed is not None
    assert (claimed.id, claimed.priority) == (low, Priority.HIGH)


def test_what_is_not_in_the_queue_is_not_moved(
    store: JobStore, order: Order, five: list[str]
) -> None:
    assert order.move("unknown", five[0]) is None
    assert order.move(five[0], "unknown") is None
    assert ids(store) == five


def test_an_order_that_was_made_stays_when_items_come_and_go(
    store: JobStore, order: Order, five: list[str]
) -> None:
    high, first, second, third, low = five
    order.move(third, first)
    new = store.add(NZB, name="new", filename="a.nzb", category="tv").id
    store.remove([first])
    assert ids(store) == [high, third, second, new, low]


def test_a_priority_puts_an_item_at_its_end_and_leaves_those_that_have_it(
    store: JobStore, order: Order, five: list[str]
) -> None:
    high, first, second, third, low = five
    assert order.prioritize([low, second], Priority.NORMAL) == 2
    assert ids(store) == [high, first, second, third, low]
    assert order.prioritize([third, "unknown"], Priority.FORCE) == -1
    assert ids(store) == [third, high, first, second, low]
    assert order.prioritize([], Priority.LOW) == -1


@pytest.mark.parametrize(
    ("by", "descending", "expected"),
    [
        ("name", True, [0, 3, 2, 1, 4]),
        ("name", False, [0, 1, 2, 3, 4]),
        ("size", False, [0, 3, 2, 1, 4]),
        ("avg_age", False, [0, 3, 2, 1, 4]),
        ("avg_age", True, [0, 1, 2, 3, 4]),
    ],
)
def test_the_queue_is_sorted_within_each_priority(
    store: JobStore,
    order: Order,
    five: list[str],
    by: str,
    descending: bool,
    expected: list[int],
) -> None:
    order.sort(by, descending=descending)
    assert ids(store) == [five[number] for number in expected]


@pytest.mark.parametrize("what", ["name", "category"])
def test_work_for_another_name_or_category_is_begun_again(
    store: JobStore, order: Order, five: list[str], what: str
) -> None:
    claimed = store.claim()
    assert claimed is not None
    if what == "name":
        assert order.rename(claimed.id, "Another.Name", "a password")
        assert not order.rename("unknown", "Name")
    else:
        assert order.categorize([claimed.id, "unknown"], "movies") == [claimed.id]
    with pytest.raises(LetGo):
        store.advance(claimed, State.VERIFYING)
    item = store.advance(claimed, State.QUEUED)
    changed = (item.name, item.category, item.password)
    name = ("Another.Name", "tv", "a password")
    assert changed == (name if what == "name" else ("job 0", "movies", None))


@pytest.mark.parametrize(
    ("number", "priority", "paused"),
    [
        (2, Priority.FORCE, False),
        (1, Priority.HIGH, False),
        (0, Priority.NORMAL, False),
        (-1, Priority.LOW, False),
        (-2, Priority.NORMAL, True),
        (-3, Priority.NORMAL, True),
        (-4, Priority.NORMAL, True),
        (-100, Priority.NORMAL, False),
        (1 << 40, Priority.NORMAL, False),
    ],
)
def test_priorities_mean_what_they_mean_to_sabnzbd(
    number: int, priority: Priority, paused: bool
) -> None:
    assert urgency_of(number) == (priority, paused)


# Rest ------------------------------------------------------------------------------------------


def test_a_rest_survives_a_restart_and_ends_when_it_is_over(
    store: JobStore, database: Database, clock: Any
) -> None:
    store.rest.begin(clock.now + 60)
    later = JobStore(database, clock=clock)
    assert (later.rest.is_on, later.rest.until) == (True, clock.now + 60)
    clock.now += 60
    assert (later.rest.is_on, later.rest.until) == (False, None)

    store.rest.begin()
    clock.now += 10**9
    assert JobStore(database, clock=clock).rest.is_on
    store.rest.end()
    assert not JobStore(database, clock=clock).rest.is_on


# Another attempt -------------------------------------------------------------------------------


@pytest.fixture
def failed(store: JobStore) -> Item:
    store.add(NZB, name="Job", filename="Job.nzb", category="tv", priority=Priority.HIGH)
    claimed = store.claim()
    assert claimed is not None
    return store.fail(claimed, "37 of 4,120 articles are missing", took_s=1)


def test_what_failed_is_queued_again_under_another_id(store: JobStore, failed: Item) -> None:
    before = store.history_revision
    (new,) = store.retry([failed.id, "unknown"], password="secret").values()

    assert new != failed.id
    assert store.history().items == ()
    assert store.history_revision > before
    (item,) = store.queue().items
    assert (item.id, item.name, item.category, item.priority) == (new, "Job", "tv", Priority.HIGH)
    assert (item.state, item.failure, item.password) == (State.QUEUED, "", "secret")
    assert store.document(new) == NZB
    assert store.retry([failed.id, new]) == {}


def test_what_failed_can_be_tried_with_another_nzb(
    queue: Queue, store: JobStore, failed: Item
) -> None:
    other = NZB % 1_700_000_000
    with pytest.raises(NotXml):
        queue.retry([failed.id], document=b"no NZB", filename="other.nzb")
    assert [item.id for item in store.history().items] == [failed.id]
    (new,) = queue.retry([failed.id], document=other, filename="other.nzb").values()

    assert store.document(new) == other
    (item,) = store.queue().items
    assert (item.name, item.posted, item.nzb_bytes) == ("Job", 1_700_000_000, len(other))


def test_only_what_failed_is_tried_again(
    store: JobStore, failed: Item, find: Callable[[str], Item]
) -> None:
    waiting = store.add(NZB, name="Other", filename="Other.nzb", category="tv")
    assert list(store.retry(None)) == [failed.id]
    assert find(waiting.id).state is State.QUEUED
    assert store.retry(None) == {}
