"""The first schema: releases, their posted files, their files, and the jobs of the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "releases",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("category", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("nzb", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("category", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "posted_files",
        sa.Column("id", _ROW_ID, primary_key=True),
        _release(),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("parts", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("release_id", "ordinal"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Text, primary_key=True),
        _release(),
        sa.Column("folder", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified", sa.Float, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("runs", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("release_id", "folder", "name"),
    )
    op.create_table(
        "jobs",
        sa.Column("nzo_id", sa.Text, primary_key=True),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("category", _NAME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("added", sa.Float, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("parts_total", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("not_before", sa.Float, nullable=False, server_default=sa.text("0")),
        sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("failure", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("completed", sa.Float),
        sa.Column("took_s", sa.Float),
        sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("release_id", _ROW_ID, sa.ForeignKey("releases.id", ondelete="SET NULL")),
        sa.Column("password", sa.Text),
        sa.Column("nzb", sa.LargeBinary),
        sa.CheckConstraint("nzo_id <> ''", name="nzo_id"),
    )
    queued, finished = sa.text("completed IS NULL"), sa.text("completed IS NOT NULL")
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        [sa.text("priority DESC"), "position", "added", "nzo_id"],
        sqlite_where=queued,
        postgresql_where=queued,
    )
    op.create_index(
        "ix_jobs_history",
        "jobs",
        ["archived", sa.text("completed DESC"), sa.text("added DESC"), "nzo_id"],
        sqlite_where=finished,
        postgresql_where=finished,
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_index("ix_jobs_category", "jobs", ["category", "added"])
    op.create_index("ix_jobs_release_id", "jobs", ["release_id"])


def _release() -> sa.Column[int]:
    return sa.Column(
        "release_id", _ROW_ID, sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False
    )
