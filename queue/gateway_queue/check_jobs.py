"""Which file is checked now, and which after it: what people ask for, holes, what is due."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.health import FileHealth
from gateway.words import counted
from gateway_queue.check_requests import Asked, Requests, Urgency
from gateway_queue.lookahead import AHEAD
from gateway_queue.schedule import Schedule

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A file to check: what is *known* of it, and since when it counts as not checked."""

    known: FileHealth
    since: float
    urgency: Urgency
    asked: Asked | None = None
    is_probe: bool = False

    @property
    def deep(self) -> bool:
        return self.asked is not None and self.asked.deep


class Jobs:
    """Takes one job after the other from *requests*, which *lock* guards, and from *schedule*.

    Of one thread. Every method raises StorageError.
    """

    def __init__(
        self,
        records: CheckRecords,
        agenda: CheckAgenda,
        schedule: Schedule,
        requests: Requests,
        lock: threading.Condition,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._agenda = agenda
        self._schedule = schedule
        self._requests = requests
        self._lock = lock
        self._clock = clock

    def next(self) -> Job | None:
        """Return the file to check now, None if there is none. Finishes requests that are done."""
        while True:
            with self._lock:
                asked = self._requests.first()
            if asked is None or asked.urgency > Urgency.HOLE:
                holed = self._schedule.holed()
                if holed is not None:
                    return Job(holed, 0.0, Urgency.HOLE)
            if asked is None:
                due = self._schedule.next()
                return None if due is None else Job(due[0], 0.0, Urgency.DUE, is_probe=due[1])
            known = self._next_of(asked)
            if known is not None:
                return Job(known, asked.began, asked.urgency, asked)
            with self._lock:
                self._requests.finish(asked)
            log.info("[Health] what was asked for is checked: %s", counted(asked.total, "file"))

    def count(self, job: Job) -> None:
        """Say that the file of a job is done."""
        if job.asked is not None:
            self._count(job.asked)

    def coming(self, job: Job) -> Callable[[], Sequence[str]] | None:
        """Return who tells which files come now and next; None if this one is to be seen alone.

        What is read needs no help to fill the connections; a hole, and a probe, are about now.
        """
        has_new_hole = not job.known.due_at  # it may be younger than what was asked for ahead
        if job.deep or job.is_probe or has_new_hole:
            return None
        if job.asked is None:
            return lambda: self._agenda.due(self._clock(), AHEAD)
        files = job.asked.files
        if files is None:
            return lambda: self._agenda.old(job.since, AHEAD)
        return lambda: list(islice(files, AHEAD))

    def _next_of(self, asked: Asked) -> FileHealth | None:
        if asked.files is None:
            return self._agenda.least_recent(asked.began)
        while asked.files:
            known = self._records.of_file(asked.files[0])
            if known is not None:
                return known
            self._count(asked)  # it was removed meanwhile
        return None

    def _count(self, asked: Asked) -> None:
        with self._lock:
            asked.count()
