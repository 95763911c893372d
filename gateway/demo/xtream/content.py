"""Bytes of a film that exist nowhere: any range of any size, computed from its offset.

A keyed megabyte after another, each cut from another place of the key: so no two neighbours are
alike, and an answer that is off by anything at all is told from the right one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

BLOCK = 1 << 20
_STEP = 104_729  # odd: the places repeat after 2**20 blocks, a TiB


class Content:
    """What a film consists of: *size* bytes made of *key*, or exactly *given*."""

    def __init__(self, key: int, size: int, given: bytes | None = None) -> None:
        self.size = size if given is None else len(given)
        self._key = key
        self._given = given

    def read(self, offset: int = 0, count: int | None = None) -> bytes:
        """Return up to *count* bytes from *offset* on; None: all that follow."""
        return b"".join(self.pieces(offset, self.size - offset if count is None else count))

    def pieces(self, offset: int, count: int) -> Iterator[memoryview]:
        """Give these bytes in pieces of at most a megabyte, without copying any."""
        end = min(offset + count, self.size)
        while offset < end:
            piece = self._piece(offset, min(end - offset, BLOCK))
            yield piece
            offset += len(piece)

    def _piece(self, offset: int, count: int) -> memoryview:
        if self._given is not None:
            return memoryview(self._given)[offset : offset + count]
        number, within = divmod(offset, BLOCK)
        start = number * _STEP % BLOCK + within
        return memoryview(_pattern(self._key))[start : start + min(count, BLOCK - within)]


@lru_cache(maxsize=32)
def _pattern(key: int) -> bytes:
    return random.Random(key).randbytes(2 * BLOCK)
