"""Works the queue off: claims items, has them imported, and writes down how each one ended.

A worker is one thread that holds at most one item. What it does outside of the store's
transactions may be lost at any moment: the item is then found where the last one left it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from sqlalchemy import Connection

from gateway.errors import (
    ArticleDamaged,
    GatewayError,
    ImportFailed,
    StorageError,
    StorageFull,
    StorageGone,
)
from gateway.library.entries import Release
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.download.downloads import Downloads
from gateway_queue.download.meter import Progress
from gateway_queue.importer import Importer
from gateway_queue.item import Item, LetGo, State
from gateway_queue.store import JobStore
from gateway_queue.ticket import Ticket

log = logging.getLogger(__name__)

# A damaged article is a verdict once it came damaged in so many attempts, minutes apart.
_DAMAGE_IS_CERTAIN_AFTER = 3
# How soon an item is looked at again that found no room on the disk, or no disk.
_ROOM_PAUSE_S = 60.0
# How long a worker waits before it tries again what the database refused (a full disk).
_STORAGE_PAUSE_S = 30.0

Step = Callable[[State], None]
Outcome = tuple[Callable[[Connection], Release], int]


class Processor:
    """Works on up to *max_concurrent_items* items at a time, from `start` to `stop`."""

    def __init__(
        self,
        store: JobStore,
        importer: Importer,
        max_concurrent_items: int = 2,
        *,
        downloads: Downloads | None = None,
        connections: Callable[[], str] = str,
        ended: Callable[[Item], object] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take where the items are kept, who imports them, and who downloads them, if anybody.

        *connections* says for the log what the queue may use at the moment; *ended* is called,
        and returns at once, for each item that has become history; *clock* is the store's.
        """
        self._store = store
        self._importer = importer
        self._downloads = downloads
        self._connections = connections
        self._ended = ended
        self._clock = clock
        self._workers = [
            threading.Thread(target=self._work, name=f"queue-{number}", daemon=True)
            for number in range(1, max_concurrent_items + 1)
        ]
        # Under the condition. A worker sleeps only while nothing has changed since it looked;
        # a ticket is in the list exactly while a worker holds its item.
        self._changed = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._tickets: list[tuple[str, Ticket]] = []

    def start(self) -> None:
        """Queue again what an earlier run was working on, and begin to work."""
        recovered = self._store.recover()
        if recovered:
            log.info("[Queue] items that were interrupted and are queued again: %d", recovered)
        if self._downloads is not None:
            self._downloads.sweep(self._store.pending_ids())
        for worker in self._workers:
            worker.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Have every worker put its item back and end; say whether all did within *timeout_s*.

        A worker that hangs in an exchange with a provider is left behind; its item is taken up
        again at the next start. May be called again.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            tickets = [ticket for _, ticket in self._tickets]
        for ticket in tickets:
            ticket.cancel()
        deadline = time.monotonic() + timeout_s
        started = [worker for worker in self._workers if worker.ident is not None]
        for worker in started:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in started)

    @property
    def paused(self) -> bool:
        """Whether only items of the priority Force are taken up."""
        return self._store.rest.is_on

    @property
    def paused_until(self) -> float | None:
        """When a pause will be over by itself, if it is to be."""
        return self._store.rest.until

    def pause(self, for_s: float | None = None) -> None:
        """Take up nothing more but what is forced; what is being worked on goes on.

        For *for_s* seconds, or until `resume`, over restarts too. Raises StorageError.
        """
        self._store.rest.begin(None if for_s is None else self._clock() + for_s)
        self.wake()

    def resume(self) -> None:
        """Take items up again. Raises StorageError."""
        self._store.rest.end()
        self.wake()

    def progress(self, nzo_id: str) -> Progress | None:
        """Return how far an item is, None if nothing was done of it since the start."""
        return None if self._downloads is None else self._downloads.progress(nzo_id)

    def wake(self) -> None:
        """Look at the queue again: something has come, or may be worked on now."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def let_go(self, ids: Collection[str]) -> None:
        """Have the workers drop these items at once: they were paused or deleted."""
        with self._changed:
            held = {nzo_id: ticket for nzo_id, ticket in self._tickets if nzo_id in ids}
        for ticket in held.values():
            ticket.cancel()
        # What is held is looked after by its worker, once it has let go.
        self._discard([nzo_id for nzo_id in ids if nzo_id not in held])

    def _discard(self, ids: Collection[str]) -> None:
        """Remove the downloads of those of *ids* that are in the queue no more."""
        if self._downloads is None or not ids:
            return
        try:
            for nzo_id in set(ids) - self._store.pending_ids(ids):
                self._downloads.discard(nzo_id)
        except StorageError as exc:
            log.error("[Queue] what is left of a download stays until the next start: %s", exc)

    # One worker ------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                seen, stopping = self._changes, self._stopping
            if stopping:
                return
            until = self.paused_until  # before it is asked whether there is a pause: it may end
            paused = self.paused
            try:
                item = self._store.claim(forced_only=paused)
                due = self._store.next_due(forced_only=paused) if item is None else None
                due = _first(due, until)
            except StorageError as exc:
                log.error("[Queue] cannot take up the next item: %s", exc)
                item, due = None, self._clock() + _STORAGE_PAUSE_S
            if item is not None:
                self._take_up(item)
                continue
            timeout_s = None if due is None else max(0.0, due - self._clock())
            with self._changed:
                self._changed.wait_for(self._since(seen), timeout_s)

    def _since(self, seen: int) -> Callable[[], bool]:
        return lambda: self._stopping or self._changes != seen

    def _take_up(self, item: Item) -> None:
        held = (item.id, Ticket())
        with self._changed:
            self._tickets.append(held)
            stopping = self._stopping
        if stopping:
            held[1].cancel()
        try:
            with scope(Reservation(Workload.QUEUE)):
                self._process(item, held[1])
        finally:
            with self._changed:
                self._tickets.remove(held)
            self._discard([item.id])

    def _process(self, item: Item, ticket: Ticket) -> None:
        """Work on *item* to its end, or write down why not."""
        log.info("[Queue] processing '%s': %s", item.name, self._connections())
        store, began = self._store, time.monotonic()

        def took_s() -> float:
            return time.monotonic() - began

        def fail(reason: str) -> None:
            self._write(lambda: store.fail(item, reason, took_s=took_s()), "failed", reason)

        def put_off(reason: str) -> None:
            self._write(lambda: store.postpone(item, reason), "put off", reason)

        def rest(reason: str) -> None:
            self._write(lambda: store.rest_for(item, reason, _ROOM_PAUSE_S), "put off", reason)

        def step(after: State) -> None:
            nonlocal item
            ticket.check()
            item = store.advance(item, after)

        def finish(publish: Callable[[Connection], Release], size: int) -> None:
            ticket.check()
            done = store.finish(item, publish, size=size, took_s=took_s())
            log.info("[Queue] completed '%s' in %.1f s", done.name, took_s())
            self._ended(done)

        try:
            nzb = store.document(item.id)
            if self._downloads is not None and self._downloads.wants(item):
                finish(*self._download(self._downloads, item, nzb, ticket, step))
            else:
                finish(*self._import(item, nzb, ticket, step))
        except LetGo:
            self._write(lambda: store.advance(item, State.QUEUED), "let go of", "not now")
        except ImportFailed as exc:
            fail(str(exc))
        except ArticleDamaged as exc:
            if item.attempts + 1 < _DAMAGE_IS_CERTAIN_AFTER:
                put_off(str(exc))
            else:
                fail(str(exc))
        except (StorageFull, StorageGone) as exc:
            rest(str(exc))
        except GatewayError as exc:
            put_off(str(exc))
        except Exception as exc:
            # A fault of ours must cost neither the worker nor the item.
            log.exception("[Queue] a fault of the gateway befell '%s'", item.name)
            put_off(f"an unexpected error, see the log: {type(exc).__name__}: {exc}")

    def _import(self, item: Item, nzb: bytes, ticket: Ticket, step: Step) -> Outcome:
        """Return what publishes *item* as streams, and its size."""
        plan = self._importer.analyse(item, nzb, ticket)
        step(State.VERIFYING)
        self._importer.verify(plan, ticket)
        return self._importer.publisher(plan), plan.size

    def _download(
        self, downloads: Downloads, item: Item, nzb: bytes, ticket: Ticket, step: Step
    ) -> Outcome:
        """Return what publishes *item*, which is on the disk by then, and its size."""
        with downloads.job(item, nzb) as job:
            job.analyse(ticket)
            step(State.VERIFYING)
            job.verify(ticket)
            step(State.DOWNLOADING)
            job.download(ticket)
            step(State.REPAIRING)
            job.repair(ticket)
            step(State.UNPACKING)
            job.unpack(ticket)
            ticket.check()
            return downloads.landing.land(job, nzb)

    def _write(self, step: Callable[[], Item], verb: str, reason: str) -> None:
        """Take the item's last *step*, however long the database refuses it, and tell the log."""
        while True:
            with self._changed:
                seen = self._changes
            try:
                item = step()
            except LetGo:
                return  # somebody else has decided about it meanwhile
            except StorageError as exc:
                log.error("[Queue] cannot write down how an item ended: %s", exc)
                with self._changed:
                    # Something new in the queue means that it can be written to again.
                    self._changed.wait_for(self._since(seen), _STORAGE_PAUSE_S)
                    if self._stopping:
                        return
            else:
                log.warning("[Queue] %s '%s': %s", verb, item.name, reason)
                if item.state is State.FAILED:
                    self._ended(item)
                return


def _first(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
