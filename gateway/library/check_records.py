"""What checks have found, file by file, and the rounds in which the library is checked.

Every file has a row in `checks` from the moment it is published, so that the one whose check is
longest ago, or that never had one, is the first in an index.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import StorageError
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.library.entries import FileEntry, Release
from gateway.library.health import (
    FileHealth,
    Findings,
    Health,
    Round,
    pack_holes,
    parts_of,
    unpack_holes,
)
from gateway.library.schema import check_rounds, checks, disk_files, files, releases

_AT_ONCE = 500  # ids in one statement: SQLite takes some 30,000, older ones 999

_columns = (
    files.c.id,
    files.c.folder,
    files.c.name,
    files.c.size,
    files.c.modified,
    files.c.etag,
    releases.c.id.label("release_id"),
    releases.c.category,
    releases.c.name.label("release_name"),
    releases.c.created,
    checks.c.checked_at,
    checks.c.decided_at,
    checks.c.verdict,
    checks.c.articles,
    checks.c.missing,
    checks.c.unknown,
    checks.c.reason,
    checks.c.holes,
    disk_files.c.path.is_not(None).label("on_disk"),
)
_known = (
    sa.select(*_columns)
    .join_from(checks, files, checks.c.file_id == files.c.id)
    .join(releases, files.c.release_id == releases.c.id)
    .outerjoin(disk_files, disk_files.c.file_id == files.c.id)
)
_round_columns = (
    check_rounds.c.id,
    check_rounds.c.began,
    check_rounds.c.ended,
    check_rounds.c.reason,
)


class CheckRecords:
    """The records of all checks in *database*. Safe to use from any thread.

    Every method raises StorageError. *editions* are told of holes that appear and heal.
    """

    def __init__(self, database: Database, editions: Editions | None = None) -> None:
        self._database = database
        self._editions = editions

    # What is known of files ------------------------------------------------------------------

    def of_file(self, file_id: str) -> FileHealth | None:
        """Return what is known about a file, None if there is no such file (any more)."""
        with self._database.read() as tx:
            row = tx.execute(_known.where(checks.c.file_id == file_id)).one_or_none()
        return None if row is None else _health(row)

    def of_releases(self, release_ids: Collection[int]) -> list[FileHealth]:
        """Return what is known about the files of these releases: by release, folder and name."""
        found: list[FileHealth] = []
        query = _known.order_by(files.c.release_id, files.c.folder, files.c.name)
        asked = sorted(release_ids)
        for start in range(0, len(asked), _AT_ONCE):
            some = files.c.release_id.in_(asked[start : start + _AT_ONCE])
            with self._database.read() as tx:
                found += [_health(row) for row in tx.execute(query.where(some))]
        return found

    def page(self, *, after: int, limit: int) -> list[int]:
        """Return the ids of the next *limit* releases whose ids are greater than *after*."""
        query = (
            sa.select(releases.c.id)
            .where(releases.c.id > after)
            .order_by(releases.c.id)
            .limit(limit)
        )
        with self._database.read() as tx:
            return list(tx.scalars(query))

    def least_recent(self, before: float) -> FileHealth | None:
        """Return the file whose latest check is longest ago, None if all were *before* or later.

        Files that were never checked come first.
        """
        query = (
            _known.where(checks.c.checked_at < before)
            .order_by(checks.c.checked_at, checks.c.file_id)
            .limit(1)
        )
        with self._database.read() as tx:
            row = tx.execute(query).one_or_none()
        return None if row is None else _health(row)

    def count(self, before: float) -> int:
        """Return how many files were not checked since *before*."""
        query = sa.select(sa.func.count()).where(checks.c.checked_at < before)
        with self._database.read() as tx:
            return tx.scalar(query) or 0

    def record(self, known: FileHealth, findings: Findings, at: float) -> FileHealth | None:
        """Write what a check at *at* has found of a file of which this was *known*.

        Returns what is known now, None if the file has been removed meanwhile.
        """
        with self._database.begin() as tx:
            row = tx.execute(_known.where(checks.c.file_id == known.file.id)).one_or_none()
            if row is None:
                return None
            current = _health(row)
            now = current.after(findings, at)
            if current.holes != known.holes:
                # A reader has met them meanwhile: the check may have asked for them before that.
                now = now.met(parts_of(current.holes), at) or now
            changed = self._write(tx, current, now)
        self._tell(now, changed=changed)
        return now

    def add_holes(
        self, file_id: str, parts: Collection[tuple[int, int]], at: float
    ) -> FileHealth | None:
        """Write that a reader has met these missing *parts* of a file, (posted, part) each.

        Returns what is known now, None if this is no news, or the file has been removed.
        """
        with self._database.begin() as tx:
            row = tx.execute(_known.where(checks.c.file_id == file_id)).one_or_none()
            current = None if row is None else _health(row)
            now = None if current is None else current.met(parts, at)
            if current is None or now is None:
                return None
            changed = self._write(tx, current, now)
        self._tell(now, changed=changed)
        return now

    def _write(self, tx: Connection, before: FileHealth, now: FileHealth) -> bool:
        """Write what is known *now*; say whether the file gets another ETag by it."""
        _write(tx, now)
        if self._editions is None or before.holes == now.holes:
            return False
        return self._editions.follow(tx, now.file, before.holes, now.holes)

    def _tell(self, now: FileHealth, *, changed: bool) -> None:
        if self._editions is not None and changed:
            self._editions.told(now.file)

    # Rounds ----------------------------------------------------------------------------------

    def latest_round(self) -> Round | None:
        """Return the round that began last, None if there has been none."""
        query = sa.select(*_round_columns).order_by(check_rounds.c.id.desc()).limit(1)
        with self._database.read() as tx:
            row = tx.execute(query).one_or_none()
        return None if row is None else Round(*row)

    def begin_round(self, at: float) -> Round:
        """Write down that a round begins, and return it."""
        insert = sa.insert(check_rounds).returning(*_round_columns)
        with self._database.begin() as tx:
            return Round(*tx.execute(insert, {"began": at}).one())

    def end_round(self, round_id: int, at: float, reason: str = "") -> Round:
        """Write down that a round has ended, or for what *reason* it was stopped; return it."""
        update = (
            sa.update(check_rounds)
            .where(check_rounds.c.id == round_id)
            .values(ended=at, reason=reason)
            .returning(*_round_columns)
        )
        with self._database.begin() as tx:
            return Round(*tx.execute(update).one())


def _write(tx: Connection, now: FileHealth) -> None:
    update = (
        sa.update(checks)
        .where(checks.c.file_id == now.file.id)
        .values(
            checked_at=now.checked_at,
            decided_at=now.decided_at,
            verdict=now.verdict.value,
            articles=now.articles,
            missing=now.missing,
            unknown=now.unknown,
            reason=now.reason,
            holes=pack_holes(now.holes),
        )
    )
    tx.execute(update)


def _health(row: Any) -> FileHealth:
    release = Release(row.release_id, row.category, row.release_name, row.created)
    file = FileEntry(row.id, release, row.folder, row.name, row.size, row.modified, row.etag)
    try:
        verdict, holes = Health(row.verdict), unpack_holes(row.holes)
    except ValueError as exc:
        raise StorageError(f"what a check found of {file.path!r} is damaged: {exc}") from exc
    return FileHealth(
        file,
        row.checked_at,
        row.decided_at,
        verdict,
        row.articles,
        row.missing,
        row.unknown,
        row.reason,
        holes,
        bool(row.on_disk),
    )
