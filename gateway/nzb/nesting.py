"""Archives in archives: a file of an archive as a file that can be read, and as a volume.

Whoever finds a volume in an archive makes a `Volume` of it by `volume_of`, has it read like any
other, and takes what is found there down a level by `stretches.Level.compose`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, cast

from gateway.errors import ImportFailed, UnsupportedArchive
from gateway.nzb.archive import Inner, Stretch, Volume
from gateway.nzb.cbc import decrypt, needed
from gateway.nzb.positions import Positioned
from gateway.nzb.stretches import Chain, check, narrowed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DEPTH = 5
"""How many archives may lie in one another: more is an attack."""


def view(inner: Inner, volumes: Sequence[Volume]) -> BinaryIO:
    """Return *inner*, which was read from *volumes*, as a file to read and seek in.

    It reads what is asked for and nothing ahead; what a volume's file raises goes through, and
    one that ends too early raises ImportFailed. Closing it closes none of them. Raises
    ImportFailed for stretches that the volumes do not have, UnsupportedArchive where more than
    DEPTH views lie in one another.
    """
    return cast("BinaryIO", _View(inner, volumes))


def volume_of(inner: Inner, volumes: Sequence[Volume]) -> Volume:
    """Return *inner*, which was read from *volumes*, as a volume. Raises as `view` does."""
    return Volume(inner.name.rpartition("/")[2], inner.size, view(inner, volumes))


def row_of(volumes: Sequence[Volume], name: str = "") -> Inner:
    """Return *volumes* one behind the other, as one file: what a cut archive was."""
    chain = Chain.of_volumes(volume.size for volume in volumes)
    stretch = Stretch(chain.cut(0, chain.length), chain.length)
    return Inner(name, chain.length, (stretch,) if chain.length else ())


class _View(Positioned):
    def __init__(self, inner: Inner, volumes: Sequence[Volume]) -> None:
        super().__init__(sum(one.length for one in inner.stretches))
        below = (volume.file for volume in volumes)
        self.depth: int = 1 + max((getattr(file, "depth", 0) for file in below), default=0)
        if self.depth > DEPTH:
            raise UnsupportedArchive(f"more than {DEPTH} archives lie in one another")
        try:
            check(inner.stretches, inner.size)
            self._stretches = [narrowed(one) for one in inner.stretches if one.length]
        except ValueError as exc:
            raise ImportFailed(f'"{inner.name}" is not within its archive: {exc}') from exc
        self._chains = [Chain(stretch.runs) for stretch in self._stretches]
        self._starts = list(accumulate((one.length for one in self._stretches), initial=0))[:-1]
        self._volumes = volumes

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        filled = self._fill(target[: max(0, self._size - self._position)])
        self._position += filled
        return filled

    def _fill(self, target: memoryview) -> int:
        position, filled = self._position, 0
        while filled < len(target):
            number = bisect_right(self._starts, position + filled) - 1
            at = position + filled - self._starts[number]
            length = min(self._stretches[number].length - at, len(target) - filled)
            target[filled : filled + length] = self._plain(number, at, length)
            filled += length
        return filled

    def _plain(self, number: int, at: int, length: int) -> bytes:
        stretch, chain = self._stretches[number], self._chains[number]
        at += stretch.skip
        if stretch.cipher is None:
            return self._stored(chain, at, length)
        begin, end = needed(at, at + length)
        return decrypt(stretch.cipher, self._stored(chain, begin, end - begin), begin, at, length)

    def _stored(self, chain: Chain, begin: int, length: int) -> bytes:
        found = []
        for run in chain.cut(begin, length):
            volume = self._volumes[run.posted]
            volume.file.seek(run.offset)
            data = volume.file.read(run.length)
            if len(data) != run.length:
                raise ImportFailed(
                    f'"{volume.name}" ends at byte {run.offset + len(data):,} of {volume.size:,}'
                )
            found.append(data)
        return b"".join(found)
