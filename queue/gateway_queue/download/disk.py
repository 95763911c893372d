"""Files on the disk while a download fills them (`PartialFiles`), and the disk's own errors."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.errors import StorageError, StorageFull, StorageGone

# A post may have ten thousand files, and the program as few as 1,024 descriptors.
_OPEN = 64
_READ = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_GONE = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
        errno.ENOTCONN,
    }
)


@contextmanager
def translated(what: Path | str) -> Iterator[None]:
    """Raise what the system says of *what* as StorageFull, StorageGone or StorageError."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise StorageFull(f"the disk of {_shown(what)} is full") from exc
        if exc.errno in _GONE:
            raise StorageGone(
                f"{_shown(what)}: {exc.strerror}: is the disk mounted, and may the gateway write "
                "there?"
            ) from exc
        raise StorageError(f"{_shown(what)}: {exc.strerror or exc}") from exc


def _shown(what: Path | str) -> str:
    return f'"{what}"' if isinstance(what, Path) else what


def sync_folder(folder: Path) -> None:
    """Have the names in *folder* on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """Return how much an ordinary user may still write to the disk of *folder*."""
    with translated(folder):
        return shutil.disk_usage(folder).free


class PartialFiles:
    """The files in *folder* that a download fills, by number.

    For one thread, but for `sync`. A file has its size from the beginning, and takes room as it is
    filled. *unread* are those that nobody here reads again: they are not kept in the page cache,
    where tens of gigabytes would take the place of what other programs read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unread: Collection[int] = ()
        self._open: OrderedDict[int, int] = OrderedDict()  # the one used last comes last
        with translated(folder):
            folder.mkdir(exist_ok=True)

    def path(self, number: int) -> Path:
        """Return where the file *number* is filled."""
        return self.folder / f"{number:05d}"

    def write(self, number: int, begin: int, data: bytearray, size: int) -> None:
        """Write *data* at *begin* of a file of *size* bytes. Raises StorageFull, StorageError."""
        path = self.path(number)
        with translated(path), memoryview(data) as view:
            fd, done = self._descriptor(number, size), 0
            while done < len(view):
                done += os.pwrite(fd, view[done:], begin + done)

    def head(self, number: int, length: int) -> bytes:
        """Return the first *length* bytes of a file, fewer where it is shorter or gone."""
        with suppress(FileNotFoundError), self.path(number).open("rb") as file:
            return file.read(length)
        return b""

    def checksum(self, number: int, begin: int, length: int) -> int | None:
        """Return the CRC-32 of these bytes as they are on the disk, None if they are not there."""
        crc = 0
        with suppress(FileNotFoundError), self.path(number).open("rb") as file:
            file.seek(begin)
            while length and (read := file.read(min(length, _READ))):
                crc = zlib.crc32(read, crc)
                length -= len(read)
        return None if length else crc

    def remove(self, number: int) -> None:
        """Remove what was written to a file. Raises StorageError."""
        fd = self._open.pop(number, None)
        if fd is not None:
            os.close(fd)
        with translated(self.path(number)):
            self.path(number).unlink(missing_ok=True)

    def sync(self, numbers: Collection[int]) -> None:
        """Have what was written to these files on the disk; their names too."""
        for number in numbers:
            path = self.path(number)
            with translated(path), suppress(FileNotFoundError):  # it was removed
                # A descriptor of its own: it tells of all that went wrong, and may take its time.
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                    if number in self.unread and sys.platform == "linux":
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(fd)
        with translated(self.folder):
            sync_folder(self.folder)

    def close(self) -> None:
        """Close all files. Any number of times."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _descriptor(self, number: int, size: int) -> int:
        fd = self._open.get(number)
        if fd is not None:
            self._open.move_to_end(number)
            return fd
        if len(self._open) >= _OPEN:
            os.close(self._open.popitem(last=False)[1])
        fd = os.open(self.path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._open[number] = fd
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)
        return fd
