"""The jobs of the queue, as the database keeps them.

Every step is one transaction that begins by making sure that the item still stands where the
caller believes it to; so a crash between two steps loses nothing, and of two who want the same
item one gets it. What is added is on the disk before the caller hears of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from gateway.errors import StorageError
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.links import remove_links
from gateway.library.packing import pack_document, unpack_document
from gateway.library.schema import jobs
from gateway_queue.item import (
    HISTORY,
    PATIENCE_S,
    PENDING,
    STEPS,
    WORKING,
    Item,
    LetGo,
    Priority,
    State,
    before,
    new_id,
    pause_s,
    rested_s,
)
from gateway_queue.listing import (
    ITEM_COLUMNS,
    QUEUE_ORDER,
    HistoryPage,
    QueuePage,
    Wanted,
    history_page,
    item_of,
    queue_page,
    state_counts,
)


class JobStore:
    """The queue and the history. Safe to use from any thread."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._revision = int(clock())

    # What people do --------------------------------------------------------------------------

    def add(
        self,
        document: bytes,
        *,
        name: str,
        filename: str,
        category: str,
        priority: Priority = Priority.NORMAL,
        paused: bool = False,
        password: str | None = None,
        size: int = 0,
        articles: int = 0,
    ) -> Item:
        """Return the new item at the end of its priority: committed, under an id of its own."""
        last = select(func.coalesce(func.max(jobs.c.position), 0)).where(
            jobs.c.priority == priority, jobs.c.completed.is_(None)
        )
        packed = pack_document(document)
        with self._database.begin() as tx:
            row = tx.execute(
                insert(jobs)
                .values(
                    nzo_id=new_id(),
                    name=name,
                    filename=filename,
                    category=category,
                    state=State.PAUSED if paused else State.QUEUED,
                    priority=priority,
                    position=last.scalar_subquery() + 1,
                    added=self._clock(),
                    size=size,
                    parts_total=articles,
                    password=password,
                    nzb=packed,
                )
                .returning(*ITEM_COLUMNS)
            ).one()
        return item_of(row)

    def pause(self, ids: Collection[str]) -> list[str]:
        """Pause those of *ids* that can be, at work or not; return their ids."""
        return self._put(ids, State.PAUSED, note="")

    def resume(self, ids: Collection[str]) -> list[str]:
        """Queue those of *ids* that are paused, with all their patience; return their ids."""
        return self._put(ids, State.QUEUED, only=State.PAUSED, note="", attempts=0, not_before=0)

    def remove(self, ids: Collection[str] | None) -> list[str]:
        """Take *ids*, or everything, out of the queue, at work or not; return what was there."""
        gone = before(State.DELETED) & PENDING
        statement = delete(jobs).where(jobs.c.state.in_(gone)).returning(jobs.c.nzo_id)
        if ids is not None:
            statement = statement.where(jobs.c.nzo_id.in_(ids))
        with self._database.begin() as tx:
            return list(tx.scalars(statement))

    def forget(
        self, ids: Collection[str] | None, *, state: State | None = None, archive: bool = False
    ) -> list[str]:
        """Take *ids*, or everything in *state*, out of the history, and their folders of links.

        Releases stay. With *archive* the rows are put out of sight only. Returns the ids that were
        there.
        """
        states = before(State.DELETED) & HISTORY if state is None else {state} & HISTORY
        conditions = [jobs.c.state.in_(states)]
        if ids is not None:
            conditions.append(jobs.c.nzo_id.in_(ids))
        with self._database.begin() as tx:
            remove_links(tx, select(jobs.c.release_id).where(*conditions))
            if archive:
                changed = update(jobs).where(*conditions).values(archived=True)
                gone = list(tx.scalars(changed.returning(jobs.c.nzo_id)))
            else:
                gone = list(tx.scalars(delete(jobs).where(*conditions).returning(jobs.c.nzo_id)))
        self._touch_history()
        return gone

    # What a worker does ----------------------------------------------------------------------

    def claim(self, *, forced_only: bool = False) -> Item | None:
        """Take the next item up: of all that may be worked on now the first in the queue's order.

        However many ask at once, each item goes to one of them. None: there is nothing to do.
        """
        ready = select(jobs.c.nzo_id).where(
            jobs.c.completed.is_(None),
            jobs.c.state == State.QUEUED,
            jobs.c.not_before <= self._clock(),
        )
        if forced_only:
            ready = ready.where(jobs.c.priority == Priority.FORCE)
        # SQLite has one writer at a time and ignores the lock; PostgreSQL's workers step aside.
        first = ready.order_by(*QUEUE_ORDER).limit(1).with_for_update(skip_locked=True)
        claimed = (
            update(jobs)
            .where(jobs.c.nzo_id == first.scalar_subquery(), jobs.c.state == State.QUEUED)
            .values(state=State.ANALYSING)
            .returning(*ITEM_COLUMNS)
        )
        with self._database.begin() as tx:
            row = tx.execute(claimed).one_or_none()
        return None if row is None else item_of(row)

    def next_due(self, *, forced_only: bool = False) -> float | None:
        """Return when the next item that rests may be claimed, None if none does."""
        due = select(func.min(jobs.c.not_before)).where(jobs.c.state == State.QUEUED)
        if forced_only:
            due = due.where(jobs.c.priority == Priority.FORCE)
        with self._database.read() as tx:
            first: float | None = tx.scalar(due)
        return first

    def advance(self, item: Item, after: State) -> Item:
        """Return *item* one step on. Raises LetGo if it is not where the caller left it."""
        with self._database.begin() as tx:
            return _step(tx, item, after)

    def finish(
        self, item: Item, publish: Callable[[Connection], Release], *, size: int, took_s: float
    ) -> Item:
        """Publish the release and complete *item*, or do neither. *publish* gets the transaction.

        The item takes the release's name, and leaves its document to it. Raises LetGo.
        """
        with self._database.begin() as tx:
            release = publish(tx)
            done = _step(
                tx,
                item,
                State.COMPLETED,
                name=release.name,
                release_id=release.id,
                size=size,
                note="",
                completed=self._clock(),
                took_s=took_s,
                nzb=None,
            )
        self._touch_history()
        return done

    def fail(self, item: Item, failure: str, *, took_s: float) -> Item:
        """Return *item* failed for good, with the reason that its history shows. Raises LetGo."""
        with self._database.begin() as tx:
            failed = _step(
                tx,
                item,
                State.FAILED,
                failure=failure,
                note="",
                completed=self._clock(),
                took_s=took_s,
            )
        self._touch_history()
        return failed

    def postpone(self, item: Item, note: str) -> Item:
        """Put *item* back for now: it rests, longer each time, and after a day waits for a person.

        Raises LetGo.
        """
        with self._database.begin() as tx:
            if rested_s(item.attempts) >= PATIENCE_S:
                note = f"paused after {PATIENCE_S // 3_600} hours without an answer: {note}"
                return _step(tx, item, State.PAUSED, note=note)
            return _step(
                tx,
                item,
                State.QUEUED,
                note=note,
                attempts=item.attempts + 1,
                not_before=self._clock() + pause_s(item.attempts),
            )

    def recover(self) -> int:
        """Queue again what a program that died was working on; return how much that was.

        What rests is due at once: whoever starts the program has often just mended a setting.
        To be called before the first worker starts, by the only program that works on the queue.
        """
        with self._database.begin() as tx:
            tx.execute(
                update(jobs)
                .where(jobs.c.state == State.QUEUED, jobs.c.not_before > 0)
                .values(not_before=0)
            )
            return tx.execute(
                update(jobs).where(jobs.c.state.in_(WORKING)).values(state=State.QUEUED)
            ).rowcount

    # What there is ---------------------------------------------------------------------------

    def document(self, item_id: str) -> bytes:
        """Return the NZB of an item that is not completed. Raises StorageError."""
        packed = self._packed(item_id)
        if packed is None:
            raise StorageError(f"there is no NZB of {item_id}")
        return unpack_document(packed)

    def document_size(self, item_id: str) -> int | None:
        """Return the bytes of an item's NZB, None if it is gone."""
        packed = self._packed(item_id)
        return None if packed is None else len(unpack_document(packed))

    def _packed(self, item_id: str) -> bytes | None:
        with self._database.read() as tx:
            packed: bytes | None = tx.scalar(select(jobs.c.nzb).where(jobs.c.nzo_id == item_id))
        return packed

    def queue(self, wanted: Wanted | None = None) -> QueuePage:
        """Return a page of the queue."""
        with self._database.read() as tx:
            return queue_page(tx, wanted or Wanted())

    def history(self, wanted: Wanted | None = None) -> HistoryPage:
        """Return a page of the history."""
        with self._database.read() as tx:
            return history_page(tx, wanted or Wanted(), self._clock())

    def counts(self) -> dict[str, int]:
        """Return how many items stand where, of every state that an item can be found in."""
        with self._database.read() as tx:
            return state_counts(tx)

    @property
    def history_revision(self) -> int:
        """Return a number that grows with every change of the history."""
        return self._revision

    def _put(
        self, ids: Collection[str], after: State, *, only: State | None = None, **values: Any
    ) -> list[str]:
        states = before(after) if only is None else before(after) & {only}
        changed = (
            update(jobs)
            .where(jobs.c.nzo_id.in_(ids), jobs.c.state.in_(states))
            .values(state=after, **values)
            .returning(jobs.c.nzo_id)
        )
        with self._database.begin() as tx:
            return list(tx.scalars(changed))

    def _touch_history(self) -> None:
        # Never lower after a restart: whoever remembers a number must see that it has changed.
        with self._lock:
            self._revision = max(self._revision + 1, int(self._clock()))


def _step(tx: Connection, item: Item, after: State, **values: Any) -> Item:
    if (item.state, after) not in STEPS:
        raise ValueError(f"an item cannot go from {item.state} to {after}")
    row = tx.execute(
        update(jobs)
        .where(jobs.c.nzo_id == item.id, jobs.c.state == item.state)
        .values(state=after, **values)
        .returning(*ITEM_COLUMNS)
    ).one_or_none()
    if row is None:
        raise LetGo
    return item_of(row)
