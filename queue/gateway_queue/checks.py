"""How people ask for checks and for what they found: the library's `Checks` port."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import chain, islice

from gateway.errors import NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway.library.entries import Release
from gateway.library.ports import CheckRequest, CheckResults, CheckStatus
from gateway_queue.health_worker import HealthWorker

# Among so many releases a name is looked for that is like one that does not exist.
_COMPARED = 20_000
_OFFERED = 3


class HealthChecks:
    """Passes to *worker* what is asked for; see `gateway.library.ports.Checks`."""

    def __init__(self, library: Library, records: CheckRecords, worker: HealthWorker) -> None:
        self._library = library
        self._records = records
        self._worker = worker

    def start(self, releases: Sequence[str] = ()) -> CheckRequest:
        """Check *releases*, or the whole library if none are named, before all else."""
        if not releases:
            return self._worker.check(None)
        known = self._records.of_releases(self._resolve(releases))
        return self._worker.check([one.file.id for one in known])

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

    def _resolve(self, names: Sequence[str]) -> set[int]:
        found: set[int] = set()
        for name in names:
            these = self._find(name)
            if not these:
                raise NotInLibrary(self._unknown(name))
            found |= {release.id for release in these}
        return found

    def _find(self, name: str) -> list[Release]:
        """Return the releases of this name: one of each category that has it."""
        category, slash, rest = name.partition("/")  # no release has a slash in its name
        places = (
            [(category, rest)] if slash else [(one, name) for one in self._library.categories()]
        )
        candidates = (self._library.release(*place) for place in places)
        return [release for release in candidates if release is not None]

    def _unknown(self, name: str) -> str:
        releases = chain.from_iterable(map(self._library.releases, self._library.categories()))
        names = {one.name.casefold(): one.name for one in islice(releases, _COMPARED)}
        wanted = name.rpartition("/")[2].casefold()
        near = [key for key in names if wanted and wanted in key][:_OFFERED]
        near = near or difflib.get_close_matches(wanted, names, _OFFERED)
        offered = " or ".join(f"'{names[key]}'" for key in near)
        return f"no release is called '{name}'" + (f": perhaps {offered}" if offered else "")
