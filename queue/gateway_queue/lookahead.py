"""Examines the files whose turn comes next, while the one whose turn it is is dealt with.

A small file is one batch of STATs, and a large one ends in a batch: one file at a time would have
one connection at work, and none while the outcome is written down, where checks may have several.
Whoever checks still takes the files one by one, in its own order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from gateway.library.health import Findings, Health
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout
from gateway.streams.on_disk import DiskFile, FileLayout
from gateway_queue.health import Examiner
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

# So many files are under way or wait to be taken; and no further one is begun while so many
# articles are asked for: what is under way is lost when the program ends.
AHEAD, _ARTICLES = 24, 10_000

Coming = Callable[[], Iterable[str]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of the file of *layout*, and how long that took."""

    layout: FileLayout
    findings: Findings
    took_s: float


class Lookahead:
    """Has *examiner* examine files before they are asked for. Of one thread.

    Few at first, and again where files are not well: a provider that is ill is noticed by what
    is found of a few files, and what is asked beyond them is asked in vain. *layout* gives that
    of a file by its id, or raises GatewayError.
    """

    def __init__(self, examiner: Examiner, layout: Callable[[str], FileLayout]) -> None:
        self._examiner = examiner
        self._layout = layout
        self._early: dict[str, _Early] = {}
        self._most = 1  # files ahead at present, with the one that is taken next

    def examine(self, file_id: str, coming: Coming, ticket: Ticket, progress: Progress) -> Examined:
        """Return what is found of a file: see `Examiner.examine`.

        *coming* tells which files come now and next, this one the first; it is asked when but
        few of them are ahead. Whatever else is under way is left then, and what was found of it
        forgotten: it would be old news by the time that it comes.
        """
        if file_id not in self._early or len(self._early) <= self._most // 2:
            self._expect(islice(coming(), self._most))
        early = self._early.pop(file_id, None)
        found = (
            self._now(file_id, ticket, progress) if early is None else early.take(ticket, progress)
        )
        is_well = found.findings.health is Health.HEALTHY
        self._most = min(AHEAD, 2 * self._most) if is_well else max(1, self._most // 2)
        return found

    def leave(self) -> None:
        """Leave all that is under way, and forget what was found."""
        self._expect(())
        self._most = 1

    def _now(self, file_id: str, ticket: Ticket, progress: Progress) -> Examined:
        began = time.monotonic()
        layout = self._layout(file_id)
        findings = self._examiner.examine(layout, ticket, progress)
        return Examined(layout, findings, time.monotonic() - began)

    def _expect(self, files: Iterable[str]) -> None:
        coming = list(files)
        for file_id in self._early.keys() - set(coming):
            self._early.pop(file_id).ticket.cancel()
        asked = sum(early.articles for early in self._early.values() if not early.is_over)
        for file_id in coming:
            if asked >= _ARTICLES:
                return
            if file_id in self._early:
                continue
            early = self._begin(file_id)
            if early is not None:
                self._early[file_id] = early
                asked += early.articles

    def _begin(self, file_id: str) -> _Early | None:
        try:
            layout = self._layout(file_id)
            if isinstance(layout, DiskFile):
                return None  # there is nobody to ask
            return _Early(self._examiner, layout)
        except Exception:  # noqa: BLE001  (whatever it is, it is told when the file's turn comes)
            return None


class _Early:
    """An examination on a thread of its own."""

    def __init__(self, examiner: Examiner, layout: Layout | CipheredLayout) -> None:
        self.ticket = Ticket()
        self.articles = sum(len(span) for _, span in layout.touched())
        self._examiner = examiner
        self._layout = layout
        self._lock = threading.Lock()  # guards the next two: nothing told may be passed over
        self._told: tuple[int, int] | None = None
        self._progress: Progress | None = None
        self._over = threading.Event()
        self._outcome: Examined | BaseException = LetGo()
        threading.Thread(target=self._examine, name="health-ahead", daemon=True).start()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def take(self, ticket: Ticket, progress: Progress) -> Examined:
        """Wait for the end and return what was found, or raise what went wrong."""
        with self._lock:
            self._progress = progress
            if self._told is not None:
                progress(*self._told)
        with ticket.on_cancel(self.ticket.cancel):
            self._over.wait()
        ticket.check()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def _examine(self) -> None:
        began = time.monotonic()
        try:
            findings = self._examiner.examine(self._layout, self.ticket, self._tell)
            self._outcome = Examined(self._layout, findings, time.monotonic() - began)
        except BaseException as exc:  # noqa: BLE001  (raised where the file is taken)
            self._outcome = exc
        finally:
            self._over.set()

    def _tell(self, done: int, articles: int) -> None:
        with self._lock:
            self._told = done, articles
            if self._progress is not None:
                self._progress(done, articles)
