"""The editions of films with holes: which ETag stands for which bytes (`Editions`).

In categories that want it, parts that cannot be had are filled, and so the bytes of a file are not
the same for ever. Each set of holes has an ETag and a date of its own, in the file's row, so that
every door tells of them as of any other. They are made anew whenever a hole appears or heals, and
never used again: what was begun under one is read to its end under it, or breaks off.

A hole that is met while somebody reads may be filled at once, under the ETag that the reader was
told, if nobody can have had the true bytes under the same one. So it is kept who has begun to read
an edition: nobody yet, this process alone, which then knows what it gave, or anybody.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import FileChanged, NotInLibrary, StorageError
from gateway.library.database import Database
from gateway.library.entries import FileEntry
from gateway.library.health import Hole, holes, pack_holes, parts_of, unpack_holes
from gateway.library.packing import unpack_stretches
from gateway.library.schema import checks, disk_files, edition_folders, editions, files, releases
from gateway.streams.holes import Edition, Holes, PartKey
from gateway.streams.layout import Layout
from gateway.streams.on_disk import FileLayout
from gateway.streams.padding import is_film

log = logging.getLogger(__name__)

NOBODY, ANYBODY = "-", ""
# What was given of so many editions is remembered: some 10 KB for each film.
_KEPT = 256


class Editions:
    """The editions of all files in *database*. Safe to use from any thread.

    Holes are filled in films of the categories whose *folders* are given. *report* is told of every
    hole that is met, whatever the category: file, posted file and part. *changed* is told of
    each file that has got another ETag.
    """

    def __init__(
        self,
        database: Database,
        folders: Collection[str] = (),
        *,
        report: Callable[[str, int, int], None] | None = None,
        changed: Callable[[FileEntry], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises StorageError."""
        self._database = database
        self._folders = frozenset(folders)
        self._report = report
        self._changed = changed
        self._clock = clock
        self._us = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[Edition, _Hold]] = OrderedDict()
        # One at a time begins an edition: two would take each other for somebody else.
        self._beginning = threading.Lock()
        self._settle()

    # -- readers ----------------------------------------------------------------------------------

    def holes(self, file: FileEntry, layout: FileLayout) -> Holes:
        """Return what is to be done about holes of *file*, which lies as *layout* says.

        Raises FileChanged if it has got another ETag since it was looked up; NotInLibrary,
        StorageError.
        """
        report = partial(self._report, file.id) if self._report is not None else None
        may_be_filled = file.release.category in self._folders and is_film(file.name)
        if not may_be_filled or not isinstance(layout, Layout):
            return Holes(report)
        key = (file.id, file.etag)
        if (kept := self._find(key)) is not None:
            return kept
        with self._beginning:
            if (kept := self._find(key)) is not None:
                return kept
            missing, is_alone = self._begin(file)
            hold = _Hold()
            edition = Edition(
                layout,
                file.name,
                missing,
                is_alone=is_alone,
                note=partial(self._note, file, hold),
                report=report,
            )
            with self._lock:
                self._kept[key] = edition, hold
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return edition

    def _find(self, key: tuple[str, str]) -> Edition | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
            return kept[0]

    def _begin(self, file: FileEntry) -> tuple[set[PartKey], bool]:
        """Write down that an edition is read here; return its holes, and whether only here."""
        with self._database.begin() as tx:
            row = _row(tx, file.id)
            if row.etag != file.etag:
                raise FileChanged(f'"{file.path}" has changed a moment ago: ask again')
            is_alone = row.reader in {None, NOBODY}
            reader = self._us if is_alone else ANYBODY
            if row.reader is None:
                tx.execute(sa.insert(editions).values(file_id=file.id, reader=reader, holes=""))
            elif row.reader != reader:
                of_file = editions.c.file_id == file.id
                tx.execute(sa.update(editions).where(of_file).values(reader=reader))
        return parts_of(unpack_holes(row.holes or "")), is_alone

    def _note(self, file: FileEntry, hold: _Hold, parts: Collection[PartKey]) -> bool:
        """Write down *parts* that a reader of an edition has met; say whether it is read only here.

        *file* is as it was when that edition began.
        """
        try:
            with self._database.begin() as tx:
                row = _row(tx, file.id)
                if row.etag == file.etag:
                    hold.is_for_good = row.reader == self._us
                known = parts_of(unpack_holes(row.holes or ""))
                is_new = not known.issuperset(parts)
                if is_new:
                    self._renew(tx, row, known.union(parts))
        except (StorageError, NotInLibrary) as exc:
            log.warning("a hole of %r cannot be filled: %s", file.path, exc)
            return False
        if is_new:
            self._changed(file)
        return hold.is_for_good

    # -- checks -----------------------------------------------------------------------------------

    def follow(
        self, tx: Connection, file: FileEntry, before: Iterable[Hole], after: Iterable[Hole]
    ) -> bool:
        """Take within *tx* that the holes of *file* that were *before* are those of *after* now.

        True: it gets another ETag, and `told` is to be called once *tx* is committed.
        """
        if file.release.category not in self._folders or not _can_be_filled(tx, file.id, file.name):
            return False
        row = _row(tx, file.id)
        known = parts_of(unpack_holes(row.holes or ""))
        # What a reader has met since is not written down with the checks yet, and stays.
        now = known.difference(parts_of(before)).union(parts_of(after))
        if now == known:
            return False
        self._renew(tx, row, now)
        return True

    def told(self, file: FileEntry) -> None:
        """Tell that *file* has got another ETag. Quick."""
        self._changed(file)

    # -- rows -------------------------------------------------------------------------------------

    def _renew(self, tx: Connection, row: Any, missing: Collection[PartKey]) -> None:
        """Give a file another ETag and date, for its bytes with *missing*."""
        if row.reader == self._us:
            with self._lock:
                kept = self._kept.get((row.id, row.etag))
            if kept is not None:
                kept[1].is_for_good = True
        # Dates are told in whole seconds: never the same twice, or a client that goes by them
        # would take two editions for one. In a bad minute it is ahead by seconds.
        modified = max(math.floor(self._clock()), math.floor(row.modified) + 1)
        tx.execute(
            sa.update(files)
            .where(files.c.id == row.id)
            .values(etag=secrets.token_hex(16), modified=float(modified))
        )
        packed = pack_holes(holes(sorted(missing)))
        if row.reader is None:
            new = sa.insert(editions).values(file_id=row.id, reader=NOBODY, holes=packed)
            tx.execute(new)
            return
        renew = sa.update(editions).where(editions.c.file_id == row.id)
        tx.execute(renew.values(reader=NOBODY, holes=packed))

    def _settle(self) -> None:
        """Have what is known fit the categories that are to be filled from now on."""
        with self._database.begin() as tx:
            before = set(tx.scalars(sa.select(edition_folders.c.folder)))
            for folder in sorted(self._folders - before):
                self._admit(tx, folder)
                tx.execute(sa.insert(edition_folders).values(folder=folder))
            for folder in sorted(before - self._folders):
                self._expel(tx, folder)
                tx.execute(sa.delete(edition_folders).where(edition_folders.c.folder == folder))

    def _admit(self, tx: Connection, folder: str) -> None:
        """Begin to keep editions of what is in *folder*: anybody may have read it before."""
        its = (
            sa.select(files.c.id, sa.literal(ANYBODY), sa.literal(""))
            .join(releases, releases.c.id == files.c.release_id)
            .where(releases.c.category == folder, files.c.id.not_in(sa.select(editions.c.file_id)))
        )
        columns = [editions.c.file_id, editions.c.reader, editions.c.holes]
        tx.execute(sa.insert(editions).from_select(columns, its, include_defaults=False))
        holed = (
            sa.select(checks.c.file_id, checks.c.holes, files.c.name)
            .join(files, files.c.id == checks.c.file_id)
            .join(releases, releases.c.id == files.c.release_id)
            .where(releases.c.category == folder, checks.c.holes != "")
        )
        for row in tx.execute(holed).all():
            if _can_be_filled(tx, row.file_id, row.name):
                self._renew(tx, _row(tx, row.file_id), parts_of(unpack_holes(row.holes)))

    def _expel(self, tx: Connection, folder: str) -> None:
        """Keep no more editions of what is in *folder*: from now on it has its own bytes only."""
        its = (
            sa.select(files.c.id)
            .join(releases, releases.c.id == files.c.release_id)
            .where(releases.c.category == folder)
        )
        filled = sa.select(editions.c.file_id).where(
            editions.c.file_id.in_(its), editions.c.holes != ""
        )
        for file_id in tx.scalars(filled).all():
            self._renew(tx, _row(tx, file_id), ())
        tx.execute(sa.delete(editions).where(editions.c.file_id.in_(its)))


class _Hold:
    """Whether an edition was read in this process only, when it was last the file's own.

    Nobody begins to read what is not a file's own edition any more.
    """

    is_for_good = False


def _row(tx: Connection, file_id: str) -> Any:
    """Return what there is of a file's edition; *reader* is None if there is nothing."""
    query = (
        sa.select(files.c.id, files.c.etag, files.c.modified, editions.c.reader, editions.c.holes)
        .outerjoin(editions, editions.c.file_id == files.c.id)
        .where(files.c.id == file_id)
        .with_for_update(of=files)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotInLibrary(f"no file has the id {file_id!r} (any more)")
    return row


def _can_be_filled(tx: Connection, file_id: str, name: str) -> bool:
    """Say whether holes of a file are filled: a film, as it was posted or stored in an archive."""
    if not is_film(name):
        return False
    of_file = sa.select(files.c.runs).where(
        files.c.id == file_id, files.c.id.not_in(sa.select(disk_files.c.file_id))
    )
    packed = tx.scalar(of_file)
    return packed is not None and not any(one.cipher for one in unpack_stretches(packed))
