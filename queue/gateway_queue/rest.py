"""Whether the whole queue rests (`Rest`): asked for by a person, kept over restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from gateway.library.database import Database
from gateway.library.schema import queue_rest


@dataclass(frozen=True, slots=True)
class _Resting:
    until: float | None  # None: until somebody ends it


class Rest:
    """The rest of the whole queue. Safe to use from any thread; asking costs nothing."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        with database.read() as tx:
            row = tx.execute(select(queue_rest.c.until)).first()
        self._resting = None if row is None else _Resting(row.until)

    def begin(self, until: float | None = None) -> None:
        """Rest from now on, until *until* or until somebody ends it. Raises StorageError."""
        with self._database.begin() as tx:
            tx.execute(delete(queue_rest))
            tx.execute(insert(queue_rest).values(id=1, until=until))
        self._resting = _Resting(until)

    def end(self) -> None:
        """Rest no longer. Raises StorageError."""
        with self._database.begin() as tx:
            tx.execute(delete(queue_rest))
        self._resting = None

    @property
    def is_on(self) -> bool:
        """Whether the queue rests now."""
        resting = self._resting
        return resting is not None and (resting.until is None or self._clock() < resting.until)

    @property
    def until(self) -> float | None:
        """When the rest will be over by itself; None: there is none, or somebody has to end it."""
        resting = self._resting
        return resting.until if resting is not None and self.is_on else None
