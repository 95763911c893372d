"""How far unpacking is, from what lies in the folder that is filled; and whether it is too much."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gateway.errors import ImportFailed
from gateway_queue.unpacking.bounds import Allowance
from gateway_queue.unpacking.gathering import measure

_EVERY_S = 0.25
_SHARE = 10  # of the time at most a tenth goes into looking

SLACK = 1 << 20
"""Bytes that may be there beyond what an archive lists."""


class Meter:
    """Progress over all archives of a post: a fraction that only grows.

    *expected* are the bytes that will be written, as far as that is known; archives in archives
    add theirs when they are found.
    """

    def __init__(self, progress: Callable[[float], object], expected: int) -> None:
        self._progress = progress
        self._expected = max(1, expected)
        self._written = 0
        self._shown = 0.0

    def expect(self, more: int) -> None:
        """Count on *more* bytes than were expected."""
        self._expected += more

    def wrote(self, total: int) -> None:
        """Count *total* bytes as written for good."""
        self._written += total
        self.show(0)

    def show(self, current: int) -> None:
        """Tell how far it is with *current* bytes of what is written now."""
        done = min(1.0, (self._written + current) / self._expected)
        self._shown = max(self._shown, done)
        self._progress(self._shown)

    def look(self, out: Path, allowance: Allowance, archive: str, stated: int) -> tuple[int, int]:
        """Return how many files and bytes of *archive* are in *out*, if they may be.

        Raises ImportFailed for more than it stated, or more than is allowed.
        """
        files, total = measure(out)
        allowance.hold(archive, files, total)
        if total > stated + SLACK:
            raise ImportFailed(
                f'"{archive}" becomes more than it says: {stated:,} bytes were listed, '
                f"{total:,} are there"
            )
        return files, total

    def watch(
        self, out: Path, allowance: Allowance, archive: str, stated: int
    ) -> Callable[[], None]:
        """Return what to call while *archive* is written to *out*: it looks at times, as `look`.

        It raises what that does, and what the progress raises.
        """
        due = 0.0

        def tick() -> None:
            nonlocal due
            begun = time.monotonic()
            if begun >= due:
                _, total = self.look(out, allowance, archive, stated)
                due = begun + max(_EVERY_S, _SHARE * (time.monotonic() - begun))
                self.show(total)

        return tick
