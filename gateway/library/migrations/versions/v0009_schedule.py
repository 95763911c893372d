"""Checks by a schedule: when each file's is due, what is confirmed, and a history of them."""

from __future__ import annotations

import time
import zlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HOUR, _MONTH = 3600.0, 30 * 86_400.0
_AT_ONCE = 5_000


def upgrade() -> None:
    _number("checks", "due_at", sa.Float())
    _number("checks", "unanswered", sa.Integer())
    op.add_column("checks", sa.Column("failed_at", sa.Float))
    op.add_column("checks", sa.Column("confirmed_at", sa.Float))
    for name in ("damaged", "playable", "why", "lost"):
        op.add_column(
            "checks", sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))
        )
    _number("checks", "lost_bytes", sa.BigInteger())
    _spread(time.time())
    op.create_index("ix_checks_due_at", "checks", ["due_at", "file_id"])
    op.create_index("ix_checks_verdict", "checks", ["verdict", "decided_at", "file_id"])
    confirmed = sa.text("confirmed_at IS NOT NULL")
    op.create_index(
        "ix_checks_confirmed_at",
        "checks",
        ["confirmed_at"],
        sqlite_where=confirmed,
        postgresql_where=confirmed,
    )
    op.create_table(
        "check_history",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column(
            "file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("health", sa.Text, nullable=False),
        sa.Column("is_change", sa.Boolean, nullable=False),
        sa.Column("deep", sa.Boolean, nullable=False),
        sa.Column("articles", sa.Integer, nullable=False),
        sa.Column("missing", sa.Integer, nullable=False),
        sa.Column("unknown", sa.Integer, nullable=False),
        sa.Column("took_s", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_check_history_file_id", "check_history", ["file_id", "id"])
    op.create_table(
        "check_brake",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.drop_table("check_rounds")


def _number(table: str, name: str, kind: sa.types.TypeEngine[Any]) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=sa.text("0")))


def _spread(now: float) -> None:
    """Have no more files due at once than as if there had always been a schedule."""
    checks = sa.table("checks", *map(sa.column, ("file_id", "checked_at", "verdict", "due_at")))
    files = sa.table("files", sa.column("id"), sa.column("release_id"))
    releases = sa.table("releases", sa.column("id"), sa.column("created"))
    query = (
        sa.select(checks.c.file_id, checks.c.checked_at, releases.c.created)
        .join_from(checks, files, checks.c.file_id == files.c.id)
        .join(releases, files.c.release_id == releases.c.id)
    )
    bind = op.get_bind()
    update = (
        sa.update(checks)
        .where(checks.c.file_id == sa.bindparam("of"))
        .values(due_at=sa.bindparam("at"))
    )
    rows = [
        {"of": file_id, "at": _due(file_id, max(checked_at, created), created, now)}
        for file_id, checked_at, created in bind.execute(query)
    ]
    for start in range(0, len(rows), _AT_ONCE):
        bind.execute(update, rows[start : start + _AT_ONCE])


def _due(file_id: str, latest: float, created: float, now: float) -> float:
    due = latest + min(max(latest - created, _HOUR), _MONTH)
    if now < due <= now + _MONTH:
        return due
    # Overdue, as whatever was never checked: some time within as long as it may wait.
    share = zlib.crc32(file_id.encode()) / 2**32
    return now + share * min(max(now - created, _HOUR), _MONTH)
