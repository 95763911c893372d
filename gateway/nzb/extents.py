"""Which article holds which bytes: parts, part tables, and the runs and extents of a file.

A *posted file* is cut into *parts* (yEnc's word), one article each; a `PartTable` tells which
part holds an offset. A *file* of the library is a chain of `Run`s, each a stretch of a posted
file: one run over all of it for a plain post, one for each volume when an archive is mapped.
An `Extent` is the piece of a file that lies within one part.

All parts of a post but the last have one size, so one article tells the whole layout
(`PartTable.regular`). A post that does not keep to this has its offsets interpolated, and each
article that is read corrects the table (`PartTable.learn`).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a posted file: where to ask for it, and what it must carry.

    *message_ids* are without angle brackets; the first is asked for first, the others are
    alternates that the NZB lists under the same number. None at all: the NZB has a gap here.
    *number* is counted from 1, *total* is how many parts the posted file has. *begin* and *end*
    are byte offsets in the posted file (end exclusive), *size* is that file's size; None where
    it is not known yet, and then an article may state whatever is consistent in itself.
    """

    message_ids: tuple[str, ...]
    number: int = 1
    total: int = 1
    begin: int | None = None
    end: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """*length* bytes of a file: those from *offset* on in the data of *part*."""

    part: Part
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Run:
    """*length* bytes of a file that lie from *offset* on in the posted file number *posted*."""

    posted: int
    offset: int
    length: int


class PartTable:
    """The parts of one posted file, and the offsets at which they begin.

    Packed it takes the message-ids and one byte each, and 8 bytes a part more only where
    the parts are irregular. Only `learn` changes a table, and only an irregular one; whoever
    shares such a table between threads locks it (`gateway.streams.layout` does).
    """

    __slots__ = ("__weakref__", "_exact", "_ids", "_starts", "part_size", "size")

    def __init__(
        self,
        ids: Sequence[bytes],
        size: int,
        *,
        part_size: int = 0,
        starts: Sequence[int] | None = None,
        exact: bytearray | None = None,
    ) -> None:
        """Take *ids*, an entry a part: message-ids joined by TAB, empty where the NZB has a gap.

        *size* is the posted file's, in bytes. Either *part_size* is given (a regular layout)
        or *starts*, one offset a part, of which *exact* says with 1 which are known.
        """
        if not ids:
            raise ValueError("a posted file has at least one part")
        if bool(part_size) == (starts is not None):
            raise ValueError("give either part_size or starts")
        self._ids = ids
        self.size = size
        self.part_size = part_size
        self._starts = [] if starts is None else list(starts)
        self._exact = bytearray(len(self._starts)) if exact is None else exact

    @classmethod
    def regular(cls, ids: Sequence[bytes], size: int, part_size: int) -> Self:
        """Return the table of a post whose parts all hold *part_size* bytes, but the last.

        Raises ValueError when so many parts of that size do not make *size*.
        """
        if part_size <= 0 or -(-size // part_size) != len(ids):
            raise ValueError(f"{len(ids)} parts of {part_size} bytes do not make {size} bytes")
        return cls(ids, size, part_size=part_size)

    @classmethod
    def estimated(cls, ids: Sequence[bytes], size: int, weights: Sequence[int]) -> Self:
        """Return a table whose offsets are guessed from *weights* (the NZB's bytes a segment)."""
        sane = [max(1, weight) for weight in weights]
        total = sum(sane)
        starts = [size * before // total for before in accumulate(sane[:-1], initial=0)]
        table = cls(ids, size, starts=starts)
        table._exact[0] = 1
        return table

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def is_regular(self) -> bool:
        return self.part_size > 0

    def message_ids(self, index: int) -> tuple[str, ...]:
        """Return the message-ids that carry part *index* (from 0), the preferred one first."""
        entry = self._ids[index]
        return tuple(entry.decode("utf-8", "surrogateescape").split("\t")) if entry else ()

    def find(self, offset: int) -> int:
        """Return the index of the part that holds *offset*: exact if regular, else a best guess."""
        if not 0 <= offset < self.size:
            raise ValueError(f"offset {offset} is outside of {self.size} bytes")
        if self.part_size:
            return offset // self.part_size
        # Guesses may coincide with the known start in front of them: it is the first of equals.
        index = bisect_left(self._starts, offset)
        at_start = index < len(self._starts) and self._starts[index] == offset
        return index if at_start else index - 1

    def bounds(self, index: int) -> tuple[int, int]:
        """Return begin and end of part *index* as far as they are known, or else guessed."""
        if self.part_size:
            begin = index * self.part_size
            return begin, min(begin + self.part_size, self.size)
        last = index + 1 == len(self._starts)
        return self._starts[index], self.size if last else self._starts[index + 1]

    def is_exact(self, index: int) -> bool:
        """Say whether both bounds of part *index* are known for certain."""
        if self.part_size:
            return True
        after = index + 1
        return bool(self._exact[index]) and (after == len(self._exact) or bool(self._exact[after]))

    def part(self, index: int) -> Part:
        """Return part *index* with what it must carry; bounds that are guessed are left out."""
        ids, number, total = self.message_ids(index), index + 1, len(self)
        if not self.is_exact(index):
            return Part(ids, number, total, size=self.size)
        begin, end = self.bounds(index)
        return Part(ids, number, total, begin, end, self.size)

    def learn(self, index: int, begin: int, end: int) -> None:
        """Take from the article of part *index* that it carries [begin, end).

        Guesses around it are moved so that offsets stay ascending and what is known stays as
        it is. Raises ValueError when it contradicts what is known, and then takes nothing.
        """
        if self.part_size:
            if (begin, end) != self.bounds(index):
                raise ValueError(
                    f"part {index + 1} carries {begin}-{end}, not {self.bounds(index)}"
                )
            return
        if index + 1 == len(self._starts) and end != self.size:
            raise ValueError(f"the last part ends at {end}, the file at {self.size}")
        if begin >= end:
            raise ValueError(f"part {index + 1} carries {begin}-{end}")
        news = [(index, begin), (index + 1, end)][: len(self._starts) - index]
        for which, start in news:
            self._check(which, start)
        for which, start in news:
            self._fix(which, start)

    def _check(self, index: int, begin: int) -> None:
        starts, exact = self._starts, self._exact
        if exact[index]:
            if starts[index] != begin:
                raise ValueError(f"part {index + 1} begins at {begin}, known as {starts[index]}")
            return
        floor = starts[exact.rfind(1, 0, index)]
        high = exact.find(1, index + 1)
        ceiling = self.size if high < 0 else starts[high]
        if not floor < begin < ceiling:
            raise ValueError(
                f"part {index + 1} begins at {begin}, not between {floor} and {ceiling}"
            )

    def _fix(self, index: int, begin: int) -> None:
        starts, exact = self._starts, self._exact
        if exact[index]:
            return
        low = exact.rfind(1, 0, index)
        high = exact.find(1, index + 1)
        ceiling = self.size if high < 0 else starts[high]
        old_low, old = starts[low], starts[index]
        stop = len(starts) if high < 0 else high
        _stretch(starts, low + 1, index, (old_low, old), (old_low, begin))
        _stretch(starts, index + 1, stop, (old, ceiling), (begin, ceiling))
        starts[index] = begin
        exact[index] = 1

    # Packed form, version 1: "<BIQQ" version, parts, size, part size (0: irregular); if
    # irregular, parts * u64 starts and parts * u8 exact; then the ids, joined by LF.
    _HEAD = struct.Struct("<BIQQ")

    def pack(self) -> bytes:
        """Return the table as bytes for storage, with what has been learned so far."""
        head = self._HEAD.pack(1, len(self), self.size, self.part_size)
        # In this order: of a part learned meanwhile, the start may be new and called a guess,
        # but never a guess and called exact.
        exact = bytes(self._exact)
        starts = struct.pack(f"<{len(self._starts)}Q", *self._starts)
        return head + starts + exact + b"\n".join(self._ids)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the table that `pack` made these bytes of. Raises ValueError if it did not."""
        try:
            version, parts, size, part_size = cls._HEAD.unpack_from(packed)
            at = cls._HEAD.size
            starts = exact = None
            if not part_size:
                starts = struct.unpack_from(f"<{parts}Q", packed, at)
                exact = bytearray(packed[at + 8 * parts : at + 9 * parts])
                at += 9 * parts
        except struct.error as exc:
            raise ValueError(f"a part table cannot be {len(packed)} bytes long") from exc
        ids = packed[at:].split(b"\n")
        if version != 1 or len(ids) != parts:
            raise ValueError(f"part table of version {version}: {len(ids)} ids for {parts} parts")
        return cls(ids, size, part_size=part_size, starts=starts, exact=exact)


def _stretch(
    starts: list[int], first: int, stop: int, old: tuple[int, int], new: tuple[int, int]
) -> None:
    """Map the guesses starts[first:stop] from the interval *old* onto *new*, in proportion."""
    old_width, new_width = max(1, old[1] - old[0]), new[1] - new[0]
    for index in range(first, stop):
        starts[index] = new[0] + (starts[index] - old[0]) * new_width // old_width
