"""Which files belong together: pieces by their names, or by their sizes where names say nothing.

RAR volumes know themselves to which set they belong, and `gateway.nzb.rar` asks them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.nzb import split
from gateway.nzb.names import content_extension, has_known_extension, is_obfuscated
from gateway_queue.contents import Kind

_BARE = re.compile(r"\.(?!(?:19|20)\d\d$)\d{3,4}$")  # no year
_DISK = re.compile(r"(.*)\.(?:zip|z(\d\d))$", re.IGNORECASE | re.DOTALL)
_RAR = b"Rar!\x1a\x07"
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_START = struct.Struct("<6s6sQQ4s")  # 7zFormat.txt: where the header lies, which is the end


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a file. *place*: which one of its post it is, None where nobody says."""

    name: str
    kind: Kind
    size: int
    head: bytes
    place: int | None = None


@dataclass(frozen=True, slots=True)
class FileSet:
    """The indexes of files that are one archive, or one file; RAR volumes of all sets are one.

    *in_order*: the members are in order already, whatever their names say.
    """

    kind: Kind
    members: tuple[int, ...]
    in_order: bool = False


def arrange(files: Sequence[Candidate]) -> tuple[list[FileSet], list[int]]:
    """Return the sets that *files* make, and the indexes of those that are as they are.

    Of the sets none has a member of another.
    """
    sets = list(_rows(files))
    taken = _copies(files).union(*(row.members for row in sets))
    pieces, volumes = _pieces(files, taken)
    sets += pieces
    taken.update(volumes, *(one.members for one in pieces))
    volumes += [i for i, one in enumerate(files) if one.kind is Kind.RAR and i not in taken]
    if volumes:
        sets.append(FileSet(Kind.RAR, tuple(sorted(volumes))))
    sets += _whole_files(files, taken)
    taken.update(*(one.members for one in sets))
    plain = [i for i, one in enumerate(files) if i not in taken and one.kind is not Kind.PAR2]
    return sets, plain


def _whole_files(files: Sequence[Candidate], taken: set[int]) -> list[FileSet]:
    """Return each 7z, and each ZIP with the disks that are called as it is."""
    left = [index for index in range(len(files)) if index not in taken]
    sets = [FileSet(Kind.SEVEN_ZIP, (i,)) for i in left if files[i].kind is Kind.SEVEN_ZIP]
    disks: dict[str, list[int]] = {}
    for index in left:
        if files[index].kind is Kind.ZIP:
            match = _DISK.fullmatch(files[index].name)
            disks.setdefault(match[1].casefold() if match else f"{index}/", []).append(index)
    for members in disks.values():
        members.sort(key=lambda index: _disk(files[index].name))
        sets.append(FileSet(Kind.ZIP, tuple(members)))
    return sets


def _copies(files: Sequence[Candidate]) -> set[int]:
    """Return the indexes of pieces that are there before: some posts are posted twice."""
    seen: set[tuple[str, int, bytes]] = set()
    copies: set[int] = set()
    for index, one in enumerate(files):
        if one.kind is Kind.SPLIT:
            essence = (one.name.casefold(), one.size, one.head)
            copies.update({index} if essence in seen else ())
            seen.add(essence)
    return copies


def _disk(name: str) -> int:
    """Return what sorts the disks of a ZIP: film.z01, film.z02, film.zip."""
    match = _DISK.fullmatch(name)
    return int(match[2]) if match and match[2] else 100


def _pieces(files: Sequence[Candidate], taken: set[int]) -> tuple[list[FileSet], list[int]]:
    """Return sets of numbered pieces, and which of them are RAR volumes under such names."""
    numbered = [
        index
        for index, one in enumerate(files)
        if index not in taken
        and (one.kind is Kind.SPLIT or (_BARE.search(one.name) and one.kind is not Kind.PAR2))
    ]
    pieces: list[FileSet] = []
    volumes: list[int] = []
    for group in split.sets([files[index].name for index in numbered]):
        members = tuple(numbered[place] for place in group)
        if all(files[index].head.startswith(_RAR) for index in members):
            volumes += members
        elif _are_pieces([files[index].name for index in members]):
            pieces.append(FileSet(Kind.SPLIT, members))
    return pieces, volumes


def _are_pieces(names: Sequence[str]) -> bool:
    """Say whether what *names* end in are numbers of pieces, and not years or episodes."""
    if all(has_known_extension(name.rpartition(".")[0]) for name in names):
        return True
    numbers = sorted(int(name.rpartition(".")[2]) for name in names)
    return len(numbers) > 1 and numbers[0] <= 1 and numbers[-1] <= 2 * len(numbers)


# By size -------------------------------------------------------------------------------------


def _rows(files: Sequence[Candidate]) -> Iterator[FileSet]:
    """Give what was cut and posted piece by piece under names that say nothing.

    The first piece begins as a file does, those after it as nothing does; all but the last have
    one size, and the subjects count them. A 7z says how much of it there is.
    """
    by_place = {one.place: index for index, one in enumerate(files) if one.place is not None}
    if len(by_place) < len(files):
        return
    for first, one in enumerate(files):
        if not _is_nameless(one) or not content_extension(one.head):
            continue
        whole = _whole(one)
        members, size = [first], one.size
        while (index := by_place.get((one.place or 0) + len(members))) is not None:
            piece = files[index]
            is_next = _is_nameless(piece) and not content_extension(piece.head)
            if not is_next or piece.size > one.size or size == whole:
                break
            members.append(index)
            size += piece.size
            if piece.size < one.size:
                break
        # Of two files of two sizes the second may be anything.
        is_row = files[members[-1]].size == one.size or len(members) > 2
        if len(members) > 1 and (is_row if whole is None else size == whole):
            yield FileSet(Kind.SPLIT, tuple(members), in_order=True)


def _whole(one: Candidate) -> int | None:
    """Return how many bytes the archive has that *one* begins, where its first bytes tell."""
    if one.kind is not Kind.SEVEN_ZIP or len(one.head) < _START.size:
        return None
    magic, _, offset, length, _ = _START.unpack_from(one.head)
    return _START.size + int(offset) + int(length) if magic == _SEVEN_ZIP else None


def _is_nameless(one: Candidate) -> bool:
    if one.kind is Kind.SPLIT or _BARE.search(one.name):
        return False
    return not has_known_extension(one.name) and is_obfuscated(one.name)
