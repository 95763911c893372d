"""Offsets that streams have learned, on their way to the disk.

Every article of an irregular post teaches something, several hundred a second in a fast stream;
each write of its table costs an fsync and the whole table. So tables are noted here and written
together a few seconds later. What a crash loses in between is learned again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from gateway.errors import StorageError
from gateway.nzb.extents import PartTable

log = logging.getLogger(__name__)


class LearnedOffsets:
    """Tables with news, by their posted file's id; written *delay_s* after the first of them."""

    def __init__(
        self, write: Callable[[Mapping[int, PartTable]], None], *, delay_s: float = 5.0
    ) -> None:
        self._write = write
        self._delay_s = delay_s
        # Under the lock: a timer runs or is about to exactly while there are tables to write.
        self._lock = threading.Lock()
        self._tables: dict[int, PartTable] = {}
        self._timer: threading.Timer | None = None
        self._closed = False

    def note(self, posted_id: int, table: PartTable) -> None:
        """Have *table* written soon. Quick; called from the threads that stream."""
        with self._lock:
            if self._closed:
                return
            self._tables[posted_id] = table
            if self._timer is None:
                self._timer = threading.Timer(self._delay_s, self.flush)
                self._timer.name = "learned-offsets"
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write now what waits to be written. A failure is logged: it costs time, not bytes."""
        with self._lock:
            tables, self._tables = self._tables, {}
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if not tables:
            return
        try:
            self._write(tables)
        except StorageError as error:
            log.warning("learned offsets of %d posted files not stored: %s", len(tables), error)

    def close(self) -> None:
        """Write what waits, and take nothing more."""
        with self._lock:
            self._closed = True
            timer = self._timer
        self.flush()
        if timer is not None and timer is not threading.current_thread():
            timer.join()
