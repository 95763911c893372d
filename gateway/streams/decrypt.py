"""Files that lie encrypted in archives, decrypted as they are read.

What the articles of such a file hold is a file too, its *carrier*: the ciphertext, and whatever
of the file is not encrypted, one behind the other. A `FileStream` reads it, with all it knows of
reading ahead, ranges, budgets and errors; a `DecryptingStream` turns it into what was asked for.

At any offset, decryption takes the 16 bytes of ciphertext before. So a seek costs the article
that holds the position, and where it lies within 16 bytes of its article's beginning, the one
before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, zip_longest
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import CipherContext

from gateway.errors import ArticleDamaged
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.cbc import BLOCK, decryptor, needed
from gateway.nzb.extents import Part, PartTable
from gateway.nzb.stretches import narrowed
from gateway.streams.file_stream import FileStream, StreamInfo
from gateway.streams.layout import Layout
from gateway.streams.reading import NOTHING, ViewReader
from gateway.usenet.workload import Reservation


class Section(NamedTuple):
    """The bytes of a file at [*position*, *end*), from *carrier* on in its carrier.

    With a *cipher*, from byte *skip* on of what lies there once decrypted.
    """

    position: int
    end: int
    carrier: int
    skip: int
    cipher: Cipher | None


class CipheredLayout:
    """Where the bytes of a file lie that is the *stretches* of *tables*, put together.

    `Run.posted` is an index into *tables*, *learned* as for `Layout`. Safe to share between
    threads and streams.
    """

    def __init__(
        self,
        stretches: Sequence[Stretch],
        tables: Sequence[PartTable],
        *,
        learned: Callable[[int], None] | None = None,
    ) -> None:
        """Raises ValueError for what does not lie within its posted file."""
        pieces = [narrowed(stretch) for stretch in stretches if stretch.length]
        runs = [run for piece in pieces for run in piece.runs]
        self.carrier = Layout(runs, tables, learned=learned)
        ends = list(accumulate(piece.length for piece in pieces))
        stored = (sum(run.length for run in piece.runs) for piece in pieces)
        begins = accumulate(stored, initial=0)
        self._sections = [
            Section(end - piece.length, end, begin, piece.skip, piece.cipher)
            for piece, end, begin in zip(pieces, ends, begins, strict=False)
        ]
        self._ends = ends
        self.size = ends[-1] if ends else 0

    def section(self, offset: int) -> Section:
        """Return the section that holds *offset*. Raises ValueError outside of the file."""
        if not 0 <= offset < self.size:
            raise ValueError(f"offset {offset} is outside of {self.size} bytes")
        return self._sections[bisect_right(self._ends, offset)]

    def carried(self, stop: int | None) -> int | None:
        """Return where in the carrier that ends which shows the file up to *stop* (None: all)."""
        if stop is None:
            return None
        if stop <= 0 or not self.size:
            return 0
        section = self.section(min(stop, self.size) - 1)
        end = section.skip + min(stop, self.size) - section.position
        return section.carrier + (end if section.cipher is None else needed(0, end)[1])

    def touched(self) -> list[tuple[int, range]]:
        """Return all parts that hold bytes of the file: see `Layout.touched`."""
        return self.carrier.touched()

    def shown(self, posted: int, first: int, last: int) -> list[tuple[int, int]]:
        """Return which bytes lie in these parts: see `Layout.shown`.

        Where they are encrypted, those of the blocks that cannot be decrypted without them too.
        """
        found = []
        for begin, end in self.carrier.shown(posted, first, last):
            for section, following in zip_longest(self._sections, self._sections[1:]):
                stop = self.carrier.size if following is None else following.carrier
                low, high = max(begin, section.carrier), min(end, stop)
                if low >= high:
                    continue
                slack = BLOCK if section.cipher is not None else 0
                shift = section.position - section.carrier - section.skip
                low = max(section.position, low + shift - slack)
                high = min(section.end, high + shift + slack)
                if low < high:
                    found.append((low, high))
        return found

    def article(self, posted: int, index: int) -> Part:
        """Return part *index* of a posted file: see `Layout.article`."""
        return self.carrier.article(posted, index)

    def whole_article(self, posted: int, index: int) -> tuple[Part, int]:
        """Return part *index* with what it must carry: see `Layout.whole_article`."""
        return self.carrier.whole_article(posted, index)


class DecryptingStream(ViewReader):
    """What *carrier* shows, decrypted: a stream like a `FileStream`, and open for as long."""

    def __init__(self, layout: CipheredLayout, carrier: FileStream, *, stop: int | None) -> None:
        """Read *layout* up to *stop*; *carrier* is its carrier, up to what `carried` says."""
        super().__init__(layout.size, stop)
        self.name = carrier.name
        self._layout = layout
        self._carrier = carrier
        # Plain bytes that `_view` shows, and where in the file they lie.
        self._view = NOTHING
        self._view_at = 0
        # What is being decrypted, and how far: bytes of its ciphertext, and plain bytes.
        self._section: Section | None = None
        self._context: CipherContext | None = None
        self._fed = 0
        self._out = 0

    @property
    def reservation(self) -> Reservation:
        return self._carrier.reservation

    def info(self) -> StreamInfo:
        """Return what this stream is doing now. From any thread."""
        return replace(self._carrier.info(), position=self._position, size=self.size)

    def read_view(self, limit: int) -> memoryview:
        self._check_open()
        if limit < 1:
            raise ValueError(f"limit must be positive, not {limit}")
        position = self._position
        limit = min(limit, self._stop - position)
        if limit <= 0:
            return NOTHING
        at = position - self._view_at
        if not 0 <= at < len(self._view):
            section = self._layout.section(position)
            most = min(section.end, self._stop) - position
            if section.cipher is None:
                view = self._read(section, section.skip + position - section.position, most, limit)
            else:
                view = self._decrypt(section, section.cipher, position, most, limit)
            self._view, self._view_at, at = view, position, 0
        view = self._view[at : at + limit]
        self._position = position + len(view)
        return view

    def _read(self, section: Section, offset: int, most: int, limit: int) -> memoryview:
        self._carrier.seek(section.carrier + offset)
        return self._carrier.read_view(min(most, limit))

    def _decrypt(
        self, section: Section, cipher: Cipher, position: int, most: int, limit: int
    ) -> memoryview:
        """Return 1 to *most* plain bytes at *position*; *limit* are asked for."""
        at = section.skip + position - section.position
        context = self._context
        if context is None or self._section is not section or not 0 <= at - self._out <= BLOCK:
            context = self._begin(section, cipher, at)
        end = needed(0, at + min(most, limit))[1]
        while True:
            view = self._read(section, self._fed, end - self._fed, end)
            if not view:
                raise ArticleDamaged(
                    f"the encrypted bytes end at {self._fed:,}, {end:,} were to be there"
                )
            plain = bytearray(len(view) + BLOCK - 1)
            size = context.update_into(view, plain)
            self._fed += len(view)
            begin, self._out = self._out, self._out + size
            if self._out > at:
                break
        return memoryview(plain).toreadonly()[at - begin : min(size, at - begin + most)]

    def _begin(self, section: Section, cipher: Cipher, at: int) -> CipherContext:
        """Get ready to decrypt from the block on that holds plain byte *at*, or one before."""
        self._context, self._section = None, section
        self._fed = self._out = begin = needed(at, at + 1)[0]
        before = b""
        if begin:
            self._carrier.seek(section.carrier + begin)
            before = self._carrier.read(BLOCK)
            self._fed = self._out = begin + BLOCK
        self._context = decryptor(cipher, before)
        return self._context

    def suspend(self) -> None:
        """Give back what lies ahead: see `FileStream.suspend`."""
        self._carrier.suspend()

    def close(self) -> None:
        """Close the carrier. Idempotent, from any thread, never waits."""
        self._carrier.close()
        super().close()

    def _check_open(self) -> None:
        self._carrier.tell()
