"""Numbers of files, for players that name a film by one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "file_numbers",
        sa.Column("number", _ROW_ID, primary_key=True),
        sa.Column(
            "file_id",
            sa.Text,
            sa.ForeignKey("files.id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        sqlite_autoincrement=True,
    )
    op.execute("INSERT INTO file_numbers (file_id) SELECT id FROM files ORDER BY modified, id")
