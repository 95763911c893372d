"""The holes that readers meet, on their way into the records of checks: `HoleSink`.

Readers leave them here and go on. One thread writes them down, and has the file checked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.errors import NotInLibrary, StorageError
from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway_queue.health import damage_of

log = logging.getLogger(__name__)

# Beyond so many nothing is kept: the check that the first of them brings about finds the others.
_FILES, _PARTS = 1_000, 2_000
# How long nothing is tried again that the database refused, or that failed by a fault of ours.
_PAUSE_S = 30.0

_Part = tuple[int, int]


class MetHoles:
    """What readers have met: see `gateway.library.ports.HoleSink`.

    *check_soon* is called with each file that has a hole which was not known.
    """

    # Under the condition. What waits to be written has been told; a file that was checked is
    # forgotten, since what is met in it from then on is news.

    def __init__(
        self,
        library: Library,
        records: CheckRecords,
        check_soon: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._library = library
        self._records = records
        self._check_soon = check_soon
        self._clock = clock
        self._changed = threading.Condition()
        self._told: OrderedDict[str, set[_Part]] = OrderedDict()
        self._waiting: dict[str, set[_Part]] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="holes", daemon=True)

    def start(self) -> None:
        """Begin to write down what is found."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Write down what waits, and end; say whether that was done within *timeout_s*."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def found(self, file_id: str, posted: int, part: int) -> None:
        """Take note of a part of a file that cannot be had."""
        with self._changed:
            told = self._told.setdefault(file_id, set())
            self._told.move_to_end(file_id)
            if len(self._told) > _FILES:
                self._told.popitem(last=False)
            if (posted, part) in told or len(told) >= _PARTS:
                return
            if file_id not in self._waiting and len(self._waiting) >= _FILES:
                return
            told.add((posted, part))
            self._waiting.setdefault(file_id, set()).add((posted, part))
            self._changed.notify_all()

    def checked(self, file_id: str) -> None:
        """Forget a file, which was checked."""
        with self._changed:
            self._told.pop(file_id, None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                file_id = next(iter(self._waiting), None)
                if file_id is None:
                    return
                parts = self._waiting.pop(file_id)
            try:
                self._write(file_id, parts)
            except NotInLibrary:
                continue  # it was removed meanwhile
            except Exception as exc:
                if not isinstance(exc, StorageError):
                    # A fault of ours must not end all of it.
                    log.exception("[Health] a fault of the gateway: a hole is not written down")
                    continue
                log.error("[Health] cannot write down what a reader has met: %s", exc)
                with self._changed:
                    self._waiting.setdefault(file_id, set()).update(parts)
                    if self._changed.wait_for(lambda: self._stopping, _PAUSE_S):
                        return

    def _write(self, file_id: str, parts: set[_Part]) -> None:
        before = self._records.of_file(file_id)
        if before is None or before.met(parts, 0.0) is None:
            return
        layout = self._library.layout(file_id)
        known = self._records.add_holes(
            file_id,
            parts,
            self._clock(),
            judge=lambda holes: damage_of(before.file, layout, holes),
        )
        if known is None:
            return
        release = known.file.release
        log.warning(
            "[Health] %s '%s/%s/%s': %s",
            known.health.upper(),
            release.category,
            release.name,
            known.file.path,
            known.in_words(),
        )
        self._check_soon(file_id)
