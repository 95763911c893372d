"""Profiles: accounts with an Xtream provider, and where such an account's films lie."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from gateway.leases.lease import Pool


@dataclass(frozen=True, slots=True)
class Profile:
    """An account at *url*, which allows *max_streams* at a time (0: no limit that we know of).

    Where *search*, a regular expression, is found in the address of a film, *replace* takes its
    place. Those, the address and the password are secrets, and left out of the repr.
    """

    name: str
    url: str = field(repr=False)
    username: str = field(repr=False)
    password: str = field(repr=False)
    max_streams: int = 1
    search: str | None = field(default=None, repr=False)
    replace: str = field(default="", repr=False)

    @property
    def pool(self) -> Pool:
        """The slots of this profile."""
        return Pool(f"profile:{self.name}", self.max_streams)

    @property
    def credential(self) -> str:
        """A name for the account itself, which is that of every profile with the same login."""
        login = f"{self.url.lower()}\n{self.username}"
        return hashlib.sha256(login.encode()).hexdigest()[:16]

    def stream_url(self, kind: str, number: int, extension: str) -> str:
        """Return where the provider has a film (*kind* movie) or an episode (*kind* series).

        It holds the password.
        """
        login = f"{quote(self.username, safe='')}/{quote(self.password, safe='')}"
        address = f"{self.url}/{kind}/{login}/{number}.{extension}"
        return re.sub(self.search, self.replace, address) if self.search else address


def candidates(profiles: Sequence[Profile]) -> list[tuple[Profile, tuple[Pool, Pool]]]:
    """Return *profiles*, each with the pools that a session of it takes of the account.

    What several profiles of one login may have together is the most that one of them may.
    """
    together: dict[str, int] = {}
    for profile in profiles:
        cap = together.get(profile.credential, 0)
        together[profile.credential] = max(cap, profile.max_streams)
    return [
        (
            profile,
            (profile.pool, Pool(f"credential:{profile.credential}", together[profile.credential])),
        )
        for profile in profiles
    ]
