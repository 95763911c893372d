"""Replacements that an *arr is asked for, and by which id it knows a release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_UNFINISHED = sa.text("step IN ('waiting', 'marking', 'searching')")


def upgrade() -> None:
    op.create_table(
        "release_jobs",
        sa.Column(
            "release_id",
            _ROW_ID,
            sa.ForeignKey("releases.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("nzo_id", sa.Text, nullable=False),
    )
    # Of older releases the job may be gone.
    op.execute(
        "INSERT INTO release_jobs (release_id, nzo_id) SELECT release_id, min(nzo_id) FROM jobs "
        "WHERE release_id IS NOT NULL GROUP BY release_id"
    )
    op.create_table(
        "replacements",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("release_id", _ROW_ID, sa.ForeignKey("releases.id", ondelete="SET NULL")),
        sa.Column("nzo_id", sa.Text, nullable=False),
        sa.Column("category", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("by_hand", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("step", sa.Text, nullable=False, server_default=sa.text("'waiting'")),
        sa.Column("asked", sa.Float, nullable=False),
        _text("arr"),
        _text("titles"),
        _text("title"),
        sa.Column("sent", sa.Float),
        sa.Column("marked", sa.Float),
        sa.Column("ended", sa.Float),
        _text("answer"),
        _text("note"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("not_before", sa.Float, nullable=False, server_default=sa.text("0")),
        sa.Column("claimed_until", sa.Float, nullable=False, server_default=sa.text("0")),
        _text("known_to"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_replacements_unfinished",
        "replacements",
        ["release_id"],
        unique=True,
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    op.create_index("ix_replacements_release_id", "replacements", ["release_id"])
    op.create_index("ix_replacements_step", "replacements", ["step", "not_before"])
    op.create_index("ix_replacements_sent", "replacements", ["sent"])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))
