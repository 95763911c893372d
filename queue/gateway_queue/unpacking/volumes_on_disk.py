"""Files on the disk as the readers of archives want them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from gateway.nzb.archive import Volume

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def volumes_of(paths: Iterable[Path]) -> Sequence[Volume]:
    """Return *paths* as volumes. None of them is open but while it is read: there may be 1,000."""
    return [Volume(path.name, path.stat().st_size, cast("BinaryIO", _File(path))) for path in paths]


class _File(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        ends = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}
        base = ends[whence] if whence in ends else self._path.stat().st_size
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            count = os.preadv(handle, [buffer], self._position)
        finally:
            os.close(handle)
        self._position += count
        return count
