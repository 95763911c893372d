"""Works off the replacements, on a thread of its own (`ReplacementWorker`): checks never wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from gateway.errors import StorageError
from gateway.library.replacement import Replacement
from gateway.words import counted
from gateway_queue.replacing.arr import Arr
from gateway_queue.replacing.limits import Limits, Over
from gateway_queue.replacing.replacer import Replacer
from gateway_queue.replacing.store import Moved, ReplacementStore

log = logging.getLogger(__name__)

# How long nothing is tried again that the database refused, or that failed by a fault of ours.
_PAUSE_S = 30.0
# How often is looked whether the brake is off.
_BRAKED_S = 60.0
# The clock may be set while nothing is to be done.
_LONGEST_SLEEP_S = 600.0


class ReplacementWorker:
    """Has *arrs* told of what is confirmed to have failed, from `start` to `stop`.

    While *brake* returns words, nobody is told anything: they say why it is doubtful what the
    checks have found.
    """

    def __init__(
        self,
        store: ReplacementStore,
        arrs: Sequence[Arr],
        *,
        limits: Limits | None = None,
        brake: Callable[[], str] = str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits or Limits()
        self.arrs = tuple(arrs)
        self._store = store
        self._brake = brake
        self._clock = clock
        self._replacer = Replacer(store, arrs, self.limits, clock=clock)
        self._thread = threading.Thread(target=self._work, name="replacing", daemon=True)
        self._waiting_for = ""
        # Under the condition. The thread sleeps only while nothing has changed since it looked.
        self._changed = threading.Condition()
        self._changes = 0
        self._stopping = False

    def start(self) -> None:
        """Begin; without an *arr there is nothing to begin."""
        if self.arrs:
            self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """End; say whether that was done within *timeout_s*. May be called again.

        A request under way is left to itself: what came of it is found out at the next start.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Look again: a failure was confirmed, or somebody asks. Never blocks for long."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def braked(self) -> str:
        """Return why nobody is told anything at present; empty: they are."""
        return self._brake()

    def over(self) -> Over | None:
        """Return which limit of all titles together is reached. Raises StorageError."""
        now = self._clock()
        return self.limits.of_all(self._store.sent(now - self.limits.longest_s), now)

    def _work(self) -> None:
        began = False
        while True:
            with self._changed:
                seen, stopping = self._changes, self._stopping
            if stopping:
                return
            try:
                if not began:
                    self._store.begin_anew([arr.name for arr in self.arrs])
                    began = True
                found = self._store.gather(self._clock())
                if found:
                    log.info("[Replace] failed for certain: %s", counted(found, "release"))
                sleep_s = self._work_off()
            except StorageError as exc:
                log.error("[Replace] cannot go on: %s", exc)
                sleep_s = _PAUSE_S
            except Exception:
                # A fault of ours must not end this for good.
                log.exception("[Replace] a fault of the gateway: replacing pauses")
                sleep_s = _PAUSE_S
            with self._changed:
                self._changed.wait_for(self._since(seen), sleep_s)

    def _since(self, seen: int) -> Callable[[], bool]:
        return lambda: self._stopping or self._changes != seen

    def _work_off(self) -> float:
        """Attempt all that is due, and return after how long there may be more to do."""
        while not self._stopping:
            if self._brake():
                return _BRAKED_S
            now = self._clock()
            resting = self._replacer.resting_until()
            if now < resting:
                return min(resting - now, _LONGEST_SLEEP_S)
            over = self.over()
            one = self._store.claim(now, anew=over is None)
            if one is None:
                due = self._store.next_due()
                if over is not None and due is not None:
                    due = over.until
                self._tell_who_waits(over if due is not None else None)
                left_s = _LONGEST_SLEEP_S if due is None else due - now
                return min(max(left_s, 0.0), _LONGEST_SLEEP_S)
            self._attempt(one)
        return 0.0

    def _tell_who_waits(self, over: Over | None) -> None:
        """Tell the log once that a limit is reached."""
        words = "" if over is None else over.words
        if words and words != self._waiting_for:
            log.info("[Replace] %s: the others wait", words)
        self._waiting_for = words

    def _attempt(self, one: Replacement) -> None:
        try:
            self._replacer.attempt(one)
        except Moved:
            log.info("[Replace] '%s' is in other hands", one.name)
