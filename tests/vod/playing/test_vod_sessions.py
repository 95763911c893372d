"""Sessions at the doors: who takes whose turn, who is another viewer, who waits, who is refused."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.redis_server import RedisServer
from gateway.demo.xtream import Account, Movie, Trouble, XtreamServer
from gateway.http.wire import Timeouts
from gateway.leases.lease import LeaseStore
from gateway.leases.redis import RedisLeases
from gateway.vod.profiles import Profile
from gateway.vod.reading import Evidence
from gateway.vod.sessions import LEFT_OPEN

SIZE = 60_000_003
FILM = "/movie/bob/s3cret-pw/4711.mkv"
OTHER = "/movie/bob/s3cret-pw/4712.mkv"
ACCOUNT, SECOND = "upstream-bob", "upstream-ann"

MakeDoors = Callable[..., Any]
MakeProfile = Callable[..., Profile]
Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def films(provider: XtreamServer) -> XtreamServer:
    provider.add(Movie(4711, size=SIZE), Movie(4712, size=SIZE))
    return provider


def rest(player: Any) -> bytes:
    """Return what still comes of a body, until it ends or is cut."""
    data = bytearray()
    try:
        while piece := player.read(1 << 20):
            data += piece
    except (OSError, http.client.HTTPException):
        pass
    return bytes(data)


def refused(player: Any) -> tuple[int, str]:
    """Return the status and the sentence with which somebody is refused."""
    return player.status, player.read().decode()


@pytest.mark.parametrize("cap", [1, 2])
def test_two_first_ranges_in_parallel_are_one_session_and_both_are_answered(
    cap: int,
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    films.site.accounts[ACCOUNT] = Account(ACCOUNT, "upstr3am-pw", cap)
    doors, content = doors_over(every_store, [profile_of(max_streams=cap)]), films.content(4711)
    for _ in range(3):
        whole, tail = doors.ask(FILM, "0-"), doors.ask(FILM, f"{SIZE - 983}-")
        assert (tail.status, tail.read()) == (206, content.read(SIZE - 983))
        assert (whole.status, whole.read(100_000)) == (206, content.read(0, 100_000))
        assert doors.count("profile:bob") <= cap
        whole.reset()
        until(lambda: doors.count("profile:bob") == 0)
    assert films.counts(ACCOUNT).offences == 0
    assert doors.vod.tally.snapshot().refused == {}


def test_a_range_that_the_provider_refuses_is_told_and_leaves_nothing_behind(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(every_store, [profile_of()])
    first = doors.ask(FILM, "0-")
    first.read(1000)
    films.fail(Trouble.REFUSE, status=458, times=1)
    status, sentence = refused(doors.ask(FILM, f"{SIZE - 983}-"))
    assert status == 503
    assert sentence.startswith("the VOD account 'bob' was refused movie 4711 (458)")
    content = films.content(4711)
    # Nobody took the first one's place, so that it goes on when it is read.
    assert first.read(SIZE - 1000) == content.read(1000)
    until(lambda: doors.count("profile:bob") == 0)
    assert films.counts(ACCOUNT).offences == 0


def test_a_reset_before_the_first_byte_gives_everything_back(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    films.fail(Trouble.SILENCE)
    doors = doors_over(every_store, [profile_of()])
    for _ in range(3):
        player = doors.ask(FILM, "0-")
        films.wait_for(lambda one: one.held == 1)
        assert doors.count("profile:bob") == 1
        player.reset()
        until(lambda: doors.count("profile:bob") == 0)
        until(lambda: films.counts(ACCOUNT).open == 0)
    assert doors.connections == 0


def test_heads_and_other_metadata_are_answered_while_all_slots_are_taken(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
) -> None:
    doors = doors_over(memory_store, [profile_of()])
    viewer = doors.ask(FILM, "0-")
    viewer.read(1000)
    asked = len(films.requests)
    heads = [doors.ask(FILM, None, f"User-Agent: {n}", method="HEAD") for n in range(100)]
    assert {head.status for head in heads} == {200}
    assert {head.response.getheader("Content-Length") for head in heads} == {str(SIZE)}
    etag = heads[0].response.getheader("ETag")
    other = "User-Agent: another"
    assert doors.ask(FILM, None, other, f"If-None-Match: {etag}").status == 304
    assert doors.ask(FILM, f"{SIZE}-", other).status == 416
    assert doors.ask(FILM, None, other, method="OPTIONS").status == 200
    assert doors.ask(FILM.replace("s3", "S3"), "0-", other).status == 401
    assert len(films.requests) == asked, "what is known is not asked for again"
    assert doors.count("profile:bob") == 1
    assert len(doors.vod.viewings()) == 1


def test_heads_of_an_unknown_film_ask_the_provider_once_and_take_no_slot(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
) -> None:
    doors = doors_over(memory_store, [profile_of()])
    viewer = doors.ask(FILM, "0-")
    viewer.read(1000)
    heads = [doors.ask(OTHER, None, f"User-Agent: {n}", method="HEAD") for n in range(100)]
    assert {head.status for head in heads} == {200}
    assert [one.method for one in films.requests if one.target == "4712"] == ["HEAD"]
    assert doors.count("profile:bob") == 1


def test_two_viewers_who_look_alike_are_counted_apart_once_both_are_seen_to_read(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    films.site.accounts[ACCOUNT] = Account(ACCOUNT, "upstr3am-pw", 2)
    doors, content = doors_over(every_store, [profile_of(max_streams=2)]), films.content(4711)
    one, two = doors.ask(FILM, "0-"), None
    assert one.read(1 << 20) == content.read(0, 1 << 20)
    two = doors.ask(FILM, "1000-")
    assert two.read(1 << 20) == content.read(1000, 1 << 20)
    assert one.read(20 << 20) == content.read(1 << 20, 20 << 20)
    assert doors.count("profile:bob") == 2
    assert doors.events("split") == 1
    assert two.read(20 << 20) == content.read(1000 + (1 << 20), 20 << 20)
    assert doors.count("profile:bob") == 2
    assert films.counts(ACCOUNT).most == 2
    assert films.counts(ACCOUNT).offences == 0


def test_a_second_viewer_for_whom_there_is_no_slot_is_cut_and_does_not_hang(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
) -> None:
    doors, content = doors_over(memory_store, [profile_of()]), films.content(4711)
    one = doors.ask(FILM, "0-")
    one.read(1000)
    two = doors.ask(FILM, "1000-")
    two.read(1000)
    assert len(rest(one)) < SIZE - 1000
    assert two.read(10 << 20) == content.read(2000, 10 << 20)
    assert films.counts(ACCOUNT).offences == 0


def test_a_paused_viewer_gives_the_slot_back_and_goes_on_byte_for_byte(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    timeouts = Timeouts(suspend_s=0.2)
    doors = doors_over(every_store, [profile_of()], timeouts=timeouts)
    content = films.content(4711)
    paused = doors.player(receive_buffer=65536).ask(FILM, "7-")
    assert paused.read(1000) == content.read(7, 1000)
    until(lambda: doors.events("suspended") == 1)
    assert doors.count("profile:bob") == 0
    assert doors.connections == 0
    (viewing,) = doors.vod.viewings()
    assert viewing.manner.value == "suspended"
    other = doors.ask(OTHER, "0-")
    assert other.read(1000) == films.content(4712).read(0, 1000)
    other.reset()
    until(lambda: doors.count("profile:bob") == 0)
    assert paused.read() == content.read(1007)
    # Once, or more often where this client waits for its processor as if it paused.
    assert doors.events("resumed") == doors.events("suspended") >= 1
    assert films.counts(ACCOUNT).offences == 0


@pytest.mark.parametrize("spoilt", ["full", "changed"])
def test_a_paused_viewer_who_cannot_go_on_is_cut(
    spoilt: str,
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(memory_store, [profile_of()], timeouts=Timeouts(suspend_s=0.2))
    paused = doors.player(receive_buffer=65536).ask(FILM, "0-")
    paused.read(1000)
    until(lambda: doors.events("suspended") == 1)
    if spoilt == "full":
        doors.keeper.acquire([[profile_of().pool]], "somebody else", lambda _: None)
    else:
        films.fail(Trouble.CHANGE_ETAG)
    assert len(rest(paused)) < SIZE - 1000
    assert films.counts(ACCOUNT).offences == 0


def test_a_session_stays_with_its_account_and_a_new_one_takes_the_next_that_is_free(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(every_store, [profile_of(), profile_of(SECOND)])
    one = doors.ask(FILM, "0-")
    assert one.status == 206
    two = doors.ask(FILM, "0-", "User-Agent: another")
    assert two.status == 206
    assert (doors.count("profile:bob"), doors.count("profile:ann")) == (1, 1)
    one.reset()
    until(lambda: doors.count("profile:bob") == 0)
    # The second account's session, whose first account would be free by now.
    again = doors.ask(FILM, "5000-", "User-Agent: another")
    assert again.read(1000) == films.content(4711).read(5000, 1000)
    assert [asked.account for asked in films.requests][-1] == SECOND
    films.fail(Trouble.REFUSE, account=SECOND, status=503)
    assert doors.ask(FILM, "6000-", "User-Agent: another").status == 503
    assert [asked.account for asked in films.requests][-1] == SECOND


def test_of_many_at_once_no_more_than_the_cap_are_let_in(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
) -> None:
    films.site.accounts[ACCOUNT] = Account(ACCOUNT, "upstr3am-pw", 3)
    doors = doors_over(every_store, [profile_of(max_streams=3)])
    players = [doors.player() for _ in range(64)]
    together = threading.Barrier(64)

    def ask(number: int) -> None:
        together.wait()
        players[number].ask(FILM, "0-", f"User-Agent: {number}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [player.status for player in players]
    assert (statuses.count(206), statuses.count(503)) == (3, 61)
    assert films.counts(ACCOUNT).most == 3
    assert films.counts(ACCOUNT).offences == 0
    full = next(player for player in players if player.status == 503)
    assert full.response.getheader("Retry-After")
    assert "no free slot in any account (pool profile): 3 of 3 in use" in full.read().decode()


def test_an_evicted_viewer_is_cut_at_once(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(every_store, [profile_of()], grace_s=10)
    viewer = doors.ask(FILM, "0-")
    viewer.read(1000)
    (viewing,) = doors.vod.viewings()
    doors.keeper.evict(viewing.session)
    until(lambda: doors.count("profile:bob") == 0)
    until(lambda: films.counts(ACCOUNT).open == 0)
    assert len(rest(viewer)) < SIZE - 1000


def test_a_session_is_ended_with_those_of_it_that_wait_without_a_slot(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(memory_store, [profile_of()], evidence=Evidence(60.0, 60.0, 0.02))
    older = doors.player(receive_buffer=65536).ask(FILM, "0-")
    older.read(1000)
    newer = doors.player(receive_buffer=65536).ask(FILM, "5000-")
    newer.read(1000)
    until(lambda: doors.events("superseded") == 1)
    assert [one.manner.value for one in doors.vod.viewings()] == ["suspended", "streaming"]
    (session,) = {one.session for one in doors.vod.viewings()}
    doors.keeper.evict(session)
    assert len(doors.vod.sessions) == 0
    for player in (older, newer):
        assert len(rest(player)) < SIZE - 10_000
    assert doors.count("profile:bob") == 0


def test_a_player_that_seeks_and_never_hangs_up_does_not_hold_threads_without_end(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
) -> None:
    doors = doors_over(memory_store, [profile_of()], evidence=Evidence(60.0, 60.0, 0.02))
    content = films.content(4711)
    players = []
    for number in range(LEFT_OPEN + 4):
        player = doors.player(receive_buffer=65536).ask(FILM, f"{number * 1000}-")
        assert player.read(1000) == content.read(number * 1000, 1000)
        players.append(player)
    assert len(doors.vod.sessions) == LEFT_OPEN + 1
    for player in players[:3]:
        assert len(rest(player)) < SIZE - 10_000
    players[-1].read(1 << 20)
    assert doors.count("profile:bob") == 1


def test_a_paused_viewer_who_holds_no_slot_is_ended_all_the_same(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(memory_store, [profile_of()], timeouts=Timeouts(suspend_s=0.2))
    paused = doors.player(receive_buffer=65536).ask(FILM, "0-")
    paused.read(1000)
    until(lambda: doors.events("suspended") == 1)
    (viewing,) = doors.vod.viewings()
    assert doors.keeper.evict(viewing.session) == ()
    assert doors.vod.end(viewing.session) == 1
    assert doors.vod.viewings() == []
    assert len(rest(paused)) < SIZE - 1000
    assert doors.events("resumed") == 0


def test_users_have_limits_of_their_own_and_are_told_of_theirs_with_429(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
) -> None:
    users = {"bob": ("s3cret-pw", 1), "eve": ("0ther-pw", 0)}
    doors = doors_over(
        every_store, [profile_of(), profile_of(SECOND)], users=users, acquire_wait_s=0.1
    )
    doors.ask(FILM, "0-").read(1000)
    status, sentence = refused(doors.ask(OTHER, "0-"))
    assert status == 429
    assert "(pool user): 1 of 1 in use" in sentence
    assert doors.ask("/movie/eve/0ther-pw/4712.mkv", "0-").status == 206
    status, sentence = refused(doors.ask("/movie/eve/0ther-pw/4711.mkv", "0-"))
    assert status == 503
    assert doors.vod.tally.snapshot().refused == {"user": 1, "profile": 1}


def test_whoever_waits_gets_the_slot_that_comes_free(
    every_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    doors = doors_over(every_store, [profile_of()], acquire_wait_s=10)
    first = doors.ask(FILM, "0-")
    first.read(1000)
    waiting = doors.ask(OTHER, "0-")
    until(lambda: doors.vod.admission.waiting == 1)
    first.reset()
    assert waiting.read(1000) == films.content(4712).read(0, 1000)
    gone = doors.ask(FILM, "0-", "User-Agent: another")
    until(lambda: doors.vod.admission.waiting == 1)
    gone.reset()
    until(lambda: doors.vod.admission.waiting == 0)
    assert doors.count("profile:bob") == 1


def test_a_short_probe_is_let_in_beside_a_full_account_and_a_long_one_is_cut(
    memory_store: LeaseStore,
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    films.site.accounts[ACCOUNT] = Account(ACCOUNT, "upstr3am-pw", 2)
    doors = doors_over(memory_store, [profile_of()], probe_slots=1, acquire_wait_s=0.1)
    doors.ask(FILM, "0-").read(1000)
    probe = doors.ask(OTHER, "0-", "User-Agent: scanner")
    assert probe.read(1 << 20) == films.content(4712).read(0, 1 << 20)
    assert (doors.count("profile:bob"), doors.count("probe:bob")) == (1, 1)
    assert doors.ask(OTHER, "0-", "User-Agent: second scanner").status == 503
    again = doors.ask(OTHER, f"{SIZE - 983}-", "User-Agent: scanner")
    assert again.read() == films.content(4712).read(SIZE - 983)
    probe.reset()
    until(lambda: doors.count("probe:bob") == 0)
    long = doors.ask(OTHER, "0-", "User-Agent: scanner")
    assert len(rest(long)) < 17 << 20
    assert doors.count("profile:bob") == 1


@pytest.fixture
def two_stores(vod_redis: RedisServer) -> Iterator[list[LeaseStore]]:
    """The stores of two gateways, in one server."""
    stores: list[LeaseStore] = [RedisLeases.from_url(vod_redis.url, recover_s=0) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@pytest.mark.system("redis-server")
def test_a_newer_request_at_another_gateway_takes_the_turn_over_there(
    two_stores: list[LeaseStore],
    films: XtreamServer,
    profile_of: MakeProfile,
    doors_over: MakeDoors,
    until: Until,
) -> None:
    here, there = (doors_over(store, [profile_of()]) for store in two_stores)
    older = here.ask(FILM, "0-")
    older.read(1000)
    newer = there.ask(FILM, "5000-")
    assert newer.read(1000) == films.content(4711).read(5000, 1000)
    until(lambda: here.events("superseded") == 1)
    assert here.connections == 0
    assert there.count("profile:bob") == 1
    assert films.counts(ACCOUNT).offences == 0
    (session,) = [viewing.session for viewing in there.vod.viewings()]
    here.keeper.evict(session)
    until(lambda: there.connections == 0)
