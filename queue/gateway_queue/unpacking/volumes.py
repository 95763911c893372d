"""Which par2 volumes to fetch for so many recovery blocks: those that cost least."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_NAMED = re.compile(r"\.vol(\d{1,7})([+-])(\d{1,7})\.par2", re.IGNORECASE)
_HEADER = 68  # bytes of a recovery packet beside its slice
_MOST_BLOCKS = 65_536  # of a set: exponents have 16 bits


class RecoveryVolume(NamedTuple):
    """A par2 file that was not fetched: *key* is whatever its owner knows it by."""

    key: int
    blocks: int
    size: int


def blocks_of(name: str, size: int, slice_size: int) -> int:
    """Return how many recovery blocks the par2 file *name* of *size* bytes has.

    Its name tells ("film.vol003+04.par2"), or, where it is disguised, its size, if the set's
    *slice_size* is known (0 if not). Packets beside the blocks make the latter a guess, which is
    never above what fits.
    """
    fits = size // (slice_size + _HEADER) if slice_size > 0 else _MOST_BLOCKS
    match = _NAMED.search(name)
    if match is not None:
        first, mark, second = int(match[1]), match[2], int(match[3])
        # Some programs write "vol003-006": the last one in place of the number.
        told = second if mark == "+" else second - first + 1
        return max(0, min(told, fits))
    return min(fits, _MOST_BLOCKS) if slice_size > 0 else 0


def choose(volumes: Iterable[RecoveryVolume], blocks: int) -> list[RecoveryVolume]:
    """Return of *volumes* those that give at least *blocks* blocks, and no more than they must.

    All of them, where all are too few. The larger are taken first: fewer files.
    """
    usable = sorted(
        (one for one in volumes if one.blocks > 0), key=lambda one: (one.blocks, -one.size)
    )
    if sum(one.blocks for one in usable) <= blocks:
        return usable
    # Bit n of sums[i]: some of the first i volumes have n blocks together.
    sums = [1]
    for one in usable:
        sums.append(sums[-1] | sums[-1] << one.blocks)
    enough = sums[-1] >> max(0, blocks)
    left = max(0, blocks) + (enough & -enough).bit_length() - 1
    chosen = []
    for one, without in zip(reversed(usable), reversed(sums[:-1]), strict=True):
        if left >= one.blocks and without >> (left - one.blocks) & 1:
            chosen.append(one)
            left -= one.blocks
    return chosen[::-1]
