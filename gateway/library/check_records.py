"""What checks have found, file by file.

Every file has a row in `checks` from the moment it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.library.batches import batches
from gateway.library.check_history import Checked, note
from gateway.library.check_history import of_files as histories_of
from gateway.library.check_rows import health_of, known, write
from gateway.library.damage import NOT_JUDGED, Damage
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.library.health import FileHealth, Findings, Hole, parts_of
from gateway.library.schema import checks, files, releases

_of_file = known.where(checks.c.file_id == sa.bindparam("file"))

Judge = Callable[[tuple[Hole, ...]], Damage]
"""Says what holes mean for a file."""


class CheckRecords:
    """The records of all checks in *database*. Safe to use from any thread.

    Every method raises StorageError. *editions* are told of holes that appear and heal.
    """

    def __init__(self, database: Database, editions: Editions | None = None) -> None:
        self._database = database
        self._editions = editions

    def of_file(self, file_id: str) -> FileHealth | None:
        """Return what is known about a file, None if there is no such file (any more)."""
        with self._database.read() as tx:
            row = tx.execute(_of_file, {"file": file_id}).one_or_none()
        return None if row is None else health_of(row)

    def of_releases(self, release_ids: Collection[int]) -> list[FileHealth]:
        """Return what is known about the files of these releases: by release, folder and name."""
        found: list[FileHealth] = []
        query = known.order_by(files.c.release_id, files.c.folder, files.c.name)
        asked = sorted(release_ids)
        for some in batches(asked):
            of_some = files.c.release_id.in_(some)
            with self._database.read() as tx:
                found += [health_of(row) for row in tx.execute(query.where(of_some))]
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

    def histories(self, file_ids: Sequence[str]) -> dict[str, list[Checked]]:
        """Return what the checks of each of these files came to, the latest first."""
        with self._database.read() as tx:
            return histories_of(tx, file_ids)

    def record(
        self,
        before: FileHealth,
        findings: Findings,
        at: float,
        *,
        took_s: float = 0.0,
        is_sound: bool = True,
        judge: Judge | None = None,
    ) -> FileHealth | None:
        """Write what a check at *at* has found of a file of which this was known *before* it.

        *is_sound*: see `FileHealth.after`. Returns what is known now, None if the file has been
        removed meanwhile.
        """
        # Unless a hole appears or heals, which readers are told of: a check is made again.
        lasting = bool(before.holes or findings.holes)
        with self._database.begin(lasting=lasting) as tx:
            row = tx.execute(_of_file, {"file": before.file.id}).one_or_none()
            if row is None:
                return None
            current = health_of(row)
            now = current.after(findings, at, is_sound=is_sound)
            note(tx, now, findings, took_s)
            met = parts_of(current.holes) - parts_of(before.holes)
            if met:
                # By a reader, meanwhile: the check may have asked for them before.
                now = now.met(met, at) or now
            now = _judged(now, judge, current)
            changed = self._write(tx, current, now)
        self._tell(now, changed=changed)
        return now

    def add_holes(
        self,
        file_id: str,
        parts: Collection[tuple[int, int]],
        at: float,
        *,
        judge: Judge | None = None,
    ) -> FileHealth | None:
        """Write that a reader has met these missing *parts* of a file, (posted, part) each.

        Returns what is known now, None if this is no news, or the file has been removed.
        """
        with self._database.begin() as tx:
            row = tx.execute(_of_file, {"file": file_id}).one_or_none()
            if row is None:
                return None
            current = health_of(row)
            now = current.met(parts, at)
            if now is None:
                return None
            now = _judged(now, judge, current)
            changed = self._write(tx, current, now)
        self._tell(now, changed=changed)
        return now

    def _write(self, tx: Connection, before: FileHealth, now: FileHealth) -> bool:
        """Write what is known *now*; say whether the file gets another ETag by it."""
        write(tx, now)
        if self._editions is None or before.holes == now.holes:
            return False
        return self._editions.follow(tx, now.file, before.holes, now.holes)

    def _tell(self, now: FileHealth, *, changed: bool) -> None:
        if self._editions is not None and changed:
            self._editions.told(now.file)


def _judged(now: FileHealth, judge: Judge | None, before: FileHealth) -> FileHealth:
    if now.decided_at == before.decided_at:
        return now  # nothing was decided: the holes are those of before
    return replace(now, damage=NOT_JUDGED if judge is None else judge(now.holes))
