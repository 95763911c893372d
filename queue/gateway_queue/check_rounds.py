"""Rounds: every file of the library once, the one whose check is longest ago first."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from gateway.library.check_records import CheckRecords
from gateway.library.health import FileHealth, Findings, Health, Round
from gateway.library.ports import RoundStatus
from gateway_queue.brake import Brake

log = logging.getLogger(__name__)


class Rounds:
    """One round after the other, *interval_s* from beginning to beginning; 0: none.

    Of one thread, but for `status`. Every method raises StorageError.
    """

    def __init__(
        self, records: CheckRecords, *, interval_s: float, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._interval_s = interval_s
        self._clock = clock
        self._latest: Round | None = None
        self._brake = Brake()
        self._tally: Counter[Health] = Counter()

    def resume(self) -> None:
        """Go on with the round that an earlier run of the program has left, if it did."""
        self._latest = self._records.latest_round()

    def next(self) -> tuple[Round, FileHealth] | None:
        """Return the next file of the round under way, or of one that is due; None: nothing is."""
        if not self._interval_s:
            return None
        latest, now = self._latest, self._clock()
        if latest is None or latest.ended is not None:
            if latest is not None and now < latest.began + self._interval_s:
                return None
            latest = self._latest = self._records.begin_round(now)
            self._tally.clear()
            self._brake.reset()
        known = self._records.least_recent(latest.began)
        if known is not None:
            return latest, known
        self._latest = self._records.end_round(latest.id, self._clock())
        if self._tally:
            log.info("[Health] round ended: %s", self._counted())
        return None

    def count(self, health: Health) -> None:
        """Count a file of the round that was checked."""
        self._tally[health] += 1

    def heed(self, before: FileHealth, findings: Findings) -> str | None:
        """Return why the round is to be stopped, after *findings* on a file of it; None: go on."""
        bad = findings.health is Health.UNKNOWN or findings.missing > before.missing
        return self._brake.note(self._clock(), bad=bad)

    def stop(self, reason: str) -> None:
        """End the round before its time, for *reason*."""
        if self._latest is None:
            return
        self._latest = self._records.end_round(self._latest.id, self._clock(), reason)
        log.warning("[Health] round stopped: %s. So far: %s", reason, self._counted())

    def idle_s(self) -> float | None:
        """Return how long there is no round, None if there will be none."""
        if not self._interval_s or self._latest is None:
            return None
        return max(0.0, self._latest.began + self._interval_s - self._clock())

    def status(self) -> RoundStatus:
        latest = self._latest
        left = 0
        if latest is not None and latest.ended is None:
            left = self._records.count(latest.began)
        return RoundStatus(latest, left, self._interval_s)

    def _counted(self) -> str:
        files = f"{self._tally.total():,} {'file' if self._tally.total() == 1 else 'files'}"
        return ", ".join([files, *(f"{self._tally[health]:,} {health}" for health in Health)])
