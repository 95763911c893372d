"""Many clients that leave in every way at once: nothing is left of them, and no limit is passed."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.demo.xtream import Account, Movie, XtreamServer
from gateway.http.wire import Timeouts
from gateway.leases.lease import LeaseStore
from gateway.leases.memory import MemoryLeases
from gateway.vod.profiles import Profile

SIZE = 50_000_003
ACCOUNT = "upstream-bob"
CLIENTS, ROUNDS = 16, 12

MakeDoors = Callable[..., Any]
MakeProfile = Callable[..., Profile]
Until = Callable[[Callable[[], object]], None]


def leave(player: Any, chance: random.Random) -> None:
    """Ask for something, and go away in one of many manners."""
    film = chance.choice(["4711", "4712"])
    range_ = f"{chance.randrange(SIZE)}-"
    agent = f"User-Agent: {chance.randrange(6)}"
    player.ask(f"/movie/bob/s3cret-pw/{film}.mkv", range_, agent)
    manner = chance.randrange(6)
    if manner == 1:
        player.socket.shutdown(socket.SHUT_WR)
    elif manner == 2:
        assert player.status in {206, 502, 503}
    elif manner > 2:
        player.read(chance.randrange(1, 1_000_000))
    if manner % 2:
        player.close()
    else:
        player.reset()


def test_a_storm_of_aborts_leaves_no_lease_no_connection_and_no_descriptor(
    every_store: LeaseStore,
    provider: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    provider.site.accounts[ACCOUNT] = Account(ACCOUNT, "upstr3am-pw", 3)
    provider.add(Movie(4711, size=SIZE), Movie(4712, size=SIZE))
    doors = doors_over(
        every_store, [profile_of(max_streams=3)], acquire_wait_s=0.1, timeouts=Timeouts(suspend_s=1)
    )

    def storm(number: int) -> None:
        chance = random.Random(number)
        for _ in range(ROUNDS):
            player = doors.player()
            try:
                leave(player, chance)
            except (OSError, ValueError):
                player.close()

    def is_quiet() -> bool:
        return not doors.count("global") and not doors.vod.sessions and not doors.connections

    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    storm(0)
    until(is_quiet)
    until(lambda: doors.server.serving == 0)
    before, threads_before = descriptors(), set(threading.enumerate())
    threads = [threading.Thread(target=storm, args=(number,)) for number in range(1, CLIENTS)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, doors.count("profile:bob"))
        threads[0].join(0.01)
    until(is_quiet)
    assert most <= 3
    assert provider.counts(ACCOUNT).most <= 3
    assert provider.counts(ACCOUNT).offences == 0
    until(lambda: provider.counts(ACCOUNT).open == 0)
    until(lambda: doors.server.serving == 0)
    if isinstance(every_store, MemoryLeases):  # Redis' client keeps what it once needed
        until(lambda: descriptors() <= before)
    extra = set(threading.enumerate()) - threads_before
    assert not [one.name for one in extra if "Timer" in type(one).__name__]
