"""Leases in the whole program: the store that it takes, and how it starts and ends with it."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.redis_server import RedisServer
from gateway.app import Gateway
from gateway.errors import ConfigurationError, LeaseRefused
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Pool
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.settings import Settings, load

Until = Callable[[Callable[[], bool]], None]
ALL = Pool("global", 0)
MUTE = "no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST and its login"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    monkeypatch.chdir(tmp_path)

    def settings(**given: str) -> Settings:
        given = {"PORT": "0", "DATA_DIR": str(tmp_path / "data"), "DRAIN": "0", **given}
        return load(None, {f"GATEWAY_{name}": value for name, value in given.items()})

    return settings


def readiness(gateway: Gateway) -> tuple[int, list[str]]:
    link = http.client.HTTPConnection("127.0.0.1", gateway.server.port, timeout=30)
    try:
        link.request("GET", "/readyz")
        response = link.getresponse()
        return response.status, response.read().decode().splitlines()
    finally:
        link.close()


def test_without_a_redis_server_leases_are_kept_in_memory(
    settings: Callable[..., Settings],
) -> None:
    with Gateway(settings()) as gateway:
        assert isinstance(gateway.leases, MemoryLeases)
        gateway.keeper.acquire([[ALL]], "s", lambda state: None)
        assert gateway.leases.count("global") == 1
        assert readiness(gateway)[1] == [MUTE]
    assert gateway.leases.count("global") == 0


@pytest.mark.system("redis-server")
def test_the_settings_reach_the_store_and_the_keeper(
    settings: Callable[..., Settings], server: RedisServer, until: Until
) -> None:
    given = settings(REDIS_URL=server.url, LEASE_TTL="2s", GRACE="0")
    with Gateway(given) as gateway, Gateway(settings(DATA_DIR=f"{given.data_dir}2")) as alone:

        def is_admitted() -> bool:
            try:  # for half of the ttl a new store admits only those who held something before
                gateway.keeper.acquire([[ALL]], "s", lambda state: None).release()
            except LeaseRefused:
                return False
            return True

        until(is_admitted)
        held = gateway.keeper.acquire([[ALL]], "s", lambda state: None)
        (present,) = gateway.leases.sessions("global")
        assert 0 < present.expires_in_s <= 2.0
        held.release()
        assert gateway.leases.pools() == []
        alone.keeper.acquire([[ALL]], "s", lambda state: None).release()
        (present,) = alone.leases.sessions("global")
        assert (present.refs, 0 < present.expires_in_s <= 2.0) == ((), True)


@pytest.mark.system("redis-server")
def test_a_redis_server_that_is_not_there_is_said_once_and_keeps_nobody_from_starting(
    settings: Callable[..., Settings],
    server: RedisServer,
    until: Until,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server.stop()
    url = server.url.replace("redis://", "redis://:hunter2@")
    with Gateway(settings(REDIS_URL=url, LEASE_TTL="1s")) as gateway:
        until(lambda: gateway.keeper.status().failed_heartbeats > 2)
        said = [one for one in caplog.records if one.name == Keeper.__module__]
        assert [one.levelname for one in said] == ["WARNING"]
        assert "Connection refused" in said[0].getMessage()
        status, (_, why) = readiness(gateway)
        assert status == 503
        assert why == ("the lease store does not answer: see to the server of GATEWAY_REDIS_URL"), (
            "anyone may ask, and is told no address"
        )
        assert "hunter2" not in f"{why}{caplog.text}"


@pytest.mark.system("redis-server")
def test_it_heals_by_itself_when_the_redis_server_is_there(
    settings: Callable[..., Settings], server: RedisServer, until: Until
) -> None:
    server.stop()
    with Gateway(settings(REDIS_URL=server.url, LEASE_TTL="1s")) as gateway:
        until(lambda: gateway.keeper.status().is_store_down)
        server.start()
        until(lambda: not gateway.keeper.status().is_store_down)
        assert readiness(gateway)[1] == [MUTE]
        assert isinstance(gateway.leases, RedisLeases)


@pytest.mark.parametrize("options", ["foo=1", "socket_timeout=soon", "protocol=9"])
def test_an_address_that_cannot_be_one_is_told_with_the_name_of_its_setting(
    settings: Callable[..., Settings], options: str
) -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_REDIS_URL: the Redis server") as told:
        Gateway(settings(REDIS_URL=f"redis://:hunter2@127.0.0.1:1/0?{options}"))
    assert "hunter2" not in str(told.value)


def test_no_new_session_is_admitted_once_it_stops_and_nothing_is_held_after_that(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(settings())
    gateway.start()
    gateway.keeper.acquire([[ALL]], "s", lambda state: None)
    drained: list[bool] = []
    stop = gateway.server.stop

    def observed(drain_s: float) -> None:
        drained.append(gateway.keeper.status().is_draining)
        stop(drain_s)

    monkeypatch.setattr(gateway.server, "stop", observed)
    gateway.stop()
    assert drained == [True]
    assert gateway.leases.pools() == []
    with pytest.raises(LeaseRefused):
        gateway.keeper.acquire([[ALL]], "t", lambda state: None)
