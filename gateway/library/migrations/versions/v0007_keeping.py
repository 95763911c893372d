"""What imports have left of links, when files were last read, what is to go from the disk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "left_links",
        sa.Column(
            "release_id",
            _ROW_ID,
            sa.ForeignKey("releases.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("made", sa.Integer, nullable=False),
        sa.Column("gone_at", sa.Float),
    )
    op.execute(
        "INSERT INTO left_links (release_id, made) SELECT release_id, count(*) FROM links "
        "WHERE file_id IS NOT NULL GROUP BY release_id"
    )
    op.create_table(
        "last_reads",
        sa.Column(
            "file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "disk_removals",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("path", _NAME, nullable=False),
        sa.Column("folder", _NAME, nullable=False),
    )
    op.create_index("ix_releases_created", "releases", ["created", "id"])
