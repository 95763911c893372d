"""A film or an episode as a path names it, and who asks for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

FIRST_ID = 1_000_000_000
"""Ids from here on name files of our own library: FIRST_ID and the number of the file."""
_FILE = re.compile(r"(?P<number>[0-9]{1,18})\.(?P<extension>[A-Za-z0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class Film:
    """What is asked for: `/movie/…/4711.mkv` is ("movie", 4711, "mkv")."""

    kind: str
    number: int
    extension: str

    @classmethod
    def parse(cls, kind: str, name: str) -> Self | None:
        """Return what *name* stands for at the door *kind*, None if nothing."""
        match = _FILE.fullmatch(name)
        return cls(kind, int(match["number"]), match["extension"]) if match else None

    @property
    def words(self) -> str:
        return f"{self.kind} {self.number}"


@dataclass(frozen=True, slots=True)
class Login:
    """User name and password as a path holds them, and what they are sent for."""

    user: str
    password: str
    name: str

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """Return what stands in `/<user>/<password>/<name>`, the last three of *path*."""
        parts = path.split("/")
        if len(parts) < 4:
            return None
        return cls(*(unquote(part) for part in parts[-3:]))

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


def session_key(user: str, client: str, film: Film, agent: str) -> str:
    """Return the key of the session that a request belongs to: one logical playback.

    A player's requests have all four in common, whatever their ranges.
    """
    told = (user, client, film.kind, str(film.number), agent)
    return hashlib.sha256("\0".join(told).encode(errors="replace")).hexdigest()[:32]
