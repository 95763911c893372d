"""Arithmetic with stretches: cut at any byte, put together, and be taken from one another.

What lies in an archive that lies in an archive is found by `compose`, level by level. It reads
nothing: its result shows the same bytes as going through the levels one after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from gateway.errors import ImportFailed, UnsupportedArchive
from gateway.nzb.archive import Inner, Stretch
from gateway.nzb.cbc import needed
from gateway.nzb.extents import Run


class Chain:
    """*runs* as one row of `length` bytes."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = [run for run in runs if run.length]
        starts = list(accumulate((run.length for run in self._runs), initial=0))
        self.length = starts.pop()
        self._starts = starts

    @classmethod
    def of_volumes(cls, sizes: Iterable[int]) -> Chain:
        """Return volumes of these *sizes* as one row."""
        return cls(Run(posted, 0, size) for posted, size in enumerate(sizes))

    def cut(self, begin: int, length: int) -> tuple[Run, ...]:
        """Return the runs of *length* bytes from *begin* on. Raises ValueError outside of it."""
        end = begin + length
        if begin < 0 or length < 0 or end > self.length:
            raise ValueError(f"{length} bytes at {begin} are not within {self.length} bytes")
        found = []
        number = bisect_right(self._starts, begin) - 1
        while begin < end:
            run, skip = self._runs[number], begin - self._starts[number]
            taken = min(run.length - skip, end - begin)
            found.append(Run(run.posted, run.offset + skip, taken))
            begin += taken
            number += 1
        return tuple(found)


def take(stretch: Stretch, begin: int, length: int, chain: Chain | None = None) -> Stretch:
    """Return *length* bytes of *stretch* from *begin* on, in as few runs as show them.

    *chain* is that of its runs, for who takes from it often. Raises ValueError where the stretch
    does not have them.
    """
    if not 0 <= begin <= begin + length <= stretch.length:
        raise ValueError(f"{length} bytes at {begin} are not within {stretch.length} bytes")
    chain = chain or Chain(stretch.runs)
    skip = stretch.skip + begin
    if stretch.cipher is None:
        return Stretch(chain.cut(skip, length), length)
    # Where it does not begin with the stream, its first block is there for the second one only,
    # so that it does not matter that the iv is not its own.
    first, last = needed(skip, skip + length)
    return Stretch(chain.cut(first, last - first), length, skip - first, stretch.cipher)


def narrowed(stretch: Stretch) -> Stretch:
    """Return *stretch* with none but the runs that it takes. Raises ValueError if they lack."""
    return take(stretch, 0, stretch.length)


def check(stretches: Iterable[Stretch], size: int) -> None:
    """Raise ValueError unless *stretches* have what they say, and make *size* bytes."""
    total = 0
    for stretch in stretches:
        stored = 0
        for run in stretch.runs:
            if run.length < 0:
                raise ValueError(f"a run cannot have {run.length} bytes")
            stored += run.length
        if stretch.cipher is not None and stored % 16:
            raise ValueError(f"{stored} encrypted bytes are no whole blocks")
        if min(stretch.skip, stretch.length) < 0 or stretch.skip + stretch.length > stored:
            raise ValueError(f"{stretch.length} bytes at {stretch.skip} of {stored}")
        total += stretch.length
    if total != size:
        raise ValueError(f"{total} bytes do not make {size}")


def merged(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """Return *stretches* with neighbours that are not encrypted as one; all `narrowed`."""
    found: list[Stretch] = []
    clear: list[Run] = []

    def close() -> None:
        if clear:
            found.append(Stretch(tuple(clear), sum(run.length for run in clear)))
            clear.clear()

    for stretch in map(narrowed, stretches):
        if stretch.cipher is None:
            for run in stretch.runs:
                _append(clear, run)
        elif stretch.length:
            close()
            found.append(stretch)
    close()
    return tuple(found)


def _append(runs: list[Run], run: Run) -> None:
    last = runs[-1] if runs else None
    if last and last.posted == run.posted and last.offset + last.length == run.offset:
        runs[-1] = Run(last.posted, last.offset, last.length + run.length)
    else:
        runs.append(run)


class Level:
    """What was found in volumes that are themselves *volumes* of an archive, in their order."""

    def __init__(self, volumes: Sequence[Inner]) -> None:
        self._volumes = [_Volume(volume) for volume in volumes]

    def compose(self, inner: Inner) -> Inner:
        """Return *inner*, read from these volumes, by the runs of what they were read from.

        Raises UnsupportedArchive where both levels are encrypted, ImportFailed where a volume
        has not the bytes.
        """
        try:
            stretches = merged(
                piece for stretch in inner.stretches for piece in self._through(stretch)
            )
        except ValueError as exc:
            raise ImportFailed(f'"{inner.name}" is not within its archive: {exc}') from exc
        except _TwiceEncrypted:
            raise UnsupportedArchive(
                f'"{inner.name}" is encrypted, and the archive that its archive lies in too: both '
                'at once cannot be streamed; a category of storage "download" unpacks it'
            ) from None
        return replace(inner, stretches=stretches)

    def _through(self, stretch: Stretch) -> Iterable[Stretch]:
        stretch = narrowed(stretch)
        pieces = [
            piece
            for run in stretch.runs
            for piece in self._volumes[run.posted].take(run.offset, run.length)
        ]
        if stretch.cipher is None:
            return pieces
        if any(piece.cipher for piece in pieces):
            raise _TwiceEncrypted
        runs = tuple(run for piece in merged(pieces) for run in piece.runs)
        return (Stretch(runs, stretch.length, stretch.skip, stretch.cipher),)


class _TwiceEncrypted(Exception):
    """A block of ciphertext within ciphertext."""


class _Volume:
    """An `Inner` to take many pieces from."""

    def __init__(self, inner: Inner) -> None:
        self._stretches = [stretch for stretch in inner.stretches if stretch.length]
        self._chains = [Chain(stretch.runs) for stretch in self._stretches]
        starts = list(accumulate((one.length for one in self._stretches), initial=0))
        self._size = starts.pop()
        self._starts = starts

    def take(self, begin: int, length: int) -> Iterable[Stretch]:
        end = begin + length
        if begin < 0 or length < 0 or end > self._size:
            raise ValueError(f"{length} bytes at {begin} are not within {self._size} bytes")
        number = bisect_right(self._starts, begin) - 1
        while begin < end:
            stretch = self._stretches[number]
            skip = begin - self._starts[number]
            taken = min(stretch.length - skip, end - begin)
            yield take(stretch, skip, taken, self._chains[number])
            begin += taken
            number += 1
