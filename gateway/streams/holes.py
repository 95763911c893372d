"""What streams do about parts that every provider lacks, or that the NZB does not list (`Holes`).

Unless told otherwise a hole is an error, and the stream's reader is told so. An `Edition` may have
it filled (`padding`). It is the one row of bytes that a file has for all who read it under one
ETag: whether a part is filled or is its own bytes is decided for all of them by the first who
comes to it, and stays so. A hole where bytes were given already is never filled in that edition:
its reader gets an error, comes again, and is given the next edition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from itertools import accumulate

from gateway.streams.layout import Layout
from gateway.streams.padding import LIMITS, Container, PaddingLimits, container_of, is_film, rows

PartKey = tuple[int, int]
"""A part of a layout: which posted file, and which part of it (from 0)."""


class Holes:
    """Holes are errors: nothing is ever filled.

    *report* is called with posted file and part, as often as a hole is met and in any thread. It
    must not block, nor raise.
    """

    fills = False
    """Whether any hole may be filled at all."""

    def __init__(self, report: Callable[[int, int], None] | None = None) -> None:
        self._report = report

    def report(self, part: PartKey) -> None:
        """Take note that *part* cannot be had."""
        if self._report is not None:
            self._report(*part)

    def is_filled(self, part: PartKey) -> bool:  # noqa: ARG002
        """Say whether *part* is filled, and not to be asked for."""
        return False

    def give(self, part: PartKey) -> bool:  # noqa: ARG002
        """Say whether a reader may be given the bytes of *part*; False: it has been filled."""
        return True

    def meet(self, parts: Collection[PartKey], layout: Layout) -> bool:  # noqa: ARG002
        """Take note that *parts*, in a row in *layout*, cannot be had; True: fill them."""
        for part in parts:
            self.report(part)
        return False

    def container(self, head: Callable[[], bytes | None]) -> Container | None:  # noqa: ARG002
        """Return what holes are filled as, None if they are not; *head* reads the beginning.

        It returns None where that is a hole itself.
        """
        return None


class Edition(Holes):
    """The bytes of the film called *name* under one ETag. Safe to share between threads.

    *missing* are the parts that were known to be missing when the edition began. *note* is called
    with parts that turn out to be, and says whether all who have read this edition have read it
    here; it may wait, and must not raise. Where *is_alone* is False, others have read it before.
    """

    # Invariants, true whenever the lock is free:
    #   no part is both filled and given; what is either stays so
    #   everything filled was within the limits when it came to be, together with all missing

    fills = True

    def __init__(
        self,
        layout: Layout,
        name: str,
        missing: Iterable[PartKey],
        *,
        is_alone: bool,
        note: Callable[[Collection[PartKey]], bool],
        report: Callable[[int, int], None] | None = None,
        limits: PaddingLimits = LIMITS,
    ) -> None:
        super().__init__(report)
        self._size, self._name, self._limits = layout.size, name, limits
        self._note = note
        self._is_alone = is_alone
        self._meeting = threading.Lock()
        self._lock = threading.Lock()
        # Each with where it is shown, unless there are so many that it does not matter. The layout,
        # with all its message-ids, is let go of.
        known = set(missing)
        is_hopeless = len(known) > limits.in_all
        self._missing = {
            part: [] if is_hopeless else layout.shown(*part, part[1]) for part in known
        }
        starts = list(accumulate(layout.parts, initial=0))
        # A byte for each part: sets of them would take a hundred times as much.
        self._given = bytearray(starts.pop())
        self._starts = starts
        self._filled = self._within_limits()
        self._container: Container | None = None
        self._is_known = not is_film(name)

    def is_filled(self, part: PartKey) -> bool:
        return part in self._filled

    def give(self, part: PartKey) -> bool:
        index = self._index(part)
        if self._given[index]:
            return True
        with self._lock:
            if part in self._filled:
                return False
            self._given[index] = 1
            return True

    def meet(self, parts: Collection[PartKey], layout: Layout) -> bool:
        super().meet(parts, layout)
        with self._meeting:  # whoever meets the same hole meanwhile waits for the decision
            with self._lock:
                if self._filled.issuperset(parts):
                    return True
                news = [part for part in parts if part not in self._missing]
                self._missing.update((part, layout.shown(*part, part[1])) for part in news)
            # Written down before a byte stands in its place, come what may: whoever begins to
            # read from then on is told of another edition.
            if news and not self._note(news):
                self._is_alone = False
            with self._lock:
                given = any(self._given[self._index(part)] for part in parts)
                if self._is_alone and not given and self._within_limits().issuperset(parts):
                    self._filled.update(parts)
                return self._filled.issuperset(parts)

    def container(self, head: Callable[[], bytes | None]) -> Container | None:
        if not self._is_known:
            beginning = head()
            found = container_of(self._name, beginning or b"")
            with self._lock:
                if not self._is_known:
                    self._container, self._is_known = found, True
        return self._container

    def _index(self, part: PartKey) -> int:
        return self._starts[part[0]] + part[1]

    def _within_limits(self) -> set[PartKey]:
        """Return which of the missing parts the limits allow to fill."""
        if len(self._missing) > self._limits.in_all:
            return set()
        gaps = rows(span for spans in self._missing.values() for span in spans)
        tolerated = self._limits.tolerated(gaps, self._size)
        return {
            part
            for part, spans in self._missing.items()
            if all(any(gap.begin <= one[0] < gap.end for gap in tolerated) for one in spans)
        }
