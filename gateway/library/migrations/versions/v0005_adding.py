"""Where an NZB is fetched from, its date and its size; the queue's rest; traffic by day."""

from __future__ import annotations

import zlib

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_jobs = sa.table(
    "jobs", sa.column("nzo_id"), sa.column("nzb_bytes"), sa.column("packed"), sa.column("nzb")
)


def upgrade() -> None:
    for column in (
        sa.Column("url", sa.Text),
        sa.Column("posted", sa.Float),
        sa.Column("nzb_bytes", sa.BigInteger),
        # What is large goes last again: SQLite reads what stands before it without its pages.
        sa.Column("packed", sa.LargeBinary),
    ):
        op.add_column("jobs", column)
    tx = op.get_bind()
    for (nzo_id,) in tx.execute(sa.select(_jobs.c.nzo_id).where(_jobs.c.nzb.is_not(None))).all():
        row = _jobs.c.nzo_id == nzo_id
        packed: bytes = tx.execute(sa.select(_jobs.c.nzb).where(row)).scalar_one()
        tx.execute(sa.update(_jobs).where(row).values(packed=packed, nzb_bytes=_size(packed)))
    op.drop_column("jobs", "nzb")
    op.execute("ALTER TABLE jobs RENAME COLUMN packed TO nzb")
    op.create_table(
        "queue_rest",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("until", sa.Float),
    )
    op.create_table(
        "traffic",
        sa.Column("provider", _NAME, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        _number("received"),
        _number("tried"),
        _number("found"),
    )


def _size(packed: bytes) -> int:
    try:
        return len(zlib.decompress(packed))
    except zlib.error:
        return 0  # whoever wants to read it is told that it is damaged


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
