"""The drop folder: NZBs that are put there are queued.

    <folder>/<name>.nzb                without a category
    <folder>/<category>/<name>.nzb

A file is taken once it has stayed the same between two looks and is a whole NZB, or has stayed
the same for a minute, whatever it is. Then, in this order: it gets a name with the id of its item
to be; the item is added under that id, unless there is one; the file is removed, or if it is no
NZB, set aside. Who dies between two of these steps loses nothing and queues nothing twice.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.errors import InvalidNzb, StorageError
from gateway.nzb import document as nzb
from gateway_queue import dropped
from gateway_queue.dropped import Dropped

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
# What is no whole NZB may still be on its way, until it has not changed for so long.
_PATIENCE_S = 60.0


class Intake(Protocol):
    """`gateway_queue.intake.Queue`, as far as it is needed here."""

    def take(self, document: bytes, *, nzo_id: str, filename: str, category: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file that has looked like *mark* since then; *whole*: and is an NZB to its end."""

    mark: tuple[int, int, int]
    since: float
    whole: bool | None = None


class DropFolder:
    """Looks into *folder* every few seconds, from `start` to `stop`.

    *category* gives for the name of a folder in it, None for none, the category that it means.
    """

    def __init__(
        self,
        folder: Path,
        intake: Intake,
        category: Callable[[str | None], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._intake = intake
        self._category = category
        self._clock = clock
        self._seen: dict[Path, _Seen] = {}
        self._complained: dict[Path, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="drop-folder", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Look no more; what is being queued is queued first."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def look(self) -> None:
        """Take what is complete, and go on with what an earlier look has begun."""
        try:
            found = dropped.listing(self._folder)
        except OSError as exc:
            self._complain(self._folder, f"cannot be read: {exc.strerror}")
            return
        there = {one.put for one in found.files} | set(found.links)
        self._seen = {path: seen for path, seen in self._seen.items() if path in there}
        self._complained = {path: why for path, why in self._complained.items() if path in there}
        for link in found.links:
            self._complain(link, "is a symbolic link: put the file itself there")
        for one in found.files:
            if self._stopping.is_set():
                return
            try:
                if one.nzo_id is not None:
                    self._queue(one, one.nzo_id)
                elif self._is_complete(one.path):
                    taken = dropped.take(one)
                    assert taken.nzo_id is not None
                    self._queue(taken, taken.nzo_id)
            except OSError as exc:
                self._complain(one.put, f"cannot be taken: {exc.strerror or exc}")
            except StorageError as exc:
                self._complain(one.put, f"cannot be queued yet: {exc}")
            except Exception as exc:
                # A fault of ours with one file must not keep the others from being queued.
                if self._is_news(one.put, type(exc).__name__):
                    log.exception("a fault of the gateway befell %s", one.put)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:
                log.exception("a fault of the gateway befell the drop folder")
            self._stopping.wait(LOOK_EVERY_S)

    def _is_complete(self, path: Path) -> bool:
        now, mark, seen = self._clock(), dropped.mark(path), self._seen.get(path)
        if mark is None:
            self._seen.pop(path, None)
            return False
        if seen is None or seen.mark != mark:
            self._seen[path] = _Seen(mark, now)
            return False
        if now - seen.since >= _PATIENCE_S:
            return True
        if seen.whole is None:  # asked once for each state of the file: parsing takes its time
            seen = _Seen(mark, seen.since, _is_whole(dropped.read(path), path.name))
            self._seen[path] = seen
        return bool(seen.whole)

    def _queue(self, one: Dropped, nzo_id: str) -> None:
        """Add the items of *one*, which is taken, unless they were added already."""
        content = dropped.read(one.path)
        category = self._category(one.category)
        good = True
        for number, (name, document) in enumerate(dropped.documents(content, one.name)):
            given = nzo_id if number == 0 else _further(nzo_id, number)
            good &= self._intake.take(document, nzo_id=given, filename=name, category=category)
        if good:
            one.path.unlink()
            log.info("queued %r of the drop folder", one.name)
        else:
            aside = dropped.set_aside(one)
            log.warning("%r of the drop folder is no NZB: it is %r now", one.name, aside.name)

    def _complain(self, path: Path, why: str) -> None:
        """Tell the log once what keeps *path* from being queued."""
        if self._is_news(path, why):
            log.warning("the drop folder: %s %s", path, why)

    def _is_news(self, path: Path, why: str) -> bool:
        before = self._complained.get(path)
        self._complained[path] = why
        return before != why


def _is_whole(content: bytes, name: str) -> bool:
    try:
        return all(
            not nzb.parse(document, filename=filename).is_cut
            for filename, document in dropped.documents(content, name)
        )
    except InvalidNzb:
        return False


def _further(nzo_id: str, number: int) -> str:
    """Return the id of a further item of one file: the same each time."""
    digest = hashlib.sha256(f"{nzo_id} {number}".encode()).hexdigest()[:12]
    return f"{nzo_id.rpartition('_')[0]}_{digest}"
