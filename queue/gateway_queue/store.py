"""The jobs of the queue, as the database keeps them.

Every step is one transaction that begins by making sure that the item still stands where the
caller believes it to; so a crash between two steps loses nothing, and of two who want the same
item one gets it. What is added is on the disk before the caller hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, func, select, update

from gateway.errors import StorageError
from gateway.library.entries import Release
from gateway.library.packing import unpack_document
from gateway.library.schema import jobs
from gateway_queue.asked import Asked
from gateway_queue.item import (
    PATIENCE_S,
    PENDING,
    STEPS,
    WORKING,
    Item,
    LetGo,
    Priority,
    State,
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
    history_poll,
    is_due,
    item_of,
    queue_page,
    state_counts,
)


class JobStore(Asked):
    """The queue and the history. Safe to use from any thread."""

    # What a worker does ----------------------------------------------------------------------

    def claim(self, *, forced_only: bool = False) -> Item | None:
        """Take the next item up: of all that may be worked on now the first in the queue's order.

        However many ask at once, each item goes to one of them. None: there is nothing to do.
        """
        ready = select(jobs.c.nzo_id).where(
            jobs.c.completed.is_(None),
            jobs.c.state == State.QUEUED,
            is_due(self.clock()),
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
        with self.database.begin() as tx:
            row = tx.execute(claimed).one_or_none()
        return None if row is None else item_of(row)

    def next_due(self, *, forced_only: bool = False) -> float | None:
        """Return when the next item that rests may be claimed, None if none does."""
        due = select(func.min(jobs.c.not_before)).where(jobs.c.state == State.QUEUED)
        if forced_only:
            due = due.where(jobs.c.priority == Priority.FORCE)
        with self.database.read() as tx:
            first: float | None = tx.scalar(due)
        return first

    def advance(self, item: Item, after: State) -> Item:
        """Return *item* one step on. Raises LetGo if it is not where the caller left it."""
        with self.database.begin() as tx:
            return _step(tx, item, after)

    def finish(
        self, item: Item, publish: Callable[[Connection], Release], *, size: int, took_s: float
    ) -> Item:
        """Publish the release and complete *item*, or do neither. *publish* gets the transaction.

        The item takes the release's name, and leaves its document to it. Raises LetGo.
        """
        with self.database.begin() as tx:
            release = publish(tx)
            done = _step(
                tx,
                item,
                State.COMPLETED,
                name=release.name,
                release_id=release.id,
                size=size,
                note="",
                completed=self.clock(),
                took_s=took_s,
                nzb=None,
            )
        self.touch_history()
        return done

    def fail(self, item: Item, failure: str, *, took_s: float) -> Item:
        """Return *item* failed for good, with the reason that its history shows. Raises LetGo."""
        with self.database.begin() as tx:
            failed = _step(
                tx,
                item,
                State.FAILED,
                failure=failure,
                note="",
                completed=self.clock(),
                took_s=took_s,
            )
        self.touch_history()
        return failed

    def postpone(self, item: Item, note: str) -> Item:
        """Put *item* back for now: it rests, longer each time, and after a day waits for a person.

        Raises LetGo.
        """
        with self.database.begin() as tx:
            if rested_s(item.attempts) >= PATIENCE_S:
                note = f"paused after {PATIENCE_S // 3_600} hours without an answer: {note}"
                return _step(tx, item, State.PAUSED, note=note)
            return _step(
                tx,
                item,
                State.QUEUED,
                note=note,
                attempts=item.attempts + 1,
                not_before=self.clock() + pause_s(item.attempts),
            )

    def rest_for(self, item: Item, note: str, pause_s: float) -> Item:
        """Put *item* back for so long; it loses no patience, as nobody has failed it.

        Raises LetGo.
        """
        with self.database.begin() as tx:
            not_before = self.clock() + pause_s
            return _step(tx, item, State.QUEUED, note=note, not_before=not_before)

    def recover(self) -> int:
        """Queue again what a program that died was working on; return how much that was.

        What rests is due at once: whoever starts the program has often just mended a setting.
        To be called before the first worker starts, by the only program that works on the queue.
        """
        with self.database.begin() as tx:
            tx.execute(
                update(jobs)
                .where(jobs.c.completed.is_(None), jobs.c.not_before > 0)
                .values(not_before=0)
            )
            return tx.execute(
                update(jobs).where(jobs.c.state.in_(WORKING)).values(state=State.QUEUED)
            ).rowcount

    # What there is ---------------------------------------------------------------------------

    def pending_ids(self, ids: Collection[str] | None = None) -> set[str]:
        """Return those of *ids*, or of all, that are in the queue, at work or not."""
        query = select(jobs.c.nzo_id).where(jobs.c.state.in_(PENDING))
        if ids is not None:
            query = query.where(jobs.c.nzo_id.in_(ids))
        with self.database.read() as tx:
            return set(tx.scalars(query))

    def document(self, item_id: str) -> bytes:
        """Return the NZB of an item that is not completed. Raises StorageError."""
        with self.database.read() as tx:
            packed: bytes | None = tx.scalar(select(jobs.c.nzb).where(jobs.c.nzo_id == item_id))
        if packed is None:
            raise StorageError(f"there is no NZB of {item_id}")
        return unpack_document(packed)

    def queue(self, wanted: Wanted | None = None) -> QueuePage:
        """Return a page of the queue."""
        with self.database.read() as tx:
            return queue_page(tx, wanted or Wanted())

    def history(self, wanted: Wanted | None = None) -> HistoryPage:
        """Return a page of the history."""
        with self.database.read() as tx:
            return history_page(tx, wanted or Wanted())

    def poll(self, wanted: Wanted, *, unlinked: Collection[str], whole: bool) -> HistoryPage:
        """Return the first page of the history as an *arr wants it; see `history_poll`."""
        with self.database.read() as tx:
            return history_poll(tx, wanted, unlinked=unlinked, whole=whole)

    def counts(self) -> dict[str, int]:
        """Return how many items stand where, of every state that an item can be found in."""
        with self.database.read() as tx:
            return state_counts(tx)


def _step(tx: Connection, item: Item, after: State, **values: Any) -> Item:
    if (item.state, after) not in STEPS:
        raise ValueError(f"an item cannot go from {item.state} to {after}")
    standing = [jobs.c.nzo_id == item.id, jobs.c.state == item.state]
    if after in WORKING or after is State.COMPLETED:
        # Work that was begun for another name or category is begun again.
        standing += [jobs.c.name == item.name, jobs.c.category == item.category]
    row = tx.execute(
        update(jobs).where(*standing).values(state=after, **values).returning(*ITEM_COLUMNS)
    ).one_or_none()
    if row is None:
        raise LetGo
    return item_of(row)
