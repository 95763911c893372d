"""What imports leave for Sonarr and Radarr: a folder of links for each release.

A row for each job's folder, for each folder within it, and for each link. A link names its file
by the id, so it leads there wherever it is moved. Who removes or renames links changes these rows
and nothing else: the release stays. When a release goes, or one of its files, so do the links.
That the last link of a release was taken away is remembered, and when: where to is not known here,
for who moves a link out of a mount copies its text and removes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.errors import GatewayError
from gateway.library.database import Database
from gateway.library.entries import LinkKind, Release
from gateway.library.schema import files, left_links, links
from gateway.nzb.media_types import media_type
from gateway.nzb.names import numbered, safe_name, shortened, split_extension

_PAGE = 1000  # rows read at once; between pages no transaction is open
_NAME_BYTES = 255
_MARK_BYTES = 8  # " (10000)": a folder may hold as many files of one name

_columns = (
    links.c.id,
    links.c.release_id,
    links.c.category,
    links.c.folder,
    links.c.name,
    links.c.file_id,
    links.c.made,
)


class LinkRefused(GatewayError):
    """A link cannot be renamed like this."""

    http_status = 403


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A link or, where *file_id* is None, a folder of them.

    *folder* is the path above it, below *category*: "" for a job's own folder. *made* is in
    seconds since 1970.
    """

    id: int
    release_id: int
    category: str
    folder: str
    name: str
    file_id: str | None
    made: float

    @property
    def path(self) -> str:
        """Return the path below the category: "job" or "job/a/name"."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


class Links:
    """The links in *database*, for all threads."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def categories(self) -> list[str]:
        """Return the categories that hold the folder of a job, in order of their names."""
        found: list[str] = []
        after = sa.select(sa.func.min(links.c.category)).where(
            links.c.category > sa.bindparam("last")
        )
        with self._database.read() as tx:
            while (name := tx.scalar(after, {"last": found[-1] if found else ""})) is not None:
                found.append(name)
        return found

    def find(self, category: str, path: str) -> LinkEntry | None:
        """Return what lies at *path* ("job" or "job/a/name") in *category*, None if nothing."""
        folder, slash, name = path.rpartition("/")
        if slash and not folder:
            return None
        with self._database.read() as tx:
            return _at(tx, category, folder, name)

    def members(self, category: str, folder: str = "") -> Iterator[LinkEntry]:
        """Give what lies directly in *folder*, in order of names, a page at a time.

        What is made or removed meanwhile may be among it or not. No transaction is open while
        the caller works.
        """
        page = (
            sa.select(*_columns)
            .where(
                links.c.category == category,
                links.c.folder == folder,
                links.c.name > sa.bindparam("last"),
            )
            .order_by(links.c.name)
            .limit(_PAGE)
        )
        last: str | None = ""
        while last is not None:
            with self._database.read() as tx:
                rows = tx.execute(page, {"last": last}).all()
            yield from (LinkEntry(*row) for row in rows)
            last = rows[-1].name if len(rows) == _PAGE else None

    def remove(self, entry: LinkEntry) -> None:
        """Remove *entry* and all that is in it. The release stays."""
        with self._database.begin() as tx:
            _remove(tx, entry)
            _note_gone(tx, left_links.c.release_id == entry.release_id, self._clock())

    def rename(self, entry: LinkEntry, path: str) -> None:
        """Have *entry* lie at *path* in its category, in place of what lies there.

        Raises LinkRefused unless both lie in the folder of the same job, and a link keeps its
        ending.
        """
        job = entry.path.split("/", 1)[0]
        folder, _, name = path.rpartition("/")
        if not entry.folder:
            raise LinkRefused(
                f"the folder of {job!r} keeps its name, by which the history knows it"
            )
        if path.split("/", 1)[0] != job or not folder:
            raise LinkRefused(f"a link of {job!r} can be renamed within that folder only")
        ending = "" if entry.file_id is None else f".{entry.name.rpartition('.')[2]}"
        if not name.endswith(ending) or safe_name(name) != name:
            raise LinkRefused(f"{name!r} is no name for it: it takes one that ends in {ending!r}")
        with self._database.begin() as tx:
            before = _at(tx, entry.category, folder, name)
            if before is not None and before.id != entry.id:
                _remove(tx, before)
                _note_gone(tx, left_links.c.release_id == before.release_id, self._clock())
            tx.execute(
                sa.update(links).where(links.c.id == entry.id).values(folder=folder, name=name)
            )
            if entry.file_id is None:
                rest = sa.func.substr(links.c.folder, len(entry.path) + 1)
                tx.execute(
                    sa.update(links)
                    .where(*_below(entry))
                    .values(folder=sa.literal(path).concat(rest))
                )


def make_links(tx: Connection, release: Release, kind: LinkKind, created: float) -> None:
    """Make the folder of *release* within *tx*, and in it what *kind* says for each of its files.

    A .strm is for players: only what they play has one.
    """
    if kind is LinkKind.NONE:
        return
    query = sa.select(files.c.id, files.c.folder, files.c.name).where(
        files.c.release_id == release.id
    )
    found = [
        (row.id, row.folder, row.name)
        for row in tx.execute(query)
        if kind is not LinkKind.STRM or media_type(row.name).startswith(("video/", "audio/"))
    ]
    rows = [
        {
            "release_id": release.id,
            "category": release.category,
            "folder": folder,
            "name": name,
            "file_id": file_id,
            "made": created,
        }
        for folder, name, file_id in _tree(release.name, found, kind)
    ]
    tx.execute(sa.insert(links), rows)
    if made := sum(row["file_id"] is not None for row in rows):
        tx.execute(sa.insert(left_links), {"release_id": release.id, "made": made})


def remove_links(tx: Connection, release_ids: sa.Select[tuple[int]], at: float) -> None:
    """Remove the folders of the releases that *release_ids* selects, within *tx*; now is *at*."""
    tx.execute(sa.delete(links).where(links.c.release_id.in_(release_ids)))
    _note_gone(tx, left_links.c.release_id.in_(release_ids), at)


def _note_gone(tx: Connection, of: sa.ColumnElement[bool], at: float) -> None:
    """Write down when the last link of releases was taken away, where it was."""
    is_left = sa.exists().where(
        links.c.release_id == left_links.c.release_id, links.c.file_id.is_not(None)
    )
    tx.execute(
        sa.update(left_links).where(of, left_links.c.gone_at.is_(None), ~is_left).values(gone_at=at)
    )


def _tree(
    job: str, found: Iterable[tuple[str, str, str]], kind: LinkKind
) -> Iterator[tuple[str, str, str | None]]:
    """Give (folder, name, file id or None) for all that lies in a job's folder, and itself."""
    taken: set[tuple[str, str]] = set()
    yield "", job, None
    numbers: dict[tuple[str, str], int] = {}
    ordered = sorted(found, key=lambda file: (file[1], file[2]))
    for folder in {folder for _, folder, _ in ordered}:
        parts = folder.split("/") if folder else []
        for depth in range(len(parts)):
            place = ("/".join([job, *parts[:depth]]), parts[depth])
            if place not in taken:
                taken.add(place)
                yield *place, None
    for file_id, folder, file_name in ordered:
        above = f"{job}/{folder}" if folder else job
        stem = split_extension(file_name)[0] if kind is LinkKind.STRM else file_name
        ending = f".{kind.value}"
        room = _NAME_BYTES - len(ending)
        name = shortened(stem, room) + ending
        while (above, name) in taken:
            number = numbers.get((above, stem), 2)
            numbers[above, stem] = number + 1
            name = numbered(shortened(stem, room - _MARK_BYTES), number) + ending
        taken.add((above, name))
        yield above, name, file_id


def _at(tx: Connection, category: str, folder: str, name: str) -> LinkEntry | None:
    query = sa.select(*_columns).where(
        links.c.category == category, links.c.folder == folder, links.c.name == name
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else LinkEntry(*row)


def _remove(tx: Connection, entry: LinkEntry) -> None:
    if entry.file_id is None:
        tx.execute(sa.delete(links).where(*_below(entry)))
    tx.execute(sa.delete(links).where(links.c.id == entry.id))


def _below(entry: LinkEntry) -> tuple[sa.ColumnElement[bool], ...]:
    """Select what lies anywhere in the folder *entry*."""
    # "0" follows "/" in the order of bytes: all that begins with the path and a slash.
    inside = sa.and_(links.c.folder > f"{entry.path}/", links.c.folder < f"{entry.path}0")
    here = links.c.folder == entry.path
    return links.c.release_id == entry.release_id, sa.or_(here, inside)
