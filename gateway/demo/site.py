"""What all connections of a news server share: articles, users, limits, faults and counts.

One lock, `Site.changed`, guards all of it; it is a condition, told of every change.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum

from gateway.demo.article import Article
from gateway.demo.faults import Fault, FaultPlan, Rule

JOURNAL_LENGTH = 100_000


class LimitAt(Enum):
    """Where a server refuses one connection too many: real ones do either."""

    GREETING = "greeting"
    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class Asked:
    """One command: on which connection (counted from 1), which verb, and its argument.

    The argument of an article command is the message-id without brackets, or a number.
    """

    connection: int
    command: str
    argument: str


@dataclass
class Counts:
    """What a server was asked and what it did."""

    commands: Counter[str] = field(default_factory=Counter)
    """By verb, in capitals; AUTHINFO counts as "AUTHINFO USER" and "AUTHINFO PASS"."""
    bodies: Counter[str] = field(default_factory=Counter)
    """How often BODY or ARTICLE asked for a message-id."""
    stats: Counter[str] = field(default_factory=Counter)
    """How often STAT or HEAD asked for a message-id."""
    faults: Counter[Fault] = field(default_factory=Counter)
    """How often a fault struck."""
    bytes_sent: int = 0
    """Bytes of replies, before TLS."""
    connections: int = 0
    peak_connections: int = 0
    total_connections: int = 0
    refused_connections: int = 0
    logged_in: int = 0
    stalled: int = 0
    """Connections that a STALL or a SILENCE holds right now."""
    journal: deque[Asked] = field(default_factory=lambda: deque(maxlen=JOURNAL_LENGTH))
    """The last 100,000 commands, in the order in which the server read them."""

    def journal_of(self, *commands: str) -> list[Asked]:
        """Return the commands of these verbs, oldest first."""
        return [each for each in self.journal if each.command in commands]


class Site:
    """The shared state. Its methods lock; its attributes are for holders of the lock."""

    def __init__(
        self, users: Mapping[str, str] | None, max_connections: int | None, limit_at: LimitAt
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.users = None if users is None else dict(users)
        self.max_connections = max_connections
        self.limit_at = limit_at
        self.articles: dict[str, Article] = {}
        self.groups: dict[str, list[str]] = {}
        self.faults = FaultPlan()
        self.counts = Counts()
        self.releases = 0

    def add(self, articles: Iterable[Article]) -> None:
        """Store articles. One that is stored already keeps its numbers."""
        with self.changed:
            for each in articles:
                if each.message_id not in self.articles:
                    for group in each.groups:
                        self.groups.setdefault(group, []).append(each.message_id)
                self.articles[each.message_id] = each

    def remove(self, message_ids: Iterable[str]) -> None:
        """Forget articles; those that are not there are none the less gone."""
        with self.changed:
            for each in message_ids:
                self.articles.pop(each, None)

    def strike(self, command: str, message_id: str | None = None) -> Rule | None:
        """Return the rule that strikes this command, if one does, and count it."""
        with self.changed:
            rule = self.faults.take(command, message_id)
            if rule is not None:
                self.counts.faults[rule.fault] += 1
            return rule

    def is_full(self, at: LimitAt) -> bool:
        """Say whether a connection that stands *at* this point is one too many."""
        with self.changed:
            if self.max_connections is None or at is not self.limit_at:
                return False
            counts = self.counts
            taken = counts.connections if at is LimitAt.GREETING else counts.logged_in
            return taken >= self.max_connections

    def record(self, asked: Asked) -> None:
        """Count a command."""
        with self.changed:
            counts = self.counts
            counts.commands[asked.command] += 1
            counts.journal.append(asked)
            if asked.command in ("BODY", "ARTICLE"):
                counts.bodies[asked.argument] += 1
            elif asked.command in ("STAT", "HEAD"):
                counts.stats[asked.argument] += 1
            self.changed.notify_all()

    def arrived(self, *, refused: bool) -> None:
        """Count a connection that was accepted, or that there was no room for."""
        with self.changed:
            counts = self.counts
            counts.total_connections += 1
            if refused:
                counts.refused_connections += 1
            else:
                counts.connections += 1
                counts.peak_connections = max(counts.peak_connections, counts.connections)
            self.changed.notify_all()

    def left(self, *, logged_in: bool) -> None:
        """Count a connection that has ended; not one that there was no room for."""
        with self.changed:
            self.counts.connections -= 1
            self.counts.logged_in -= logged_in
            self.changed.notify_all()

    def logged_in(self) -> None:
        """Count a login."""
        with self.changed:
            self.counts.logged_in += 1
            self.changed.notify_all()

    def sent(self, count: int) -> None:
        """Count bytes that left."""
        with self.changed:
            self.counts.bytes_sent += count
            self.changed.notify_all()

    def stalled(self, change: int) -> None:
        """Count a connection that is held now, or no longer."""
        with self.changed:
            self.counts.stalled += change
            self.changed.notify_all()

    def snapshot(self) -> Counts:
        """Return a copy of the counts."""
        with self.changed:
            return deepcopy(self.counts)

    def wait_for(self, predicate: Callable[[Counts], object], timeout_s: float) -> Counts:
        """Wait until *predicate* holds. Raises TimeoutError, with the counts in it."""
        with self.changed:
            if not self.changed.wait_for(lambda: predicate(self.counts), timeout_s):
                counts = deepcopy(self.counts)
                counts.journal.clear()
                raise TimeoutError(f"not within {timeout_s:g} s: {counts}")
            return deepcopy(self.counts)
