"""Who may watch through the VOD doors: users with passwords, sent in the path or in the query."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.http.auth import Secret
from gateway.leases.lease import Pool


@dataclass(frozen=True, slots=True)
class VodUser:
    """Somebody who watches; *max_streams* at a time, 0: as many as there is room for."""

    name: str
    max_streams: int = 0

    @property
    def pool(self) -> Pool:
        """The slots that are the user's own."""
        return Pool(f"user:{self.name}", self.max_streams)


class VodUsers:
    """The users and their passwords, which can be compared with and not read."""

    def __init__(self, users: Iterable[tuple[VodUser, str]]) -> None:
        """Know *users*, each with its password, by names in which case does not matter."""
        self._users = {
            user.name.lower(): (user, Secret(password.encode())) for user, password in users
        }
        self._nobody = Secret(secrets.token_bytes(32))

    def __len__(self) -> int:
        return len(self._users)

    def login(self, name: str, password: str) -> VodUser | None:
        """Return who that is, or None; in a time that tells neither name nor password."""
        user, secret = self._users.get(name.lower(), (None, self._nobody))
        return user if secret.matches(password.encode(errors="replace")) else None
