"""What one connection has yet to say, in order: bytes, and marks that hold them up or end them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from gateway.demo.session import Reply, Stop

_GATHER = 64  # pieces a system call


@dataclass(frozen=True, slots=True)
class Until:
    """Nothing goes out before this time: the round trip."""

    at: float


@dataclass(slots=True)
class Hold:
    """Nothing goes out for *seconds* from when this is reached, or until the next release.

    *releases* is how many there were when the reply was made; *until* is set on arrival.
    """

    seconds: float | None
    releases: int
    until: float | None = None
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """The end: *hard*, or after all has been said."""

    hard: bool


Item: TypeAlias = memoryview | Until | Hold | Close


class Outbox:
    """A queue of items. After a Close nothing is taken in any more."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()

    def __bool__(self) -> bool:
        return bool(self._items)

    def head(self) -> Item:
        """Return the first item. Raises IndexError if there is none."""
        return self._items[0]

    def pop(self) -> None:
        """Drop the first item."""
        self._items.popleft()

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()

    def wait(self, at: float) -> None:
        """Hold up what follows until *at*."""
        if not self._is_ended():
            self._items.append(Until(at))

    def put(self, reply: Reply, *, releases: int) -> None:
        """Queue a reply, with the marks that its stop and its end ask for."""
        if self._is_ended():
            return  # what follows QUIT is not answered
        pieces = [memoryview(piece) for piece in reply.pieces]
        match reply.stop:
            case None:
                self._items.extend(pieces)
            case Stop.CUT:
                self._items += [*_split(pieces, reply.stop_after)[0], Close(hard=True)]
                return
            case Stop.HOLD:
                before, behind = _split(pieces, reply.stop_after)
                self._items += [*before, Hold(reply.seconds, releases), *behind]
        if reply.close:
            self._items.append(Close(hard=False))

    def _is_ended(self) -> bool:
        return bool(self._items) and isinstance(self._items[-1], Close)

    def gather(self, limit: int) -> list[memoryview]:
        """Return up to *limit* bytes from the head, as far as no mark stands between."""
        pieces: list[memoryview] = []
        for item in self._items:
            if not isinstance(item, memoryview) or limit <= 0 or len(pieces) == _GATHER:
                break
            pieces.append(item[:limit])
            limit -= len(item)
        return pieces

    def drop(self, count: int) -> None:
        """Drop *count* bytes from the head: they have been sent."""
        while count:
            head = self._items[0]
            assert isinstance(head, memoryview)
            if len(head) > count:
                self._items[0] = head[count:]
                return
            count -= len(head)
            self._items.popleft()


def _split(pieces: list[memoryview], at: int) -> tuple[list[memoryview], list[memoryview]]:
    """Return the first *at* bytes and the rest."""
    before: list[memoryview] = []
    for index, piece in enumerate(pieces):
        if at < len(piece):
            head = [piece[:at]] if at else []
            return before + head, [piece[at:], *pieces[index + 1 :]]
        before.append(piece)
        at -= len(piece)
    return before, []
