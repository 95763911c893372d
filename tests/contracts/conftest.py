"""The stores that every test of the contract of leases runs against, each with its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import fakeredis
import pytest
from redis import Redis

from bench.redis_server import RedisServer
from gateway.leases.lease import LeaseStore
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases

TTL_S = 20.0
PIN_S = 60.0
BRIEF_S = 10.0
_REAL_TIME = time.time


@dataclass(frozen=True)
class World:
    """A store, and a way to let time pass for it. *brief_s* is a ttl that is soon over there."""

    store: LeaseStore
    brief_s: float
    pass_time: Callable[[float], None]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def memory_world() -> World:
    clock = Clock()
    return World(MemoryLeases(ttl_s=TTL_S, pin_s=PIN_S, clock=clock), BRIEF_S, clock.move)


def fake_world(patch: pytest.MonkeyPatch) -> World:
    """fakeredis tells the time by time.time(), which runs ahead here as far as the test likes."""
    clock = Clock()
    patch.setattr(time, "time", lambda: _REAL_TIME() + clock.now)
    client = cast("Redis", fakeredis.FakeRedis(decode_responses=True))
    store = RedisLeases(client, ttl_s=TTL_S, pin_s=PIN_S, recover_s=0)
    return World(store, BRIEF_S, clock.move)


def real_world(server: RedisServer) -> World:
    client = Redis(port=server.port, decode_responses=True)
    client.flushall()
    store = RedisLeases(client, ttl_s=TTL_S, pin_s=PIN_S, recover_s=0)

    def now() -> float:
        seconds, microseconds = client.time()
        return float(seconds) + float(microseconds) / 1e6

    def pass_time(seconds: float) -> None:
        until = now() + seconds
        while now() < until:
            pass

    return World(store, 0.5, pass_time)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(
    params=[
        "memory",
        "fakeredis",
        pytest.param("redis", marks=pytest.mark.system("redis-server")),
    ]
)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    if request.param == "memory":
        made = memory_world()
    elif request.param == "fakeredis":
        made = fake_world(monkeypatch)
    else:
        made = real_world(request.getfixturevalue("redis_server"))
    yield made
    made.store.close()
