"""The library as its keeper sees it: releases with what is known of them, page by page.

A page costs a few statements, however large the library is: it goes on from a place in an index,
and what is known of its releases is summed up for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.library.batches import batches
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.health import Health
from gateway.library.schema import (
    checks,
    disk_files,
    file_numbers,
    files,
    jobs,
    last_reads,
    left_links,
    links,
    releases,
)
from gateway.library.summaries import (
    Details,
    FileKey,
    KnownFile,
    LinkState,
    Order,
    Page,
    Summary,
    Wanted,
)

# The worst of its files is what a release is; never checked is worse than healthy.
_RANKS = (Health.HEALTHY, Health.UNKNOWN, Health.DEGRADED, Health.FAILED)


class Overview:
    """Looks over the library in *database*. Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._records = CheckRecords(database)

    def page(
        self, wanted: Wanted, *, after: str | None = None, limit: int = 500, keys: bool = False
    ) -> Page:
        """Return the next *limit* releases that are *wanted*, from the place *after* on.

        Raises ValueError if no page of this order has said *after*.
        """
        query = _releases().where(*_conditions(wanted)).limit(limit)
        key: tuple[Any, ...]
        if wanted.order is Order.NAME:
            key = (releases.c.category, releases.c.name)
            query = query.order_by(*key)
            if after is not None:
                category, slash, name = after.partition("/")
                if not slash:
                    raise ValueError(f"no page by name goes on after {after!r}")
                query = query.where(sa.tuple_(*key) > sa.tuple_(category, name))
        else:
            key = (releases.c.created, releases.c.id)
            query = query.order_by(*(column.desc() for column in key))
            if after is not None:
                created, _, number = after.partition(" ")
                try:
                    place = sa.tuple_(float(created), int(number))
                except ValueError:
                    raise ValueError(f"no page by date goes on after {after!r}") from None
                query = query.where(sa.tuple_(*key) < place)
        with self._database.read() as tx:
            rows = tx.execute(query).all()
            found = _summaries(tx, rows, keys=keys)
        if len(rows) < limit:
            return Page(found, None)
        last = rows[-1]
        by_name = wanted.order is Order.NAME
        return Page(found, f"{last.category}/{last.name}" if by_name else f"{last[3]!r} {last.id}")

    def of(self, release_ids: Sequence[int]) -> tuple[Summary, ...]:
        """Return these releases, as far as they are there."""
        with self._database.read() as tx:
            query = _releases().where(releases.c.id.in_(release_ids))
            return _summaries(tx, tx.execute(query).all())

    def details(self, release_id: int) -> Details | None:
        """Return all that is known of a release, None if there is none (any more)."""
        more = (
            sa.select(files.c.id, file_numbers.c.number, disk_files.c.path, last_reads.c.at)
            .join(file_numbers, file_numbers.c.file_id == files.c.id)
            .outerjoin(disk_files, disk_files.c.file_id == files.c.id)
            .outerjoin(last_reads, last_reads.c.file_id == files.c.id)
            .where(files.c.release_id == release_id)
        )
        left = (
            sa.select(links.c.category, links.c.folder, links.c.name)
            .where(links.c.release_id == release_id, links.c.file_id.is_not(None))
            .order_by(links.c.category, links.c.folder, links.c.name)
        )
        stored = sa.select(sa.func.length(releases.c.nzb)).where(releases.c.id == release_id)
        of_jobs = sa.select(jobs.c.nzo_id).where(jobs.c.release_id == release_id)
        known = self._records.of_releases([release_id])
        with self._database.read() as tx:
            rows = tx.execute(_releases().where(releases.c.id == release_id)).all()
            if not rows:
                return None
            (summary,) = _summaries(tx, rows)
            by_id = {row.id: row for row in tx.execute(more)}
            paths = tuple("/".join(row) for row in tx.execute(left))
            size = tx.scalar(stored) or 0
            ids = tuple(tx.scalars(of_jobs))
        found = (
            KnownFile(one, row.number, row.path, row.at)
            for one in known
            if (row := by_id.get(one.file.id)) is not None
        )
        return Details(summary, tuple(found), paths, size, ids)


def _releases() -> sa.Select[Any]:
    return sa.select(
        releases.c.id,
        releases.c.category,
        releases.c.name,
        releases.c.created,
        releases.c.password.is_not(None).label("has_password"),
    )


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.category is not None:
        conditions.append(releases.c.category == wanted.category)
    if wanted.pattern:
        conditions.append(_like(wanted.pattern))
    if wanted.health is not None:
        worst = (
            sa.select(sa.func.coalesce(sa.func.max(_rank()), _RANKS.index(Health.UNKNOWN)))
            .select_from(files)
            .outerjoin(checks, checks.c.file_id == files.c.id)
            .where(files.c.release_id == releases.c.id)
        )
        conditions.append(worst.scalar_subquery() == _RANKS.index(wanted.health))
    if wanted.unlinked:
        conditions.append(sa.exists().where(left_links.c.release_id == releases.c.id))
        left = sa.exists().where(links.c.release_id == releases.c.id, links.c.file_id.is_not(None))
        conditions.append(~left)
    if wanted.unread_since is not None:
        read = sa.exists().where(
            files.c.release_id == releases.c.id,
            last_reads.c.file_id == files.c.id,
            last_reads.c.at >= wanted.unread_since,
        )
        conditions += [releases.c.created < wanted.unread_since, ~read]
    return conditions


def _like(pattern: str) -> sa.ColumnElement[bool]:
    of: sa.ColumnElement[str] = releases.c.name
    if "/" in pattern:
        of = releases.c.category.concat("/").concat(releases.c.name)
    if not {"*", "?"} & set(pattern):
        return of.icontains(pattern, autoescape=True)
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return of.ilike(escaped.replace("*", "%").replace("?", "_"), escape="\\")


def _rank() -> sa.ColumnElement[int]:
    """Return how bad a file is; the join has to leave in those that have no check."""
    return sa.case(
        {health.value: rank for rank, health in enumerate(_RANKS)},
        value=checks.c.verdict,
        else_=_RANKS.index(Health.UNKNOWN),
    )


def _summaries(
    tx: Connection, rows: Sequence[Row[Any]], *, keys: bool = False
) -> tuple[Summary, ...]:
    ids = [row.id for row in rows]
    sums: dict[int, Row[Any]] = {}
    left: dict[int, int] = {}
    gone: dict[int, float | None] = {}
    of_files: dict[int, list[FileKey]] = {}
    for some in batches(ids):
        sums |= {row.release_id: row for row in tx.execute(_sums(some))}
        left |= {row[0]: row[1] for row in tx.execute(_links_left(some))}
        gone |= {row[0]: row[1] for row in tx.execute(_links_gone(some))}
        for row in tx.execute(_keys(some)) if keys else ():
            of_files.setdefault(row[0], []).append(FileKey(*row[1:]))
    found = []
    for row in rows:
        # (files, size, on the disk, how bad the worst is, last read)
        of_row: tuple[Any, ...] = (0, 0, 0, _RANKS.index(Health.UNKNOWN), None)
        if row.id in sums:
            of_row = tuple(sums[row.id])[1:]
        number, size, on_disk, rank, read = of_row
        links_left = left.get(row.id, 0)
        state = LinkState.WAITING if links_left else LinkState.NONE
        if row.id in gone and not links_left:
            state = LinkState.GONE
        found.append(
            Summary(
                row.id,
                row.category,
                row.name,
                row.created,
                bool(row.has_password),
                number,
                int(size),
                on_disk,
                _RANKS[rank],
                state,
                links_left,
                gone.get(row.id),
                read,
                tuple(of_files.get(row.id, ())),
            )
        )
    return tuple(found)


def _sums(ids: Sequence[int]) -> sa.Select[Any]:
    return (
        sa.select(
            files.c.release_id,
            sa.func.count(),
            sa.func.sum(files.c.size),
            sa.func.count(disk_files.c.file_id),
            sa.func.max(_rank()),
            sa.func.max(last_reads.c.at),
        )
        .outerjoin(disk_files, disk_files.c.file_id == files.c.id)
        .outerjoin(checks, checks.c.file_id == files.c.id)
        .outerjoin(last_reads, last_reads.c.file_id == files.c.id)
        .where(files.c.release_id.in_(ids))
        .group_by(files.c.release_id)
    )


def _links_left(ids: Sequence[int]) -> sa.Select[Any]:
    return (
        sa.select(links.c.release_id, sa.func.count())
        .where(links.c.release_id.in_(ids), links.c.file_id.is_not(None))
        .group_by(links.c.release_id)
    )


def _links_gone(ids: Sequence[int]) -> sa.Select[Any]:
    return sa.select(left_links.c.release_id, left_links.c.gone_at).where(
        left_links.c.release_id.in_(ids)
    )


def _keys(ids: Sequence[int]) -> sa.Select[Any]:
    return (
        sa.select(files.c.release_id, files.c.id, file_numbers.c.number, disk_files.c.path)
        .join(file_numbers, file_numbers.c.file_id == files.c.id)
        .outerjoin(disk_files, disk_files.c.file_id == files.c.id)
        .where(files.c.release_id.in_(ids))
    )
