"""The check of one file: is every article behind its bytes there? By STAT, in pipelined batches.

Present, missing and unknown are counted apart. Missing is what every provider said it lacks, and
what the NZB does not list; unknown is whatever nobody answered, and never becomes missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from gateway.errors import NotOnDisk
from gateway.library.health import Findings, holes
from gateway.nzb.extents import Part
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout
from gateway.streams.on_disk import DiskFile, FileLayout
from gateway.usenet.articles import Verdict
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.ticket import Ticket

# So many articles are asked for in one go: few at first, since a provider that does not answer is
# noticed at the end of a go only; then as many as about a second suffices for.
_FIRST, _MOST = 100, 2_000
_GROWTH = 4
_GO_S = 1.0

# An article of a file: which posted file of its layout, which part of that.
Place = tuple[int, int]


class Prober(Protocol):
    """Who says whether articles are there: `gateway.usenet.articles.ArticleSource`."""

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        """Return a verdict for each part; UNKNOWN for what was not known in time."""


class Examiner:
    """Asks *source*, which asks so many *providers*, for every article of a file.

    Nobody waits longer than *patience_s* for the answers of one go, permits included.
    """

    def __init__(
        self,
        source: Prober,
        *,
        providers: int,
        patience_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._providers = providers
        self._patience_s = patience_s
        self._clock = clock

    def examine(
        self, layout: FileLayout, ticket: Ticket, progress: Callable[[int, int], None]
    ) -> Findings:
        """Return what is found of the file of *layout*, under the reservation for checks.

        *progress* is told how many articles of how many are done. Once nobody answers at all,
        the rest is not asked for and counts as unknown. Raises LetGo within a fraction of a
        second once *ticket* is cancelled.
        """
        if isinstance(layout, DiskFile):
            return _on_disk(layout)
        spans = layout.touched()
        total = sum(len(span) for _, span in spans)
        progress(0, total)
        with scope(Reservation(Workload.HEALTH)):
            return self._examine(layout, _places(spans), total, ticket, progress)

    def _examine(
        self,
        layout: Layout | CipheredLayout,
        places: Iterator[Place],
        total: int,
        ticket: Ticket,
        progress: Callable[[int, int], None],
    ) -> Findings:
        missing: list[Place] = []
        unknown = done = 0
        silent = False
        size = _FIRST
        while not silent and (chunk := list(islice(places, size))):
            listed = []
            for place in chunk:
                part = layout.article(*place)
                if part.message_ids:
                    listed.append((place, part))
                else:
                    missing.append(place)  # a gap in the NZB: there is nothing to ask for
            began = self._clock()
            verdicts = self._source.exists(
                [part for _, part in listed],
                timeout_s=self._patience_s,
                given_up=lambda: ticket.cancelled,
            )
            took_s = self._clock() - began
            ticket.check()
            for (place, _), verdict in zip(listed, verdicts, strict=True):
                if verdict is Verdict.MISSING:
                    missing.append(place)
                elif verdict is Verdict.UNKNOWN:
                    unknown += 1
            done += len(chunk)
            progress(done, total)
            silent = bool(listed) and all(verdict is Verdict.UNKNOWN for verdict in verdicts)
            size = _next_size(size, took_s)
        if silent:
            unknown += total - done
        missing.sort()
        reason = self._why_unknown() if unknown else ""
        return Findings(total, len(missing), unknown, holes(missing), reason)

    def _why_unknown(self) -> str:
        if not self._providers:
            return "no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST"
        if self._providers == 1:
            return "the provider did not answer"
        return f"not all {self._providers} providers answered"


def _on_disk(file: DiskFile) -> Findings:
    """Return whether *file*, which counts as one article, is there."""
    try:
        file.check()
    except NotOnDisk as exc:
        if not file.path.parent.is_dir():
            # A disk that is not mounted says nothing of what is on it.
            return Findings(1, unknown=1, reason=str(exc))
        return Findings(1, missing=1)
    return Findings(1)


def _places(spans: Sequence[tuple[int, range]]) -> Iterator[Place]:
    return ((posted, index) for posted, span in spans for index in span)


def _next_size(size: int, took_s: float) -> int:
    fitting = int(size * _GO_S / max(took_s, 1e-6))
    return max(_FIRST, min(_MOST, _GROWTH * size, fitting))
