"""Films from an account while Redis forgets, stalls or is away, and while the gateway stops."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from gateway_process import API_KEY, Answer, GatewayProcess, running_gateway

from bench.redis_server import RedisServer
from gateway.demo.xtream import Account, Movie, Trouble, XtreamServer
from gateway.leases.redis import RedisLeases

SIZE = 64 << 20
ACCOUNT = "account"
POOL = "profile:seven"
CUT = (OSError, http.client.HTTPException)


def path(film: int) -> str:
    return f"/movie/bob/viewer/{film}.mkv"


@pytest.fixture
def provider() -> Iterator[XtreamServer]:
    with XtreamServer({ACCOUNT: ("secret", 2)}) as server:
        server.add(*(Movie(number, size=SIZE) for number in (1, 2, 3, 4)))
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(tmp_path: Path, provider: XtreamServer) -> Iterator[Start]:
    """A function that runs a gateway on the account: start("one", GRACE="0s")."""
    with ExitStack() as stack:

        def start(name: str, **settings: str) -> GatewayProcess:
            given = {
                "VOD__PROFILES__SEVEN__URL": provider.url,
                "VOD__PROFILES__SEVEN__USERNAME": ACCOUNT,
                "VOD__PROFILES__SEVEN__PASSWORD": "secret",
                "VOD__PROFILES__SEVEN__MAX_STREAMS": "2",
                "VOD__USERS__BOB__PASSWORD": "viewer",
                "ACQUIRE_WAIT": "0s",
                "GRACE": "0s",
                **settings,
            }
            prefixed = {f"GATEWAY_{key}": value for key, value in given.items()}
            return stack.enter_context(running_gateway(tmp_path / name, prefixed))

        yield start


class Player:
    """Plays a film from its beginning, a piece at a time, and looks at every byte."""

    def __init__(self, gateway: GatewayProcess, provider: XtreamServer, film: int) -> None:
        self._content = provider.content(film)
        self.size = self._content.size
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", gateway.port))
        self.socket.sendall(f"GET {path(film)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self.response = http.client.HTTPResponse(self.socket, method="GET")
        self.response.begin()
        self.position = 0

    def read(self, size: int) -> None:
        """Read so many bytes. Raises one of CUT when there are fewer."""
        data = self.response.read(size)
        if len(data) < min(size, self.size - self.position):
            raise http.client.IncompleteRead(data)
        assert data == self._content.read(self.position, len(data))
        self.position += len(data)

    def read_for(self, seconds: float, holds: Callable[[], bool] = lambda: True) -> None:
        """Read slowly for a while; at every piece, *holds* must."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read(32 << 10)
            assert holds()
            threading.Event().wait(0.02)

    def read_to_the_end(self) -> None:
        while self.position < self.size:
            self.read(1 << 20)

    def close(self) -> None:
        self.response.close()
        self.socket.close()


Play = Callable[..., Player]


@pytest.fixture
def play(provider: XtreamServer) -> Iterator[Play]:
    """A function that begins a film: play(gateway, 1). Its connection is closed at the end."""
    with ExitStack() as stack:
        yield lambda gateway, film: stack.enter_context(closing(Player(gateway, provider, film)))


def first_byte(gateway: GatewayProcess, film: int) -> Answer:
    return gateway.ask("GET", path(film), headers={"Range": "bytes=0-0"})


def leases(gateway: GatewayProcess) -> Any:
    answer = gateway.ask("GET", "/api/gateway/leases", headers={"X-Api-Key": API_KEY})
    assert answer.status == 200, answer
    return json.loads(answer.body)


def sessions(gateway: GatewayProcess) -> list[str]:
    return [one["session"] for one in leases(gateway)["sessions"]]


def eventually(holds: Callable[[], object], within_s: float = 15.0) -> None:
    """Wait until it holds; other processes ring no bell for us."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def nobody_plays(provider: XtreamServer) -> None:
    """Wait until the provider has seen that no connection of the account is open any more."""
    provider.wait_for(lambda server: not server.counts(ACCOUNT).open, 15)


@pytest.mark.system("redis-server")
def test_a_film_plays_on_while_redis_forgets_stalls_and_restarts_and_its_session_is_ended_elsewhere(
    start: Start, play: Play, provider: XtreamServer, redis_server: RedisServer
) -> None:
    shared = {"REDIS_URL": redis_server.url, "LEASE_TTL": "6s"}
    with ThreadPoolExecutor(2) as threads:
        here, there = threads.map(lambda name: start(name, **shared), ("here", "there"))
    eventually(lambda: first_byte(here, 1).status == 206)  # a new store admits nobody at first
    player = play(here, 1)
    player.read(1 << 20)
    (session,) = sessions(there)

    def is_whole() -> bool:
        return provider.counts(ACCOUNT).open == 1

    redis_server.flush()
    player.read_for(1.6, is_whole)  # a heartbeat
    eventually(lambda: sessions(there) == [session])
    redis_server.stall()
    player.read_for(3.0, is_whole)
    redis_server.go_on()
    player.read_for(1.0, is_whole)
    assert sessions(there) == [session]
    redis_server.stop()
    redis_server.start()
    player.read_for(1.6, is_whole)
    eventually(lambda: sessions(there) == [session])
    player.read_to_the_end()
    plays = [one for one in provider.requests if (one.method, one.target) == ("GET", "1")]
    assert len(plays) == 2, "one byte, and the film in one piece"

    # Whoever ends a session may ask any gateway.
    eventually(lambda: first_byte(here, 2).status == 206)  # the store has had its recovery
    eventually(lambda: not sessions(there))
    player = play(here, 2)
    player.read(1 << 20)
    (session,) = sessions(there)
    key = {"X-Api-Key": API_KEY}
    ended = there.ask("DELETE", f"/api/gateway/leases/sessions/{session}", headers=key)
    assert (ended.status, json.loads(ended.body)["refs"]) == (200, 1)
    nobody_plays(provider)
    with pytest.raises(CUT):
        player.read_to_the_end()
    assert sessions(here) == []
    assert provider.counts(ACCOUNT).offences == 0


@pytest.mark.system("redis-server")
def test_a_film_whose_slot_is_lost_is_read_no_further_than_a_heartbeat(
    start: Start, play: Play, provider: XtreamServer, redis_server: RedisServer
) -> None:
    gateway = start("data", REDIS_URL=redis_server.url, LEASE_TTL="2s")
    eventually(lambda: first_byte(gateway, 1).status == 206)
    player = play(gateway, 1)
    player.read_for(1.0)
    (session,) = leases(gateway)["sessions"]
    with closing(RedisLeases.from_url(redis_server.url)) as store:
        store.release(session["session"], session["refs"][0]["ref"], 0)
        lost_at = player.position
        with pytest.raises(CUT):
            player.read_for(30.0)
    # So slowly is it read that this is a heartbeat's, what was on its way, and time to spare.
    assert player.position - lost_at < 8 << 20
    nobody_plays(provider)
    assert provider.requests[-1].sent < SIZE // 2


@pytest.mark.system("redis-server")
def test_refuse_ends_what_plays_and_admits_nobody_while_redis_is_away(
    start: Start, play: Play, provider: XtreamServer, redis_server: RedisServer
) -> None:
    gateway = start("data", REDIS_URL=redis_server.url, LEASE_TTL="2s")
    eventually(lambda: first_byte(gateway, 1).status == 206)
    player = play(gateway, 1)
    player.read(1 << 20)
    redis_server.stop()
    refused = first_byte(gateway, 2)
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert refused.body == b"no slot can be had while the lease store does not answer\n"
    with pytest.raises(CUT):
        player.read_for(30.0)
    nobody_plays(provider)
    redis_server.start()
    eventually(lambda: first_byte(gateway, 2).status == 206)


@pytest.mark.system("redis-server")
def test_local_goes_on_and_admits_by_its_own_count_while_redis_is_away(
    start: Start, play: Play, provider: XtreamServer, redis_server: RedisServer
) -> None:
    gateway = start("data", REDIS_URL=redis_server.url, LEASE_TTL="2s", ON_STORE_ERROR="local")
    eventually(lambda: first_byte(gateway, 1).status == 206)
    player = play(gateway, 1)
    player.read(1 << 20)
    redis_server.stop()
    other = play(gateway, 2)
    assert other.response.status == 200
    other.read(1 << 20)
    full = first_byte(gateway, 3)
    assert full.status == 503
    assert b"(pool profile): 2 of 2 in use" in full.body
    player.read_for(3.0)  # for longer than the ttl
    redis_server.start()
    eventually(lambda: len(sessions(gateway)) == 2)
    player.read_to_the_end()
    other.read_to_the_end()
    assert provider.counts(ACCOUNT).offences == 0


def test_sigterm_lets_a_fast_viewer_finish_and_gives_every_slot_of_the_account_back(
    start: Start, play: Play, provider: XtreamServer
) -> None:
    provider.site.accounts[ACCOUNT] = Account(ACCOUNT, "secret", 4)
    provider.add(Movie(1, size=16 << 20))
    settings = {"VOD__PROFILES__SEVEN__MAX_STREAMS": "4", "DRAIN": "3s", "SUSPEND": "0.3s"}
    gateway = start("data", **settings)
    provider.fail(Trouble.STALL, target="4", after=2 << 20)
    paused, stalled = play(gateway, 3), play(gateway, 4)
    for player in (paused, stalled):
        player.read(1 << 20)
    provider.wait_for(lambda server: server.held)
    eventually(lambda: leases(gateway)["without_lease"])
    fast, slow = play(gateway, 1), play(gateway, 2)
    for player in (fast, slow):
        player.read(1 << 20)
    with ThreadPoolExecutor(3) as threads:
        gateway.process.send_signal(signal.SIGTERM)
        finished = threads.submit(fast.read_to_the_end)
        cut = [threads.submit(slow.read_for, 30.0), threads.submit(stalled.read_to_the_end)]
        assert gateway.process.wait(20) == 0
        finished.result(20)
        for one in (*cut, threads.submit(paused.read_to_the_end)):
            with pytest.raises(CUT):
                one.result(20)
    assert fast.position == 16 << 20
    nobody_plays(provider)
