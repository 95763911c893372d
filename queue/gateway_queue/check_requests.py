"""What people have asked to be checked, and who goes before whom."""

from __future__ import annotations

import enum
import secrets
from collections import deque
from collections.abc import Sequence

from gateway.library.ports import CheckRequest

# So many requests that are finished are remembered, for those who wait for them.
_REMEMBERED = 50


class Urgency(enum.IntEnum):
    """For whom a file is checked, the most urgent first."""

    NAMED = 0  # somebody asked for its release
    HOLE = 1  # a reader has met a hole in it
    WHOLE = 2  # somebody asked for the whole library
    DUE = 3  # nobody


class Asked:
    """One request: *files*, or with None all that were not checked since *began*.

    *deep*: every article is to be fetched.
    """

    def __init__(
        self, files: Sequence[str] | None, total: int, began: float, *, deep: bool = False
    ) -> None:
        self.id = secrets.token_hex(8)
        self.files = None if files is None else deque(files)
        self.total = total
        self.began = began
        self.deep = deep
        self.done = 0
        self.is_finished = False

    @property
    def urgency(self) -> Urgency:
        return Urgency.WHOLE if self.files is None else Urgency.NAMED

    def count(self) -> None:
        """One of its files is done, the first of those that are left."""
        self.done += 1
        if self.files:
            self.files.popleft()

    def status(self) -> CheckRequest:
        return CheckRequest(self.id, self.total, min(self.done, self.total), self.is_finished)


class Requests:
    """The requests that wait, and the last that are finished. Whoever shares it locks it."""

    def __init__(self) -> None:
        self._lines: dict[Urgency, deque[Asked]] = {Urgency.NAMED: deque(), Urgency.WHOLE: deque()}
        self._finished: deque[Asked] = deque(maxlen=_REMEMBERED)

    def add(self, asked: Asked) -> None:
        self._lines[asked.urgency].append(asked)

    def first(self) -> Asked | None:
        """Return the request whose turn it is."""
        return next((line[0] for line in self._lines.values() if line), None)

    def finish(self, asked: Asked) -> None:
        """Put away *asked*, the first."""
        self._lines[asked.urgency].popleft()
        asked.is_finished = True
        self._finished.append(asked)

    def status(self) -> tuple[CheckRequest, ...]:
        waiting = [one for line in self._lines.values() for one in line]
        return tuple(one.status() for one in (*self._finished, *waiting))
