"""The order of the queue, and what an item in it is called: changed by people (`Order`).

An item's place is its priority, and its position among those of the same priority.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, select, update

from gateway.library.database import Database
from gateway.library.schema import jobs
from gateway_queue.asked import last_position
from gateway_queue.item import PENDING, Priority
from gateway_queue.listing import QUEUE_ORDER

# By what the queue can be sorted; what has no date goes last.
SORTS = {
    "name": func.lower(jobs.c.name),
    "size": jobs.c.size,
    "avg_age": func.coalesce(-jobs.c.posted, 0),  # the age grows as the date falls
}


class Order:
    """Moves what is in the queue of *database*. Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def move(self, nzo_id: str, place: str | int) -> tuple[int, Priority] | None:
        """Move an item to where another one is, or to a number from the front of the queue.

        It takes the priority of whatever stands there. Returns the number of its new place and its
        priority; None: there is no such item, or no such place.
        """
        with self._database.begin() as tx:
            queue = _queue(tx)
            ids = [one for one, _ in queue]
            if nzo_id not in ids:
                return None
            if isinstance(place, str):
                if place not in ids:
                    return None
                place = ids.index(place)
            place = max(0, min(place, len(ids) - 1))
            priority = queue[place][1]
            ids.remove(nzo_id)
            ids.insert(place, nzo_id)
            tx.execute(update(jobs).where(jobs.c.nzo_id == nzo_id).values(priority=priority))
            members = {one for one, its in queue if its == priority} | {nzo_id}
            _number(tx, [one for one in ids if one in members])
            return place, Priority(priority)

    def prioritize(self, ids: Sequence[str], priority: Priority) -> int:
        """Give items another priority, at its end; return the place of the last one, or -1.

        What has that priority already stays where it is.
        """
        with self._database.begin() as tx:
            for nzo_id in ids:
                tx.execute(
                    update(jobs)
                    .where(_is_pending(nzo_id), jobs.c.priority != priority)
                    .values(priority=priority, position=last_position(priority) + 1)
                )
            places = {one: place for place, (one, _) in enumerate(_queue(tx))}
        return places.get(ids[-1], -1) if ids else -1

    def sort(self, by: str, *, descending: bool) -> None:
        """Sort every priority by one of SORTS; what is equal keeps its order."""
        key = SORTS[by]
        order = (key.desc() if descending else key.asc(), *QUEUE_ORDER[1:])
        with self._database.begin() as tx:
            pending = jobs.c.completed.is_(None), jobs.c.state.in_(PENDING)
            _number(tx, tx.scalars(select(jobs.c.nzo_id).where(*pending).order_by(*order)).all())

    def rename(self, nzo_id: str, name: str, password: str | None = None) -> bool:
        """Give an item another name, and a *password* if one is given; say whether it is there.

        Work that was begun under the old name comes to nothing, and is begun again.
        """
        # What is grabbed has no file name yet, and would take the one that comes.
        filename = case((jobs.c.filename == "", f"{name}.nzb"), else_=jobs.c.filename)
        values: dict[str, Any] = {"name": name, "filename": filename}
        if password is not None:
            values["password"] = password
        return bool(self._change([nzo_id], **values))

    def categorize(self, ids: Collection[str], category: str) -> list[str]:
        """Put items into another category; return the ids of those that are there."""
        return self._change(ids, category=category)

    def _change(self, ids: Collection[str], **values: Any) -> list[str]:
        changed = (
            update(jobs)
            .where(jobs.c.nzo_id.in_(ids), jobs.c.state.in_(PENDING))
            .values(**values)
            .returning(jobs.c.nzo_id)
        )
        with self._database.begin() as tx:
            return list(tx.scalars(changed))


def _is_pending(nzo_id: str) -> ColumnElement[bool]:
    return (jobs.c.nzo_id == nzo_id) & jobs.c.state.in_(PENDING)


def _queue(tx: Connection) -> list[tuple[str, int]]:
    rows = tx.execute(
        select(jobs.c.nzo_id, jobs.c.priority)
        .where(jobs.c.completed.is_(None), jobs.c.state.in_(PENDING))
        .order_by(*QUEUE_ORDER)
    )
    return [(row.nzo_id, row.priority) for row in rows]


def _number(tx: Connection, ids: Sequence[str]) -> None:
    """Give *ids* the positions 1, 2, ..."""
    if ids:
        statement = update(jobs).where(jobs.c.nzo_id == bindparam("one"))
        tx.execute(
            statement.values(position=bindparam("place")),
            [{"one": one, "place": place} for place, one in enumerate(ids, start=1)],
        )
