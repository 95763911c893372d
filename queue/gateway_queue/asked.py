"""What people have done with the jobs: added, paused, removed, tried again.

Every change is one transaction, and holds only for items that stand where they can take it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from gateway.library.database import Database
from gateway.library.links import remove_links
from gateway.library.packing import pack_document
from gateway.library.schema import jobs
from gateway_queue.item import HISTORY, PENDING, Item, Priority, State, before, new_id
from gateway_queue.listing import ITEM_COLUMNS, Wanted, conditions_of, item_of
from gateway_queue.reading import Reading
from gateway_queue.rest import Rest


class Asked:
    """The part of the store that people reach. Safe to use from any thread."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock
        self.rest = Rest(database, clock)
        self._lock = threading.Lock()
        self._revision = int(clock())

    def add(
        self,
        document: bytes | None,
        *,
        name: str,
        filename: str,
        category: str,
        priority: Priority = Priority.NORMAL,
        paused: bool = False,
        password: str | None = None,
        size: int = 0,
        articles: int = 0,
        posted: float | None = None,
        url: str | None = None,
        nzo_id: str | None = None,
    ) -> Item:
        """Return the new item at the end of its priority: committed, under an id of its own.

        Without a *document* it is to be fetched from *url* first. With *nzo_id* that is its id, and
        an item that has it already is returned as it is: nothing is added twice.
        """
        waits = State.GRABBING if document is None else State.QUEUED
        packed = None if document is None else pack_document(document)
        with self.database.begin() as tx:
            if nzo_id is not None:
                known = select(*ITEM_COLUMNS).where(jobs.c.nzo_id == nzo_id)
                if (there := tx.execute(known).one_or_none()) is not None:
                    return item_of(there)
            row = tx.execute(
                insert(jobs)
                .values(
                    nzo_id=nzo_id or new_id(),
                    name=name,
                    filename=filename,
                    category=category,
                    state=State.PAUSED if paused else waits,
                    priority=priority,
                    position=last_position(priority) + 1,
                    added=self.clock(),
                    size=size,
                    parts_total=articles,
                    password=password,
                    posted=posted,
                    url=url,
                    nzb_bytes=None if document is None else len(document),
                    nzb=packed,
                )
                .returning(*ITEM_COLUMNS)
            ).one()
        return item_of(row)

    def pause(self, ids: Collection[str]) -> list[str]:
        """Pause those of *ids* that can be, at work or not; return their ids."""
        paused = (
            update(jobs)
            .where(jobs.c.nzo_id.in_(ids), jobs.c.state.in_(before(State.PAUSED)))
            .values(state=State.PAUSED, note="")
            .returning(jobs.c.nzo_id)
        )
        with self.database.begin() as tx:
            return list(tx.scalars(paused))

    def resume(self, ids: Collection[str]) -> list[str]:
        """Queue those of *ids* that are paused, with all their patience; return their ids."""
        resumed = (
            update(jobs)
            .where(jobs.c.nzo_id.in_(ids), jobs.c.state == State.PAUSED)
            .values(state=waiting_state(), note="", attempts=0, not_before=0)
            .returning(jobs.c.nzo_id)
        )
        with self.database.begin() as tx:
            return list(tx.scalars(resumed))

    def remove(self, ids: Collection[str] | None, *, search: str | None = None) -> list[str]:
        """Take *ids*, or everything, out of the queue, at work or not; return what was there.

        Only what has *search* in its name, if that is given.
        """
        gone = before(State.DELETED) & PENDING
        conditions = [jobs.c.state.in_(gone), *conditions_of(Wanted(ids=ids, search=search))]
        with self.database.begin() as tx:
            return list(tx.scalars(delete(jobs).where(*conditions).returning(jobs.c.nzo_id)))

    def forget(
        self,
        ids: Collection[str] | None,
        *,
        state: State | None = None,
        search: str | None = None,
        archive: bool = False,
    ) -> list[str]:
        """Take *ids*, or everything in *state*, out of the history, and their folders of links.

        Only what has *search* in its name, if that is given. Releases stay. With *archive* the
        rows are put out of sight only. Returns the ids that were there.
        """
        states = before(State.DELETED) & HISTORY if state is None else {state} & HISTORY
        conditions = [jobs.c.state.in_(states), *conditions_of(Wanted(ids=ids, search=search))]
        with self.database.begin() as tx:
            remove_links(tx, select(jobs.c.release_id).where(*conditions), self.clock())
            if archive:
                changed = update(jobs).where(*conditions).values(archived=True)
                gone = list(tx.scalars(changed.returning(jobs.c.nzo_id)))
            else:
                gone = list(tx.scalars(delete(jobs).where(*conditions).returning(jobs.c.nzo_id)))
        self.touch_history()
        return gone

    def retry(
        self,
        ids: Collection[str] | None,
        *,
        document: tuple[bytes, Reading] | None = None,
        password: str | None = None,
    ) -> dict[str, str]:
        """Queue what has failed again, *ids* or all of it, at the end of its priority.

        With another *document*, and what it says, or with its own; and *password*, if one is
        given. Its row leaves the history, and the item gets an id of its own: whoever saw
        the old one fail has seen it. Returns the new ids by the old ones.
        """
        failed = [jobs.c.state == State.FAILED, *conditions_of(Wanted(ids=ids))]
        values: dict[str, Any] = {
            "completed": None,
            "took_s": None,
            "failure": "",
            "attempts": 0,
            "not_before": 0,
            "archived": False,
            "added": self.clock(),
        }
        state = waiting_state()
        if password:
            values["password"] = password
        if document is not None:
            text, read = document
            state = literal(State.QUEUED)
            values |= {"nzb": pack_document(text), "nzb_bytes": len(text)}
            values |= {"size": read.size, "parts_total": read.articles, "posted": read.posted}
        else:
            failed.append(or_(jobs.c.nzb_bytes.is_not(None), jobs.c.url.is_not(None)))
        new: dict[str, str] = {}
        with self.database.begin() as tx:
            rows = tx.execute(
                select(jobs.c.nzo_id, jobs.c.priority)
                .where(*failed)
                .order_by(jobs.c.completed, jobs.c.nzo_id)
            ).all()
            for old, priority in rows:
                new[old] = new_id()
                tx.execute(
                    update(jobs)
                    .where(jobs.c.nzo_id == old)
                    .values(
                        nzo_id=new[old], state=state, position=last_position(priority) + 1, **values
                    )
                )
        if new:
            self.touch_history()
        return new

    @property
    def history_revision(self) -> int:
        """Return a number that grows with every change of the history."""
        return self._revision

    def touch_history(self) -> None:
        """Have whoever remembers a number of the history see that it has changed."""
        # Never lower after a restart: whoever remembers a number must see that it has changed.
        with self._lock:
            self._revision = max(self._revision + 1, int(self.clock()))


def waiting_state() -> ColumnElement[str]:
    """Return, for a statement, the state in which an item waits to be taken up again."""
    return case((jobs.c.nzb_bytes.is_(None), State.GRABBING), else_=State.QUEUED)


def last_position(priority: int) -> ScalarSelect[int]:
    """Return, for a statement, the position of the last item of *priority*."""
    return (
        select(func.coalesce(func.max(jobs.c.position), 0))
        .where(jobs.c.priority == priority, jobs.c.completed.is_(None))
        .scalar_subquery()
    )
