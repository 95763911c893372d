"""Links: the folders that imports leave for Sonarr and Radarr."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column(
            "release_id",
            _ROW_ID,
            sa.ForeignKey("releases.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("category", _NAME, nullable=False),
        sa.Column("folder", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE")),
        sa.Column("made", sa.Float, nullable=False),
        sa.UniqueConstraint("category", "folder", "name"),
    )
    op.create_index("ix_links_release_id", "links", ["release_id"])
    op.create_index("ix_links_file_id", "links", ["file_id"])
    # What is in the history may still wait for its *arr to fetch it. Until now an import has put
    # all files of a release into one folder.
    op.execute(
        "INSERT INTO links (release_id, category, folder, name, made) "
        "SELECT id, category, '', name, created FROM releases WHERE id IN (SELECT release_id "
        "FROM jobs)"
    )
    op.execute(
        "INSERT INTO links (release_id, category, folder, name, file_id, made) "
        "SELECT releases.id, category, releases.name, files.name || '.rclonelink', files.id, "
        "created FROM files JOIN releases ON releases.id = release_id WHERE folder = '' AND "
        "releases.id IN (SELECT release_id FROM jobs)"
    )
