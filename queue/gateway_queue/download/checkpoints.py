"""What was written is put on the disk for certain, batch by batch (`Checkpoints`)."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from gateway_queue.download.disk import PartialFiles
from gateway_queue.download.journal import Journal

# A batch: what may have to be read back after an unclean end.
_BATCH = 64 << 20
_BATCH_S = 2.0


class Checkpoints:
    """Syncs *files* while the worker goes on writing, and says in *journal* what is safe.

    The bytes come first, the line that vouches for them second. To be left as a context manager:
    without an error in the block, all is on the disk by then: what the journal had to have read
    back too, which its next line `synced` is to vouch for.
    """

    def __init__(self, files: PartialFiles, journal: Journal) -> None:
        self._files = files
        self._journal = journal
        self._dirty = set(journal.unsynced)
        self._bytes = 0
        self._since = time.monotonic()
        self._syncing: Future[None] | None = None
        self._lines = 0  # how many the sync under way vouches for
        # The disk takes its time, and nobody can hurry it: in a thread of its own.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="download-sync")

    def note(self, number: int, size: int) -> None:
        """*size* bytes of the file *number* were written, and their line. Raises StorageError."""
        self._dirty.add(number)
        self._bytes += size
        if self._syncing is not None and self._syncing.done():
            self._finish()
        is_due = self._bytes >= _BATCH or time.monotonic() - self._since >= _BATCH_S
        if is_due and self._syncing is None:
            self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._syncing is not None:
                    self._finish()
                if self._dirty:
                    self._begin()
                    self._finish()
                self._journal.sync()
        finally:
            self._thread.shutdown(wait=True)

    def _begin(self) -> None:
        dirty, self._dirty = self._dirty, set()
        self._bytes, self._since = 0, time.monotonic()
        self._journal.unsynced -= dirty
        self._lines = self._journal.lines
        self._syncing = self._thread.submit(self._files.sync, dirty)

    def _finish(self) -> None:
        syncing, self._syncing = self._syncing, None
        assert syncing is not None
        syncing.result()
        self._journal.synced(self._lines)
