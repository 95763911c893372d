"""How a release gets into the library: under safe names of its own, whole or not at all."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.library import packing
from gateway.library.check_times import first_due
from gateway.library.entries import NewFile, NewRelease, Release
from gateway.library.links import make_links
from gateway.library.schema import (
    checks,
    disk_files,
    file_numbers,
    files,
    posted_files,
    release_jobs,
    releases,
)
from gateway.nzb.archive import Stretch
from gateway.nzb.names import numbered, safe_name, safe_path
from gateway.nzb.stretches import check, merged


def publish(tx: Connection, new: NewRelease) -> Release:
    """Add *new* within *tx*; it can be seen once that is committed.

    All names are made safe. A release whose name the category has already becomes "name (2)",
    likewise a file whose name its folder has. Raises ValueError when what a file is made of does
    not lie within its posted files or does not sum to its size.
    """
    category = safe_name(new.category)
    name = _free_name(tx, category, safe_name(new.name))
    release_id = tx.execute(
        sa.insert(releases).returning(releases.c.id),
        {
            "category": category,
            "name": name,
            "created": new.created,
            "password": new.password,
            "nzb": packing.pack_document(new.nzb),
        },
    ).scalar_one()
    if new.nzo_id is not None:
        tx.execute(sa.insert(release_jobs), {"release_id": release_id, "nzo_id": new.nzo_id})
    posted_rows = [
        {
            "release_id": release_id,
            "ordinal": ordinal,
            "name": safe_name(posted.name),
            "size": posted.table.size,
            "parts": packing.pack_table(posted.table),
        }
        for ordinal, posted in enumerate(new.posted)
    ]
    if posted_rows:
        tx.execute(sa.insert(posted_files), posted_rows)
    sizes = [posted.table.size for posted in new.posted]
    placed = list(_placed(new.files))
    file_rows = [
        _file_row(release_id, new.created, folder, file_name, file, sizes)
        for folder, file_name, file in placed
    ]
    if file_rows:
        tx.execute(sa.insert(files), file_rows)
        on_disk = [
            {"file_id": row["id"], "path": str(file.disk)}
            for row, (_, _, file) in zip(file_rows, placed, strict=True)
            if file.disk is not None
        ]
        if on_disk:
            tx.execute(sa.insert(disk_files), on_disk)
        # The import has asked for some of their articles just now.
        new_ids = sa.select(files.c.id).where(files.c.release_id == release_id)
        in_order = new_ids.order_by(files.c.folder, files.c.name)
        tx.execute(sa.insert(file_numbers).from_select([file_numbers.c.file_id], in_order, False))
        due = new_ids.add_columns(sa.literal(first_due(new.created)))
        tx.execute(sa.insert(checks).from_select([checks.c.file_id, checks.c.due_at], due, False))
    release = Release(release_id, category, name, new.created, new.password)
    make_links(tx, release, new.links, new.created)
    return release


def is_taken(tx: Connection, category: str, name: str) -> bool:
    """Say whether *category* has a release that is called what a new one called *name* would be."""
    return _is_taken(tx, safe_name(category), safe_name(name))


def _is_taken(tx: Connection, category: str, name: str) -> bool:
    taken = sa.select(sa.literal(1)).where(releases.c.category == category, releases.c.name == name)
    return tx.scalar(taken) is not None


def _free_name(tx: Connection, category: str, name: str) -> str:
    candidates = (
        numbered(name, number, folder=True) if number > 1 else name for number in count(1)
    )
    return next(free for free in candidates if not _is_taken(tx, category, free))


def _placed(new: Iterable[NewFile]) -> Iterator[tuple[str, str, NewFile]]:
    """Give every file with a safe folder and a safe name that nothing else in it has."""
    placed = [(safe_path(file.folder), safe_name(file.name), file) for file in new]
    taken: set[tuple[str, str]] = set()
    for folder, _, _ in placed:
        while folder:  # a folder takes a name too
            folder, _, name = folder.rpartition("/")
            taken.add((folder, name))
    # The number to try next for each name: a post may hold ten thousand files of one name.
    numbers: dict[tuple[str, str], int] = {}
    for folder, name, file in placed:
        free = name
        while (folder, free) in taken:
            number = numbers.get((folder, name), 2)
            numbers[folder, name] = number + 1
            free = numbered(name, number)
        taken.add((folder, free))
        yield folder, free, file


def _file_row(
    release_id: int, created: float, folder: str, name: str, file: NewFile, sizes: Sequence[int]
) -> dict[str, object]:
    stretches = () if file.disk is not None else _stretches(file, sizes)
    file_id = secrets.token_hex(16)
    tag = hashlib.sha256(f"{file_id} {file.size} {created}".encode()).hexdigest()[:32]
    return {
        "id": file_id,
        "release_id": release_id,
        "folder": folder,
        "name": name,
        "size": file.size,
        "modified": created if file.modified is None else file.modified,
        "etag": tag,
        "runs": packing.pack_stretches(stretches),
    }


def _stretches(file: NewFile, sizes: Sequence[int]) -> tuple[Stretch, ...]:
    """Return what *file* is made of, in as few runs as show it. Raises ValueError if it is not."""
    of_runs = (Stretch(file.runs, sum(run.length for run in file.runs)),) if file.runs else ()
    stretches = of_runs + file.stretches
    for run in (run for stretch in stretches for run in stretch.runs):
        size = sizes[run.posted] if 0 <= run.posted < len(sizes) else 0
        if not 0 <= run.offset <= size - run.length:
            raise ValueError(
                f"{run.length} bytes at {run.offset} of {file.name!r} are not within posted file "
                f"{run.posted} of {size} bytes"
            )
    try:
        check(stretches, file.size)
    except ValueError as exc:
        raise ValueError(f"what {file.name!r} is made of does not make it: {exc}") from exc
    return merged(stretches)
