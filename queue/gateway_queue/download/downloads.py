"""All downloads of the queue: where they lie, how far they are, how they end (`Downloads`)."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from gateway.errors import StorageError
from gateway.library.catalogue import Library
from gateway.streams.source import Articles
from gateway_queue.category import CategoryRules, Storage, rules_of
from gateway_queue.download.job import UNPACKED, Job
from gateway_queue.download.journal import landing_of
from gateway_queue.download.landing import Landing
from gateway_queue.download.meter import Meter, Progress
from gateway_queue.download.transfer import RESERVE
from gateway_queue.download.unpacker import Unpack
from gateway_queue.item import Item
from gateway_queue.unpacking.workroom import remove

log = logging.getLogger(__name__)

_OURS = re.compile(r"SABnzbd_nzo_[a-z0-9]{12}")


class Downloads:
    """The downloads in *incomplete*, which end in *complete*. One for all workers."""

    def __init__(
        self,
        source: Articles,
        library: Library,
        incomplete: Path,
        complete: Path,
        unpack: Unpack,
        *,
        rules: Mapping[str, CategoryRules],
        providers: int,
        connections: Callable[[], int],
        patience_s: float = 60.0,
        reserve: int = RESERVE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what they need; both folders are on one file system, or items wait for their disk.

        *reserve* bytes of the disk stay free.
        """
        self.landing = Landing(complete, library, rules, clock)
        self._rules = rules
        self._source = source
        self._incomplete = incomplete
        self._unpack = unpack
        self._providers = providers
        self._connections = connections
        self._patience_s = patience_s
        self._reserve = reserve
        self._lock = threading.Lock()
        self._meters: dict[str, Meter] = {}
        self._rested: dict[str, Progress] = {}  # of items that are to be gone on with

    def wants(self, item: Item) -> bool:
        """Say whether *item* is to be downloaded: its category says so."""
        return rules_of(self._rules, item.category).storage is Storage.DOWNLOAD

    @contextmanager
    def job(self, item: Item, nzb: bytes) -> Iterator[Job]:
        """Give the download of *item*, begun or gone on with. See Job for what it raises."""
        meter = Meter()
        with (
            Job(
                item,
                nzb,
                self._incomplete / item.id,
                self._source,
                meter,
                self._unpack,
                providers=self._providers,
                connections=self._connections,
                patience_s=self._patience_s,
                reserve=self._reserve,
            ) as job,
            self._metered(item.id, meter),
        ):
            yield job

    @contextmanager
    def _metered(self, nzo_id: str, meter: Meter) -> Iterator[None]:
        with self._lock:
            self._meters[nzo_id] = meter
        try:
            yield
        finally:
            how_far = replace(meter.progress(), speed=0.0)
            with self._lock:
                del self._meters[nzo_id]
                self._rested[nzo_id] = how_far

    def progress(self, nzo_id: str) -> Progress | None:
        """Return how far an item is, None if nothing was done of it since the start."""
        with self._lock:
            meter = self._meters.get(nzo_id)
            return self._rested.get(nzo_id) if meter is None else meter.progress()

    @property
    def speed(self) -> float:
        """Return the bytes of data that come in a second, of all downloads together."""
        with self._lock:
            meters = list(self._meters.values())
        return sum(meter.progress().speed for meter in meters)

    def discard(self, nzo_id: str) -> None:
        """Remove what there is of an item that is not worked on any more; its release stays."""
        with self._lock:
            self._rested.pop(nzo_id, None)
        folder = self._incomplete / nzo_id
        if not _OURS.fullmatch(nzo_id) or not folder.is_dir():
            return
        try:
            # While it is still here it has landed nowhere, whatever was planned.
            if not (folder / UNPACKED).exists():
                self.landing.take_back(landing_of(folder / "journal"))
        except StorageError as exc:
            log.error("[Queue] cannot tell whether a download is in the library: %s", exc)
            return  # looked at again at the next start
        # Before `unpacked`, without which a place that was only tried would pass for its own.
        with suppress(OSError):
            (folder / "journal").unlink(missing_ok=True)
        remove(folder)

    def sweep(self, pending: Collection[str]) -> None:
        """Remove what is left of items that are not *pending*: they ended when the program did."""
        if not self._incomplete.is_dir():
            return  # its disk is away
        for folder in self._incomplete.iterdir():
            if _OURS.fullmatch(folder.name) and folder.name not in pending:
                self.discard(folder.name)
