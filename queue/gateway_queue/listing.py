"""What the queue and the history hold: filtered, in their order, page by page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select

from gateway.library.schema import jobs, links
from gateway_queue.item import HISTORY, LONGEST_PAUSE_S, PENDING, WORKING, Item, Priority, State

# In the order of Item's fields. Without the document, which is larger than all the rest together.
ITEM_COLUMNS = (
    jobs.c.nzo_id,
    jobs.c.name,
    jobs.c.filename,
    jobs.c.category,
    jobs.c.priority,
    jobs.c.state,
    jobs.c.size,
    jobs.c.parts_total,
    jobs.c.added,
    jobs.c.attempts,
    jobs.c.not_before,
    jobs.c.note,
    jobs.c.failure,
    jobs.c.completed,
    jobs.c.took_s,
    jobs.c.password,
    jobs.c.url,
    jobs.c.posted,
    jobs.c.nzb_bytes,
)

_PRIORITIES = {one.value: one for one in Priority}
_STATES = {one.value: one for one in State}


def item_of(row: Row[*tuple[Any, ...]]) -> Item:
    """Return the item that *row* of ITEM_COLUMNS holds."""
    # By place, and from tables: by name, and by calls of the enums, a thousand rows take twice as
    # long.
    identity, name, filename, category, priority, state, *rest = row
    return Item(identity, name, filename, category, _PRIORITIES[priority], _STATES[state], *rest)


def is_due(now: float) -> ColumnElement[bool]:
    """Say whether a row's rest is over.

    A rest that ends later than any can was begun by a clock that was ahead: it is over.
    """
    return or_(jobs.c.not_before <= now, jobs.c.not_before > now + LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items a listing is asked for; what is None does not matter.

    *limit* 0 is no limit. *search* is looked for anywhere in the name, in any case.
    *archived* chooses between the history and what was put out of its sight.
    """

    start: int = 0
    limit: int = 0
    categories: Collection[str] | None = None
    search: str | None = None
    ids: Collection[str] | None = None
    states: Collection[State] | None = None
    priorities: Collection[int] | None = None
    archived: bool = False


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A page of the queue: *found* fit the question; *total* items of *size* bytes there are."""

    items: tuple[Item, ...]
    found: int
    total: int
    size: int
    working: bool


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of the history: *found* fit the question."""

    items: tuple[Item, ...]
    found: int


def queue_page(tx: Connection, wanted: Wanted) -> QueuePage:
    """Return what is not finished, in the order in which it is worked on."""
    pending = and_(jobs.c.completed.is_(None), jobs.c.state.in_(PENDING))
    conditions = conditions_of(wanted)
    items, found = _page(tx, and_(pending, *conditions), wanted, QUEUE_ORDER)
    if not (conditions or wanted.start or wanted.limit):
        # It is the whole queue: nothing more need be asked.
        working_on = any(item.state in WORKING for item in items)
        return QueuePage(items, found, found, sum(item.size for item in items), working_on)
    working = func.sum(case((jobs.c.state.in_(WORKING), 1), else_=0))
    row = tx.execute(
        select(func.count(), func.coalesce(func.sum(jobs.c.size), 0), working).where(pending)
    ).one()
    return QueuePage(items, found, row[0], int(row[1]), bool(row[2]))


QUEUE_ORDER = (jobs.c.priority.desc(), jobs.c.position, jobs.c.added, jobs.c.nzo_id)
_HISTORY_ORDER = (jobs.c.completed.desc(), jobs.c.added.desc(), jobs.c.nzo_id)


def history_page(tx: Connection, wanted: Wanted) -> HistoryPage:
    """Return what is finished, the newest first."""
    finished = and_(*_finished(wanted), *conditions_of(wanted))
    return HistoryPage(*_page(tx, finished, wanted, _HISTORY_ORDER))


def _finished(wanted: Wanted) -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.completed.is_not(None),
        jobs.c.state.in_(HISTORY),
        jobs.c.archived.is_(wanted.archived),
    )


def history_poll(
    tx: Connection, wanted: Wanted, *, unlinked: Collection[str], whole: bool
) -> HistoryPage:
    """Return the first page of the history with what nobody has imported yet before the rest.

    That is what failed, and what still has its links: an *arr moves these, and removes the job of
    a failure. Of categories in *unlinked* it is everything. *whole*: none of it is left out,
    whatever the limit.
    """
    finished = and_(*_finished(wanted), *conditions_of(wanted))
    has_links = select(links.c.id).where(
        links.c.release_id == jobs.c.release_id, links.c.file_id.is_not(None)
    )
    waits = or_(jobs.c.state == State.FAILED, jobs.c.category.in_(unlinked), has_links.exists())
    if whole and wanted.limit:
        waiting = tx.scalar(select(func.count()).where(finished, waits)) or 0
        wanted = replace(wanted, limit=max(wanted.limit, waiting))
    first = case((waits, 0), else_=1)
    return HistoryPage(*_page(tx, finished, wanted, (first, *_HISTORY_ORDER)))


def _page(
    tx: Connection, condition: ColumnElement[bool], wanted: Wanted, order: tuple[Any, ...]
) -> tuple[tuple[Item, ...], int]:
    listing = select(*ITEM_COLUMNS).where(condition).order_by(*order).offset(wanted.start)
    if wanted.limit:
        listing = listing.limit(wanted.limit)
    items = tuple(item_of(row) for row in tx.execute(listing).all())
    if not wanted.start and not wanted.limit:
        return items, len(items)
    return items, tx.scalar(select(func.count()).where(condition)) or 0


def conditions_of(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Return what an item must meet, besides standing where the question looks."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.categories is not None:
        named = [category.lower() for category in wanted.categories]
        conditions.append(func.lower(jobs.c.category).in_(named))
    if wanted.search:
        conditions.append(jobs.c.name.icontains(wanted.search, autoescape=True))
    if wanted.ids is not None:
        conditions.append(jobs.c.nzo_id.in_(wanted.ids))
    if wanted.states is not None:
        conditions.append(jobs.c.state.in_(wanted.states))
    if wanted.priorities is not None:
        conditions.append(jobs.c.priority.in_(wanted.priorities))
    return conditions


def state_counts(tx: Connection) -> dict[str, int]:
    """Return how many items are in each state of the queue and of the history."""
    rows = tx.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {**dict.fromkeys(sorted(PENDING | HISTORY), 0), **{row[0]: row[1] for row in rows}}
