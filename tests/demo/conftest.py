"""Servers and clients for the tests of the demo server."""

from __future__ import annotations

import random
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType

import pytest

from gateway.demo import NewsServer, PlainClient, Post, make_post


@pytest.fixture
def dial() -> Iterator[Callable[..., PlainClient]]:
    """A function that connects to a server: dial(server, tls=None)."""
    with ExitStack() as stack:

        def connect(server: NewsServer, tls: ssl.SSLContext | None = None) -> PlainClient:
            return stack.enter_context(PlainClient(server.host, server.port, tls=tls))

        yield connect


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer() as server:
        yield server


@pytest.fixture(scope="session")
def nntplib() -> ModuleType:
    """The standard library's client; from Python 3.13 on it comes as standard-nntplib."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import nntplib
    return nntplib


@pytest.fixture
def contents() -> bytes:
    """Bytes with everything that yEnc must escape, not a multiple of anything."""
    return bytes(range(256)) * 300 + b"\x04" * 1000 + random.Random(1).randbytes(123_457)


@pytest.fixture
def post(contents: bytes) -> Post:
    """A post of four articles."""
    return make_post("film.mkv", contents, part_size=60_000)
