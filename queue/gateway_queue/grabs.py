"""Items whose NZB is yet to be fetched from an address, as the database keeps them (`Grabs`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, update

from gateway.library.packing import pack_document
from gateway.library.schema import jobs
from gateway_queue.item import PATIENCE_S, Item, LetGo, State, pause_s, rested_s
from gateway_queue.listing import ITEM_COLUMNS, QUEUE_ORDER, is_due, item_of
from gateway_queue.reading import Reading
from gateway_queue.store import JobStore


class Grabs:
    """What is GRABBING in *store*. Every step raises LetGo if somebody has taken the item away."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def next(self, held: Collection[str]) -> Item | None:
        """Return what is to be fetched next, and is not *held* already; None: there is nothing."""
        due = _grabbing(jobs.c.nzo_id.not_in(held), is_due(self._store.clock()))
        with self._store.database.read() as tx:
            row = tx.execute(
                select(*ITEM_COLUMNS).where(*due).order_by(*QUEUE_ORDER).limit(1)
            ).one_or_none()
        return None if row is None else item_of(row)

    def next_due(self, held: Collection[str]) -> float | None:
        """Return when the next item may be fetched that is not *held*, None if there is none."""
        waiting = _grabbing(jobs.c.nzo_id.not_in(held))
        with self._store.database.read() as tx:
            first: float | None = tx.scalar(select(func.min(jobs.c.not_before)).where(*waiting))
        return first

    def done(self, item: Item, document: bytes, read: Reading) -> Item:
        """Queue *item*, whose NZB has come, and says what was *read*.

        The name that it was given stays; else it takes the one that the NZB came under.
        """
        return self._step(
            item,
            state=State.QUEUED,
            filename=read.filename,
            name=case((jobs.c.filename == "", read.name), else_=jobs.c.name),
            size=read.size,
            parts_total=read.articles,
            posted=read.posted,
            password=item.password or read.password,
            note="",
            attempts=0,
            not_before=0,
            nzb_bytes=len(document),
            nzb=pack_document(document),
        )

    def fail(self, item: Item, failure: str) -> Item:
        """Put *item* into the history: there is no NZB at its address."""
        failed = self._step(
            item,
            state=State.FAILED,
            failure=failure,
            note="",
            completed=self._store.clock(),
            took_s=0.0,
        )
        self._store.touch_history()
        return failed

    def postpone(self, item: Item, note: str) -> Item:
        """Let *item* rest, longer each time; after a day it waits for a person."""
        if rested_s(item.attempts) >= PATIENCE_S:
            note = f"paused after {PATIENCE_S // 3_600} hours without an answer: {note}"
            return self._step(item, state=State.PAUSED, note=note)
        not_before = self._store.clock() + pause_s(item.attempts)
        return self._step(item, note=note, attempts=item.attempts + 1, not_before=not_before)

    def _step(self, item: Item, **values: Any) -> Item:
        statement = update(jobs).where(*_grabbing(jobs.c.nzo_id == item.id)).values(**values)
        with self._store.database.begin() as tx:
            row = tx.execute(statement.returning(*ITEM_COLUMNS)).one_or_none()
        if row is None:
            raise LetGo
        return item_of(row)


def _grabbing(*conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    return (jobs.c.completed.is_(None), jobs.c.state == State.GRABBING, *conditions)
