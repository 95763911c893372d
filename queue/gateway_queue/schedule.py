"""Which file is checked next when nobody asks, and whether any is: schedule and brake.

    free --too many checks go badly--> braked --an hour--> a probe --it goes well--> free
                                         ^                   |
                                         +----it goes badly--+

The probe is the check of a file that was healthy when it was last looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from gateway.library.check_agenda import Braked, CheckAgenda
from gateway.library.check_times import HOUR_S
from gateway.library.health import FileHealth, Findings, Health
from gateway.library.ports import ScheduleStatus
from gateway.words import counted
from gateway_queue.brake import Brake

log = logging.getLogger(__name__)

# So many files take turns at being the probe.
_PROBES = 12


class Schedule:
    """The files that are due. *is_on* False: only those in which a reader has met a hole.

    Of one thread, but for `status` and `braked`. Every method raises StorageError.
    """

    def __init__(self, agenda: CheckAgenda, *, is_on: bool, clock: Callable[[], float]) -> None:
        self._agenda = agenda
        self._is_on = is_on
        self._clock = clock
        self._brake = Brake()
        self._braked: Braked | None = None

    @property
    def braked(self) -> Braked | None:
        """Whether no check is to be believed at present, and why."""
        return self._braked

    def resume(self) -> None:
        """Take up what an earlier run of the program has left."""
        self._braked = self._agenda.braked()
        late = self._agenda.pull_in(self._clock())
        if late:
            log.warning(
                "[Health] the clock was ahead once: %s now due earlier", counted(late, "file")
            )

    def holed(self) -> FileHealth | None:
        """Return a file in which a reader has met a hole, if it is to be checked now."""
        return None if self._braked is not None else self._agenda.first_due(0.0)

    def next(self) -> tuple[FileHealth, bool] | None:
        """Return the file to check now, and whether that is a probe; None: nothing is due."""
        now, braked = self._clock(), self._braked
        if braked is None:
            due = self._agenda.first_due(now) if self._is_on else None
            return None if due is None else (due, False)
        if now < braked.until <= now + HOUR_S:
            return None
        well = self._agenda.witnesses(_PROBES)
        # Another one each hour: one that is no use for it must not hold the brake for ever.
        turn = int((now - braked.since) // HOUR_S)
        probe = well[turn % len(well)] if well else self._agenda.any_in_posts()
        if probe is None:
            self._release()
            return self.next()
        return probe, True

    def heed(self, before: FileHealth, findings: Findings, *, is_probe: bool) -> None:
        """Draw the conclusions from a check: the brake is pulled, stays on, or comes off."""
        # A fault of ours, and what lies on the disk, say nothing of any provider.
        tells = bool(findings.articles or not findings.reason) and not before.on_disk
        now, braked = self._clock(), self._braked
        bad = findings.health is Health.UNKNOWN or findings.missing > before.missing
        if braked is None and tells:
            illness = self._brake.note(now, bad=bad)
            if illness is not None:
                self.pull(illness.reason, since=illness.since)
        elif braked is not None and is_probe:
            # Of a file that was never healthy, too, some article has to be there.
            if bad or findings.missing == findings.articles:
                self._agenda.brake(replace(braked, until=now + HOUR_S), ill_since=braked.since)
                self._braked = replace(braked, until=now + HOUR_S)
                log.warning("[Health] no file is checked by itself for another hour")
            else:
                self._release()

    def pull(self, reason: str, *, since: float) -> None:
        """Pull the brake: *since* then, nothing that has FAILED is believed."""
        now = self._clock()
        braked = Braked(now, now + HOUR_S, reason)
        self._agenda.brake(braked, ill_since=since)
        self._braked = braked
        self._brake.reset()
        log.warning("[Health] no file is checked by itself for an hour: %s", reason)

    def idle_s(self) -> float | None:
        """Return how long nothing is due, None if that is until something changes."""
        if self._braked is not None:
            due: float | None = self._braked.until
        else:
            due = self._agenda.next_due() if self._is_on else None
        return None if due is None else max(0.0, due - self._clock())

    def status(self) -> ScheduleStatus:
        """Return how many files are overdue, and when the next one is due."""
        overdue = self._agenda.overdue(self._clock())
        return ScheduleStatus(
            self._is_on,
            overdue,
            self._agenda.next_due() if self._is_on else None,
            self._braked,
            self._agenda.verdicts(),
        )

    def _release(self) -> None:
        self._agenda.release()
        self._braked = None
        self._brake.reset()
        log.info("[Health] files are checked by themselves again")
