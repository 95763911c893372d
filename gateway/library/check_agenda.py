"""Which file is to be checked next, and whether any is: all found in an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.library.check_rows import health_of, known
from gateway.library.check_times import MOST_S
from gateway.library.database import Database
from gateway.library.health import FileHealth, Health
from gateway.library.schema import check_brake, checks, disk_files


@dataclass(frozen=True, slots=True)
class Braked:
    """No file is checked by itself from *since* to *until*, for this *reason*."""

    since: float
    until: float
    reason: str


# What is looked for at every check, put together once: it takes as long as the rest.
_is_due = checks.c.due_at <= sa.bindparam("at")
_by_due = (checks.c.due_at, checks.c.file_id)
_first_due = known.where(_is_due).order_by(*_by_due).limit(1)
_due = sa.select(checks.c.file_id).where(_is_due).order_by(*_by_due).limit(sa.bindparam("most"))
_is_old = checks.c.checked_at < sa.bindparam("at")
_by_age = (checks.c.checked_at, checks.c.file_id)
_least_recent = known.where(_is_old).order_by(*_by_age).limit(1)
_old = sa.select(checks.c.file_id).where(_is_old).order_by(*_by_age).limit(sa.bindparam("most"))


class CheckAgenda:
    """The order of all checks in *database*. Safe to use from any thread.

    Every method raises StorageError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # By schedule -----------------------------------------------------------------------------

    def first_due(self, now: float) -> FileHealth | None:
        """Return the file most overdue at *now*, None if none is due."""
        return self._one(_first_due, now)

    def due(self, now: float, most: int) -> list[str]:
        """Return the ids of those most overdue at *now*, in their order."""
        with self._database.read() as tx:
            return list(tx.scalars(_due, {"at": now, "most": most}))

    def next_due(self) -> float | None:
        """Return when the first of all files is due, None if there is no file."""
        with self._database.read() as tx:
            due_at: float | None = tx.scalar(sa.select(sa.func.min(checks.c.due_at)))
        return due_at

    def overdue(self, now: float) -> int:
        """Return how many files are due at *now*."""
        query = sa.select(sa.func.count()).where(checks.c.due_at <= now)
        with self._database.read() as tx:
            return tx.scalar(query) or 0

    def pull_in(self, now: float) -> int:
        """Have no file wait longer than it may: the clock was ahead once. Return how many did."""
        too_late = checks.c.due_at > now + MOST_S
        # Still apart from each other.
        spread = now + sa.cast(checks.c.due_at, sa.BigInteger) % int(MOST_S)
        with self._database.begin() as tx:
            return tx.execute(sa.update(checks).where(too_late).values(due_at=spread)).rowcount

    def verdicts(self) -> Mapping[Health, int]:
        """Return how many files there are of each verdict in force."""
        query = sa.select(checks.c.verdict, sa.func.count()).group_by(checks.c.verdict)
        with self._database.read() as tx:
            found = {row[0]: row[1] for row in tx.execute(query)}
        return {health: found.get(health.value, 0) for health in Health}

    # The whole library, because somebody asked for it -------------------------------------------

    def least_recent(self, before: float) -> FileHealth | None:
        """Return the file whose latest check is longest ago, None if all were *before* or later.

        Files that were never checked come first.
        """
        return self._one(_least_recent, before)

    def old(self, before: float, most: int) -> list[str]:
        """Return the ids of those whose latest check is longest ago: see `least_recent`."""
        with self._database.read() as tx:
            return list(tx.scalars(_old, {"at": before, "most": most}))

    def count(self, before: float) -> int:
        """Return how many files were not checked since *before*."""
        query = sa.select(sa.func.count()).where(checks.c.checked_at < before)
        with self._database.read() as tx:
            return tx.scalar(query) or 0

    def last_checked(self, limit: int) -> list[FileHealth]:
        """Return the files that were checked last, the latest first."""
        query = (
            known.where(checks.c.checked_at > 0)
            .order_by(checks.c.checked_at.desc(), checks.c.file_id.desc())
            .limit(limit)
        )
        with self._database.read() as tx:
            return [health_of(row) for row in tx.execute(query)]

    # Whether the providers are well ---------------------------------------------------------------

    def witnesses(self, limit: int) -> list[FileHealth]:
        """Return files that should have articles: HEALTHY, found so last; else DEGRADED ones."""
        for verdict in (Health.HEALTHY, Health.DEGRADED):
            query = (
                known.where(checks.c.verdict == verdict.value, disk_files.c.path.is_(None))
                .order_by(checks.c.decided_at.desc(), checks.c.file_id.desc())
                .limit(limit)
            )
            with self._database.read() as tx:
                found = [health_of(row) for row in tx.execute(query)]
            if found:
                return found
        return []

    def any_in_posts(self) -> FileHealth | None:
        """Return the file that is not on the disk whose latest check is longest ago."""
        query = known.where(disk_files.c.path.is_(None))
        return self._first(query.order_by(checks.c.checked_at, checks.c.file_id))

    # The brake -------------------------------------------------------------------------------

    def braked(self) -> Braked | None:
        """Return whether the brake is on, and why."""
        query = sa.select(check_brake.c.since, check_brake.c.until, check_brake.c.reason)
        with self._database.read() as tx:
            row = tx.execute(query.limit(1)).one_or_none()
        return None if row is None else Braked(*row)

    def brake(self, braked: Braked, *, ill_since: float) -> None:
        """Write that the brake is on. What has FAILED *ill_since* then does not count.

        Neither as the first of two checks that say so nor as the second.
        """
        failed = sa.update(checks).where(
            checks.c.verdict == Health.FAILED.value, checks.c.decided_at >= ill_since
        )
        with self._database.begin() as tx:
            tx.execute(sa.delete(check_brake))
            tx.execute(
                sa.insert(check_brake),
                {
                    "id": 1,
                    "since": braked.since,
                    "until": braked.until,
                    "reason": braked.reason,
                },
            )
            for column in (checks.c.failed_at, checks.c.confirmed_at):
                tx.execute(failed.where(column >= ill_since).values({column.name: None}))

    def release(self) -> None:
        """Write that the brake is off."""
        with self._database.begin() as tx:
            tx.execute(sa.delete(check_brake))

    def _one(self, query: sa.Select[tuple[object, ...]], at: float) -> FileHealth | None:
        with self._database.read() as tx:
            row = tx.execute(query, {"at": at}).one_or_none()
        return None if row is None else health_of(row)

    def _first(self, query: sa.Select[tuple[object, ...]]) -> FileHealth | None:
        with self._database.read() as tx:
            row = tx.execute(query.limit(1)).one_or_none()
        return None if row is None else health_of(row)
