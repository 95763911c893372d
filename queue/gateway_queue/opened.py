"""A post whose first articles have come: its files, told from par2, which tells their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from gateway.errors import ArticleError, ImportFailed
from gateway.nzb import par2
from gateway.nzb.document import NzbFile
from gateway.nzb.names import subject_name
from gateway_queue.analysis import Opening, md5, regular_table
from gateway_queue.contents import Kind, kind_of
from gateway_queue.inspection import Inspection
from gateway_queue.posted_files import Posted, Shelf

# Of a par2 file more than the descriptions of any set take, and of how many sets.
_MOST_BYTES, _MOST_SETS = 4 << 20, 100
_HASHED = 1 << 14


def opened(inspection: Inspection, par2s: Sequence[NzbFile]) -> Shelf:
    """Return the files that are inspected, but for those which show to be par2 files themselves.

    *par2s* are further files of the post. Of each set one is read for the others' real names;
    what cannot be had of it merely goes untold. Raises ImportFailed where nothing else is posted,
    and as the inspection does.
    """
    indexes = _indexes(par2s)
    openings, extra = inspection.openings(indexes)
    both = [*zip(inspection.posted, openings, strict=True)]
    files = [one for one in both if not _is_par2(*one)]
    if not files:
        raise ImportFailed("the post holds nothing but par2 files")
    tables = inspection.tables(files)
    posted = [Posted(*one, table) for one, table in zip(files, tables, strict=True)]
    shelf = Shelf(inspection, posted)
    found = [one for one in both if _is_par2(*one)]
    found += [(file, one) for file, one in zip(indexes, extra, strict=True) if one is not None]
    sets = par2.read(_contents(inspection, found))
    if any(one.files for one in sets.values()):
        told = _told(sets, shelf)
        shelf.posted = [
            replace(one, real_name=name, real_md5=whole)
            for one, (name, whole) in zip(posted, told, strict=True)
        ]
    return shelf


def _is_par2(file: NzbFile, first: Opening) -> bool:
    return kind_of((first.name, subject_name(file.subject)), first.head) is Kind.PAR2


def _indexes(files: Iterable[NzbFile]) -> list[NzbFile]:
    """Return of par2 files the smallest of each set, by their names: it has little else in it."""
    smallest: dict[str, NzbFile] = {}
    for file in files:
        name = subject_name(file.subject).casefold()
        stem = name.removesuffix(".par2").rpartition(".vol")
        known = smallest.setdefault(stem[0] or stem[2], file)
        if file.size < known.size:
            smallest[stem[0] or stem[2]] = file
    return list(smallest.values())[:_MOST_SETS]


def _contents(inspection: Inspection, files: Sequence[tuple[NzbFile, Opening]]) -> Iterable[bytes]:
    """Give the beginning of the smallest file of each set, by what is in them."""
    smallest: dict[bytes, tuple[NzbFile, Opening]] = {}
    for file, first in sorted(files, key=lambda one: one[1].size):
        smallest.setdefault(par2.set_id(first.head), (file, first))
    for file, first in list(smallest.values())[:_MOST_SETS]:
        data = first.head
        table = regular_table(file, first)
        if len(data) < first.size and table is not None:
            with suppress(ArticleError, ImportFailed):
                data = Shelf(inspection, [Posted(file, first, table)]).file(0).read(_MOST_BYTES)
        yield data


def _told(sets: Mapping[bytes, par2.Par2Set], shelf: Shelf) -> list[tuple[str, bytes | None]]:
    """Return name and MD5 that par2 has of each file on *shelf*, "" and None if it has not."""
    told: dict[tuple[bytes, int], set[tuple[str, bytes]]] = {}
    for described in (one for each in sets.values() for one in each.files.values()):
        told.setdefault((described.md5_16k, described.size), set()).add(
            (described.name, described.md5)
        )
    sizes = {size for _, size in told}
    # An article that is smaller than what is hashed: hardly ever.
    short = [
        index
        for index, one in enumerate(shelf.posted)
        if not one.opening.hash16k and one.opening.size in sizes
    ]
    shelf.prefetch((index, shelf.posted[index].opening.end) for index in short)
    found: list[tuple[str, bytes | None]] = []
    for index, file in enumerate(shelf.posted):
        hashed = file.opening.hash16k
        if index in short:
            hashed = md5(shelf.file(index).read(_HASHED))
        # Files that begin alike and are of one size are told apart by nothing.
        known = told.get((hashed, file.opening.size), set())
        found.append(next(iter(known)) if len(known) == 1 else ("", None))
    return found
