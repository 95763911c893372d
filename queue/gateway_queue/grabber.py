"""Fetches the NZBs of items that were added by their address (`Grabber`)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from gateway.errors import NotXml, StorageError
from gateway_queue.addresses import AddressRefused
from gateway_queue.fetching import Fetcher, NotNow, NotThere
from gateway_queue.grabs import Grabs
from gateway_queue.item import Item, LetGo, State
from gateway_queue.reading import read

log = logging.getLogger(__name__)

_WORKERS = 3  # a slow indexer keeps one
_STORAGE_PAUSE_S = 30.0


class Grabber:
    """Fetches what waits in *grabs*, from `start` to `stop`; *fetched* is called for each NZB."""

    def __init__(
        self,
        grabs: Grabs,
        fetcher: Fetcher,
        fetched: Callable[[], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._grabs = grabs
        self._fetcher = fetcher
        self._fetched = fetched
        self._clock = clock
        # Under the condition. An item is held exactly while a worker fetches it.
        self._changed = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._held: set[str] = set()
        self._workers = [
            threading.Thread(target=self._work, name=f"grab-{number}", daemon=True)
            for number in range(1, _WORKERS + 1)
        ]

    def start(self) -> None:
        """Begin to fetch."""
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Look again: something was added, or may be fetched now."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Have every worker end; say whether all did within *timeout_s*. May be called again.

        One that waits for a silent server is left behind; the item is fetched at the next start.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_s
        started = [worker for worker in self._workers if worker.ident is not None]
        for worker in started:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in started)

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                seen, held = self._changes, set(self._held)
            item, due = self._next(held)
            with self._changed:
                if item is None:
                    timeout_s = None if due is None else max(0.0, due - self._clock())
                    self._changed.wait_for(self._since(seen), timeout_s)
                    continue
                if item.id in self._held:
                    continue  # another worker was faster
                self._held.add(item.id)
            try:
                self._grab(item)
            finally:
                with self._changed:
                    self._held.discard(item.id)

    def _since(self, seen: int) -> Callable[[], bool]:
        return lambda: self._stopping or self._changes != seen

    def _next(self, held: set[str]) -> tuple[Item | None, float | None]:
        """Return what to fetch now, or when to look again."""
        try:
            item = self._grabs.next(held)
            return item, None if item is not None else self._grabs.next_due(held)
        except StorageError as exc:
            log.error("[Queue] cannot take up what is to be fetched: %s", exc)
            return None, self._clock() + _STORAGE_PAUSE_S

    def _grab(self, item: Item) -> None:
        try:
            self._fetch(item)
        except LetGo:
            return  # somebody else has decided about it meanwhile
        except StorageError as exc:
            log.error("[Queue] cannot write down what was fetched of '%s': %s", item.name, exc)
            self._rest()
        except Exception:
            # A fault of ours must cost neither the worker nor the item.
            log.exception("[Queue] a fault of the gateway befell '%s'", item.name)
            self._rest()

    def _fetch(self, item: Item) -> None:
        try:
            found = self._fetcher.fetch(item.url or "", check=self._check)
            done = self._grabs.done(
                item, found.document, read(found.document, filename=found.filename)
            )
        except (AddressRefused, NotThere, NotXml) as exc:
            self._grabs.fail(item, f"the NZB was not fetched: {exc}")
            log.warning("[Queue] failed '%s': the NZB was not fetched: %s", item.name, exc)
        except NotNow as exc:
            later = self._grabs.postpone(item, f"the NZB was not fetched: {exc}")
            verb = "paused" if later.state is State.PAUSED else "put off"
            log.warning("[Queue] %s '%s': the NZB was not fetched: %s", verb, item.name, exc)
        else:
            log.info("[Queue] fetched '%s': %d bytes", done.name, len(found.document))
            self._fetched()

    def _check(self) -> None:
        if self._stopping:
            raise LetGo

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, _STORAGE_PAUSE_S)
