"""Checks: what was found of each file, and the rounds over the whole library."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "checks",
        sa.Column(
            "file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("checked_at", sa.Float, nullable=False, server_default=sa.text("0")),
        sa.Column("decided_at", sa.Float),
        sa.Column("verdict", sa.Text, nullable=False, server_default=sa.text("'unknown'")),
        _number("articles"),
        _number("missing"),
        _number("unknown"),
        _text("reason"),
        _text("holes"),
    )
    op.create_index("ix_checks_checked_at", "checks", ["checked_at", "file_id"])
    op.create_table(
        "check_rounds",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("began", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        _text("reason"),
        sqlite_autoincrement=True,
    )
    op.execute("INSERT INTO checks (file_id) SELECT id FROM files")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))
