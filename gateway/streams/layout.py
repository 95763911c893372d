"""Where the bytes of a file lie: from an offset to the article that holds it.

A file is a chain of runs, each a row of bytes of a posted one; a `Piece` is what one article gives
to one run. In a regular table the way from an offset to its piece is arithmetic. Where sizes are
irregular it is a `Search`: guess a part, fetch it, compare with what its article says of itself,
remember that, and guess again on the right side of it.

Regular tables never change and are read without a lock. Irregular ones change with every article
that is read, and several layouts may share one (all files of an archive do): one lock for the
process covers them, as they are rare and what it covers takes microseconds.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from gateway.errors import ArticleDamaged
from gateway.nzb.extents import Extent, Part, PartTable, Run

# Interpolation finds an offset in one or two steps unless sizes are wild; then halving, which
# takes log2(parts), is the better way, and it always ends.
_INTERPOLATIONS = 3
# Each takes a round trip; where so many are missing around an offset, there is nothing to watch.
_MOST_LACKING = 32

_irregular = threading.Lock()


class Piece(NamedTuple):
    """The bytes of a file that lie in one article: *extent* of it, at *position* in the file.

    *posted* and *segment* (from 0) say which part of which posted file it is, *run* which run of
    the file it belongs to. *article* is the size of the whole decoded article, for budgets. If
    not *exact*, everything but these numbers is a guess, and the extent may be empty.
    """

    run: int
    posted: int
    segment: int
    position: int
    extent: Extent
    article: int
    exact: bool

    @property
    def key(self) -> tuple[int, int]:
        """Return what tells its article from the others of the file."""
        return self.posted, self.segment

    @property
    def end(self) -> int:
        """Return the offset in the file just behind this piece."""
        return self.position + self.extent.length


class Layout:
    """The layout of one file: *runs* over *tables*, where `Run.posted` is an index into *tables*.

    Safe to share between threads and streams. *learned* is called with the number of a posted
    file, without any lock held, each time that an article has taught new offsets in its table.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        tables: Sequence[PartTable],
        *,
        learned: Callable[[int], None] | None = None,
    ) -> None:
        """Raises ValueError for a run that does not lie within its posted file."""
        for run in runs:
            size = tables[run.posted].size
            if run.length < 0 or not 0 <= run.offset <= size - run.length:
                raise ValueError(
                    f"{run.length} bytes at {run.offset} are not within posted file"
                    f" {run.posted} of {size} bytes"
                )
        self._runs = [run for run in runs if run.length]
        self._tables = tables
        self._learned = learned
        ends = list(accumulate((run.length for run in self._runs), initial=0))
        self.size = ends.pop()
        self._starts = ends

    def locate(self, offset: int) -> Piece:
        """Return the piece that holds *offset*, or where sizes are irregular the best guess."""
        if not 0 <= offset < self.size:
            raise ValueError(f"offset {offset} is outside of {self.size} bytes")
        run = bisect_right(self._starts, offset) - 1
        return self._find(run, self._posted_offset(run, offset))

    def following(self, piece: Piece) -> Piece | None:
        """Return the piece after *piece*, over the ends of runs; None behind the last one.

        Behind an exact piece comes the part that holds the next byte, whatever was guessed.
        """
        run = self._runs[piece.run]
        table = self._tables[run.posted]
        after = piece.segment + 1
        if after < len(table):
            if table.is_regular:
                begin = after * table.part_size
            else:
                with _irregular:
                    begin = table.bounds(after)[0]
            if begin < run.offset + run.length:
                return self._piece(piece.run, after)
        if piece.run + 1 < len(self._runs):
            return self._find(piece.run + 1, self._runs[piece.run + 1].offset)
        return None

    def touched(self) -> list[tuple[int, range]]:
        """Return all parts that hold bytes of the file, as ranges by posted file, none twice.

        In ascending order. Where sizes are irregular a guess decides on the parts in which a run
        begins and ends; a run over a whole posted file has all of them.
        """
        spans: dict[int, list[range]] = {}
        with _irregular:
            for run in self._runs:
                table = self._tables[run.posted]
                first, last = table.find(run.offset), table.find(run.offset + run.length - 1)
                spans.setdefault(run.posted, []).append(range(first, last + 1))
        touched: list[tuple[int, range]] = []
        for posted in sorted(spans):
            open_ = range(0)
            for span in sorted(spans[posted], key=lambda one: one.start):
                if open_ and span.start <= open_.stop:
                    open_ = range(open_.start, max(open_.stop, span.stop))
                    continue
                if open_:
                    touched.append((posted, open_))
                open_ = span
            touched.append((posted, open_))
        return touched

    @property
    def parts(self) -> list[int]:
        """How many parts each of the posted files has."""
        return [len(table) for table in self._tables]

    def is_regular(self, posted: int) -> bool:
        """Say whether it is known for certain where each part of a posted file begins."""
        return self._tables[posted].is_regular

    def shown(self, posted: int, first: int, last: int) -> list[tuple[int, int]]:
        """Return where in the file the bytes of parts *first* to *last* lie, as [begin, end).

        Of a posted file; in ascending order. Where sizes are irregular, what is not known yet
        is guessed.
        """
        table, spans = self._tables[posted], []
        with _irregular:
            begin, end = table.bounds(first)[0], table.bounds(last)[1]
        for start, run in zip(self._starts, self._runs, strict=True):
            low, high = max(begin, run.offset), min(end, run.offset + run.length)
            if run.posted == posted and low < high:
                spans.append((start + low - run.offset, start + high - run.offset))
        return spans

    def article(self, posted: int, index: int) -> Part:
        """Return part *index* (from 0) of a posted file, to ask whether it is there.

        What it must carry is left out.
        """
        table = self._tables[posted]
        return Part(table.message_ids(index), index + 1, len(table))

    def whole_article(self, posted: int, index: int) -> tuple[Part, int]:
        """Return part *index* of a posted file with what it must carry, and about how many bytes.

        To fetch it, and see whether it is what was posted.
        """
        table = self._tables[posted]
        with _irregular:
            return table.part(index), -(-table.size // len(table))

    def learn(self, piece: Piece, begin: int, end: int) -> Piece:
        """Take from the article of *piece* that it carries [begin, end) of the posted file.

        Returns the piece as it really is. Raises ArticleDamaged when this contradicts what is
        known.
        """
        table = self._tables[piece.posted]
        try:
            if piece.exact:  # nothing to learn, and what is exact never changes
                known = piece.extent.part
                if (begin, end) != (known.begin, known.end):
                    raise ValueError(
                        f"part {known.number} carries {begin}-{end}, not {known.begin}-{known.end}"
                    )
                return piece
            with _irregular:
                news = not table.is_exact(piece.segment)
                table.learn(piece.segment, begin, end)
        except ValueError as exc:
            raise ArticleDamaged(
                f"segment {piece.segment + 1} of {len(table)} does not fit its post: {exc}"
            ) from exc
        if news and self._learned is not None:
            self._learned(piece.posted)
        return self._piece(piece.run, piece.segment)

    def _find(self, run: int, target: int) -> Piece:
        table = self._tables[self._runs[run].posted]
        if table.is_regular:
            return self._piece(run, target // table.part_size)
        with _irregular:
            index = table.find(target)
        return self._piece(run, index)

    def _hole(self, number: int, first: int, last: int) -> Piece:
        """Return what parts *first* to *last* give to a run, in one piece, as that of the last."""
        if first == last:
            return self._piece(number, first)
        begin, rest = self._piece(number, first), self._piece(number, last)
        length = rest.position + rest.extent.length - begin.position
        extent = Extent(rest.extent.part, 0, length)
        return rest._replace(position=begin.position, extent=extent, exact=True)

    def _posted_offset(self, run: int, offset: int) -> int:
        return self._runs[run].offset + offset - self._starts[run]

    def _piece(self, number: int, index: int) -> Piece:
        run = self._runs[number]
        table = self._tables[run.posted]
        if table.is_regular:
            part, exact = table.part(index), True
            begin = index * table.part_size
            end = min(begin + table.part_size, table.size)
            article = end - begin
        else:
            with _irregular:
                part, (begin, end) = table.part(index), table.bounds(index)
                exact = table.is_exact(index)
            # A guess may be off by any factor (an NZB that says bytes="999999999"), the mean not.
            article = end - begin if exact else -(-table.size // len(table))
        low = min(max(begin, run.offset), run.offset + run.length)
        high = max(low, min(end, run.offset + run.length))
        return Piece(
            number,
            run.posted,
            index,
            self._starts[number] + low - run.offset,
            Extent(part, low - begin, high - low),
            article,
            exact,
        )


class Search:
    """The search for the article that holds one offset.

    Fetch the article of `piece` and tell `learn` what it carries, until that says True; in a
    regular table it does so at once. It ends after at most 3 + log2(parts) articles. *piece* is
    where to begin, if that is known: the one that `Layout.locate` would give, or an exact one.

    Where the article of `piece` cannot be had, tell `lack`; the search goes on beside it, until
    what its neighbours carry tells whether the offset lies in the hole.
    """

    def __init__(self, layout: Layout, offset: int, piece: Piece | None = None) -> None:
        self.piece = piece or layout.locate(offset)
        self.hole = range(0)
        """The parts that make the hole in which the offset lies, once `lack` says True."""
        self._layout = layout
        self._offset = offset
        self._misses = 0
        self._low, self._high = 0, -1
        self._lacking: set[int] = set()

    def learn(self, begin: int, end: int) -> bool:
        """Take what the article of `piece` carries; True: it is the one, and `piece` is exact.

        Raises ArticleDamaged when it contradicts what is known.
        """
        layout, piece = self._layout, self._layout.learn(self.piece, begin, end)
        target = layout._posted_offset(piece.run, self._offset)
        if begin <= target < end:
            self.piece = piece
            return True
        table = layout._tables[piece.posted]
        if not self._misses:
            self._high = len(table) - 1
        self._misses += 1
        if target < begin:
            self._high = piece.segment - 1
        else:
            self._low = piece.segment + 1
        if self._low > self._high:
            raise ArticleDamaged(
                f"no segment holds byte {target}: segment {piece.segment + 1} of {len(table)}"
                f" carries {begin}-{end}, and its neighbours other bytes"
            )
        guess = layout._find(piece.run, target)
        if not guess.exact and self._misses > _INTERPOLATIONS:
            guess = layout._piece(piece.run, (self._low + self._high) // 2)
        self.piece = guess
        return False

    @property
    def is_lacking(self) -> bool:
        """Whether the article of `piece` is known to be one that cannot be had."""
        return self.piece.segment in self._lacking

    @property
    def is_endless(self) -> bool:
        """Whether so many articles were lacking that the search is to be given up."""
        return len(self._lacking) >= _MOST_LACKING

    def lack(self) -> bool:
        """Take that the article of `piece` cannot be had; True: the offset lies in the `hole`.

        `piece` is all of that hole then, and exact.
        """
        piece, layout = self.piece, self._layout
        table = layout._tables[piece.posted]
        self._lacking.add(piece.segment)
        first = last = piece.segment
        while first - 1 in self._lacking:
            first -= 1
        while last + 1 in self._lacking:
            last += 1
        with _irregular:
            begin, end = table.known_begin(first), table.known_begin(last + 1)
        if begin is not None and end is not None:
            target = layout._posted_offset(piece.run, self._offset)
            if begin <= target < end:
                self.hole = range(first, last + 1)
                self.piece = layout._hole(piece.run, first, last)
                return True
            # It was a guess, and the hole lies elsewhere.
            self.piece = layout._piece(piece.run, first - 1 if target < begin else last + 1)
        else:
            self.piece = layout._piece(piece.run, first - 1 if begin is None else last + 1)
        return False
