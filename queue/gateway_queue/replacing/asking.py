"""How people ask for replacements, and for what became of them: the library's `Replacements`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from gateway.library.entries import Release
from gateway.library.replacement import NotReplaceable, Replacement, Standing, Step, TooMany
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker

_NO_ARR = "no Sonarr or Radarr is configured (GATEWAY_ARR__<name>__KIND, URL and API_KEY)"
_NO_ID = "it is not known any more by which id it was downloaded"


class ArrReplacements:
    """Passes to *worker* what is asked for; see `gateway.library.ports.Replacements`.

    *named* finds the releases of a name, and raises NotInLibrary.
    """

    def __init__(
        self,
        store: ReplacementStore,
        worker: ReplacementWorker,
        named: Callable[[str], Collection[Release]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._worker = worker
        self._named = named
        self._clock = clock

    def tell(self, name: str) -> Replacement:
        """Have the release of this name replaced, whatever its health is."""
        found = list(self._named(name))
        if len(found) > 1:
            places = " or ".join(f"'{one.category}/{one.name}'" for one in found)
            raise NotReplaceable(f"several releases are called that: write {places}")
        (release,) = found
        nzo_id = self._store.nzo_ids([release.id]).get(release.id)
        if not self._worker.arrs:
            raise NotReplaceable(_NO_ARR)
        if nzo_id is None:
            raise NotReplaceable(_NO_ID)
        if braked := self._worker.braked():
            raise NotReplaceable(f"nothing is replaced at present: {braked}")
        self._refuse_over(release)
        asked = self._store.ask(release, nzo_id, self._clock())
        self._worker.wake()
        return asked

    def standings(self, release_ids: Collection[int]) -> Mapping[int, Standing]:
        """Return how those of these releases stand that have failed, or are being replaced."""
        known = self._store.of_releases(release_ids)
        failed = self._store.failed(release_ids)
        unknown_ids = failed.keys() - known.keys()
        nzo_ids = self._store.nzo_ids(unknown_ids)
        held = self._held() if failed or known else ""
        standings = {
            release_id: Standing(_in_words(one, held), one) for release_id, one in known.items()
        }
        for release_id in unknown_ids:
            has_id = release_id in nzo_ids
            standings[release_id] = Standing(
                self._why_not(held, has_id=has_id, is_confirmed=failed[release_id])
            )
        return standings

    def _why_not(self, held: str, *, has_id: bool, is_confirmed: bool) -> str:
        if not self._worker.arrs:
            return f"no *arr is told: {_NO_ARR}"
        if not has_id:
            return f"no *arr is told: {_NO_ID}"
        if not is_confirmed:
            return "no *arr is told yet: a second check, an hour later, has to confirm it"
        return f"no *arr is told yet: {held or 'its turn comes'}"

    def _held(self) -> str:
        """Return why nothing at all is told at present, empty: it is."""
        if braked := self._worker.braked():
            return braked
        over = self._worker.over() if self._worker.arrs else None
        return "" if over is None else over.words

    def _refuse_over(self, release: Release) -> None:
        """Raise TooMany where it is known already that this would be too much."""
        limits, now = self._worker.limits, self._clock()
        before = self._store.of_releases([release.id]).get(release.id)
        if before is not None and before.step in {Step.MARKING, Step.SEARCHING}:
            return  # it is counted already
        sent = self._store.sent(now - limits.longest_s)
        titles = before.titles.split() if before is not None else []
        over = limits.of_all(sent, now)
        if before is not None and over is None:
            over = limits.of_title(sent, before.arr, titles, now)
        if over is not None:
            minutes = max(1, round((over.until - now) / 60))
            raise TooMany(f"{over.words}: ask again in {minutes} min")


def _in_words(one: Replacement, held: str) -> str:
    match one.step:
        case Step.WAITING:
            reason = one.note or held or "its turn comes"
            return f"no *arr is told yet: {reason}"
        case Step.MARKING | Step.SEARCHING:
            reason = one.note or held
            return f"'{one.arr}' is being told{f': {reason}' if reason else ''}"
        case Step.TOLD:
            return f"'{one.arr}' was told: {one.answer}" if one.arr else one.answer
        case Step.NOBODY:
            return f"no *arr is told: {one.answer}"
        case Step.REFUSED:
            return f"no *arr is told: {one.answer}"
