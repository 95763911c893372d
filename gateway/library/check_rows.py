"""A file's row in `checks` as a value, and back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import StorageError
from gateway.library.damage import Damage, Playable, pack_spans, unpack_spans
from gateway.library.entries import FileEntry, Release
from gateway.library.health import FileHealth, Health, pack_holes, unpack_holes
from gateway.library.schema import checks, disk_files, files, releases

_columns = (
    files.c.id,
    files.c.folder,
    files.c.name,
    files.c.size,
    files.c.modified,
    files.c.etag,
    releases.c.id.label("release_id"),
    releases.c.category,
    releases.c.name.label("release_name"),
    releases.c.created,
    *(column for column in checks.c if column is not checks.c.file_id),
    disk_files.c.path.is_not(None).label("on_disk"),
)
known = (
    sa.select(*_columns)
    .join_from(checks, files, checks.c.file_id == files.c.id)
    .join(releases, files.c.release_id == releases.c.id)
    .outerjoin(disk_files, disk_files.c.file_id == files.c.id)
)
"""What is known of files: to be narrowed down, and read by `health_of`."""

_update = sa.update(checks).where(checks.c.file_id == sa.bindparam("file"))


def health_of(row: Any) -> FileHealth:
    """Return what a row of `known` says. Raises StorageError."""
    release = Release(row.release_id, row.category, row.release_name, row.created)
    file = FileEntry(row.id, release, row.folder, row.name, row.size, row.modified, row.etag)
    try:
        return FileHealth(
            file,
            row.checked_at,
            row.decided_at,
            Health(row.verdict),
            row.articles,
            row.missing,
            row.unknown,
            row.reason,
            unpack_holes(row.holes),
            bool(row.on_disk),
            row.due_at,
            row.unanswered,
            row.failed_at,
            row.confirmed_at,
            unpack_holes(row.damaged),
            Damage(unpack_spans(row.lost), row.lost_bytes, Playable(row.playable), row.why),
        )
    except ValueError as exc:
        raise StorageError(f"what a check found of {file.path!r} is damaged: {exc}") from exc


def write(tx: Connection, now: FileHealth) -> None:
    """Write what is known of a file *now*, if it is still there."""
    tx.execute(
        _update,
        {
            "file": now.file.id,
            "checked_at": now.checked_at,
            "decided_at": now.decided_at,
            "verdict": now.verdict.value,
            "articles": now.articles,
            "missing": now.missing,
            "unknown": now.unknown,
            "reason": now.reason,
            "holes": pack_holes(now.holes),
            "due_at": now.due_at,
            "unanswered": now.unanswered,
            "failed_at": now.failed_at,
            "confirmed_at": now.confirmed_at,
            "damaged": pack_holes(now.damaged),
            "playable": now.damage.playable.value,
            "why": now.damage.why,
            "lost": pack_spans(now.damage.lost),
            "lost_bytes": now.damage.lost_bytes,
        },
    )
