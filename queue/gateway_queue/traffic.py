"""What each provider has sent, by day: kept in the database, a row for a provider and a day.

The parts count for their own use anyway; here their counters are read when somebody asks and once
a minute, and what they have grown by is added to the day, which is then written down. A program
that is killed loses a minute of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import delete, insert, select

from gateway.errors import GatewayError
from gateway.library.database import Database
from gateway.library.schema import traffic
from gateway.usenet.provider import Provider
from gateway.usenet.replies import Meaning

log = logging.getLogger(__name__)

_EVERY_S = 60.0
# A speed is an average since the last question: over no less than this, and no more.
_LEAST_S, _MOST_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes received; articles asked for, and those of them that were there."""

    received: int = 0
    tried: int = 0
    found: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(
            self.received + other.received, self.tried + other.tried, self.found + other.found
        )

    def minus(self, other: Amount) -> Amount:
        return Amount(
            self.received - other.received, self.tried - other.tried, self.found - other.found
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """Bytes in all, since the first of the month, since Monday, and today."""

    total: int = 0
    month: int = 0
    week: int = 0
    day: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums(
            self.total + other.total,
            self.month + other.month,
            self.week + other.week,
            self.day + other.day,
        )


@dataclass(frozen=True, slots=True)
class ProviderTraffic:
    """What one provider has sent: sums, and the amount of each day ("2026-11-22")."""

    sums: Sums
    days: Mapping[str, Amount]


class Traffic:
    """Keeps count of what *providers* send. Safe to use from any thread."""

    def __init__(
        self,
        database: Database,
        providers: Sequence[Provider],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._providers = providers
        self._clock = clock
        # Under the lock: what the counters stood at when they were last looked at, what that makes
        # of each day, and of which days more is known than the database has.
        self._lock = threading.Lock()
        self._seen = {provider.name: Amount() for provider in providers}
        self._days: dict[str, dict[str, Amount]] = {name: {} for name in self._seen}
        self._unwritten: set[tuple[str, str]] = set()
        self._speed = (clock(), 0, 0.0)  # when it was asked for, bytes by then, the answer
        with database.read() as tx:
            for row in tx.execute(select(traffic).order_by(traffic.c.day)):
                days = self._days.setdefault(row.provider, {})
                days[row.day] = Amount(row.received, row.tried, row.found)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="traffic", daemon=True)

    def start(self) -> None:
        """Begin to write down what is received, once a minute."""
        self._thread.start()

    def stop(self) -> None:
        """Write down the last of it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._note()

    def by_provider(self) -> dict[str, ProviderTraffic]:
        """Return what each provider has sent, up to now."""
        today = self._today()
        with self._lock:
            self._look(today)
            return {
                name: ProviderTraffic(_sums(self._days[name], today), dict(self._days[name]))
                for name in self._seen
            }

    def speed(self) -> float:
        """Return how many bytes a second come from all providers: since the last question."""
        received = sum(provider.pool.status().received for provider in self._providers)
        with self._lock:
            at, before, answer = self._speed
            passed_s = self._clock() - at
            if passed_s < _LEAST_S:
                return answer
            answer = max(0, received - before) / passed_s if passed_s <= _MOST_S else 0.0
            self._speed = (self._clock(), received, answer)
            return answer

    def write(self) -> None:
        """Write down what has come since the last time. Raises StorageError."""
        with self._lock:
            self._look(self._today())
            changed = {key: self._days[key[0]][key[1]] for key in self._unwritten}
        if not changed:
            return
        with self._database.begin() as tx:
            for (name, day), amount in changed.items():
                its = traffic.c.provider == name, traffic.c.day == day
                tx.execute(delete(traffic).where(*its))
                tx.execute(
                    insert(traffic).values(
                        provider=name,
                        day=day,
                        received=amount.received,
                        tried=amount.tried,
                        found=amount.found,
                    )
                )
        with self._lock:
            self._unwritten -= {
                key for key, amount in changed.items() if self._days[key[0]][key[1]] == amount
            }

    def _look(self, today: date) -> None:
        """Add what the counters have grown by to *today*. To be called under the lock."""
        day = today.isoformat()
        for provider in self._providers:
            name, now = provider.name, _amount(provider)
            if now == self._seen[name]:
                continue
            days = self._days[name]
            days[day] = days.get(day, Amount()).plus(now.minus(self._seen[name]))
            self._seen[name] = now
            self._unwritten.add((name, day))

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).astimezone().date()

    def _keep(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            self._note()

    def _note(self) -> None:
        try:
            self.write()
        except GatewayError as exc:
            log.warning("cannot write down what providers have sent: %s", exc)


def _amount(provider: Provider) -> Amount:
    replies = provider.tally.replies
    found = replies[Meaning.PRESENT]
    return Amount(provider.pool.status().received, found + replies[Meaning.MISSING], found)


def _sums(days: Mapping[str, Amount], today: date) -> Sums:
    monday = today - timedelta(days=today.weekday())
    sums = Sums()
    for day, amount in days.items():
        since = date.fromisoformat(day)
        size = amount.received
        sums = sums.plus(
            Sums(
                size,
                size if since >= today.replace(day=1) else 0,
                size if since >= monday else 0,
                size if since >= today else 0,
            )
        )
    return sums
