"""Checks files one after the other: what people ask for, else what is due (`Schedule`).

What was begun and not ended, by a stop or for something more urgent, leaves the old result as it
is, and is begun anew later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.errors import GatewayError, NotInLibrary, StorageError
from gateway.library.catalogue import Library
from gateway.library.check_agenda import Braked, CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.health import FileHealth, Findings
from gateway.library.ports import CheckRequest, CheckStatus, RunningCheck
from gateway.streams.on_disk import FileLayout
from gateway_queue.brake import WINDOW_S
from gateway_queue.check_jobs import Job, Jobs
from gateway_queue.check_requests import Asked, Requests, Urgency
from gateway_queue.health import Examiner, damage_of
from gateway_queue.item import LetGo
from gateway_queue.lookahead import Lookahead
from gateway_queue.schedule import Schedule
from gateway_queue.ticket import Ticket
from gateway_queue.witnesses import Witnesses

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long nothing is tried again that the database refused, or that failed by a fault of ours.
_PAUSE_S = 30.0
# The clock may be set while nothing is to be done.
_LONGEST_SLEEP_S = 600.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a check has found of a file with this *layout*, and whether that counts as sound."""

    findings: Findings
    layout: FileLayout | None
    took_s: float
    is_sound: bool = True


class HealthWorker:
    """One thread that checks, from `start` to `stop`.

    *scheduled* False: only what is asked for is checked, and where a reader has met a hole.
    *checked* is told of every file that was checked, *on_confirmed* that some file is known to
    have FAILED for certain; both quick, and on the thread that checks.
    """

    def __init__(
        self,
        examiner: Examiner,
        library: Library,
        records: CheckRecords,
        agenda: CheckAgenda,
        *,
        scheduled: bool = True,
        checked: Callable[[str], None] = lambda _file_id: None,
        on_confirmed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._examiner = examiner
        self._library = library
        self._records = records
        self._agenda = agenda
        self._checked = checked
        self._on_confirmed = on_confirmed
        self._clock = clock
        self._lookahead = Lookahead(examiner, library.layout)
        self._witnesses = Witnesses(agenda, library, examiner)
        self._schedule = Schedule(agenda, is_on=scheduled, clock=clock)
        self._thread = threading.Thread(target=self._work, name="health", daemon=True)
        # Under the condition. The thread sleeps only while nothing has changed since it looked;
        # `_current` is the ticket of the check under way, and for whom that is.
        self._changed = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._requests = Requests()
        self._jobs = Jobs(records, agenda, self._schedule, self._requests, self._changed, clock)
        self._current: tuple[Ticket, Urgency] | None = None
        self._running: RunningCheck | None = None

    def start(self) -> None:
        """Begin to check, where an earlier run of the program has left off."""
        self._schedule.resume()
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Leave the check under way and end; say whether that was done within *timeout_s*."""
        with self._changed:
            self._stopping = True
            current = self._current
            self._changed.notify_all()
        if current is not None:
            current[0].cancel()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Look again whether a file is due."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def check(self, files: Sequence[str] | None, *, deep: bool = False) -> CheckRequest:
        """Check the files of these ids, or all with None, before whatever is less urgent.

        *deep*: by fetching every article.
        """
        now = self._clock()
        total = self._agenda.count(now) if files is None else len(files)
        asked = Asked(files, total, now, deep=deep)
        with self._changed:
            self._requests.add(asked)
            status = asked.status()
        self._make_way(asked.urgency)
        return status

    def check_soon(self, _file_id: str) -> None:
        """Check a file, in which a reader has met a hole, before what is less urgent.

        It stands first in the schedule already.
        """
        self._make_way(Urgency.HOLE)

    def status(self) -> CheckStatus:
        """Return what is being checked. Raises StorageError."""
        schedule = self._schedule.status()
        with self._changed:
            return CheckStatus(self._running, self._requests.status(), schedule)

    def braked(self) -> Braked | None:
        """Return why no file is checked by itself at present, None if they are."""
        return self._schedule.braked

    def _make_way(self, urgency: Urgency) -> None:
        with self._changed:
            current = self._current
            self._changes += 1
            self._changed.notify_all()
        if current is not None and current[1] > urgency:
            current[0].cancel()

    # The thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                seen, stopping = self._changes, self._stopping
            if stopping:
                self._lookahead.leave()
                return
            try:
                job = self._jobs.next()
                if job is not None:
                    self._check(job)
                    continue
                idle_s = self._schedule.idle_s()
                sleep_s = None if idle_s is None else min(idle_s, _LONGEST_SLEEP_S)
            except StorageError as exc:
                log.error("[Health] cannot go on checking: %s", exc)
                sleep_s = _PAUSE_S
            except Exception:
                # A fault of ours must not end all checks.
                log.exception("[Health] a fault of the gateway: checking pauses")
                sleep_s = _PAUSE_S
            self._lookahead.leave()
            with self._changed:
                self._changed.wait_for(self._since(seen), sleep_s)

    def _since(self, seen: int) -> Callable[[], bool]:
        return lambda: self._stopping or self._changes != seen

    # One check -------------------------------------------------------------------------------

    def _check(self, job: Job) -> None:
        ticket = Ticket()
        with self._changed:
            first = self._requests.first()
            if self._stopping or (first is not None and first.urgency < job.urgency):
                return
            self._current = (ticket, job.urgency)
        words = ""
        try:
            found = self._examine(job, ticket)
            with self._changed:
                self._current = None
            if found is not None:
                words = self._conclude(job, found)
        except LetGo:
            return
        finally:
            with self._changed:
                self._current = self._running = None
        self._jobs.count(job)
        if words:
            log.info("[Health] %s", words)

    def _conclude(self, job: Job, found: _Found) -> str:
        """Write down what was found, and draw the conclusions; return them in words."""
        before, file, findings = job.known, job.known.file, found.findings
        at = max(self._clock(), job.since)  # later, even if the clock has been set back
        layout = found.layout
        known = self._write(
            lambda: self._records.record(
                before,
                findings,
                at,
                took_s=found.took_s,
                is_sound=found.is_sound and self._schedule.braked is None,
                judge=None if layout is None else lambda holes: damage_of(file, layout, holes),
            )
        )
        if known is None:
            return ""
        self._checked(file.id)
        self._write(lambda: self._schedule.heed(before, findings, is_probe=job.is_probe))
        is_confirmed = known.confirmed_at == at and self._schedule.braked is None
        if is_confirmed:
            self._on_confirmed()
        return _in_words(known, found.took_s, is_confirmed=is_confirmed)

    def _examine(self, job: Job, ticket: Ticket) -> _Found | None:
        """Return what is found of the file; None if it has been removed. Raises LetGo."""
        file = job.known.file
        began = time.monotonic()

        def progress(done: int, articles: int) -> None:
            self._running = RunningCheck(file, articles, done, job.asked is not None)

        layout: FileLayout | None = None
        try:
            coming = self._jobs.coming(job)
            if coming is None:
                self._lookahead.leave()
                layout = self._library.layout(file.id)
                findings = self._examiner.examine(layout, ticket, progress, deep=job.deep)
                took_s = time.monotonic() - began
            else:
                progress(0, job.known.articles)
                found = self._lookahead.examine(file.id, coming, ticket, progress)
                layout, findings, took_s = found.layout, found.findings, found.took_s
            return _Found(findings, layout, took_s, self._is_sound(job, findings, ticket))
        except LetGo:
            raise
        except NotInLibrary:
            return None
        except GatewayError as exc:
            return _Found(Findings(0, reason=str(exc)), layout, time.monotonic() - began)
        except Exception as exc:
            log.exception("[Health] a fault of the gateway befell %r", file.path)
            reason = f"an unexpected error, see the log: {type(exc).__name__}"
            return _Found(Findings(0, reason=reason), layout, time.monotonic() - began)

    def _is_sound(self, job: Job, findings: Findings, ticket: Ticket) -> bool:
        """Say whether *findings* may confirm that the file has FAILED, if they would.

        Where nothing at all of it is there, the providers have to show that they are well: of
        files that are HEALTHY something has to be there. Pulls the brake if there is nothing.
        """
        if self._schedule.braked is not None:
            return False
        if not job.known.would_confirm(findings, self._clock()):
            return True
        if findings.missing < findings.articles:
            return True
        doubt = self._witnesses.doubt(ticket)
        if doubt:
            self._schedule.pull(doubt, since=self._clock() - WINDOW_S)
        return not doubt

    def _write(self, step: Callable[[], T]) -> T | None:
        """Take *step*, however long the database refuses it; None when the program stops."""
        while True:
            try:
                return step()
            except StorageError as exc:
                log.error("[Health] cannot write down what a check found: %s", exc)
                with self._changed:
                    if self._changed.wait_for(lambda: self._stopping, _PAUSE_S):
                        return None


def _in_words(known: FileHealth, took_s: float, *, is_confirmed: bool) -> str:
    release = known.file.release
    place = f"{release.category}/{release.name}/{known.file.path}"
    before = "" if known.health is known.verdict else f" (before: {known.verdict.upper()})"
    certain = ", for certain" if is_confirmed else ""
    words = known.in_words()
    return f"{known.health.upper()} '{place}': {words}{before}{certain}, in {took_s:.1f} s"
