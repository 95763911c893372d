"""A pool's connections, by what becomes of them: the decisions, without a lock and without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.usenet.connection import Connection, State


@dataclass(frozen=True, slots=True)
class Surplus:
    """What is to be closed: connections, and dialling that is to be abandoned."""

    connections: tuple[Connection, ...]
    dialling: tuple[Connection, ...]


class Roster:
    """Who is live; kept under the pool's lock.

    *idle*: the most recently used last. *leaving*: somebody orders them to be closed, and they
    count until that is done. *cut*: they were told to leave in the midst of their work.
    """

    # Invariants: idle is part of connected, leaving of connected and dialling together; idle and
    # leaving have nobody in common. Whoever is in cut is put back once more, closed by then.

    def __init__(self) -> None:
        self.idle: list[Connection] = []
        self.connected: set[Connection] = set()
        self.dialling: set[Connection] = set()
        self.leaving: set[Connection] = set()
        self.cut: set[Connection] = set()

    @property
    def live(self) -> int:
        return len(self.connected) + len(self.dialling)

    def surplus(self, limit: int) -> int:
        """Return how many are above *limit*, not counting those that leave already."""
        return max(0, self.live - len(self.leaving) - limit)

    def take_idle(self, suspect_before: float) -> tuple[Connection | None, bool]:
        """Return an idle connection, and whether it is suspect: then it leaves."""
        if not self.idle:
            return None, False
        connection = self.idle.pop()
        is_suspect = connection.progress_at < suspect_before
        if is_suspect:
            self.leaving.add(connection)
        return connection, is_suspect

    def dialled(self, connection: Connection, *, is_open: bool) -> bool:
        """Note how dialling ended; return False if it was abandoned: then close and `forget`."""
        if connection in self.leaving:
            return False
        self.dialling.discard(connection)
        if is_open:
            self.connected.add(connection)
        return True

    def put_back(self, connection: Connection, limit: int) -> bool:
        """Keep what has done its work as idle; return whether it is to be closed instead."""
        self.cut.discard(connection)
        is_usable = connection.state is State.READY and connection in self.connected
        if not is_usable or connection in self.leaving:
            return False
        if self.surplus(limit):
            self.leaving.add(connection)
            return True
        self.idle.append(connection)
        return False

    def leave(self, connections: Iterable[Connection]) -> None:
        """Note of live connections that somebody orders them to be closed."""
        self.leaving.update(connections)

    def shrink(self, limit: int, *, cut: bool) -> Surplus:
        """Return what is above *limit*, all of which leaves: the idle, and the others if *cut*."""
        surplus = self.surplus(limit)
        closing, self.idle = self.idle[:surplus], self.idle[surplus:]
        abandoned: list[Connection] = []
        if cut:
            left = surplus - len(closing)
            abandoned = list(self.dialling - self.leaving)[:left]
            busy = self.connected.difference(self.leaving, self.idle, closing)
            working = list(busy)[: left - len(abandoned)]
            self.cut.update(working)
            closing += working
        self.leaving.update(closing, abandoned)
        return Surplus(tuple(closing), tuple(abandoned))

    def forget(self, connection: Connection) -> None:
        """Note that its socket is closed."""
        self.connected.discard(connection)
        self.dialling.discard(connection)
        self.leaving.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
