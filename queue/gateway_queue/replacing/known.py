"""What is written down of replacements, and of the releases that want one (`Known`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.library.batches import batches
from gateway.library.database import Database
from gateway.library.health import Health
from gateway.library.replacement import Replacement, Step
from gateway.library.schema import checks, files, release_jobs, replacements
from gateway_queue.replacing.limits import Sent

COLUMNS = tuple(
    replacements.c[name]
    for name in (
        "id",
        "release_id",
        "nzo_id",
        "category",
        "name",
        "by_hand",
        "step",
        "asked",
        "arr",
        "titles",
        "title",
        "sent",
        "marked",
        "ended",
        "answer",
        "note",
        "attempts",
        "not_before",
    )
)


class Known:
    """What is known of replacements. Safe to use from any thread; all raise StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sent(self, since: float) -> list[Sent]:
        """Return what was sent after *since*."""
        with self._database.read() as tx:
            return sent_since(tx, since, None)

    def of_releases(self, release_ids: Collection[int]) -> dict[int, Replacement]:
        """Return the latest replacement of each of these releases that has one."""
        found: dict[int, Replacement] = {}
        asked = sorted(release_ids)
        for some in batches(asked):
            query = (
                sa.select(*COLUMNS)
                .where(replacements.c.release_id.in_(some))
                .order_by(replacements.c.id)
            )
            with self._database.read() as tx:
                for row in tx.execute(query):
                    one = replacement_of(row)
                    found[one.release_id or 0] = one
        return found

    def nzo_ids(self, release_ids: Collection[int]) -> dict[int, str]:
        """Return under which id each of these releases was downloaded, as far as it is known."""
        found: dict[int, str] = {}
        asked = sorted(release_ids)
        for some in batches(asked):
            query = sa.select(release_jobs.c.release_id, release_jobs.c.nzo_id).where(
                release_jobs.c.release_id.in_(some)
            )
            with self._database.read() as tx:
                found.update((row.release_id, row.nzo_id) for row in tx.execute(query))
        return found

    def failed(self, release_ids: Collection[int]) -> dict[int, bool]:
        """Return which of these releases have a file that has failed, and if that is confirmed."""
        found: dict[int, bool] = {}
        asked = sorted(release_ids)
        for some in batches(asked):
            query = (
                sa.select(files.c.release_id, sa.func.max(checks.c.confirmed_at).label("at"))
                .join_from(checks, files, checks.c.file_id == files.c.id)
                .where(
                    checks.c.verdict == Health.FAILED.value,
                    files.c.release_id.in_(some),
                )
                .group_by(files.c.release_id)
            )
            with self._database.read() as tx:
                found.update((row.release_id, row.at is not None) for row in tx.execute(query))
        return found


def sent_since(tx: Connection, since: float, but: int | None) -> list[Sent]:
    """Return what was sent after *since*, for others than the replacement *but*."""
    query = sa.select(replacements.c.sent, replacements.c.arr, replacements.c.titles).where(
        replacements.c.sent > since
    )
    if but is not None:
        query = query.where(replacements.c.id != but)
    return [Sent(row.sent, row.arr, frozenset(row.titles.split())) for row in tx.execute(query)]


def replacement_of(row: Any) -> Replacement:
    """Return the replacement that *row*, of `COLUMNS`, is."""
    return Replacement(
        **{**row._asdict(), "step": Step(row.step), "by_hand": bool(row.by_hand)},
    )
