"""The library: releases, their files, and the articles behind every byte.

A release appears whole or not at all: `publish` takes part in the transaction of whoever
imports it. Names are made safe on their way in, so whatever is read here may stand in a path.
Nothing here talks to a provider; listing a folder costs one or two look-ups in an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import NotInLibrary
from gateway.library import downloaded, packing
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.library.entries import FileEntry, Folder, NewRelease, Release, Removed
from gateway.library.last_reads import LastReads
from gateway.library.layouts import Layouts
from gateway.library.publishing import is_taken, publish
from gateway.library.schema import disk_files, file_numbers, files, releases
from gateway.streams.holes import Holes
from gateway.streams.on_disk import FileLayout

_PAGE = 1000  # releases read at once; between pages no transaction is open

_release_columns = (
    releases.c.id,
    releases.c.category,
    releases.c.name,
    releases.c.created,
    releases.c.password,
)
_file_columns = (
    files.c.id,
    files.c.folder,
    files.c.name,
    files.c.size,
    files.c.modified,
    files.c.etag,
)


class Library:
    """The catalogue in *database*, for all threads; `close` writes what is still to be written."""

    def __init__(self, database: Database, editions: Editions | None = None) -> None:
        """Read *database*; *editions* say what is done about holes (None: they are errors)."""
        self._database = database
        self._editions = editions
        self._layouts = Layouts(database)
        self._reads = LastReads(database)

    def close(self) -> None:
        """Store what streams have taught last, and who read. Close it before its database."""
        self._layouts.close()
        self._reads.close()

    # Publishing ----------------------------------------------------------------------------

    def publish(self, tx: Connection, new: NewRelease) -> Release:
        """Add *new* within *tx*: see `gateway.library.publishing.publish`."""
        return publish(tx, new)

    def is_taken(self, category: str, name: str, tx: Connection | None = None) -> bool:
        """Say whether a release that is published as *name* would have to be called otherwise.

        *tx*: as of within this transaction.
        """
        if tx is not None:
            return is_taken(tx, category, name)
        with self._database.read() as own:
            return is_taken(own, category, name)

    def remove_files(self, release: Release, path: str = "") -> Removed:
        """Remove the file or folder at *path* of *release*, or all of it; say what is gone.

        The links to it go too, and what was downloaded goes from the disk. Whoever streams from
        it may go on to the end. A crash leaves nothing half removed: see `finish_removals`.
        """
        folder, _, name = path.rpartition("/")
        conditions = [files.c.release_id == release.id]
        if path:
            # "0" follows "/" in the order of bytes: all that begins with the path and a slash.
            below = sa.and_(files.c.folder > f"{path}/", files.c.folder < f"{path}0")
            is_it = sa.and_(files.c.folder == folder, files.c.name == name)
            conditions.append(sa.or_(is_it, files.c.folder == path, below))
        total = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(files.c.size), 0)).where(
            *conditions
        )
        with self._database.begin() as tx:
            number, size = tx.execute(total).one()
            on_disk = downloaded.intend(tx, *conditions)
            if path:
                tx.execute(sa.delete(files).where(*conditions))
            else:
                tx.execute(sa.delete(releases).where(releases.c.id == release.id))
        # Once it is committed: a file that stays is waste, a row without its file a lie.
        downloaded.carry_out(self._database, on_disk)
        return Removed(number, int(size))

    def finish_removals(self) -> None:
        """Remove from the disk what was to go when the program ended. Before downloads go on."""
        downloaded.carry_out(self._database)

    # Looking up ----------------------------------------------------------------------------

    def categories(self) -> list[str]:
        """Return the categories that hold a release, in order of their names."""
        # From one name to the next in the index: DISTINCT would read every release.
        found: list[str] = []
        after = sa.select(sa.func.min(releases.c.category)).where(
            releases.c.category > sa.bindparam("last")
        )
        with self._database.read() as tx:
            while (name := tx.scalar(after, {"last": found[-1] if found else ""})) is not None:
                found.append(name)
        return found

    def releases(self, category: str) -> Iterator[Release]:
        """Give the releases of *category* in order of their names, a page at a time.

        What is published or removed meanwhile may be in it or not. No transaction is open while
        the caller works.
        """
        page = (
            sa.select(*_release_columns)
            .where(releases.c.category == category, releases.c.name > sa.bindparam("last"))
            .order_by(releases.c.name)
            .limit(_PAGE)
        )
        last: str | None = ""
        while last is not None:
            with self._database.read() as tx:
                rows = tx.execute(page, {"last": last}).all()
            yield from (Release(*row) for row in rows)
            last = rows[-1].name if len(rows) == _PAGE else None

    def release(self, category: str, name: str) -> Release | None:
        """Return the release called *name* in *category*, None if there is none."""
        return self._one_release(releases.c.category == category, releases.c.name == name)

    def release_by_id(self, release_id: int) -> Release | None:
        """Return the release with this id, None if there is none (any more)."""
        return self._one_release(releases.c.id == release_id)

    def _one_release(self, *where: sa.ColumnElement[bool]) -> Release | None:
        with self._database.read() as tx:
            row = tx.execute(sa.select(*_release_columns).where(*where)).one_or_none()
        return None if row is None else Release(*row)

    def entries(self, release: Release, folder: str = "") -> Folder:
        """Return what lies directly in *folder* ("a/b") of *release*, in order of names.

        A folder that does not exist is empty; one that exists never is, but for the release's
        own.
        """
        content = (
            sa.select(*_file_columns)
            .where(files.c.release_id == release.id, files.c.folder == folder)
            .order_by(files.c.name)
        )
        every = sa.select(files.c.folder).distinct().where(files.c.release_id == release.id)
        with self._database.read() as tx:
            found = tuple(_entry(release, row) for row in tx.execute(content))
            folders = tx.scalars(every).all()
        above = f"{folder}/" if folder else ""
        below = {
            name[len(above) :].split("/", 1)[0]
            for name in folders
            if name.startswith(above) and name != folder
        }
        return Folder(tuple(sorted(below)), found)

    def file(self, category: str, release: str, path: str) -> FileEntry | None:
        """Return the file at *path* ("name" or "a/b/name") of a release, None if there is none."""
        folder, slash, name = path.rpartition("/")
        if slash and not folder:  # "/name" is no path within a release
            return None
        return self._one_file(
            releases.c.category == category,
            releases.c.name == release,
            files.c.folder == folder,
            files.c.name == name,
        )

    def file_by_id(self, file_id: str) -> FileEntry | None:
        """Return the file with this id, None if there is none (any more)."""
        return self._one_file(files.c.id == file_id)

    def files_by_prefix(self, prefix: str) -> Iterator[FileEntry]:
        """Give the files whose id begins with *prefix*, in order of ids, a page at a time.

        No transaction is open while the caller works.
        """
        page = (
            _whole_files()
            .where(files.c.id > sa.bindparam("last"), files.c.id < f"{prefix}g")
            .order_by(files.c.id)
            .limit(_PAGE)
        )
        last: str | None = prefix
        while last is not None:
            with self._database.read() as tx:
                rows = tx.execute(page, {"last": last}).all()
            yield from map(_whole_entry, rows)
            last = rows[-1].id if len(rows) == _PAGE else None

    def file_by_number(self, number: int) -> FileEntry | None:
        """Return the file with this number, None if there is none (any more)."""
        named = sa.select(file_numbers.c.file_id).where(file_numbers.c.number == number)
        return self._one_file(files.c.id == named.scalar_subquery())

    def numbered_files(self) -> Iterator[tuple[int, FileEntry]]:
        """Give every file with its number, the oldest numbers first, a page at a time.

        What is published or removed meanwhile may be among them or not. No transaction is open
        while the caller works.
        """
        page = (
            _whole_files(file_numbers.c.number)
            .join(file_numbers, file_numbers.c.file_id == files.c.id)
            .where(file_numbers.c.number > sa.bindparam("last"))
            .order_by(file_numbers.c.number)
            .limit(_PAGE)
        )
        last: int | None = 0
        while last is not None:
            with self._database.read() as tx:
                rows = tx.execute(page, {"last": last}).all()
            yield from ((row.number, _whole_entry(row)) for row in rows)
            last = rows[-1].number if len(rows) == _PAGE else None

    def _one_file(self, *where: sa.ColumnElement[bool]) -> FileEntry | None:
        with self._database.read() as tx:
            row = tx.execute(_whole_files().where(*where)).one_or_none()
        return None if row is None else _whole_entry(row)

    def nzb(self, release: Release) -> bytes:
        """Return the document that *release* was made of. Raises NotInLibrary."""
        with self._database.read() as tx:
            packed = tx.scalar(sa.select(releases.c.nzb).where(releases.c.id == release.id))
        if packed is None:
            raise NotInLibrary(f"the release {release.name!r} is not in the library any more")
        return packing.unpack_document(packed)

    def holds(self, folder: Path) -> bool:
        """Say whether a file of any release lies on the disk in *folder* or below it."""
        # "0" follows "/" in the order of bytes: all that begins with the path and a slash.
        below = disk_files.c.path.between(f"{folder}/", f"{folder}0")
        with self._database.read() as tx:
            return tx.scalar(sa.select(sa.literal(1)).where(below).limit(1)) is not None

    # Streaming -----------------------------------------------------------------------------

    def note_read(self, file_id: str) -> None:
        """Have it known that somebody reads a file now. Quick, never waits, never raises."""
        self._reads.note(file_id)

    def flush_reads(self) -> None:
        """Write now who has read: for whoever is about to ask."""
        self._reads.flush()

    def holes(self, file: FileEntry, layout: FileLayout) -> Holes:
        """Return what a stream of *file* does about holes: see `Editions.holes`."""
        return Holes() if self._editions is None else self._editions.holes(file, layout)

    def layout(self, file_id: str) -> FileLayout:
        """Return where the bytes of a file lie: see `Layouts.of`. Raises NotInLibrary."""
        return self._layouts.of(file_id)


def _whole_files(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select files with their releases: the columns that `_whole_entry` reads, and *more*."""
    labelled = (column.label(f"r_{column.name}") for column in _release_columns)
    return sa.select(*_file_columns, *labelled, *more).join(
        releases, files.c.release_id == releases.c.id
    )


def _whole_entry(row: Any) -> FileEntry:
    end = len(_file_columns) + len(_release_columns)
    return _entry(Release(*row[len(_file_columns) : end]), row)


def _entry(release: Release, row: Any) -> FileEntry:
    return FileEntry(row.id, release, row.folder, row.name, row.size, row.modified, row.etag)
