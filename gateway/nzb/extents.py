"""Which article holds which bytes: parts, part tables, and the runs and extents of a file.

A *posted file* is cut into *parts* (yEnc's word), one article each; a `PartTable` tells which
part holds an offset. A *file* of the library is a chain of `Run`s, each a row of bytes of a posted
file: one run over all of it for a plain post, one for each volume when an archive is mapped.
An `Extent` is the piece of a file that lies within one part. Both values are made for every
article that is read, and a NamedTuple is made several times faster than a frozen dataclass.

All parts of a post but the last have one size, so one article tells the whole layout
(`PartTable.regular`). A post that does not keep to this has its offsets interpolated, and each
article that is read corrects the table (`PartTable.learn`).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import ge, sub
from typing import NamedTuple, Self

_HEAVIEST = (1 << 32) - 1


class Part(NamedTuple):
    """One part of a posted file: where to ask for it, and what it must carry.

    *message_ids* are without angle brackets; the first is asked for first, the others are
    alternates that the NZB lists under the same number. None at all: the NZB has a gap here.
    *number* is counted from 1, *total* is how many parts the posted file has. *begin* and *end*
    are byte offsets in the posted file (end exclusive), *size* is that file's size; None where
    it is not known yet, and then an article may state whatever is consistent in itself. *listed*
    is how many bytes the NZB says the article has as it was posted, 0 where nobody asked.
    """

    message_ids: tuple[str, ...]
    number: int = 1
    total: int = 1
    begin: int | None = None
    end: int | None = None
    size: int | None = None
    listed: int = 0


class Extent(NamedTuple):
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

    Regular: every offset is a multiple of one size. Irregular: some offsets are known for
    certain, the *marks*, and between two marks the bytes are shared out in proportion to
    weights, at least one to each part. So offsets always ascend, and a mark never moves.

    Only `learn` changes a table, and only an irregular one; whoever shares such a table between
    threads locks it (`gateway.streams.layout` does). `pack` needs no lock.
    """

    __slots__ = ("__weakref__", "_begins", "_ids", "_marks", "_sums", "part_size", "size")

    def __init__(
        self,
        ids: Sequence[bytes],
        size: int,
        *,
        part_size: int = 0,
        weights: Sequence[int] = (),
        marks: Sequence[int] = (0,),
        begins: Sequence[int] = (0,),
    ) -> None:
        """Take *ids*, an entry a part: message-ids joined by TAB, empty where the NZB has a gap.

        *size* is the posted file's, in bytes. Either *part_size* is given (a regular layout), or
        *weights* of 1 to 2**32 - 1, one a part; then *marks* are the parts (from 0) of which
        *begins* are the known offsets. Raises ValueError for a table that could not be.
        """
        if not ids:
            raise ValueError("a posted file has at least one part")
        self._ids = ids
        self.size = size
        self.part_size = part_size
        if part_size:
            if part_size < 0 or -(-size // part_size) != len(ids):
                raise ValueError(f"{len(ids)} parts of {part_size} bytes do not make {size} bytes")
            return
        # The end is a mark too. `learn` lets them grow in this order, `pack` relies on it.
        self._marks = [*marks, len(ids)]
        self._begins = [*begins, size]
        self._sums = array("Q", accumulate(weights, initial=0))  # the weights before each part
        parts = [*map(sub, self._marks[1:], self._marks)]
        spans = [*map(sub, self._begins[1:], self._begins)]
        fits = len(marks) == len(begins) and min(parts) > 0 and all(map(ge, spans, parts))
        if not fits or self._marks[0] or self._begins[0]:
            raise ValueError(f"{len(ids)} parts that begin at {begins[:4]}... of {size} bytes")
        if len(parts) < len(ids) != len(weights):
            raise ValueError(f"{len(weights)} weights for {len(ids)} parts")

    @classmethod
    def regular(cls, ids: Sequence[bytes], size: int, part_size: int) -> Self:
        """Return the table of a post whose parts all hold *part_size* bytes, but the last.

        Raises ValueError when so many parts of that size do not make *size*.
        """
        if part_size <= 0:
            raise ValueError(f"parts of {part_size} bytes make no file")
        return cls(ids, size, part_size=part_size)

    @classmethod
    def estimated(cls, ids: Sequence[bytes], size: int, weights: Sequence[int]) -> Self:
        """Return a table whose offsets are guessed from *weights* (the NZB's bytes a segment).

        Raises ValueError when there is not one byte for each part.
        """
        return cls(ids, size, weights=[min(max(1, weight), _HEAVIEST) for weight in weights])

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
        after = bisect_right(self._begins, offset)
        low, high = self._marks[after - 1], self._marks[after]
        return low + bisect_right(range(low, high), offset, key=self._begin) - 1

    def bounds(self, index: int) -> tuple[int, int]:
        """Return begin and end of part *index* as far as they are known, or else guessed."""
        if not 0 <= index < len(self):
            raise IndexError(f"part {index + 1} of {len(self)}")
        if self.part_size:
            begin = index * self.part_size
            return begin, min(begin + self.part_size, self.size)
        return self._begin(index), self._begin(index + 1)

    def is_exact(self, index: int) -> bool:
        """Say whether both bounds of part *index* are known for certain."""
        if self.part_size:
            return True
        place = bisect_left(self._marks, index)
        return self._marks[place : place + 2] == [index, index + 1]

    def known_begin(self, index: int) -> int | None:
        """Return where part *index* begins if that is certain; of one behind the last: the end."""
        if self.part_size:
            return min(index * self.part_size, self.size)
        place = bisect_left(self._marks, index)
        return self._begins[place] if self._marks[place] == index else None

    def part(self, index: int) -> Part:
        """Return part *index* with what it must carry; bounds that are guessed are left out."""
        ids, number, total = self.message_ids(index), index + 1, len(self._ids)
        if not self.is_exact(index):
            return Part(ids, number, total, size=self.size)
        begin, end = self.bounds(index)
        return Part(ids, number, total, begin, end, self.size)

    def learn(self, index: int, begin: int, end: int) -> None:
        """Take from the article of part *index* that it carries [begin, end).

        Raises ValueError, and changes nothing, when it contradicts what is known.
        """
        if self.part_size:
            if (begin, end) != self.bounds(index):
                raise ValueError(
                    f"part {index + 1} carries {begin}-{end}, not {self.bounds(index)}"
                )
            return
        if begin >= end:
            raise ValueError(f"part {index + 1} carries nothing: {begin}-{end}")
        news = ((index, begin), (index + 1, end))
        for which, offset in news:
            self._check(which, offset)
        for which, offset in news:
            place = bisect_left(self._marks, which)
            if self._marks[place] != which:
                self._marks.insert(place, which)
                self._begins.insert(place, offset)

    def _check(self, index: int, begin: int) -> None:
        place = bisect_left(self._marks, index)
        high, ceiling = self._marks[place], self._begins[place]
        if high == index:
            if begin == ceiling:
                return
            if index == len(self):
                raise ValueError(f"the last part ends at {begin}, the file at {self.size}")
            raise ValueError(f"part {index + 1} begins at {begin}, known as {ceiling}")
        low, floor = self._marks[place - 1], self._begins[place - 1]
        if not floor + (index - low) <= begin <= ceiling - (high - index):
            raise ValueError(
                f"part {index + 1} begins at {begin}, but part {low + 1} at {floor} and "
                f"{'the end' if high == len(self) else f'part {high + 1}'} is at {ceiling}"
            )

    def _begin(self, index: int) -> int:
        """Return where part *index* begins, or as the best guess its share of what is between."""
        place = bisect_right(self._marks, index) - 1
        low, floor = self._marks[place], self._begins[place]
        if low == index:
            return floor
        high, ceiling = self._marks[place + 1], self._begins[place + 1]
        # One byte for each part is set aside, the rest shared out by weight.
        share = self._sums[index] - self._sums[low]
        whole = self._sums[high] - self._sums[low]
        return floor + (index - low) + (ceiling - floor - (high - low)) * share // whole

    # Packed form, version 1: "<BIQQ" version, parts, size, part size (0: irregular). If irregular:
    # u32 number of known offsets; then, if all are known, parts * u64 offsets, else
    # parts * u32 weights, known * u32 parts and known * u64 offsets. At last the ids, joined by LF.
    _HEAD = struct.Struct("<BIQQ")
    _COUNT = struct.Struct("<I")

    def pack(self) -> bytes:
        """Return the table as bytes for storage, with what has been learned so far.

        It takes the message-ids and a byte a part; irregular ones 4 to 16 bytes a part more. May
        run while another thread learns.
        """
        head = self._HEAD.pack(1, len(self), self.size, self.part_size)
        ids = b"\n".join(self._ids)
        return head + ids if self.part_size else head + self._pack_offsets() + ids

    def _pack_offsets(self) -> bytes:
        marks, begins = self._marks[:], self._begins[:]
        while len(marks) != len(begins):  # copied between the two steps of learning
            marks, begins = self._marks[:], self._begins[:]
        known = len(marks) - 1
        count = self._COUNT.pack(known)
        offsets = struct.pack(f"<{known}Q", *begins[:known])
        if known == len(self):
            return count + offsets
        weights = struct.pack(f"<{len(self)}I", *map(sub, self._sums[1:], self._sums))
        return count + weights + struct.pack(f"<{known}I", *marks[:known]) + offsets

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the table that `pack` made these bytes of. Raises ValueError if it did not."""
        try:
            version, parts, size, part_size = cls._HEAD.unpack_from(packed)
            at = cls._HEAD.size
            weights: Sequence[int] = ()
            marks: Sequence[int] = (0,)
            begins: Sequence[int] = (0,)
            if not part_size:
                (known,) = cls._COUNT.unpack_from(packed, at)
                at += cls._COUNT.size
                marks = range(parts)
                if known < parts:
                    weights = struct.unpack_from(f"<{parts}I", packed, at)
                    marks = struct.unpack_from(f"<{known}I", packed, at + 4 * parts)
                    at += 4 * (parts + known)
                begins = struct.unpack_from(f"<{known}Q", packed, at)
                at += 8 * known
        except struct.error as exc:
            raise ValueError(f"a part table cannot be {len(packed)} bytes long") from exc
        ids = packed[at:].split(b"\n")
        if version != 1 or len(ids) != parts:
            raise ValueError(f"part table of version {version}: {len(ids)} ids for {parts} parts")
        return cls(ids, size, part_size=part_size, weights=weights, marks=marks, begins=begins)
