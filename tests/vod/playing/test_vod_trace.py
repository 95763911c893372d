"""What ffprobe does to a slot: three ranges of one session, two of them hung up on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo.xtream import Movie, XtreamServer
from gateway.leases.lease import LeaseStore
from gateway.leases.viewing import Manner
from gateway.vod.profiles import Profile

SIZE = 1_500_636_194
TAIL = 1_500_635_211
FILM = "/movie/bob/s3cret-pw/4711.mkv"
ACCOUNT = "upstream-bob"

MakeDoors = Callable[..., Any]
MakeProfile = Callable[..., Profile]
Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def film(provider: XtreamServer) -> XtreamServer:
    """The provider, with the film; its account allows one stream, so that a second is refused."""
    provider.add(Movie(4711, size=SIZE))
    return provider


def trace(doors: Any, film: XtreamServer, over: Callable[[], None]) -> list[int]:
    """Ask for the three ranges as ffprobe does, counting sessions at each step."""
    content, pool = film.content(4711), "profile:bob"
    counts = []
    first = doors.ask(FILM, "0-")
    assert first.status == 206
    assert first.read(5000) == content.read(0, 5000)
    counts.append(doors.count(pool))
    second = doors.ask(FILM, f"{TAIL}-")
    assert second.status == 206
    counts.append(doors.count(pool))
    assert second.read() == content.read(TAIL)
    counts.append(doors.count(pool))
    third = doors.ask(FILM, "5724-")
    first.reset()
    counts.append(doors.count(pool))
    assert third.status == 206
    assert third.read(100_000) == content.read(5724, 100_000)
    counts.append(doors.count(pool))
    third.reset()
    over()
    return counts


def test_the_three_ranges_of_ffprobe_are_one_session_fifty_times_in_a_row(
    every_store: LeaseStore,
    film: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(every_store, [profile_of()], grace_s=5)
    for _ in range(50):
        counts = trace(doors, film, lambda: until(lambda: not doors.vod.sessions))
        counts.append(doors.count("profile:bob"))
        # The grace is over at once, since nobody here has the time.
        (viewing,) = doors.vod.viewings()
        assert viewing.manner is Manner.GRACE
        every_store.evict(viewing.session)
        counts.append(doors.count("profile:bob"))
        assert counts == [1, 1, 1, 1, 1, 1, 0]
    assert film.counts(ACCOUNT).most == 1
    assert film.counts(ACCOUNT).offences == 0
    assert doors.vod.tally.snapshot().refused == {}
    until(lambda: doors.connections == 0)


def test_without_grace_the_slot_is_free_with_the_last_reset(
    memory_store: LeaseStore,
    film: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(memory_store, [profile_of()], grace_s=0)
    for _ in range(5):
        counts = trace(doors, film, lambda: until(lambda: doors.count("profile:bob") == 0))
        assert counts[0] == max(counts) == 1
    assert film.counts(ACCOUNT).offences == 0


def test_in_grace_the_session_keeps_its_slot_and_another_waits_for_it(
    memory_store: LeaseStore,
    film: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(memory_store, [profile_of()], grace_s=1, acquire_wait_s=20)
    counts = trace(doors, film, lambda: until(lambda: not doors.vod.sessions))
    counts.append(doors.count("profile:bob"))
    other = doors.ask(FILM, "0-", "User-Agent: another")
    assert other.status == 206
    assert counts == [1, 1, 1, 1, 1, 1]
    assert film.counts(ACCOUNT).offences == 0
