"""The queue as everybody sees it who is no worker: where NZBs are handed in and looked after."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

from gateway.errors import InvalidNzb, NotXml
from gateway.library.ports import QueuedDocument
from gateway.nzb import document as nzb
from gateway.nzb.names import filename_password, job_name, numbered, safe_name
from gateway_queue.item import Priority, State
from gateway_queue.listing import HistoryPage, QueuePage, Wanted
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore

# SABnzbd's number for an item that is added paused; what else is unknown is Normal.
PAUSED_PRIORITY = -2


class Queue:
    """Keeps the store and its workers in step; implements `gateway.library.ports.Intake`."""

    def __init__(self, store: JobStore, processor: Processor) -> None:
        self._store = store
        self._processor = processor
        # It takes unpacking the document, so once: ids are never used again.
        self._document_size = lru_cache(maxsize=4096)(store.document_size)

    def add(
        self,
        document: bytes,
        *,
        filename: str,
        category: str,
        priority: int = 0,
        password: str | None = None,
        name: str | None = None,
    ) -> str:
        """Queue *document* under *name*, or what *filename* says; return its id. It is committed.

        A document that is XML but no usable NZB is taken, and fails in the history. Raises
        NotXml for anything else, StorageFull when the disk is full.
        """
        size = articles = 0
        try:
            parsed = nzb.parse(document, filename=filename)
        except NotXml:
            raise
        except InvalidNzb:
            pass  # its words belong into the history, where an *arr finds them
        else:
            size, articles = parsed.size, parsed.parts
        urgency = Priority(priority) if priority in set(Priority) else Priority.NORMAL
        item = self._store.add(
            document,
            name=job_name(name or filename),
            filename=safe_name(filename),
            category=safe_name(category),
            priority=urgency,
            paused=priority == PAUSED_PRIORITY,
            password=password or filename_password(name or ""),
            size=size,
            articles=articles,
        )
        self._processor.wake()
        return item.id

    def pending(self, category: str) -> Sequence[QueuedDocument]:
        """Return what *category* has in the queue, in the queue's order; no two of one name."""
        items = self._store.queue(Wanted(category=category)).items
        taken: set[str] = set()
        found = []
        for item in items:
            name, number = item.filename, 2
            while name in taken:
                name, number = numbered(item.filename, number), number + 1
            taken.add(name)
            size = self._document_size(item.id)
            if size is not None:
                found.append(QueuedDocument(item.id, name, item.category, size, item.added))
        return found

    def remove(self, nzo_id: str) -> bool:
        """Take an item out of the queue, at work or not; False if there is none of that id."""
        return bool(self.remove_all([nzo_id]))

    def remove_all(self, ids: Collection[str] | None) -> list[str]:
        """Take *ids*, or everything, out of the queue; return the ids of what was there."""
        gone = self._store.remove(ids)
        self._processor.let_go(gone)
        return gone

    def pause(self, ids: Collection[str]) -> list[str]:
        """Pause items, at work or not; return the ids of those that are paused now."""
        paused = self._store.pause(ids)
        self._processor.let_go(paused)
        return paused

    def resume(self, ids: Collection[str]) -> list[str]:
        """Queue paused items again; return their ids."""
        resumed = self._store.resume(ids)
        self._processor.wake()
        return resumed

    @property
    def paused(self) -> bool:
        """Whether the whole queue rests but for what is forced."""
        return self._processor.paused

    def pause_all(self) -> None:
        """Have the whole queue rest, until the program ends or it is resumed."""
        self._processor.pause()

    def resume_all(self) -> None:
        """Work on the queue again."""
        self._processor.resume()

    def page(self, wanted: Wanted) -> QueuePage:
        """Return a page of the queue."""
        return self._store.queue(wanted)

    def history(self, wanted: Wanted) -> HistoryPage:
        """Return a page of the history."""
        return self._store.history(wanted)

    @property
    def history_revision(self) -> int:
        """Return a number that grows with every change of the history."""
        return self._store.history_revision

    def forget(
        self, ids: Collection[str] | None, *, state: State | None = None, archive: bool = False
    ) -> list[str]:
        """Take *ids*, or everything in *state*, out of the history; every release stays."""
        return self._store.forget(ids, state=state, archive=archive)
