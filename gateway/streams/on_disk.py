"""Files of the library that lie on the disk, whole: read from there (`DiskStream`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.errors import NotOnDisk
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.file_stream import StreamInfo
from gateway.streams.layout import Layout
from gateway.streams.reading import NOTHING, ViewReader
from gateway.usenet.workload import Reservation

_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class DiskFile:
    """The layout of a file of *size* bytes that lies at *path*, all of it."""

    path: Path
    size: int

    def check(self) -> None:
        """Raise NotOnDisk unless there is a file of that size."""
        try:
            found = self.path.stat()
        except OSError as exc:
            raise NotOnDisk(f'"{self.path}" is not to be had: {exc.strerror or exc}') from exc
        self._check_size(found.st_size)

    def open(self) -> int:
        """Return a descriptor of the file. Raises NotOnDisk unless it is of that size."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise NotOnDisk(f'"{self.path}" is not to be had: {exc.strerror or exc}') from exc
        try:
            self._check_size(os.fstat(fd).st_size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _check_size(self, size: int) -> None:
        if size != self.size:
            raise NotOnDisk(
                f'"{self.path}" has {size:,} bytes, and had {self.size:,} when it was downloaded'
            )


FileLayout = Layout | CipheredLayout | DiskFile
"""Where the bytes of a file lie: in articles, encrypted there or not, or on the disk."""


class DiskStream(ViewReader):
    """A file on the disk as a stream like a `FileStream`, and open for as long.

    One thread at a time reads; any thread may close it, and waits for no read.
    """

    # Under the lock: the descriptor is open until the stream is shut and nobody reads.

    def __init__(
        self,
        layout: DiskFile,
        reservation: Reservation,
        *,
        stop: int | None = None,
        name: str = "",
        on_close: Callable[[DiskStream], None] | None = None,
    ) -> None:
        """Open the file. Raises NotOnDisk. *on_close* is called once, in the thread that closes."""
        super().__init__(layout.size, stop)
        self.name = name
        self.reservation = reservation
        self._path = layout.path
        self._on_close = on_close
        self._opened = datetime.now(UTC)
        self._lock = threading.Lock()
        self._shut = True  # the collector closes it, even one whose file could not be opened
        self._reading = False
        self._fd = layout.open()
        self._shut = False

    def info(self) -> StreamInfo:
        """Return what this stream is doing now. From any thread."""
        return StreamInfo(self.name, self._position, self.size, self.reservation, 0, self._opened)

    def read_view(self, limit: int) -> memoryview:
        if limit < 1:
            raise ValueError(f"limit must be positive, not {limit}")
        wanted = min(limit, _READ, self._stop - self._position)
        with self._lock:
            self._check_open()
            if wanted <= 0:
                return NOTHING
            self._reading = True
        try:
            data = os.pread(self._fd, wanted, self._position)
        except OSError as exc:
            raise NotOnDisk(f'"{self._path}" cannot be read: {exc.strerror or exc}') from exc
        finally:
            with self._lock:
                self._reading = False
                if self._shut:
                    os.close(self._fd)
        if not data:
            raise NotOnDisk(f'"{self._path}" ends at {self._position:,} of {self.size:,} bytes')
        self._position += len(data)
        return memoryview(data)

    def suspend(self) -> None:
        """Nothing is held that others wait for."""

    def close(self) -> None:
        """Close the file. Idempotent, from any thread, never waits."""
        with self._lock:
            if self._shut:
                return
            self._shut = True
            if not self._reading:
                os.close(self._fd)
        super().close()
        if self._on_close is not None:
            self._on_close(self)

    def _check_open(self) -> None:
        if self._shut:
            what = f'the stream of "{self.name}"' if self.name else "the stream"
            raise ValueError(f"{what} is closed")
