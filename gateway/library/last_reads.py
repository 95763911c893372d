"""When each file was last read by somebody: players, mounts and scanners; no check, no import.

It is noted when a reader opens, by a look into a dictionary, and written in a thread of its own:
once an hour for each file, however many ranges a player asks for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from gateway.library.database import Database
from gateway.library.later import WrittenLater
from gateway.library.schema import files, last_reads

INTERVAL_S = 3600.0
_REMEMBERED = 10_000


class LastReads:
    """The times of the last reads in *database*, in seconds since 1970 to the hour."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        delay_s: float = 5.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        self._later = WrittenLater[str, float](
            self._write, words="last reads", thread="last-reads", delay_s=delay_s
        )

    def note(self, file_id: str) -> None:
        """Have it written that a file is read now. Quick; for the threads that read."""
        now = self._clock()
        with self._lock:
            before = self._noted.get(file_id)
            # A clock that was put back must not keep a file unread for as long.
            if before is not None and 0 <= now - before < INTERVAL_S:
                return
            self._noted.pop(file_id, None)
            self._noted[file_id] = now
            if len(self._noted) > _REMEMBERED:
                del self._noted[next(iter(self._noted))]
        self._later.note(file_id, now)

    def flush(self) -> None:
        """Write now what waits to be written."""
        self._later.flush()

    def close(self) -> None:
        """Write what waits, and take nothing more."""
        self._later.close()

    def _write(self, reads: Mapping[str, float]) -> None:
        file_id = sa.bindparam("of", type_=sa.Text)
        at = sa.bindparam("now", type_=sa.Float)
        update = sa.update(last_reads).where(last_reads.c.file_id == file_id).values(at=at)
        there = sa.select(files.c.id, at).where(files.c.id == file_id)  # it may be gone by now
        insert = sa.insert(last_reads).from_select([last_reads.c.file_id, last_reads.c.at], there)
        with self._database.begin() as tx:
            for one, now in reads.items():
                values = {"of": one, "now": now}
                if not tx.execute(update, values).rowcount:
                    tx.execute(insert, values)
