"""The check of one file: is every article behind its bytes there? By STAT, or by fetching all.

Present, missing and unknown are counted apart. Missing is what every provider said it lacks, and
what the NZB does not list; unknown is whatever nobody answered, and never becomes missing. STAT
goes in pipelined batches; a deep check fetches every article, and holds it against its CRC-32 and
what it has to carry: one that is not what was posted counts as missing, and as damaged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from gateway.errors import ArticleDamaged, ArticleMissing, GatewayError, NotOnDisk
from gateway.library.damage import NOT_JUDGED, Damage, judge
from gateway.library.entries import FileEntry
from gateway.library.health import Findings, Hole, holes, parts_of
from gateway.nzb.extents import Part
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout
from gateway.streams.on_disk import DiskFile, FileLayout
from gateway.streams.padding import LIMITS, Gap, rows
from gateway.streams.source import Articles
from gateway.usenet.articles import Verdict
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.deep_reading import Window
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import sample

# So many articles are asked for in one go: few at first, since a provider that does not answer is
# noticed at the end of a go only; then as many as about a second suffices for.
_FIRST, _MOST = 100, 2_000
_GROWTH = 4
_GO_S = 1.0

# So many articles tell whether anything of a file is there.
_FEW = 5
# After so many in a row that nobody could be asked for there is no point in fetching more.
_ENOUGH = 10

# An article of a file: which posted file of its layout, which part of that.
Place = tuple[int, int]


class Examiner:
    """Asks *source*, which asks so many *providers*, for every article of a file.

    Nobody waits longer than *patience_s* for the answers of one go, permits included.
    """

    def __init__(
        self,
        source: Articles,
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
        self,
        layout: FileLayout,
        ticket: Ticket,
        progress: Callable[[int, int], None],
        *,
        deep: bool = False,
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
        examine = self._fetch_all if deep else self._examine
        with scope(Reservation(Workload.HEALTH)):
            return examine(layout, _places(spans), total, ticket, progress)

    def has_any(self, layout: FileLayout, ticket: Ticket) -> bool:
        """Say whether of a few articles of a file any is there. Raises LetGo."""
        if isinstance(layout, DiskFile):
            return False
        places = list(_places(layout.touched()))
        parts = [layout.article(*places[index]) for index in sample(len(places), most=_FEW)]
        with scope(Reservation(Workload.HEALTH)):
            verdicts = self._source.exists(
                [part for part in parts if part.message_ids],
                timeout_s=self._patience_s,
                given_up=lambda: ticket.cancelled,
            )
        ticket.check()
        return Verdict.PRESENT in verdicts

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

    def _fetch_all(
        self,
        layout: Layout | CipheredLayout,
        places: Iterator[Place],
        total: int,
        ticket: Ticket,
        progress: Callable[[int, int], None],
    ) -> Findings:
        gaps: list[Place] = []
        asked: list[Place] = []  # in the order in which they come

        def listed() -> Iterator[tuple[Part, int]]:
            for place in places:
                part, size = layout.whole_article(*place)
                if part.message_ids:
                    asked.append(place)
                    yield part, size
                else:
                    gaps.append(place)

        missing: list[Place] = []
        damaged: list[Place] = []
        told = failed = in_a_row = 0
        reason = ""
        with Window(self._source, listed(), ticket, self._patience_s) as window:
            while (fetch := window.following()) is not None:
                place = asked[told + failed]
                try:
                    fetch.result(0)
                except ArticleMissing:
                    missing.append(place)
                except ArticleDamaged:
                    damaged.append(place)
                except GatewayError as exc:
                    failed, in_a_row, reason = failed + 1, in_a_row + 1, str(exc)
                    if window.silent or in_a_row == _ENOUGH:
                        break
                    continue
                told, in_a_row = told + 1, 0
                progress(told + failed, total)
        broken = sorted(missing + damaged + gaps)
        return Findings(
            total,
            len(broken),
            total - told - len(gaps),
            holes(broken),
            reason,
            holes(sorted(damaged)),
            deep=True,
        )

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


def damage_of(file: FileEntry, layout: FileLayout, found: Sequence[Hole]) -> Damage:
    """Return what *found*, holes in the file of *layout*, mean for whoever wants to play it."""
    if isinstance(layout, DiskFile):
        gaps = [Gap(0, file.size, 1)] if found else []
    elif sum(map(len, found)) <= LIMITS.in_all:
        parts = sorted(parts_of(found))
        gaps = rows(span for posted, part in parts for span in layout.shown(posted, part, part))
    else:  # too much to look at each article
        gaps = sorted(
            Gap(begin, end, len(hole))
            for hole in found
            for begin, end in layout.shown(hole.posted, hole.first, hole.last)
        )
    if found and not gaps:
        return NOT_JUDGED  # where sizes are guessed, an article may seem to hold nothing of it
    return judge(file.name, file.size, gaps)


def _places(spans: Sequence[tuple[int, range]]) -> Iterator[Place]:
    return ((posted, index) for posted, span in spans for index in span)


def _next_size(size: int, took_s: float) -> int:
    fitting = int(size * _GO_S / max(took_s, 1e-6))
    return max(_FIRST, min(_MOST, _GROWTH * size, fitting))
