"""A position in bytes that lie elsewhere: what every file-like view of an archive has."""

from __future__ import annotations

import errno
import io


class Positioned(io.RawIOBase):
    """*size* bytes with a position among them or behind; a subclass reads from there."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        offset += {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if offset < 0:
            # As a file does, and zipfile relies on it; BytesIO does otherwise.
            raise OSError(errno.EINVAL, f"the position cannot be {offset}")
        self._position = offset
        return offset
