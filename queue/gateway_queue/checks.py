"""How people ask for checks and for what they found: the library's `Checks` port."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.library.by_name import named
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.ports import CheckRequest, CheckResults, CheckStatus, FileHistory
from gateway_queue.health_worker import HealthWorker


class HealthChecks:
    """Passes to *worker* what is asked for; see `gateway.library.ports.Checks`."""

    def __init__(
        self, library: Library, records: CheckRecords, agenda: CheckAgenda, worker: HealthWorker
    ) -> None:
        self._library = library
        self._records = records
        self._agenda = agenda
        self._worker = worker

    def start(self, releases: Sequence[str] = (), *, deep: bool = False) -> CheckRequest:
        """Check *releases*, or the whole library if none are named, before all else."""
        if not releases:
            return self._worker.check(None, deep=deep)
        known = self._records.of_releases(self._resolve(releases))
        return self._worker.check([one.file.id for one in known], deep=deep)

    def status(self) -> CheckStatus:
        """Return what is being checked at this moment."""
        return self._worker.status()

    def results(
        self, releases: Sequence[str] = (), *, after: int = 0, limit: int = 500
    ) -> CheckResults:
        """Return what is known about the files of *releases*, or the next page of all."""
        if releases:
            return CheckResults(self._records.of_releases(self._resolve(releases)), None)
        ids = self._records.page(after=after, limit=limit)
        following = ids[-1] if ids and len(ids) == limit else None
        return CheckResults(self._records.of_releases(ids), following)

    def history(self, release: str | None = None, *, limit: int = 20) -> Sequence[FileHistory]:
        """Return what the checks of each file of a release came to, or of those checked last."""
        if release is None:
            known = self._agenda.last_checked(limit)
        else:
            known = self._records.of_releases(self._resolve([release]))
        histories = self._records.histories([one.file.id for one in known])
        return [FileHistory(one, histories[one.file.id]) for one in known]

    def _resolve(self, names: Sequence[str]) -> set[int]:
        return {release.id for name in names for release in named(self._library, name)}
