"""What the log says of connections: the line of each request, and that of each busy minute."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.demo import Fault, NewsServer, make_post
from gateway.nzb.extents import Part
from gateway.usenet import reactor
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.pool_status import EVERY_S, BusyLog
from gateway.usenet.shares import Fixed
from gateway.usenet.workload import Reservation, Workload

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

STREAM, QUEUE, HEALTH = (Reservation(workload) for workload in Workload)
POST = make_post("film.mkv", bytes(range(256)) * 400, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]


class Clock:
    """Real time that can be moved on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class Heard(logging.Handler):
    """Keeps the lines about connections, and wakes whoever waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append(f"{record.levelname} {record.getMessage()}")
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lines) >= count, 10), self.lines
            return list(self.lines)


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, log = Heard(), logging.getLogger("gateway.usenet.pool_status")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


def test_each_request_is_told_with_the_threshold_in_force_for_it(
    server: NewsServer, make_client: MakeClient, to: To, heard: Heard
) -> None:
    server.add(POST)
    client = make_client(to(server, connections=5))
    for part, reservation in zip(PARTS, (STREAM, QUEUE, HEALTH), strict=False):
        client.source.request(part, reservation=reservation).result(10)
    client.source.request(PARTS[3]).result(10)
    first, *others = heard.lines
    assert first == (
        "DEBUG [ConnPool] main: requesting connection for Stream: "
        "Live=0 Idle=0 Active=0 Available=5 Required=0 Waiting=0"
    )
    assert [re.sub(r"Live.*", "", line).split(" for ")[1] for line in others] == [
        "Queue: ",
        "Health: ",
        "nobody: ",
    ]
    assert "Live=1 Idle=1 Active=0 Available=5" in others[0]


def test_the_threshold_of_a_request_is_what_others_are_owed_and_wait_for(
    server: NewsServer, make_client: MakeClient, to: To, heard: Heard
) -> None:
    server.add(POST)
    server.fail(Fault.STALL, after=2_000)
    client = make_client(to(server, connections=4))
    borrowed = [client.source.request(part, reservation=QUEUE) for part in PARTS[:4]]
    server.wait_for(lambda counts: counts.stalled == 4, 10)
    owed = client.source.request(PARTS[4], reservation=STREAM)
    more = client.source.request(PARTS[5], reservation=QUEUE)
    assert heard.lines[-1].endswith("Available=0 Required=1 Waiting=1")
    server.heal()
    server.release()
    for fetch in [*borrowed, owed, more]:
        fetch.result(10)


def test_under_the_fixed_policy_the_threshold_is_what_nobody_may_use(
    server: NewsServer, make_client: MakeClient, to: To, heard: Heard
) -> None:
    server.add(POST)
    client = make_client(to(server, connections=50), policy=Fixed(30))
    client.source.request(PARTS[0], reservation=QUEUE).result(10)
    assert heard.lines[0].endswith("Available=50 Required=20 Waiting=0")


def test_a_busy_provider_tells_how_it_stands_once_a_minute(
    server: NewsServer,
    make_client: MakeClient,
    to: To,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reactor, "TICK_S", 0.01)
    logging.getLogger("gateway.usenet.pool_status").setLevel(logging.INFO)
    server.add(POST)
    clock = Clock()
    client = make_client(to(server, connections=5), clock=clock)
    for part in PARTS[:3]:
        client.source.request(part, reservation=QUEUE).result(10)
    client.source.request(PARTS[3], reservation=STREAM).result(10)
    assert not heard.lines
    clock.ahead_s += EVERY_S
    (line,) = heard.wait_for(1)
    assert line == (
        "INFO [ConnPool] main: Live=1 Idle=1 Active=0 Available=5 Waiting=0; "
        "Stream: Held=0 Waiting=0 Granted=1 Required=0; "
        "Queue: Held=0 Waiting=0 Granted=3 Required=0; "
        "Health: Held=0 Waiting=0 Granted=0 Required=0"
    )


def test_a_minute_in_which_nothing_was_asked_is_not_told(
    server: NewsServer, make_client: MakeClient, to: To, heard: Heard
) -> None:
    logging.getLogger("gateway.usenet.pool_status").setLevel(logging.INFO)
    server.add(POST)
    now = 0.0
    pool = make_client(to(server, connections=5)).pools["main"]
    told = BusyLog(pool, lambda: now)

    def minutes_pass() -> int:
        nonlocal now
        before, now = len(heard.lines), now + EVERY_S
        for _ in range(3):  # the ticks of the seconds after it
            told.look()
        return len(heard.lines) - before

    assert minutes_pass() == 0
    permit = pool.permits.acquire(reservation=QUEUE)
    assert minutes_pass() == 1
    assert minutes_pass() == 1, "a permit that is held all the time keeps it busy"
    permit.release()
    assert minutes_pass() == 0
    pool.permits.acquire(reservation=QUEUE).release()
    assert minutes_pass() == 1
    assert "Queue: Held=0 Waiting=0 Granted=1" in heard.lines[-1]


def test_the_bytes_of_all_replies_are_counted(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    server.fail(Fault.CUT, POST.message_ids[0], after=5_000, times=1)
    client = make_client(to(server, connections=1))
    for part in PARTS[:2]:
        client.source.request(part, reservation=QUEUE).result(10)
    received = client.pools["main"].status().received
    # two bodies and what came of the first before it was cut; yEnc adds a few percent
    assert 25_000 < received < 27_500
