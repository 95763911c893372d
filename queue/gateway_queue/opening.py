"""What a post holds once its archives are opened, and the archives in them.

Nothing is unpacked: a file that is stored in an archive is found as stretches of the posted files.
An archive that cannot be opened fails the post, unless it is small beside the rest: then it
is shown as it is, as whatever else lies beside an archive is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from gateway.errors import ImportFailed, UnsupportedArchive
from gateway.nzb import nesting, rar, rar_sets, sevenzip, split, zipped
from gateway.nzb.archive import Inner, Stretch, Volume
from gateway.nzb.cbc import needed
from gateway.nzb.extents import Run
from gateway.nzb.names import has_known_extension, is_obfuscated, subject_place
from gateway.nzb.stretches import Chain, Level
from gateway_queue import passwords
from gateway_queue.contents import Kind, kind_of
from gateway_queue.posted_files import Shelf
from gateway_queue.sets import Candidate, FileSet, arrange

log = logging.getLogger(__name__)

# An archive of less than this share of the post lies beside what it is about: subtitles, samples.
_BESIDE = 0.1
_HEAD = 1024
# Of so many files in archives whose names say nothing the beginnings are looked at.
_LOOKED_AT = 200
_WORTH_A_LOOK = 20_000  # bytes: no archive of anything is smaller


@dataclass(slots=True)
class Found:
    """A file: posted as it is (*posted* is its index), or in an archive.

    *inner* has its path there, and where it lies by stretches of posted files. *kind* is what it
    looks like, *head* its first bytes, None where nobody has looked; *place* is which file of the
    post it is.
    """

    inner: Inner
    file: BinaryIO = field(repr=False)
    kind: Kind = Kind.PLAIN
    head: bytes | None = field(default=None, repr=False)
    posted: int | None = None
    place: int | None = None

    @property
    def name(self) -> str:
        return self.inner.name.rpartition("/")[2]


class Unpacker:
    """Opens the archives among the files on *shelf*, by one of *known* passwords each."""

    def __init__(self, shelf: Shelf, known: Sequence[str]) -> None:
        self._shelf = shelf
        self._passwords = known
        self._volumes = [
            Volume(one.name, one.table.size, shelf.file(index))
            for index, one in enumerate(shelf.posted)
        ]

    def unpack(self) -> list[Found]:
        """Return what the posted files are or hold: no archives, but small ones.

        Raises UnsupportedArchive, WrongPassword, IncompletePost, any other ImportFailed where an
        archive makes no sense, and as the shelf's files do.
        """
        files = [self._posted(index) for index in range(len(self._volumes))]
        total = sum(one.inner.size for one in files)
        return self._unpack(files, total, nesting.DEPTH)

    def _posted(self, index: int) -> Found:
        one, volume = self._shelf.posted[index], self._volumes[index]
        stretches = (Stretch((Run(index, 0, volume.size),), volume.size),)
        inner = Inner(one.name, volume.size, stretches, one.listed.date)
        place = subject_place(one.listed.subject)
        return Found(inner, volume.file, one.kind, one.opening.head, index, place)

    def _unpack(self, files: Sequence[Found], total: int, depth: int) -> list[Found]:
        sets, plain = arrange([_candidate(one) for one in files])
        found = [files[index] for index in plain]
        if sets and not depth:
            raise UnsupportedArchive(f"more than {nesting.DEPTH} archives lie in one another")
        self._fetch_ends([files[index] for one in sets for index in one.members[-1:]])
        for one in sets:
            members = [files[index] for index in one.members]
            for group in self._archives(one, members):
                try:
                    contents = self._read(group, one)
                    found += self._unpack(contents, total, depth - 1)
                except ImportFailed as exc:
                    if sum(member.inner.size for member in group) > _BESIDE * total:
                        raise
                    log.warning('[Queue] "%s" is shown as it is: %s', group[0].name, exc)
                    found += group
        return found

    def _archives(self, one: FileSet, members: list[Found]) -> Iterable[list[Found]]:
        """Give the members of each archive of a set: RAR volumes may be of several."""
        if one.kind is not Kind.RAR:
            return [members]
        try:
            return self._rar_sets(members)
        except ImportFailed:
            # It may be one of them that cannot be read, a small one: by their names, then.
            groups = [
                [members[index] for index in group]
                for group in rar_sets.stems([member.name for member in members])
            ]
            if len(groups) < 2:
                return [members]
            sets: list[list[Found]] = []
            for group in groups:
                try:
                    sets += self._rar_sets(group)
                except ImportFailed:
                    sets.append(group)  # whoever reads it is told why
            return sets

    def _rar_sets(self, members: list[Found]) -> list[list[Found]]:
        volumes = _volumes(members)
        ahead = partial(self._fetch, members)

        def sets(password: str | None) -> list[list[int]]:
            return rar.sets(volumes, password, ahead=ahead)

        return [
            [members[index] for index in group] for group in passwords.first(sets, self._passwords)
        ]

    def _read(self, members: list[Found], one: FileSet) -> list[Found]:
        """Return what an archive of these *members* holds, by stretches of posted files."""
        volumes = _volumes(members)
        reader: passwords.Reader
        if one.in_order:
            inners = [nesting.row_of(volumes, members[0].name)]
        elif one.kind is Kind.SPLIT:
            inners = split.read(volumes)
        else:
            if one.kind is Kind.RAR:
                reader = partial(rar.read, volumes, ahead=partial(self._fetch, members))
            elif one.kind is Kind.SEVEN_ZIP:
                reader = partial(sevenzip.read, volumes)
            else:
                reader = partial(zipped.read, volumes)
            inners = passwords.read(reader, volumes, self._passwords)
        level = Level([member.inner for member in members])
        found = [self._found(level.compose(inner)) for inner in inners]
        self._look_at(found)
        return found

    def _found(self, inner: Inner) -> Found:
        return Found(inner, nesting.view(inner, self._volumes), kind_of([inner.name]))

    def _look_at(self, found: Sequence[Found]) -> None:
        """Look at the beginning of what may be an archive, all at once."""
        looked = [one for one in found if one.kind is not Kind.PLAIN]
        nameless = [
            one
            for one in found
            if one.kind is Kind.PLAIN
            and one.inner.size >= _WORTH_A_LOOK
            and not has_known_extension(one.name)
            and is_obfuscated(one.name)
        ]
        looked += sorted(nameless, key=lambda one: one.inner.size, reverse=True)[:_LOOKED_AT]
        self._fetch(looked, [(index, 0) for index in range(len(looked))])
        for one in looked:
            one.file.seek(0)
            one.head = one.file.read(_HEAD)
            one.kind = kind_of([one.inner.name], one.head)

    def _fetch_ends(self, files: Sequence[Found]) -> None:
        """Fetch at once the ends of archives that are listed there: 7z and ZIP."""
        ends = [one for one in files if one.kind in (Kind.SEVEN_ZIP, Kind.ZIP)]
        self._fetch(ends, [(index, one.inner.size - 1) for index, one in enumerate(ends)])

    def _fetch(self, files: Sequence[Found], places: Iterable[tuple[int, int]]) -> None:
        """Fetch at once what is at *places*: indexes of *files*, and offsets in them."""
        self._shelf.prefetch(
            place for index, offset in places for place in _in_post(files[index].inner, offset)
        )


def _candidate(one: Found) -> Candidate:
    return Candidate(one.name, one.kind, one.inner.size, one.head or b"", one.place)


def _volumes(members: Iterable[Found]) -> list[Volume]:
    return [Volume(one.name, one.inner.size, one.file) for one in members]


def _in_post(inner: Inner, offset: int) -> list[tuple[int, int]]:
    """Return where in which posted file the byte at *offset* of *inner* lies, none behind it."""
    for stretch in inner.stretches:
        if offset < stretch.length:
            begin = stretch.skip + offset
            if stretch.cipher is not None:
                begin, _ = needed(begin, begin + 1)
            run = Chain(stretch.runs).cut(begin, 1)[0]
            return [(run.posted, run.offset)]
        offset -= stretch.length
    return []
