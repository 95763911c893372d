"""A client of one or several demo news servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.demo import NewsServer
from gateway.usenet.client import Account, UsenetClient

MakeClient = Callable[..., UsenetClient]


def account(server: NewsServer, name: str = "main", **options: Any) -> Account:
    return Account(name, server.host, server.port, **options)


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer() as server:
        yield server


@pytest.fixture
def spare() -> Iterator[NewsServer]:
    """A second provider."""
    with NewsServer() as server:
        yield server


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Build clients that are closed when the test is over."""
    with ExitStack() as stack:

        def make(*accounts: Account, **options: Any) -> UsenetClient:
            return stack.enter_context(UsenetClient(accounts, **options))

        yield make


@pytest.fixture
def to() -> Callable[..., Account]:
    """Make the account for a server."""
    return account
