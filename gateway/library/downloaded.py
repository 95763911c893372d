"""Files of releases that lie on the disk, when their releases go.

What is to go is written down in the transaction that removes the rows, and struck off once it is
gone: a crash in between leaves nothing half removed, as the next start goes on with it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.library.database import Database
from gateway.library.schema import disk_files, disk_removals, files

log = logging.getLogger(__name__)


def intend(tx: Connection, *conditions: sa.ColumnElement[bool]) -> list[int]:
    """Write down within *tx* that the files that fulfil *conditions* go from the disk.

    Returns what `carry_out` is to be given once *tx* is committed.
    """
    downloaded = (
        sa.select(disk_files.c.path, files.c.folder)
        .join(files, files.c.id == disk_files.c.file_id)
        .where(*conditions)
    )
    if not (rows := [row._asdict() for row in tx.execute(downloaded)]):
        return []
    insert = sa.insert(disk_removals).returning(disk_removals.c.id)
    return [*tx.scalars(insert, rows)]


def carry_out(database: Database, intended: Sequence[int] | None = None) -> None:
    """Remove from the disk what is written down: *intended*, or at a start (None) all of it.

    What cannot be removed is told in the log, and tried again at the next start.
    """
    # At a start nobody moves a download into the place of what is to go: a path in use is new.
    query = sa.select(*disk_removals.c, disk_files.c.file_id).outerjoin(
        disk_files, disk_files.c.path == disk_removals.c.path
    )
    one = sa.delete(disk_removals).where(disk_removals.c.id == sa.bindparam("done"))
    if intended is not None:
        if not intended:
            return
        query = query.where(disk_removals.c.id.between(min(intended), max(intended)))
    with database.read() as tx:
        rows: Sequence[Any] = tx.execute(query.order_by(disk_removals.c.id)).all()
    wanted = None if intended is None else set(intended)
    done = [
        {"done": row.id}
        for row in rows
        if wanted is None or row.id in wanted
        if row.file_id is not None or _remove_from_disk(Path(row.path), row.folder)
    ]
    if done:
        with database.begin() as tx:
            tx.execute(one, done)


def _remove_from_disk(path: Path, folder: str) -> bool:
    """Remove a file that lies in *folder* of its release, and what it leaves empty of that.

    Says whether the file is gone. Where its category's folder is not there either, its disk may be
    away, and come back with it.
    """
    inner = folder.count("/") + 1 + bool(folder)
    category = path.parents[min(inner, len(path.parents) - 1)]
    if not category.is_dir():
        log.warning(
            '[Library] a removed release may be on a disk that is away: "%s" is not there, and '
            '"%s" is removed at the first start when it is',
            category,
            path.name,
        )
        return False
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        log.warning("[Library] a removed release stays on the disk: %s", exc)
        return False
    try:
        for parent in islice(path.parents, inner):
            parent.rmdir()
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            log.warning("[Library] the folder of a removed release stays: %s", exc)
    return True
