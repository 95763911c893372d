"""One attempt at a replacement: what is asked, what is sent, what is written down in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gateway.library.replacement import Replacement, Step
from gateway_queue.replacing.answers import Grab, Title
from gateway_queue.replacing.arr import Arr
from gateway_queue.replacing.limits import Limits, Over, Sent
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.telling import NotTold

log = logging.getLogger(__name__)

T = TypeVar("T")

# Between one attempt and the next. It is never given up: an *arr may be away for weeks.
PAUSES_S = (60.0, 120.0, 300.0, 900.0, 3_600.0, 21_600.0)
# What somebody has to mend first is not tried before that.
_MENDED_S = 3_600.0


@dataclass(slots=True)
class _Rest:
    """How often in a row an *arr could not be told, and until when it is left alone."""

    failures: int = 0
    until: float = 0.0

    def after(self, now: float) -> float:
        """Return until when it is left alone, 0 where the clock was ahead when that was set."""
        return self.until if self.until <= now + PAUSES_S[-1] else 0.0


class Replacer:
    """Tells *arrs*, one replacement at a time; for one thread."""

    def __init__(
        self,
        store: ReplacementStore,
        arrs: Sequence[Arr],
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._arrs = {arr.name: arr for arr in arrs}
        self._limits = limits
        self._clock = clock
        self._rests = {arr.name: _Rest() for arr in arrs}

    def resting_until(self) -> float:
        """Return until when nobody can be told anything; what is past: somebody can be."""
        now = self._clock()
        return min((rest.after(now) for rest in self._rests.values()), default=float("inf"))

    def attempt(self, one: Replacement) -> None:
        """Do all for *one* that can be done now. Raises StorageError, Moved."""
        try:
            self._attempt(one)
        except _NotNow as exc:
            current = exc.one
            pause_s = PAUSES_S[min(current.attempts, len(PAUSES_S) - 1)]
            until = max(self._clock() + pause_s, exc.until)
            self._store.put_off(current, str(exc), until, failed=True)
            log.warning("[Replace] '%s' is put off for %g s: %s", one.name, pause_s, exc)

    def _attempt(self, one: Replacement) -> None:
        found = self._find(one)
        if found is None:
            self._nobody(one)
            return
        arr, grab = found
        if one.step is Step.WAITING and grab.is_failed and not one.by_hand:
            self._told(one, f"{arr.shown} had it marked as failed already")
            return
        title = self._ask(one, arr, lambda: arr.title(grab))
        titles = arr.titles(grab)
        self._store.identify(one, arr.name, titles, title.words)
        if one.step is Step.SEARCHING:
            self._search(one, arr, grab, title, again=True)
            return
        if not grab.is_failed:
            admitted = self._admit(one, Step.MARKING, arr, grab)
            if admitted is None:
                return
            one = admitted
            self._mark(one, arr, grab)
        elif one.step is Step.WAITING:
            # Somebody has had it marked before, and asks for another search now.
            admitted = self._admit(one, Step.SEARCHING, arr, grab)
            if admitted is not None:
                self._search(admitted, arr, grab, title, again=False)
            return
        one = self._store.advance(one, Step.SEARCHING, marked=self._clock())
        self._search(one, arr, grab, title, again=False)

    def _mark(self, one: Replacement, arr: Arr, grab: Grab) -> None:
        self._ask(one, arr, lambda: arr.mark_failed(grab))
        # Anything may have answered: what counts is what the history says.
        after = self._ask(one, arr, lambda: arr.find(one.nzo_id))
        if after is None or not after.is_failed:
            raise _NotNow(one, f"{arr.shown} was told, and its history does not say so", 0.0)

    def _search(self, one: Replacement, arr: Arr, grab: Grab, title: Title, *, again: bool) -> None:
        """Have it search, unless it does so by itself; then it has been told all there is."""
        did = "marked as failed" if one.marked is not None else "was marked as failed before"
        if one.marked is not None and self._ask(one, arr, lambda: arr.searches_by_itself(grab)):
            searched = "searches again by itself"
        elif not title.searches:
            self._told(one, f"{did}; not monitored there, so nothing is searched for")
            return
        else:
            admitted = self._admit(one, Step.SEARCHING, arr, grab)
            if admitted is None:
                return
            one = admitted
            self._ask(one, arr, lambda: arr.search(title.searches, again=again))
            searched = "searches again"
        file = (
            "; it has a file of it, and takes only what it counts as better"
            if title.has_file
            else ""
        )
        self._told(one, f"{did}; {searched}{file}")

    def _admit(self, one: Replacement, step: Step, arr: Arr, grab: Grab) -> Replacement | None:
        """Put *one* on *step*, to be sent something now; None: not now, and that is written."""
        now = self._clock()
        over = partial(self._over, arr.name, arr.titles(grab), now)
        admitted = self._store.admit(one, step, now, over, self._limits.longest_s)
        if isinstance(admitted, Replacement):
            return admitted
        if one.by_hand and one.step is Step.WAITING:
            self._store.finish(one, Step.REFUSED, admitted.words, now)
        else:
            self._store.put_off(one, admitted.words, admitted.until, failed=False)
        log.info("[Replace] '%s' is not replaced now: %s", one.name, admitted.words)
        return None

    def _over(
        self, arr: str, titles: frozenset[str], now: float, sent: Sequence[Sent]
    ) -> Over | None:
        return self._limits.of_title(sent, arr, titles, now) or self._limits.of_all(sent, now)

    def _find(self, one: Replacement) -> tuple[Arr, Grab] | None:
        """Return who has grabbed it, None if that is nobody of those who are configured."""
        asked = [self._arrs[one.arr]] if one.arr in self._arrs else []
        if one.step is Step.WAITING:
            asked += [arr for arr in self._arrs.values() if arr.name != one.arr]
        missed: _NotNow | None = None
        for arr in asked:
            try:
                grab = self._ask(one, arr, partial(arr.find, one.nzo_id))
            except _NotNow as exc:
                missed = missed or exc
            else:
                if grab is not None:
                    return arr, grab
        if missed is not None:
            raise missed  # it may be theirs
        return None

    def _ask(self, one: Replacement, arr: Arr, ask: Callable[[], T]) -> T:
        """Ask *arr* for *one*, unless it is left alone. Raises _NotNow."""
        rest = self._rests[arr.name]
        if self._clock() < rest.after(self._clock()):
            raise _NotNow(one, f"{arr.shown} is left alone: it did not answer", rest.until)
        try:
            answer = ask()
        except NotTold as exc:
            pause_s = PAUSES_S[min(rest.failures, len(PAUSES_S) - 1)]
            rest.failures += 1
            rest.until = self._clock() + (pause_s if exc.again else max(pause_s, _MENDED_S))
            raise _NotNow(one, str(exc), rest.until) from exc
        rest.failures = 0
        return answer

    def _told(self, one: Replacement, answer: str) -> None:
        self._store.finish(one, Step.TOLD, answer, self._clock())
        log.info("[Replace] '%s': %s", one.name, answer)

    def _nobody(self, one: Replacement) -> None:
        names = ", ".join(arr.shown for arr in self._arrs.values())
        if one.step is not Step.WAITING and one.arr not in self._arrs:
            answer = f"{one.arr!r}, which has grabbed it, is not configured any more"
        elif one.step is not Step.WAITING:
            answer = f"{self._arrs[one.arr].shown} knows nothing of it any more"
        else:
            answer = f"not grabbed through {names}"
        self._store.nobody(one, answer, self._clock(), self._arrs)
        log.info("[Replace] '%s': %s", one.name, answer)


class _NotNow(Exception):
    """*one* cannot go on before *until*."""

    def __init__(self, one: Replacement, words: str, until: float) -> None:
        super().__init__(words)
        self.one = one
        self.until = until
