"""Who is being served here: the requests of each session, in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gateway.leases.viewing import Manner, Viewing

LEFT_OPEN = 16
"""So many superseded requests of a session may wait: a player closes the old one when it seeks."""


class Member(Protocol):
    """One request of a session."""

    key: str

    @property
    def is_running(self) -> bool:
        """Whether it has a turn: holds a lease, or asks for one at this moment."""

    @property
    def has_progressed(self) -> bool:
        """Whether its client has been given anything yet."""

    def viewing(self) -> Viewing | None:
        """Return what it does; None before it held a lease."""

    @property
    def was_superseded(self) -> bool:
        """Whether a newer request took its turn, and it has had none since."""

    def cut(self) -> object:
        """End it, and its client's connection. Quick."""


class Sessions:
    """All requests that are being answered. *clock* is monotonic."""

    def __init__(
        self, *, grace_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace_s, self._clock = grace_s, clock
        self._lock = threading.Lock()
        self._members: dict[str, list[Member]] = {}
        self._ended: dict[str, tuple[Viewing, float]] = {}

    def enter(self, member: Member) -> None:
        with self._lock:
            self._members.setdefault(member.key, []).append(member)

    def crowd(self, key: str) -> list[Member]:
        """Return the oldest superseded requests of the session, but for the newest LEFT_OPEN."""
        with self._lock:
            members = list(self._members.get(key, ()))
        return [one for one in members if one.was_superseded][:-LEFT_OPEN]

    def leave(self, member: Member, *, in_grace: bool) -> None:
        """Forget *member*; *in_grace*: its session's place is kept for a while. Idempotent."""
        seen = member.viewing() if in_grace and self._grace_s else None
        now = self._clock()
        with self._lock:
            members = self._members.get(member.key, [])
            if member not in members:
                return
            members.remove(member)
            if not members:
                del self._members[member.key]
            for key in [key for key, (_, until) in self._ended.items() if until <= now]:
                del self._ended[key]
            if seen is not None:
                self._ended[member.key] = (replace(seen, manner=Manner.GRACE), now + self._grace_s)

    def rename(self, member: Member, key: str) -> None:
        """Make *member* one of another session."""
        with self._lock:
            members = self._members.get(member.key, [])
            if member in members:
                members.remove(member)
                if not members:
                    del self._members[member.key]
                self._members.setdefault(key, []).append(member)
            member.key = key

    def others(self, member: Member) -> list[Member]:
        """Return who else of its session is running."""
        with self._lock:
            members = list(self._members.get(member.key, ()))
        return [one for one in members if one is not member and one.is_running]

    def end(self, key: str) -> int:
        """Cut all requests of the session, with a slot or without; return how many there were."""
        with self._lock:
            members = list(self._members.get(key, ()))
            self._ended.pop(key, None)
        for one in members:
            one.cut()
        return len(members)

    def viewings(self) -> Sequence[Viewing]:
        """Return what everybody here does at this moment, the oldest first."""
        now = self._clock()
        with self._lock:
            members = [one for group in self._members.values() for one in group]
            ended = [
                seen
                for key, (seen, until) in self._ended.items()
                if until > now and not any(one.is_running for one in self._members.get(key, ()))
            ]
        seen = [viewing for one in members if (viewing := one.viewing()) is not None]
        return sorted([*seen, *ended], key=lambda one: one.began_at)

    def __len__(self) -> int:
        with self._lock:
            return sum(len(group) for group in self._members.values())
