"""The articles of a download that were asked for and have not been written (`UnderWay`)."""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from gateway.errors import ConnectionLost
from gateway.streams.source import Pending
from gateway.words import counted
from gateway_queue.item import LetGo

# What is on its way or waits to be written, in bytes: as much beyond one article a connection and
# a few that are just being written, without which connections would rest.
_AHEAD = 64 << 20
_WRITTEN = 4
# In articles: two on a connection, and a third for moments in which the disk is all that goes on.
_DEEPEST = 3
_STOP, _NUDGE = object(), object()


class Wanted(NamedTuple):
    """One part that is to be fetched: *segment* counts those that the NZB lists for the file."""

    number: int
    segment: int


@dataclass(slots=True)
class Asked:
    """An article to be asked for: its size as the NZB has it, and how often that was in vain.

    *exactly*: it came once and was not what belongs there, so that another provider is to be asked
    if one gives the same again. *awaited*: there is no going on without it.
    """

    wanted: Wanted
    weight: int
    tries: int = 0
    exactly: bool = False
    awaited: bool = True


class UnderWay:
    """The articles that were asked for. Nothing for *patience_s* seconds ends the waiting.

    For one thread, but for `stop` and `nudge`. There is no going on without *awaited* of them.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._ended: queue.SimpleQueue[Asked | object] = queue.SimpleQueue()
        self._asked: dict[Wanted, tuple[Asked, Pending]] = {}
        self._bytes = 0
        self.awaited = 0

    def __len__(self) -> int:
        return len(self._asked)

    def __contains__(self, wanted: Wanted) -> bool:
        return wanted in self._asked

    def has_room(self, connections: int, come: int) -> bool:
        """Say whether one more may be asked for beside the others, and *come* that have come."""
        count = len(self)
        if count < connections + (0 if come else _WRITTEN):
            return True
        ahead = count + come - connections  # of which each has the mean size of all
        return count + come < _DEEPEST * connections and ahead * self._bytes < _AHEAD * count

    def add(self, asked: Asked, fetch: Pending) -> None:
        """Take up what has been asked for, and is not under way already."""
        self._asked[asked.wanted] = asked, fetch
        self._bytes += asked.weight
        self.awaited += asked.awaited
        fetch.add_done_callback(partial(self._report, asked))

    def want(self, wanted: Wanted) -> bool:
        """Have *wanted* awaited from now on if it is under way; say whether it is."""
        asked, _ = self._asked.get(wanted, (None, None))
        if asked is None:
            return False
        self.awaited += not asked.awaited
        asked.awaited = True
        return True

    def next(self) -> list[tuple[Asked, Pending]]:
        """Return all articles whose fetch is done, once one is; none if `nudge` was called.

        Raises ConnectionLost, LetGo.
        """
        try:
            one = self._ended.get(timeout=self._patience_s)
        except queue.Empty:
            if not self._asked:
                return []
            raise ConnectionLost(
                f"no answer within {self._patience_s:g} s: "
                f"{counted(len(self), 'article')} waited for"
            ) from None
        come = []
        with suppress(queue.Empty):
            while one is not _STOP:
                if isinstance(one, Asked):
                    come.append(self._asked.pop(one.wanted))
                    self._bytes -= one.weight
                    self.awaited -= one.awaited
                one = self._ended.get_nowait()
            if not come:
                raise LetGo
            self.stop()  # once these are written
        return come

    def stop(self) -> None:
        """Make `next` raise LetGo. From any thread."""
        self._ended.put(_STOP)

    def nudge(self) -> None:
        """Make `next` return. From any thread."""
        self._ended.put(_NUDGE)

    def give_up(self) -> None:
        """Give up what has not come. Nothing more is to be asked for then."""
        for _, fetch in self._asked.values():
            fetch.cancel()

    def _report(self, asked: Asked, _fetch: Pending) -> None:
        self._ended.put(asked)
