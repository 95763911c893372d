"""Reading a file that shows views of itself: what all streams have in common."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NOTHING = memoryview(b"")


class ViewReader(io.RawIOBase):
    """A read-only, seekable file of *size* bytes, read up to *stop* (None: to its end).

    Over a subclass's `read_view`. An error is not an end: a read gives all that was asked for
    unless the file or the range ends there, or raises and leaves the position where it was.
    """

    def __init__(self, size: int, stop: int | None) -> None:
        super().__init__()
        self.size = size
        self._stop = size if stop is None else max(0, min(stop, size))
        self._position = 0

    def read_view(self, limit: int) -> memoryview:
        """Return 1 to *limit* bytes as a read-only view that stays valid, and go on behind them.

        Empty only at the end of the file or range.
        """
        raise NotImplementedError

    def _check_open(self) -> None:
        """Raise ValueError if the stream is closed."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; fetches and drops nothing. Beyond the end reads are empty.

        SEEK_END counts from the end of the file, also where the range ends before it.
        """
        self._check_open()
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self.size
        elif whence != io.SEEK_SET:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if offset < 0:
            raise ValueError(f"the position cannot be {offset}")
        self._position = offset
        return offset

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill *buffer*; return how many bytes, fewer only where the file or range ends."""
        target = memoryview(buffer).cast("B")
        begin, filled = self._position, 0
        try:
            while filled < len(target) and (view := self.read_view(len(target) - filled)):
                target[filled : filled + len(view)] = view
                filled += len(view)
        except BaseException:
            self._position = begin
            raise
        return filled

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* bytes, fewer only where the file or range ends; -1: all up to there."""
        left = self._stop - self._position
        if size is not None and size >= 0:
            left = min(left, size)
        if left <= 0:
            self._check_open()
            return b""
        begin = self._position
        view = self.read_view(left)
        if len(view) == left:
            return bytes(view)
        parts = [view]
        left -= len(view)
        try:
            while left and (view := self.read_view(left)):
                parts.append(view)
                left -= len(view)
        except BaseException:
            self._position = begin
            raise
        return b"".join(parts)

    def readall(self) -> bytes:
        """Return everything from the position to the end of the file or range."""
        return self.read(-1)
