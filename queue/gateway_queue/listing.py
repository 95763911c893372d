"""What the queue and the history hold: filtered, in their order, page by page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, select

from gateway.library.schema import jobs
from gateway_queue.item import HISTORY, PENDING, WORKING, Item, Priority, State

# Without the document, which is larger than all the rest together.
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
)
_DAY_S = 86_400
_WEEK_S, _MONTH_S = 7 * _DAY_S, 30 * _DAY_S


def item_of(row: Row[*tuple[Any, ...]]) -> Item:
    """Return the item that *row* of ITEM_COLUMNS holds."""
    return Item(
        id=row.nzo_id,
        name=row.name,
        filename=row.filename,
        category=row.category,
        priority=Priority(row.priority),
        state=State(row.state),
        size=row.size,
        articles=row.parts_total,
        added=row.added,
        attempts=row.attempts,
        not_before=row.not_before,
        note=row.note,
        failure=row.failure,
        completed=row.completed,
        took_s=row.took_s,
        password=row.password,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items a listing is asked for; what is None does not matter.

    *limit* 0 is no limit. *search* is looked for anywhere in the name, in any case.
    *archived* chooses between the history and what was put out of its sight.
    """

    start: int = 0
    limit: int = 0
    category: str | None = None
    search: str | None = None
    ids: Collection[str] | None = None
    state: State | None = None
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
    """A page of the history, and the bytes completed in all, in 30 days, in 7, and in one."""

    items: tuple[Item, ...]
    found: int
    total_size: int
    month_size: int
    week_size: int
    day_size: int


def queue_page(tx: Connection, wanted: Wanted) -> QueuePage:
    """Return what is not finished, in the order in which it is worked on."""
    pending = and_(jobs.c.completed.is_(None), jobs.c.state.in_(PENDING))
    items, found = _page(tx, and_(pending, *_conditions(wanted)), wanted, QUEUE_ORDER)
    working = func.sum(case((jobs.c.state.in_(WORKING), 1), else_=0))
    row = tx.execute(
        select(func.count(), func.coalesce(func.sum(jobs.c.size), 0), working).where(pending)
    ).one()
    return QueuePage(items, found, row[0], int(row[1]), bool(row[2]))


QUEUE_ORDER = (jobs.c.priority.desc(), jobs.c.position, jobs.c.added, jobs.c.nzo_id)
_HISTORY_ORDER = (jobs.c.completed.desc(), jobs.c.added.desc(), jobs.c.nzo_id)


def history_page(tx: Connection, wanted: Wanted, now: float) -> HistoryPage:
    """Return what is finished, the newest first."""
    finished = and_(
        jobs.c.completed.is_not(None),
        jobs.c.state.in_(HISTORY),
        jobs.c.archived.is_(wanted.archived),
    )
    items, found = _page(tx, and_(finished, *_conditions(wanted)), wanted, _HISTORY_ORDER)
    sums = (
        func.coalesce(func.sum(case((jobs.c.completed > now - span, jobs.c.size), else_=0)), 0)
        for span in (now, _MONTH_S, _WEEK_S, _DAY_S)
    )
    row = tx.execute(select(*sums).where(jobs.c.state == State.COMPLETED)).one()
    return HistoryPage(items, found, *(int(size) for size in row))


def _page(
    tx: Connection, condition: ColumnElement[bool], wanted: Wanted, order: tuple[Any, ...]
) -> tuple[tuple[Item, ...], int]:
    listing = select(*ITEM_COLUMNS).where(condition).order_by(*order).offset(wanted.start)
    if wanted.limit:
        listing = listing.limit(wanted.limit)
    items = tuple(item_of(row) for row in tx.execute(listing))
    if not wanted.start and not wanted.limit:
        return items, len(items)
    return items, tx.scalar(select(func.count()).where(condition)) or 0


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.category is not None:
        conditions.append(func.lower(jobs.c.category) == wanted.category.lower())
    if wanted.search:
        conditions.append(jobs.c.name.icontains(wanted.search, autoescape=True))
    if wanted.ids is not None:
        conditions.append(jobs.c.nzo_id.in_(wanted.ids))
    if wanted.state is not None:
        conditions.append(jobs.c.state == wanted.state)
    return conditions


def state_counts(tx: Connection) -> dict[str, int]:
    """Return how many items are in each state of the queue and of the history."""
    rows = tx.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {**dict.fromkeys(sorted(PENDING | HISTORY), 0), **{row[0]: row[1] for row in rows}}
