"""Films whose holes are filled: which holes stand behind a file's ETag."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "editions",
        sa.Column(
            "file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("reader", sa.Text, nullable=False),
        sa.Column("holes", sa.Text, nullable=False),
    )
    op.create_table("edition_folders", sa.Column("folder", _NAME, primary_key=True))
