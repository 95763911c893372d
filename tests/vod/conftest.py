"""A VOD service on this machine, and profiles that are accounts with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.demo.xtream import XtreamServer
from gateway.vod.profiles import Profile

MakeProfile = Callable[..., Profile]


@pytest.fixture
def provider() -> Iterator[XtreamServer]:
    """A VOD service with two accounts, one film at a time each."""
    with XtreamServer({"upstream-bob": ("upstr3am-pw", 1), "upstream-ann": ("0ther-pw", 1)}) as one:
        yield one


@pytest.fixture
def profile_of(provider: XtreamServer) -> MakeProfile:
    """A function that gives the profile of an account: profile_of("upstream-bob", **fields)."""

    def make(account: str = "upstream-bob", **fields: object) -> Profile:
        password = provider.site.accounts[account].password
        given: dict[str, object] = {"url": provider.url, "username": account, "password": password}
        return Profile(account.removeprefix("upstream-"), **(given | fields))  # type: ignore[arg-type]

    return make
