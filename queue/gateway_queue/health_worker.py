"""Checks files one after the other: what people ask for first, else the library, in rounds.

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
from gateway.library.check_records import CheckRecords
from gateway.library.health import FileHealth, Findings
from gateway.library.ports import CheckRequest, CheckStatus, RunningCheck
from gateway_queue.check_requests import Asked, Requests, Urgency
from gateway_queue.check_rounds import Rounds
from gateway_queue.health import Examiner
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long nothing is tried again that the database refused, or that failed by a fault of ours.
_PAUSE_S = 30.0
# The clock may be set while nothing is to be done.
_LONGEST_SLEEP_S = 600.0


@dataclass(frozen=True, slots=True)
class _Job:
    """A file to check: what is *known* of it, and since when it counts as not checked."""

    known: FileHealth
    since: float
    urgency: Urgency
    asked: Asked | None = None


class HealthWorker:
    """One thread that checks, from `start` to `stop`.

    *interval_s* lies between the beginnings of two rounds; 0: only what is asked for is checked.
    *checked* is told of every file that was checked.
    """

    def __init__(
        self,
        examiner: Examiner,
        library: Library,
        records: CheckRecords,
        *,
        interval_s: float,
        checked: Callable[[str], None] = lambda _file_id: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._checked = checked
        self._examiner = examiner
        self._library = library
        self._records = records
        self._clock = clock
        self._rounds = Rounds(records, interval_s=interval_s, clock=clock)
        self._thread = threading.Thread(target=self._work, name="health", daemon=True)
        # Under the condition. The thread sleeps only while nothing has changed since it looked;
        # `_current` is the ticket of the check under way, and for whom that is.
        self._changed = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._requests = Requests()
        self._holed: dict[str, None] = {}  # files to check soon, in their order
        self._current: tuple[Ticket, Urgency] | None = None
        self._running: RunningCheck | None = None

    def start(self) -> None:
        """Begin to check. A round that an earlier run of the program began goes on."""
        self._rounds.resume()
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
        """Look again whether a round is due."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def check(self, files: Sequence[str] | None) -> CheckRequest:
        """Check the files of these ids, or all with None, before whatever is less urgent."""
        now = self._clock()
        total = self._records.count(now) if files is None else len(files)
        asked = Asked(files, total, now)
        with self._changed:
            self._requests.add(asked)
            current = self._current
            self._changes += 1
            self._changed.notify_all()
            status = asked.status()
        if current is not None and current[1] > asked.urgency:
            current[0].cancel()
        return status

    def check_soon(self, file_id: str) -> None:
        """Check a file before all that nobody has asked for. Never blocks."""
        with self._changed:
            self._holed[file_id] = None
            current = self._current
            self._changes += 1
            self._changed.notify_all()
        if current is not None and current[1] > Urgency.HOLE:
            current[0].cancel()

    def status(self) -> CheckStatus:
        """Return what is being checked. Raises StorageError."""
        status = self._rounds.status()
        with self._changed:
            return CheckStatus(self._running, self._requests.status(), status)

    # The thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                seen, stopping = self._changes, self._stopping
            if stopping:
                return
            try:
                job = self._next()
                if job is not None:
                    self._check(job)
                    continue
                idle_s = self._rounds.idle_s()
                sleep_s = None if idle_s is None else min(idle_s, _LONGEST_SLEEP_S)
            except StorageError as exc:
                log.error("[Health] cannot go on checking: %s", exc)
                sleep_s = _PAUSE_S
            except Exception:
                # A fault of ours must not end all checks.
                log.exception("[Health] a fault of the gateway: checking pauses")
                sleep_s = _PAUSE_S
            with self._changed:
                self._changed.wait_for(self._since(seen), sleep_s)

    def _since(self, seen: int) -> Callable[[], bool]:
        return lambda: self._stopping or self._changes != seen

    def _next(self) -> _Job | None:
        while True:
            with self._changed:
                asked = self._requests.first()
                holed = next(iter(self._holed), None)
            if holed is not None and (asked is None or asked.urgency > Urgency.HOLE):
                found_hole = self._records.of_file(holed)
                if found_hole is not None:
                    return _Job(found_hole, 0.0, Urgency.HOLE)
                with self._changed:
                    self._holed.pop(holed, None)
                continue
            if asked is None:
                found = self._rounds.next()
                return None if found is None else _Job(found[1], found[0].began, Urgency.ROUND)
            known = self._next_of(asked)
            if known is not None:
                return _Job(known, asked.began, asked.urgency, asked)
            with self._changed:
                self._requests.finish(asked)
            log.info("[Health] what was asked for is checked: %d files", asked.total)

    def _next_of(self, asked: Asked) -> FileHealth | None:
        if asked.files is None:
            return self._records.least_recent(asked.began)
        while asked.files:
            known = self._records.of_file(asked.files[0])
            if known is not None:
                return known
            self._count(asked)  # it was removed meanwhile
        return None

    def _count(self, asked: Asked) -> None:
        with self._changed:
            asked.count()

    # One check -------------------------------------------------------------------------------

    def _check(self, job: _Job) -> None:
        ticket = Ticket()
        with self._changed:
            first = self._requests.first()
            if self._stopping or (first is not None and first.urgency < job.urgency):
                return
            self._holed.pop(job.known.file.id, None)  # whatever is met from now on is checked anew
            self._current = (ticket, job.urgency)
        began = time.monotonic()
        try:
            findings = self._examine(job, ticket)
        except LetGo:
            if job.urgency is Urgency.HOLE:
                with self._changed:
                    self._holed[job.known.file.id] = None
            return
        finally:
            with self._changed:
                self._current = self._running = None
        known: FileHealth | None = None
        if findings is not None:
            at = max(self._clock(), job.since)  # later, even if the clock has been set back
            known = self._write(lambda: self._records.record(job.known, findings, at))
        if known is not None:
            _tell(known, time.monotonic() - began)
        self._checked(job.known.file.id)
        if job.asked is not None:
            self._count(job.asked)
        elif job.urgency is Urgency.ROUND and known is not None and findings is not None:
            self._rounds.count(known.health)
            reason = self._rounds.heed(job.known, findings)
            if reason is not None:
                self._write(lambda: self._rounds.stop(reason))

    def _examine(self, job: _Job, ticket: Ticket) -> Findings | None:
        """Return what is found of the file; None if it has been removed. Raises LetGo."""
        file = job.known.file

        def progress(done: int, articles: int) -> None:
            self._running = RunningCheck(file, articles, done, job.asked is not None)

        try:
            return self._examiner.examine(self._library.layout(file.id), ticket, progress)
        except LetGo:
            raise
        except NotInLibrary:
            return None
        except GatewayError as exc:
            return Findings(0, reason=str(exc))
        except Exception as exc:
            log.exception("[Health] a fault of the gateway befell %r", file.path)
            return Findings(0, reason=f"an unexpected error, see the log: {type(exc).__name__}")

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


def _tell(known: FileHealth, took_s: float) -> None:
    release = known.file.release
    before = "" if known.decided_at == known.checked_at else f" (before: {known.verdict.upper()})"
    log.info(
        "[Health] %s '%s/%s/%s': %s%s, in %.1f s",
        known.health.upper(),
        release.category,
        release.name,
        known.file.path,
        known.in_words(),
        before,
        took_s,
    )
