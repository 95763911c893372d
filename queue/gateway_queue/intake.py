"""The queue as everybody sees it who is no worker: where NZBs are handed in and looked after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gateway.errors import NotXml
from gateway.library.ports import QueuedDocument
from gateway.nzb.names import filename_password, job_name, numbered, safe_name
from gateway_queue.addresses import address
from gateway_queue.download.meter import Progress
from gateway_queue.item import Priority, State
from gateway_queue.listing import HistoryPage, QueuePage, Wanted
from gateway_queue.order import Order
from gateway_queue.processor import Processor
from gateway_queue.reading import Reading, read
from gateway_queue.store import JobStore

# SABnzbd's Paused, Duplicate (held until somebody has looked at it) and Stop (worked on no more).
_PAUSING = frozenset({-2, -3, -4})
_URGENCIES = frozenset(Priority)


class Queue:
    """Keeps the store and its workers in step; implements `gateway.library.ports.Intake`."""

    def __init__(
        self, store: JobStore, processor: Processor, *, grab: Callable[[], None] = lambda: None
    ) -> None:
        """Take where the items are kept and who works on them.

        *grab* is called when there is something to be fetched.
        """
        self._store = store
        self._processor = processor
        self._order = Order(store.database)
        self._added = grab

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
        said = read(document, filename=filename, name=name)
        urgency, paused = urgency_of(priority)
        item = self._store.add(
            document,
            name=said.name,
            filename=said.filename,
            category=safe_name(category),
            priority=urgency,
            paused=paused,
            password=password or said.password,
            size=said.size,
            articles=said.articles,
            posted=said.posted,
        )
        self._processor.wake()
        return item.id

    def take(self, document: bytes, *, nzo_id: str, filename: str, category: str) -> bool:
        """Queue *document*, whatever it is, under an id that was chosen for it; once.

        What is no NZB fails in the history; says whether it is one. It is committed.
        """
        try:
            said = read(document, filename=filename)
        except NotXml:
            said = Reading(job_name(filename), safe_name(filename))
        self._store.add(
            document,
            name=said.name,
            filename=said.filename,
            category=safe_name(category),
            password=said.password,
            size=said.size,
            articles=said.articles,
            posted=said.posted,
            nzo_id=nzo_id,
        )
        self._processor.wake()
        return said.articles > 0

    def add_url(
        self,
        url: str,
        *,
        category: str,
        priority: int = 0,
        password: str | None = None,
        name: str | None = None,
    ) -> str:
        """Queue what is to be fetched from *url*; return its id. It is committed.

        Raises AddressRefused for what is no address of http or https.
        """
        checked = address(url)
        urgency, paused = urgency_of(priority)
        item = self._store.add(
            None,
            name=job_name(name or checked.filename),
            filename=f"{job_name(name)}.nzb" if name else "",
            category=safe_name(category),
            priority=urgency,
            paused=paused,
            password=password or filename_password(name or ""),
            url=url,
        )
        self._added()
        return item.id

    def retry(
        self,
        ids: Collection[str] | None,
        *,
        document: bytes | None = None,
        filename: str = "",
        password: str | None = None,
    ) -> dict[str, str]:
        """Queue what failed again, *ids* or all, with another *document* or as it was.

        Returns the new id of each by its old one. Raises NotXml, and then nothing has changed.
        """
        other = None if document is None else (document, read(document, filename=filename))
        retried = self._store.retry(ids, document=other, password=password)
        self._processor.wake()
        self._added()
        return retried

    def pending(self, category: str) -> Sequence[QueuedDocument]:
        """Return what *category* has in the queue, in the queue's order; no two of one name."""
        items = self._store.queue(Wanted(categories=[category])).items
        taken: set[str] = set()
        found = []
        for item in items:
            if item.nzb_bytes is None:
                continue  # it has not come yet
            name, number = item.filename, 2
            while name in taken:
                name, number = numbered(item.filename, number), number + 1
            taken.add(name)
            document = QueuedDocument(item.id, name, item.category, item.nzb_bytes, item.added)
            found.append(document)
        return found

    def remove(self, nzo_id: str) -> bool:
        """Take an item out of the queue, at work or not; False if there is none of that id."""
        return bool(self.remove_all([nzo_id]))

    def remove_all(self, ids: Collection[str] | None, *, search: str | None = None) -> list[str]:
        """Take *ids*, or everything, out of the queue; return the ids of what was there.

        Only what has *search* in its name, if that is given.
        """
        gone = self._store.remove(ids, search=search)
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
        self._added()
        return resumed

    def move(self, nzo_id: str, place: str | int) -> tuple[int, Priority] | None:
        """Move an item to the place of another one, or to that number; see `Order.move`."""
        moved = self._order.move(nzo_id, place)
        self._processor.wake()
        return moved

    def prioritize(self, ids: Sequence[str], priority: int) -> int:
        """Give items another of SABnzbd's priorities; return the place of the last one, or -1."""
        urgency, paused = urgency_of(priority)
        if paused:
            self.pause(ids)
        place = self._order.prioritize(ids, urgency)
        self._processor.wake()
        return place

    def sort(self, by: str, *, descending: bool) -> None:
        """Sort each priority by one of `order.SORTS`."""
        self._order.sort(by, descending=descending)

    def rename(self, nzo_id: str, name: str, password: str | None = None) -> bool:
        """Give an item another name, and a password if one is given; False if it is not there."""
        found = self._order.rename(nzo_id, job_name(name), password or filename_password(name))
        if found:
            self._processor.let_go([nzo_id])
        return found

    def categorize(self, ids: Collection[str], category: str) -> list[str]:
        """Put items into another category; return the ids of those that are there."""
        changed = self._order.categorize(ids, safe_name(category))
        self._processor.let_go(changed)
        return changed

    def document(self, nzo_id: str) -> bytes:
        """Return the NZB of an item that is not completed. Raises StorageError."""
        return self._store.document(nzo_id)

    @property
    def paused(self) -> bool:
        """Whether the whole queue rests but for what is forced."""
        return self._processor.paused

    @property
    def pause_left_s(self) -> float | None:
        """For how long the queue still rests; None: until it is resumed, or it does not rest."""
        until = self._processor.paused_until
        return None if until is None else max(0.0, until - self._store.clock())

    def pause_all(self, for_s: float | None = None) -> None:
        """Have the whole queue rest, for *for_s* seconds or until it is resumed."""
        self._processor.pause(for_s)

    def resume_all(self) -> None:
        """Work on the queue again."""
        self._processor.resume()

    def page(self, wanted: Wanted) -> QueuePage:
        """Return a page of the queue."""
        return self._store.queue(wanted)

    def progress(self, nzo_id: str) -> Progress | None:
        """Return how far an item is, None if nothing was done of it since the start."""
        return self._processor.progress(nzo_id)

    def history(self, wanted: Wanted) -> HistoryPage:
        """Return a page of the history."""
        return self._store.history(wanted)

    def poll(self, wanted: Wanted, *, unlinked: Collection[str], whole: bool) -> HistoryPage:
        """Return the first page of the history, what is still to be imported before the rest.

        *whole*: none of that is left out, whatever the limit. Categories in *unlinked* have no
        links by which it could be told.
        """
        return self._store.poll(wanted, unlinked=unlinked, whole=whole)

    @property
    def history_revision(self) -> int:
        """Return a number that grows with every change of the history."""
        return self._store.history_revision

    def forget(
        self,
        ids: Collection[str] | None,
        *,
        state: State | None = None,
        search: str | None = None,
        archive: bool = False,
    ) -> list[str]:
        """Take *ids*, or everything in *state*, out of the history; every release stays."""
        return self._store.forget(ids, state=state, search=search, archive=archive)


def urgency_of(number: int) -> tuple[Priority, bool]:
    """Return what SABnzbd's *number* for a priority means: the priority, and whether to pause.

    Its Default (-100) and what it does not know are Normal here; Paused, Duplicate and Stop pause.
    """
    if number in _PAUSING:
        return Priority.NORMAL, True
    return (Priority(number) if number in _URGENCIES else Priority.NORMAL), False
