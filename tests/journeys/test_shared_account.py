"""Two gateways on one account, each a process of its own, counting together in a real Redis."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gateway_process import (
    API_KEY,
    PASSWORD,
    USER,
    GatewayProcess,
    provider_settings,
    running_gateway,
)
from redis import Redis

from bench.redis_server import RedisServer
from gateway.demo import NewsServer, Shape, make_post
from gateway.leases.lease import LeaseStore
from gateway.leases.redis import RedisLeases

pytestmark = pytest.mark.system("redis-server")

CAP, WARM = 8, 1
TTL_S = 8.0  # somebody who is held up for seconds loses no slot
FILM = "film.mkv"
DATA = random.Random(4).randbytes(120 * 40_000)
POST = make_post(FILM, DATA, part_size=40_000)
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass
class Viewer:
    """Plays the film again and again until `stop`, which returns how often that was."""

    gateway: GatewayProcess
    enough: threading.Event
    plays: Future[int]

    def stop(self) -> int:
        self.enough.set()
        return self.plays.result(60)


def play(gateway: GatewayProcess, path: str, enough: threading.Event) -> int:
    """Return how often the film was seen to its end, once at least, with all its bytes right."""
    times = 0
    while not (times and enough.is_set()):
        link = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        digest, received = hashlib.sha256(), 0
        with contextlib.closing(link):
            link.request("GET", path, headers={"Authorization": AUTHORIZATION})
            response = link.getresponse()
            assert response.status == 200, response.read()
            while chunk := response.read(64 << 10):
                digest.update(chunk)
                received += len(chunk)
        if received < len(DATA):
            raise ConnectionError(f"cut after {received} bytes")
        assert digest.digest() == hashlib.sha256(DATA).digest()
        times += 1
    return times


@dataclass
class Account:
    """The account, whoever uses it, and what they hold."""

    news: NewsServer
    gateways: tuple[GatewayProcess, GatewayProcess]
    store: LeaseStore
    path: str
    threads: ThreadPoolExecutor
    viewers: list[threading.Event] = field(default_factory=list)

    def watch(self, gateway: GatewayProcess) -> Viewer:
        enough = threading.Event()
        self.viewers.append(enough)
        return Viewer(gateway, enough, self.threads.submit(play, gateway, self.path, enough))

    def provider(self, gateway: GatewayProcess) -> Any:
        answer = gateway.ask("GET", "/api/gateway/connections", headers={"X-Api-Key": API_KEY})
        return json.loads(answer.body)["providers"][0]

    def live(self) -> list[int]:
        return [self.provider(gateway)["live"] for gateway in self.gateways]

    def held(self) -> list[int]:
        """Return how many slots each gateway that has some has in the store."""
        slots = [slot.session for slot in self.store.sessions("provider:main")]
        return sorted(Counter(slot.rpartition(":")[0] for slot in slots).values())


def eventually(is_so: Callable[[], bool], told: Callable[[], object], within_s: float = 60) -> None:
    """Wait until *is_so*; processes ring no bell for us, so they are asked again and again."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, told()
        threading.Event().wait(0.02)


def import_film(gateway: GatewayProcess) -> str:
    answer = gateway.ask("PUT", "/dav/nzbs/movies/film.nzb", POST.nzb)
    assert answer.status == 201, answer
    eventually(lambda: bool(gateway.api("history")["history"]["slots"]), lambda: "not imported")
    (slot,) = gateway.api("history")["history"]["slots"]
    assert slot["status"] == "Completed", slot["fail_message"]
    return f"/dav/content/movies/film/{FILM}"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def account(redis_server: RedisServer, tmp_path: Path) -> Iterator[Account]:
    line = Shape(round_trip_s=0.02, rate_total=4e6)
    with (
        NewsServer(max_connections=CAP, shape=line) as news,
        contextlib.ExitStack() as stack,
        ThreadPoolExecutor(4) as threads,
    ):
        news.add(POST)
        store = RedisLeases.from_url(redis_server.url)
        stack.callback(store.close)
        settings = {
            **provider_settings(news.host, news.port, CAP),
            "GATEWAY_REDIS_URL": redis_server.url,
            "GATEWAY_LEASE_TTL": f"{TTL_S:g}s",
            "GATEWAY_ARTICLE_CACHE": "0",  # who plays it again asks again
        }

        def start(name: str) -> GatewayProcess:
            return stack.enter_context(running_gateway(tmp_path / name, settings))

        one, other = threads.map(start, ("one", "other"))
        paths = list(threads.map(import_film, (one, other)))
        account = Account(news, (one, other), store, paths[0], threads)
        try:
            yield account
        finally:
            for enough in account.viewers:
                enough.set()


def test_two_gateways_share_an_account_fairly_through_a_flush_and_a_sudden_death(
    account: Account, redis_server: RedisServer
) -> None:
    one, other = account.gateways
    first = account.watch(one)
    eventually(lambda: account.live()[0] == CAP - WARM, account.live)

    # Somebody watches at the other one too: half of the account goes there, and nobody is cut.
    second = account.watch(other)
    eventually(lambda: account.live() == [CAP // 2, CAP // 2], account.live)

    # Redis loses everything while both play: who held slots goes on with them.
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
    eventually(lambda: account.held() == [CAP // 2, CAP // 2], account.held)
    eventually(lambda: account.live() == [CAP // 2, CAP // 2], account.live)

    # A viewer leaves, and what that gateway does not want any more is the other's.
    first.stop()
    eventually(lambda: account.live()[1] == CAP - WARM, account.live)
    first = account.watch(one)
    eventually(lambda: account.live() == [CAP // 2, CAP // 2], account.live)

    # A gateway dies: its slots are free within the ttl of their leases.
    one.process.kill()
    one.process.wait(10)
    left = [ref.expires_in_s for session in account.store.census() for ref in session.refs]
    assert max(left) <= TTL_S
    eventually(lambda: len(account.held()) == 1, account.held)
    eventually(lambda: account.provider(other)["live"] == CAP, lambda: account.provider(other))
    with pytest.raises(ConnectionError):
        first.stop()
    eventually(lambda: account.news.counts.connections == CAP, lambda: account.news.counts)
    assert second.stop() >= 1

    counts = account.news.counts
    assert counts.peak_connections <= CAP
    assert counts.refused_connections == 0
    assert account.provider(other)["breaker"] == "closed"
