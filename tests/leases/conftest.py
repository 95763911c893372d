"""A redis-server for each test of leases, which the test may stall, flush and restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.redis_server import RedisServer

Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def until() -> Until:
    """Poll a condition until it holds, for at most 60 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it did not come about within 60 s"
            time.sleep(0.005)

    return wait
