"""What the checks of each file came to: the last of them, and when that changed.

Kept are the last 50 checks of a file, and of the older ones the last 50 whose outcome was another
than that of the check before.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import StorageError
from gateway.library.health import FileHealth, Findings, Health
from gateway.library.schema import check_history

KEPT = 50
"""So many checks of a file, and so many changes before them."""

_columns = tuple(
    check_history.c[name]
    for name in ("at", "health", "deep", "articles", "missing", "unknown", "took_s", "reason")
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
    of_file = check_history.c.file_id == now.file.id
    newest = check_history.c.id.desc()
    latest = tx.scalar(sa.select(check_history.c.health).where(of_file).order_by(newest).limit(1))
    tx.execute(
        sa.insert(check_history),
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
    last = sa.select(check_history.c.id).where(of_file).order_by(newest)
    changes = last.where(check_history.c.is_change)
    recent = last.limit(KEPT).subquery()
    oldest = sa.select(sa.func.min(recent.c.id)).scalar_subquery()
    kept = sa.select(changes.where(check_history.c.id < oldest).limit(KEPT).subquery().c.id)
    tx.execute(
        sa.delete(check_history).where(
            of_file, check_history.c.id < oldest, check_history.c.id.not_in(kept)
        )
    )


def of_file(tx: Connection, file_id: str) -> list[Checked]:
    """Return the checks of a file, the latest first. Raises StorageError."""
    query = (
        sa.select(*_columns)
        .where(check_history.c.file_id == file_id)
        .order_by(check_history.c.id.desc())
    )
    try:
        return [Checked(row.at, Health(row.health), *row[2:]) for row in tx.execute(query)]
    except ValueError as exc:
        raise StorageError(f"the history of checks of a file is damaged: {exc}") from exc
