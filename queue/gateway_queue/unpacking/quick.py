"""Downloaded files held against par2's checksums without reading them.

Who downloaded a file knows the CRC-32 of each of its articles, par2 that of each slice. Where an
article ends where a slice does, both tell the same bytes: the CRC-32s of what lies between two
such places, put together, have to be equal. The beginning and the end of a file always are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from gateway.nzb.crc32 import joined, without_zeros


class Piece(NamedTuple):
    """*length* bytes of a file from *offset* on, which have this *crc32*: an article's data."""

    offset: int
    length: int
    crc32: int


@dataclass(frozen=True, slots=True)
class QuickCheck:
    """What became of the *count* slices of a file, by their numbers.

    *bad*: bytes are missing, or are not what they were. *unknown*: one of several neighbours has
    other bytes, or a neighbour is bad, and nothing tells more. *least* is how many recovery
    blocks it takes at least.
    """

    count: int
    bad: tuple[int, ...]
    unknown: tuple[int, ...]
    least: int

    @property
    def is_whole(self) -> bool:
        """Whether every byte is as it was."""
        return not self.bad and not self.unknown


def check(size: int, slice_size: int, slices: Sequence[int], pieces: Iterable[Piece]) -> QuickCheck:
    """Hold *pieces*, in any order, against the CRC-32s of the *slices* of a file of *size* bytes.

    The last slice is filled up with zeros. A piece that is there twice counts once, one that lies
    beyond the file or across another not at all.
    """
    row = _in_a_row(size, pieces)
    starts = {piece.offset for piece in row}
    ends = {piece.offset + piece.length for piece in row}
    edges = [at for at in range(0, size, slice_size) if at in starts or at in ends]
    edges = sorted({0, size, *edges})
    bad: list[int] = []
    unknown: list[int] = []
    least = index = 0
    for begin, end in pairwise(edges):
        inside = []
        while index < len(row) and row[index].offset < end:
            inside.append(row[index])
            index += 1
        numbers = range(begin // slice_size, -(-end // slice_size))
        gaps = _gaps(begin, end, inside)
        holed = sorted({n for a, b in gaps for n in range(a // slice_size, -(-b // slice_size))})
        if not gaps and _crc32(inside) == _slices_crc32(numbers, slices, slice_size, size):
            continue
        if not gaps and len(numbers) == 1:
            holed = [*numbers]
        bad += holed
        hurt = set(holed)
        unknown += [n for n in numbers if n not in hurt]
        least += max(1, len(holed))
    return QuickCheck(len(slices), tuple(bad), tuple(unknown), least)


def is_covered(size: int, pieces: Iterable[Piece]) -> bool:
    """Say whether *pieces* are all of a file of *size* bytes."""
    return not _gaps(0, size, _in_a_row(size, pieces))


def _in_a_row(size: int, pieces: Iterable[Piece]) -> list[Piece]:
    row: list[Piece] = []
    reached = 0
    for piece in sorted(pieces):
        if piece.length > 0 and reached <= piece.offset <= size - piece.length:
            row.append(piece)
            reached = piece.offset + piece.length
    return row


def _gaps(begin: int, end: int, row: Iterable[Piece]) -> list[tuple[int, int]]:
    gaps = []
    for piece in row:
        if piece.offset > begin:
            gaps.append((begin, piece.offset))
        begin = piece.offset + piece.length
    if begin < end:
        gaps.append((begin, end))
    return gaps


def _crc32(row: Iterable[Piece]) -> int:
    crc32 = 0
    for piece in row:
        crc32 = joined(crc32, piece.crc32, piece.length)
    return crc32


def _slices_crc32(numbers: range, slices: Sequence[int], slice_size: int, size: int) -> int:
    crc32 = 0
    for number in numbers:
        length = min(slice_size, size - number * slice_size)
        crc32 = joined(crc32, without_zeros(slices[number], slice_size - length), length)
    return crc32
