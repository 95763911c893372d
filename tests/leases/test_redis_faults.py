"""Leases in a real redis-server that is flushed, restarted, stalled, and cut off in mid-reply."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import cast

import pytest
from redis import Redis

from bench.redis_server import RedisServer
from gateway.errors import LeaseStoreDown, PoolFull, StoreRecovering
from gateway.leases.held import OnStoreError
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Lease, Notice, Pool, State
from gateway.leases.redis import RedisLeases

pytestmark = pytest.mark.system("redis-server")

Until = Callable[[Callable[[], bool]], None]
TTL_S = 20.0
BEAT_S = 0.1
HOLDER_TTL_S = 6.0
RECOVER_S = 60.0  # for longer than any test, however busy the machine
ONE = Pool("profile:1", 1)
FIVE = Pool("profile:5", 5)
ALL = Pool("global", 0)

_HOLDER = """
import sys
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Pool
from gateway.leases.redis import RedisLeases

ttl_s = float(sys.argv[2])
store = RedisLeases.from_url(sys.argv[1], ttl_s=ttl_s, recover_s=0)
keeper = Keeper(store, ttl_s=ttl_s, heartbeat_s=0.2)
for number in range(5):
    keeper.acquire([[Pool("profile:5", 5)]], f"held {number}", print)
print("holding", flush=True)
sys.stdin.read()
"""


@contextmanager
def keeping(
    server: RedisServer,
    *,
    ttl_s: float = TTL_S,
    recover_s: float = 0.0,
    policy: OnStoreError = OnStoreError.REFUSE,
    heartbeat_s: float = BEAT_S,
) -> Iterator[tuple[RedisLeases, Keeper]]:
    store = RedisLeases.from_url(server.url, ttl_s=ttl_s, recover_s=recover_s)
    keeper = Keeper(store, ttl_s=ttl_s, heartbeat_s=heartbeat_s, on_store_error=policy)
    try:
        yield store, keeper
    finally:
        keeper.close()
        store.close()


def begin(server: RedisServer) -> None:
    """Have *server* know its epoch: nobody recovers until it is flushed or restarted."""
    with closing(RedisLeases.from_url(server.url, recover_s=0)) as store:
        store.acquire([[ALL]], "the first", "r", TTL_S)
        store.release("the first", "r", 0)


def test_kill_9_of_a_holder_of_5_of_5_frees_all_within_ttl(
    server: RedisServer, until: Until
) -> None:
    command = [sys.executable, "-c", _HOLDER, server.url, str(HOLDER_TTL_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        with closing(RedisLeases.from_url(server.url, recover_s=0)) as store:
            with pytest.raises(PoolFull, match="5 of 5"):
                store.acquire([[FIVE]], "new", "r", TTL_S)
            holder.kill()
            holder.wait()
            left = [ref.expires_in_s for session in store.census() for ref in session.refs]
            assert max(left, default=0.0) <= HOLDER_TTL_S
            until(lambda: store.count(FIVE.name) == 0)
            store.acquire([[FIVE]], "new", "r", TTL_S)


def test_a_flush_while_holding_is_made_good_and_admits_nobody_above_the_cap(
    server: RedisServer, until: Until
) -> None:
    begin(server)
    with keeping(server, recover_s=RECOVER_S) as (store, keeper):
        told: list[State] = []
        for number in range(5):
            keeper.acquire([[FIVE]], f"s{number}", told.append)
        with Redis(port=server.port) as client:
            client.flushall()
        with pytest.raises(StoreRecovering) as refused:
            store.acquire([[FIVE]], "new", "r", TTL_S)
        assert 0 < refused.value.retry_after_s <= RECOVER_S
        until(lambda: store.count(FIVE.name) == 5)
        with pytest.raises((StoreRecovering, PoolFull)):
            store.acquire([[FIVE]], "new", "r", TTL_S)
        assert told == []


@pytest.mark.parametrize("save", [False, True], ids=["empty", "from an old snapshot"])
def test_a_restart_while_holding_is_made_good(
    server: RedisServer, until: Until, save: bool
) -> None:
    begin(server)
    with keeping(server, recover_s=RECOVER_S) as (store, keeper):
        told: list[State] = []
        for number in range(4):
            keeper.acquire([[FIVE]], f"s{number}", told.append)
        store.acquire([[FIVE]], "of a process that is no more", "r", TTL_S)
        server.stop(save=save)
        with pytest.raises(LeaseStoreDown):
            store.count(FIVE.name)
        server.start()
        there = {"s0", "s1", "s2", "s3"}
        until(lambda: {one.session for one in store.sessions(FIVE.name)} == there)
        assert told == []


def test_the_first_acquire_after_a_restart_believes_no_old_snapshot(server: RedisServer) -> None:
    with closing(RedisLeases.from_url(server.url, recover_s=0)) as before:
        before.acquire([[FIVE]], "s0", "r", TTL_S)
        server.stop(save=True)
        server.start()
    with closing(RedisLeases.from_url(server.url, recover_s=10)) as store:
        store.release("s0", "another", 0)  # no heartbeat, and nothing that would look
        with pytest.raises(StoreRecovering):
            store.acquire([[FIVE]], "s1", "r", TTL_S)
        assert store.count(FIVE.name) == 0


def test_a_lease_that_comes_late_after_the_recovery_is_lost(server: RedisServer) -> None:
    with closing(RedisLeases.from_url(server.url, recover_s=0)) as store:
        store.acquire([[ONE]], "s", "r", TTL_S)
        with Redis(port=server.port) as client:
            client.flushall()
        assert store.heartbeat([Lease("s", "r", (ONE,))], TTL_S) == [State.LOST]


def test_recovery_puts_nobody_back_above_the_cap(server: RedisServer) -> None:
    with closing(RedisLeases.from_url(server.url, recover_s=60)) as store:
        leases = [Lease(f"s{number}", "r", (ALL, ONE)) for number in range(3)]
        states = [State.HELD, State.LOST, State.LOST]
        assert store.heartbeat(leases, TTL_S) == states
        assert [store.count(ONE.name), store.count(ALL.name)] == [1, 1]


def test_once_recovered_a_store_admits_again(server: RedisServer, until: Until) -> None:
    with keeping(server, recover_s=0.3) as (_, keeper), Redis(port=server.port) as client:

        def is_admitted(session: str) -> bool:
            try:
                keeper.acquire([[ALL]], session, lambda state: None)
            except StoreRecovering:
                return False
            return True

        until(lambda: is_admitted("before"))
        client.flushall()
        until(lambda: is_admitted("after"))


def test_a_newer_request_of_a_session_does_not_wait_for_the_recovery(server: RedisServer) -> None:
    begin(server)
    with (
        keeping(server, recover_s=RECOVER_S) as (_, keeper),
        Redis(port=server.port) as client,
    ):
        keeper.acquire([[ONE]], "s", lambda state: None)
        client.flushall()
        newer = keeper.acquire([[ONE]], "s", lambda state: None)
        assert newer.state is State.HELD
        with pytest.raises(StoreRecovering):
            keeper.acquire([[ALL]], "t", lambda state: None)


def test_claimed_slots_come_back_after_a_flush_and_none_above_the_cap(server: RedisServer) -> None:
    pool = Pool("provider:p", 4)
    with closing(RedisLeases.from_url(server.url, recover_s=0)) as store:
        held = store.claim(pool, "a", 3, (), TTL_S).slots
    with closing(RedisLeases.from_url(server.url, recover_s=60)) as store:
        with Redis(port=server.port) as client:
            client.flushall()
        assert store.claim(pool, "b", 4, (), TTL_S).slots == ()
        assert store.claim(pool, "a", 3, held, TTL_S).slots == held
        assert store.claim(pool, "b", 4, ["b:1", "b:2"], TTL_S).slots == ("b:1",)
        assert store.count(pool.name) == 4


def test_a_stall_of_3_s_ends_nothing_and_holds_no_request_longer_than_the_time_out(
    server: RedisServer, until: Until
) -> None:
    with (
        keeping(server, ttl_s=60, policy=OnStoreError.REFUSE) as (store, refusing),
        keeping(server, ttl_s=60, policy=OnStoreError.LOCAL) as (_, local),
    ):
        told: list[State] = []
        keepers = {
            refusing: (Pool("refusing", 1), LeaseStoreDown),
            local: (Pool("local", 1), PoolFull),
        }
        held = [
            keeper.acquire([[pool]], pool.name, told.append)
            for keeper, (pool, _) in keepers.items()
        ]
        others = [
            keeper.acquire([[ALL]], f"other of {pool.name}", told.append)
            for keeper, (pool, _) in keepers.items()
        ]
        server.stall()
        stalled = time.monotonic()
        for other in others:
            other.release(0)  # returns, though the store answers nothing until it goes on
        until(lambda: all(keeper.status().failed_heartbeats for keeper in keepers))
        until(lambda: time.monotonic() - stalled > 3)
        for keeper, (pool, refusal) in keepers.items():
            with pytest.raises(refusal):
                keeper.acquire([[pool]], "u", told.append)
        server.go_on()
        for keeper in keepers:
            until(lambda keeper=keeper: not keeper.status().is_store_down)  # type: ignore[misc]
            until(lambda keeper=keeper: keeper.status().queued_releases == 0)  # type: ignore[misc]
        assert told == []
        assert {one.state for one in held} == {State.HELD}
        assert [store.count(name) for name in ("refusing", "local", ALL.name)] == [1, 1, 0]


def test_a_store_that_is_silent_for_ttl_ends_what_is_held(
    server: RedisServer, until: Until
) -> None:
    with keeping(server, ttl_s=1.0) as (_, keeper):
        told: list[State] = []
        keeper.acquire([[ONE]], "s", told.append)
        server.stall()
        until(lambda: told == [State.LOST])
        server.go_on()


class LossyProxy:
    """Passes bytes on to a server, and drops replies, with the connection, on demand."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.drop_next = threading.Event()
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = int(self._listener.getsockname()[1])
        self.dropped = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._threads.append(threading.Thread(target=self._pass_on, args=(client,)))
            self._threads[-1].start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while not self._stopping.is_set():
                for ready in select.select([client, server], [], [], 0.05)[0]:
                    passed = ready.recv(65536)
                    if not passed:
                        return
                    if ready is server and self.drop_next.is_set():
                        self.drop_next.clear()
                        self.dropped += 1
                        return
                    (server if ready is client else client).sendall(passed)


def test_a_lost_reply_changes_nothing(server: RedisServer) -> None:
    with (
        closing(LossyProxy(server.port)) as proxy,
        closing(RedisLeases.from_url(f"redis://127.0.0.1:{proxy.port}/0", recover_s=0)) as store,
    ):
        assert store.count(FIVE.name) == 0
        steps: list[Callable[[], object]] = [
            lambda: store.acquire([[FIVE]], "s", "r1", TTL_S),
            lambda: store.acquire([[FIVE]], "s", "r2", TTL_S),
            lambda: store.heartbeat([Lease("s", "r2", (FIVE,))], TTL_S),
            lambda: store.claim(ALL, "a", 3, (), TTL_S),
            lambda: store.release("s", "r1", 0),
        ]
        for number, step in enumerate(steps, start=1):
            proxy.drop_next.set()
            step()
            assert proxy.dropped == number
        assert [one.refs for one in store.sessions(FIVE.name)] == [("r2",)]
        assert store.count(ALL.name) == 3
        proxy.drop_next.set()
        store.release("s", "r2", 0)
        assert store.count(FIVE.name) == 0


def test_notices_are_heard_again_after_a_restart(server: RedisServer, until: Until) -> None:
    told: list[Notice] = []
    store = RedisLeases.from_url(server.url, recover_s=0)

    def is_heard() -> bool:
        session = f"s{time.monotonic_ns()}"
        store.acquire([[ALL]], session, "r", TTL_S)
        store.evict(session)
        return bool(told)

    with closing(store), closing(store.watch(told.append)):
        server.stop()
        server.start()
        until(is_heard)


def test_a_notice_that_nobody_understands_does_not_end_the_listening(
    server: RedisServer, until: Until
) -> None:
    told: list[Notice] = []
    with (
        closing(RedisLeases.from_url(server.url, recover_s=0)) as store,
        closing(store.watch(told.append)),
        Redis.from_url(server.url) as stranger,
    ):
        assert stranger.publish("{nzb-gateway}:leases:events", "reborn s|r") == 1
        store.acquire([[ALL]], "s", "r", TTL_S)
        store.evict("s")
        until(lambda: told == [Notice("s", "r", State.EVICTED)])


def test_an_eviction_ends_a_session_in_another_process_without_waiting_for_its_heartbeat(
    server: RedisServer, until: Until
) -> None:
    with (
        keeping(server, ttl_s=3600, heartbeat_s=600) as (_, keeper),
        closing(RedisLeases.from_url(server.url, recover_s=0)) as elsewhere,
    ):
        told: list[State] = []
        held = keeper.acquire([[ONE]], "s", told.append)
        assert elsewhere.evict("s") == (held.ref,)
        until(lambda: told == [State.EVICTED])


def test_a_server_that_is_not_there_is_said_without_its_password() -> None:
    with closing(RedisLeases.from_url("redis://:secret@127.0.0.1:1/0")) as store:
        with pytest.raises(LeaseStoreDown, match="Connection refused") as down:
            store.count("p")
        assert "secret" not in str(down.value)
        with pytest.raises(LeaseStoreDown):
            store.pools()


@pytest.mark.parametrize("in_script", [True, False])
def test_dashboards_read_the_count_which_expires_with_the_newest_ref(
    server: RedisServer, until: Until, in_script: bool
) -> None:
    with Redis(port=server.port, decode_responses=True) as client:
        store = RedisLeases(client, ttl_s=200, recover_s=0, mirror_in_script=in_script)
        pool = Pool("profile:7", 3)
        store.acquire([[pool]], "s", "r1", 100)
        store.acquire([[pool]], "t", "r2", 50)
        assert client.get("profile_connections:7") == "2"
        assert 50_000 < client.pttl("profile_connections:7") <= 100_000
        store.release("t", "r2", 0)
        assert client.get("profile_connections:7") == "1"
        store.heartbeat([Lease("s", "r1", (pool,))], 200)
        assert 100_000 < client.pttl("profile_connections:7") <= 200_000
        store.release("s", "r1", 0)
        assert client.get("profile_connections:7") is None
        store.acquire([[pool]], "u", "r3", 0.1)
        until(lambda: client.get("profile_connections:7") is None)


@pytest.mark.parametrize("in_script", [True, False])
def test_dashboards_read_the_truth_after_a_pause_an_eviction_and_a_holders_death(
    server: RedisServer, until: Until, in_script: bool
) -> None:
    with Redis(port=server.port, decode_responses=True) as client:
        store = RedisLeases(client, recover_s=0, mirror_in_script=in_script)
        pool = Pool("profile:7", 4)

        def shown() -> str | None:
            assert str(store.count(pool.name)) == (client.get("profile_connections:7") or "0")
            return cast("str | None", client.get("profile_connections:7"))

        for session in ("paused", "evicted", "in grace", "stays"):
            store.acquire([[pool, ALL]], session, "r", TTL_S)
        store.release("paused", "r", 0)  # as a suspended viewer does
        assert shown() == "3"
        store.evict("evicted")
        assert shown() == "3"  # until its holder has closed what it held
        store.release("evicted", "r", TTL_S)
        assert shown() == "2"
        store.release("in grace", "r", TTL_S)
        assert shown() == "2"
        store.evict("in grace")
        assert shown() == "1"
        store.acquire([[pool, ALL]], "of a dead process", "r", TTL_S)
        assert shown() == "2"
        store.heartbeat([Lease("of a dead process", "r", (pool, ALL))], 0.2)  # its last
        until(lambda: store.count(pool.name) == 1)
        store.heartbeat([Lease("stays", "r", (pool, ALL))], TTL_S)
        assert shown() == "1"
        store.evict("stays")
        store.release("stays", "r", 0)
        assert shown() is None


def test_all_keys_but_the_dashboards_lie_under_one_hash_tag(server: RedisServer) -> None:
    with Redis(port=server.port, decode_responses=True) as client:
        store = RedisLeases(client, recover_s=0)
        store.acquire([[ONE, ALL]], "s", "r1", TTL_S)
        store.release("s", "r1", 1)
        store.claim(FIVE, "a", 2, (), TTL_S)
        others = [key for key in client.scan_iter() if not key.startswith("{nzb-gateway}:leases:")]
        assert all(re.fullmatch(r"profile_connections:\d", key) for key in others)


def test_nothing_but_the_names_of_pools_and_the_epoch_stays_for_ever(server: RedisServer) -> None:
    with Redis(port=server.port, decode_responses=True) as client:
        store = RedisLeases(client, recover_s=0)
        store.acquire([[ALL]], "s", "r1", TTL_S)
        store.acquire([[ALL]], "s", "r2", TTL_S)
        store.claim(FIVE, "a", 2, (), TTL_S)
        store.release("s", "r2", 1)
        stay = {key.rpartition("leases:")[2] for key in client.scan_iter() if client.ttl(key) == -1}
        assert stay == {"epoch", "pools", "pool:global", "pool:profile:5"}
