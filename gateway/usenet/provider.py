"""One provider: its pool, and a circuit breaker that stops asking whoever does not serve."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.errors import ConnectionLost, LoginRefused, ProviderBusy, ProviderError
from gateway.usenet.call import Call
from gateway.usenet.claims import Claims
from gateway.usenet.permits import Request
from gateway.usenet.pool import Pool
from gateway.usenet.tally import Tally

# Three failures in 30 s open the breaker for 60 s; each failed probe doubles it, up to 300 s.
FAILURES = 3
WINDOW_S = 30.0
PAUSE_S = 60.0
LONGEST_PAUSE_S = 300.0
# Failures this close together have one cause (a line that went down) and count once.
BURST_S = 1.0
# A probe that has not ended after this long is given up on.
PROBE_S = 30.0


class BreakerState(enum.StrEnum):
    """Whether a provider is asked."""

    CLOSED = "closed"  # it is
    OPEN = "open"  # it is not, until its pause is over
    PROBING = "probing"  # the pause is over: one exchange tries whether it serves again


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """Whether a provider is asked; if not, why, and for how many seconds still."""

    state: BreakerState
    reason: str | None
    pause_s: float


class Breaker:
    """Decides whether a provider may be asked.

    Closed: it may. Open: it may not, until the pause is over; then one exchange is let through
    as a probe, whose end closes the breaker or opens it for twice as long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: list[float] = []
        self._pause_s = 0.0
        self._until = 0.0
        self._probe_until = 0.0
        self._reason: ProviderError | None = None

    def refusal(self) -> ProviderError | None:
        """Return why the provider may not be asked now, None if it may.

        None from a breaker whose pause is over makes the caller the probe.
        """
        with self._lock:
            if not self._pause_s:
                return None
            now = self._clock()
            if now >= self._until and now >= self._probe_until:
                # A probe that is never heard of again (cancelled while it waited) makes way.
                self._probe_until = now + PROBE_S
                return None
            return self._reason

    def status(self) -> BreakerStatus:
        """Return how it stands, without becoming the probe."""
        with self._lock:
            if not self._pause_s:
                return BreakerStatus(BreakerState.CLOSED, None, 0.0)
            left_s = max(0.0, self._until - self._clock())
            state = BreakerState.OPEN if left_s else BreakerState.PROBING
            return BreakerStatus(state, str(self._reason), left_s)

    def succeeded(self) -> None:
        """The provider answered, whatever it said about the article."""
        if not self._failures and not self._pause_s:
            return
        with self._lock:
            self._failures.clear()
            self._pause_s = self._probe_until = 0.0
            self._reason = None

    def unknown(self) -> None:
        """The exchange was given up before it told anything: the next one is the probe."""
        with self._lock:
            self._probe_until = 0.0

    def failed(self, error: ProviderError) -> None:
        """The provider did not serve us. A refused login opens the breaker at once."""
        with self._lock:
            now = self._clock()
            if self._pause_s:
                if now >= self._until:
                    self._open(now, error)
                return
            self._failures = [at for at in self._failures if now - at < WINDOW_S]
            if not self._failures or now - self._failures[-1] >= BURST_S:
                self._failures.append(now)
            if len(self._failures) >= FAILURES or isinstance(error, LoginRefused):
                self._open(now, error)

    def _open(self, now: float, error: ProviderError) -> None:
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s) if self._pause_s else PAUSE_S
        self._until = now + self._pause_s
        self._probe_until = 0.0
        self._reason = error


@dataclass(frozen=True, slots=True)
class Rank:
    """In which order providers are asked: backups last, then by priority, then by name."""

    backup: bool
    priority: int
    name: str

    def key(self) -> tuple[bool, int, str]:
        return self.backup, self.priority, self.name


class Provider:
    """A provider as `ArticleSource` sees it."""

    def __init__(self, rank: Rank, pool: Pool, breaker: Breaker) -> None:
        self.rank = rank
        self.pool = pool
        self.tally = Tally()
        self.claims = Claims(rank.name)
        self._breaker = breaker
        self.knows_stat = True  # False once it answered STAT with 500: HEAD is sent instead

    @property
    def name(self) -> str:
        return self.rank.name

    @property
    def is_backup(self) -> bool:
        return self.rank.backup

    def breaker(self) -> BreakerStatus:
        """Return whether it is asked at the moment."""
        return self._breaker.status()

    def refusal(self) -> ProviderError | None:
        """Return why this provider is not asked now, None if it is: then `submit` must follow."""
        return self._breaker.refusal()

    def submit(
        self,
        lines: Sequence[bytes],
        request: Request,
        done: Callable[[Call], None],
        *,
        expected_bytes: int = 0,
    ) -> Call:
        """Send commands as one exchange; see Pool.submit. The breaker learns how it ended."""

        def judged(call: Call) -> None:
            self._judge(call)
            done(call)

        return self.pool.submit(lines, request, judged, expected_bytes=expected_bytes)

    def refused(self, error: ProviderError) -> None:
        """Say that it answered, but with a refusal (480, 400 or 502 to an article command)."""
        self._breaker.failed(error)

    def _judge(self, call: Call) -> None:
        if call.error is None:
            self.tally.answered(call)
            self._breaker.succeeded()
            return
        if not call.abandoned:
            self.tally.failed(call.error)
        if call.abandoned and isinstance(call.error, ConnectionLost):
            self._breaker.unknown()
        elif isinstance(call.error, ProviderBusy) and self.pool.status().live:
            self._breaker.unknown()  # it serves others of ours: full, not ill
        else:
            self._breaker.failed(call.error)
