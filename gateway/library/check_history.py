"""What the checks of each file came to: the last of them, and when that changed.

Kept are the last 50 checks of a file, and of the older ones the last 50 whose outcome was another
than that of the check before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import StorageError
from gateway.library.batches import batches
from gateway.library.health import FileHealth, Findings, Health
from gateway.library.schema import check_history

KEPT = 50
"""So many checks of a file, and so many changes before them."""

_columns = tuple(
    check_history.c[name]
    for name in ("at", "health", "deep", "articles", "missing", "unknown", "took_s", "reason")
)

# What is said at every check, put together once: that takes longer than the rest.
_of_file = check_history.c.file_id == sa.bindparam("file")
_newest = check_history.c.id.desc()
_latest = sa.select(check_history.c.health).where(_of_file).order_by(_newest).limit(1)
_insert = sa.insert(check_history)
_last = sa.select(check_history.c.id).where(_of_file).order_by(_newest)
_recent = _last.limit(KEPT).subquery()
_oldest = sa.select(sa.func.min(_recent.c.id)).scalar_subquery()
_changes = _last.where(check_history.c.is_change, check_history.c.id < _oldest).limit(KEPT)
_delete = sa.delete(check_history).where(
    _of_file,
    check_history.c.id < _oldest,
    check_history.c.id.not_in(sa.select(_changes.subquery().c.id)),
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check came to. *health*: its own outcome, UNKNOWN where it left articles open."""

    at: float
    health: Health
    deep: bool
    articles: int
    missing: int
    unknown: int
    took_s: float
    reason: str


def note(tx: Connection, now: FileHealth, findings: Findings, took_s: float) -> None:
    """Write down the check that has just led to *now*, and drop what is too old."""
    file = {"file": now.file.id}
    latest = tx.scalar(_latest, file)
    tx.execute(
        _insert,
        {
            "file_id": now.file.id,
            "at": now.checked_at,
            "health": now.health.value,
            "is_change": latest != now.health.value,
            "deep": findings.deep,
            "articles": findings.articles,
            "missing": findings.missing,
            "unknown": findings.unknown,
            "took_s": took_s,
            "reason": findings.reason,
        },
    )
    tx.execute(_delete, file)


def of_files(tx: Connection, file_ids: Sequence[str]) -> dict[str, list[Checked]]:
    """Return the checks of each of these files, the latest first. Raises StorageError."""
    found: dict[str, list[Checked]] = {file_id: [] for file_id in file_ids}
    for some in batches(file_ids):
        query = (
            sa.select(check_history.c.file_id, *_columns)
            .where(check_history.c.file_id.in_(some))
            .order_by(check_history.c.id.desc())
        )
        try:
            for row in tx.execute(query):
                found[row.file_id].append(Checked(row.at, Health(row.health), *row[3:]))
        except ValueError as exc:
            raise StorageError(f"the history of checks of a file is damaged: {exc}") from exc
    return found
