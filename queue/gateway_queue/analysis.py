"""What the articles themselves say of a post: names, sizes, and where the parts begin."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from gateway.errors import ConnectionLost, ImportFailed, IncompletePost
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Part, PartTable
from gateway.streams.source import Articles, Pending
from gateway.usenet.articles import Body
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

# Enough for the headers of archives, for names by par2, and for every format's first bytes.
_HEAD = 1 << 16
_HASHED = 1 << 14  # of a file, par2 tells the MD5 of so many bytes
# Parts of one size differ encoded by what happened to need an escape: by less than this.
_SAME_SIZE = 1.06


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first article of a posted file tells.

    *name* is what the poster called the file, *size* the file's; the article holds the bytes up
    to *end*, and the file begins with *head*. *hash16k* is the MD5 of its first 16 KiB, empty
    where the article has less of them.
    """

    name: str
    size: int
    end: int
    head: bytes
    hash16k: bytes = b""

    def shortened(self, length: int) -> Opening:
        """Return it with no more than *length* bytes of the file."""
        return replace(self, head=self.head[:length])


def part_of(file: NzbFile, index: int, *, size: int | None = None) -> Part:
    """Return the part of *file* that its segment number *index* (from 0) carries."""
    segment = file.segments[index]
    ids = (segment.message_id, *segment.alternates)
    return Part(ids, segment.number, file.parts, size=size)


class Arrivals:
    """Articles that are asked for all at once, as they come in.

    Nothing for *patience_s* seconds ends the waiting. To be left as a context manager: what has
    not come by then is given up.
    """

    def __init__(self, source: Articles, parts: Sequence[Part], *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._total = len(parts)
        self._ended: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._fetches = {index: source.request(part) for index, part in enumerate(parts)}
        for index, fetch in self._fetches.items():
            fetch.add_done_callback(partial(self._report, index))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for fetch in self._fetches.values():
            fetch.cancel()

    def each(self, ticket: Ticket) -> Iterator[tuple[int, Pending]]:
        """Give the number of each part, and its fetch, which is done, in the order of their coming.

        Raises ConnectionLost when none comes for too long, and LetGo.
        """
        with ticket.on_cancel(lambda: self._ended.put(None)):
            while self._fetches:
                try:
                    index = self._ended.get(timeout=self._patience_s)
                except queue.Empty:
                    raise ConnectionLost(
                        f"no answer within {self._patience_s:g} s: "
                        f"{len(self._fetches)} of {self._total} articles are waited for"
                    ) from None
                if index is None:
                    raise LetGo
                # Handed over, so that its bytes can go as soon as the caller is done with them.
                yield index, self._fetches.pop(index)

    def _report(self, index: int, _fetch: Pending) -> None:
        self._ended.put(index)


def opening(body: Body, subject_name: str) -> Opening:
    """Return what *body*, the first article of a posted file, tells.

    Raises ImportFailed when it is not the first.
    """
    if body.begin != 0:
        raise ImportFailed(
            f'the segments of "{subject_name}" are misnumbered: '
            f"the article of the first begins at byte {body.begin:,}"
        )
    head = bytes(body.data[:_HEAD])
    hashed = md5(head[:_HASHED]) if body.end >= min(_HASHED, body.size) else b""
    return Opening(body.name, body.size, body.end, head, hashed)


def md5(data: bytes) -> bytes:
    """Return the MD5 of *data*, by which par2 tells files apart."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def regular_table(file: NzbFile, first: Opening) -> PartTable | None:
    """Return the layout if all parts have the size of the first, None if that is not certain."""
    try:
        table = PartTable.regular(file.ids(), first.size, first.end)
    except ValueError:
        return None
    full = file.weights()[:-1]
    if full and max(full) > _SAME_SIZE * min(full):
        return None
    return table


def learned_table(name: str, file: NzbFile, first: Opening, last: tuple[int, int]) -> PartTable:
    """Return the layout of a file whose parts may differ.

    *last* is from where to where its last article reaches.

    Raises IncompletePost when that is not the end of the file, ImportFailed when the articles
    contradict each other.
    """
    begin, end = last
    if end != first.size:
        raise IncompletePost(
            f'the NZB leaves out the end of "{name}": '
            f"its articles reach to byte {end:,} of {first.size:,}"
        )
    ids = file.ids()
    if begin == (len(ids) - 1) * first.end and begin + first.end >= first.size:
        return PartTable.regular(ids, first.size, first.end)
    try:
        table = PartTable.estimated(ids, first.size, file.weights())
        table.learn(0, 0, first.end)
        table.learn(len(ids) - 1, begin, end)
    except ValueError as exc:
        raise ImportFailed(f'the articles of "{name}" do not fit together: {exc}') from exc
    return table
