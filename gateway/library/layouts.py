"""Where the bytes of the library's files lie (`Layouts`), and what streams learn of that."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import NotInLibrary
from gateway.library import packing
from gateway.library.database import Database
from gateway.library.offsets import LearnedOffsets
from gateway.library.schema import disk_files, files, posted_files
from gateway.nzb.extents import PartTable, Run
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout
from gateway.streams.on_disk import DiskFile, FileLayout

# What every stream and every check begins with, put together once: it takes as long as the rest.
_layout = (
    sa.select(files.c.release_id, files.c.runs, files.c.size, disk_files.c.path)
    .outerjoin(disk_files, disk_files.c.file_id == files.c.id)
    .where(files.c.id == sa.bindparam("file"))
)
_posted_ids = (
    sa.select(posted_files.c.ordinal, posted_files.c.id)
    .where(
        posted_files.c.release_id == sa.bindparam("release"),
        posted_files.c.ordinal.between(sa.bindparam("first"), sa.bindparam("last")),
    )
    .order_by(posted_files.c.ordinal)
)
_parts = sa.select(posted_files.c.parts).where(posted_files.c.id == sa.bindparam("posted"))


class Layouts:
    """The layouts of all files in *database*, for all threads; `close` writes what was learned."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offsets = LearnedOffsets(self.store)
        # One table for all who stream from a posted file: what one learns serves the others.
        self._lock = threading.Lock()
        self._tables: weakref.WeakValueDictionary[int, PartTable] = weakref.WeakValueDictionary()

    def close(self) -> None:
        """Store what streams have taught last."""
        self._offsets.close()

    def of(self, file_id: str) -> FileLayout:
        """Return where the bytes of a file lie; what a stream learns in it is kept.

        Raises NotInLibrary.
        """
        with self._database.read() as tx:
            row = tx.execute(_layout, {"file": file_id}).one_or_none()
            if row is None:
                raise NotInLibrary(f"no file has the id {file_id!r} (any more)")
            if row.path is not None:
                return DiskFile(Path(row.path), row.size)
            stretches = packing.unpack_stretches(row.runs)
            ordinals = {run.posted for one in stretches for run in one.runs}
            ids = self._posted_ids(tx, row.release_id, ordinals)
            tables = self._load_tables(tx, ids.values())
        index = {ordinal: number for number, ordinal in enumerate(ids)}
        posted_ids = tuple(ids.values())
        numbered = [
            replace(
                one,
                runs=tuple(Run(index[run.posted], run.offset, run.length) for run in one.runs),
            )
            for one in stretches
        ]
        of_layout = [tables[posted_id] for posted_id in posted_ids]
        learned = partial(self._note, posted_ids, tables)
        if any(one.cipher for one in numbered):
            return CipheredLayout(numbered, of_layout, learned=learned)
        return Layout([run for one in numbered for run in one.runs], of_layout, learned=learned)

    def store(self, tables: Mapping[int, PartTable]) -> None:
        """Store what *tables* have learned, now; each by the id of its posted file."""
        update = (
            sa.update(posted_files)
            .where(posted_files.c.id == sa.bindparam("posted"))
            .values(parts=sa.bindparam("packed"))
        )
        rows = [
            {"posted": posted_id, "packed": packing.pack_table(table)}
            for posted_id, table in tables.items()
        ]
        with self._database.begin() as tx:
            tx.execute(update, rows)

    def _note(
        self, posted_ids: tuple[int, ...], tables: Mapping[int, PartTable], number: int
    ) -> None:
        posted_id = posted_ids[number]
        self._offsets.note(posted_id, tables[posted_id])

    def _posted_ids(self, tx: Connection, release_id: int, ordinals: set[int]) -> dict[int, int]:
        """Return the ids of posted files by their *ordinals* within a release, in order."""
        # A range in place of a list: an archive may have more volumes than a statement takes.
        span = {"first": min(ordinals, default=0), "last": max(ordinals, default=-1)}
        found = tx.execute(_posted_ids, {"release": release_id, **span})
        return {row.ordinal: row.id for row in found if row.ordinal in ordinals}

    def _load_tables(self, tx: Connection, posted_ids: Iterable[int]) -> dict[int, PartTable]:
        loaded: dict[int, PartTable] = {}
        for posted_id in posted_ids:
            with self._lock:
                table = self._tables.get(posted_id)
            if table is None:
                packed = tx.execute(_parts, {"posted": posted_id}).scalar_one()
                fresh = packing.unpack_table(packed)
                with self._lock:
                    table = self._tables.setdefault(posted_id, fresh)
            loaded[posted_id] = table
        return loaded
