"""ArticleSource over real servers: verdicts, failover, single flight, leaving."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest
from sabctools import NNTPResponse

from gateway.demo import Checksum, Fault, NewsServer, Post, make_post
from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ConnectFailed,
    ConnectionLost,
    LoginRefused,
    PermitTimeout,
    ProviderError,
)
from gateway.nzb.extents import Part
from gateway.usenet import reactor
from gateway.usenet.articles import ArticleSource, Body, Verdict
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

DATA = bytes(range(256)) * 400
PART = 10_000
WATCHING = Reservation(Workload.STREAM, 1)


@pytest.fixture
def post() -> Post:
    return make_post("film.mkv", DATA, part_size=PART)


def parts(post: Post) -> list[Part]:
    ids = post.message_ids
    bounds = [(at, min(at + PART, len(DATA))) for at in range(0, len(DATA), PART)]
    return [
        Part((message_id,), number, len(ids), begin, end, len(DATA))
        for number, (message_id, (begin, end)) in enumerate(zip(ids, bounds, strict=True), 1)
    ]


def get(source: ArticleSource, part: Part) -> Body:
    return source.request(part, reservation=WATCHING).result(10)


def test_all_articles_of_a_post_make_up_the_file(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    client = make_client(to(server, connections=3))
    fetches = [client.source.request(part, reservation=WATCHING) for part in parts(post)]
    assert b"".join(fetch.result(10).data for fetch in fetches) == DATA
    assert server.counts.peak_connections == 3


def test_a_body_tells_where_it_belongs(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    body = get(make_client(to(server)).source, Part((post.message_ids[2],)))
    assert (body.begin, body.end, body.size) == (2 * PART, 3 * PART, len(DATA))
    assert (body.name, body.provider) == ("film.mkv", "main")
    assert bytes(body.data) == DATA[2 * PART : 3 * PART]


def test_missing_is_said_when_every_provider_has_said_so(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    client = make_client(to(server, "a"), to(spare, "b"))
    with pytest.raises(ArticleMissing, match="segment 1 of 11: 430 from all 2 providers"):
        get(client.source, parts(post)[0])
    assert server.counts.commands["BODY"] == spare.counts.commands["BODY"] == 1


def test_one_silent_provider_makes_it_unknown_not_missing(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    spare.fail(Fault.CUT)
    spare.add(post)
    client = make_client(to(server, "a"), to(spare, "b"))
    with pytest.raises(ConnectionLost):
        get(client.source, parts(post)[0])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.MISSING, 430),
        (Fault.MISSING, 423),
        (Fault.MISSING, 451),
        (Fault.DAMAGED, None),
        (Fault.WRONG_ARTICLE, None),
        (Fault.CUT, None),
        (Fault.BUSY, None),
        (Fault.BUSY, 400),
        (Fault.STAT_LIES, None),
    ],
)
def test_the_next_provider_serves_what_the_first_does_not(
    server: NewsServer,
    spare: NewsServer,
    make_client: MakeClient,
    to: To,
    post: Post,
    fault: Fault,
    code: int | None,
) -> None:
    server.add(post)
    spare.add(post)
    server.fail(fault, code=code)
    client = make_client(to(server, "first", priority=0), to(spare, "second", priority=1))
    body = get(client.source, parts(post)[3])
    assert (bytes(body.data), body.provider) == (DATA[3 * PART : 4 * PART], "second")


def test_providers_are_asked_by_priority(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    spare.add(post)
    client = make_client(to(server, "late", priority=5), to(spare, "early", priority=1))
    assert get(client.source, parts(post)[0]).provider == "early"
    assert server.counts.total_connections == 0


def test_a_backup_is_asked_only_for_what_others_lack(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    spare.add(post)
    client = make_client(to(server), to(spare, "block", backup=True, priority=-1))
    first, second = parts(post)[:2]
    assert get(client.source, first).provider == "main"
    server.fail(Fault.MISSING, second.message_ids[0])
    assert get(client.source, second).provider == "block"
    assert spare.counts.commands["BODY"] == 1


def test_damage_everywhere_is_damage(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.DAMAGED)
    client = make_client(to(server, "a"), to(spare, "b"))
    with pytest.raises(ArticleDamaged, match="segment 1 of 11 from a: its CRC-32 is wrong"):
        get(client.source, parts(post)[0])


def test_another_posts_article_is_never_delivered(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    other = make_post("other.mkv", DATA[::-1], part_size=PART, seed=9)
    server.add(post, other)
    server.fail(Fault.WRONG_ARTICLE, post.message_ids[0], instead=other.message_ids[1])
    with pytest.raises(ArticleDamaged, match="carries bytes 10000-20000, not 0-10000"):
        get(make_client(to(server)).source, parts(post)[0])


def test_an_article_without_a_crc_is_accepted_on_size_and_offsets(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    post = make_post("film.mkv", DATA, part_size=PART, checksum=Checksum.ABSENT)
    server.add(post)
    assert bytes(get(make_client(to(server)).source, parts(post)[0]).data) == DATA[:PART]


def test_offsets_that_contradict_the_layout_are_damage(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    post = make_post("film.mkv", DATA, part_size=PART, shift=100)
    server.add(post)
    with pytest.raises(ArticleDamaged):
        get(make_client(to(server)).source, parts(post)[0])


def test_an_alternate_id_serves_when_the_first_is_gone(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    part = Part(("gone@nowhere", post.message_ids[0]), 1, 11, 0, PART, len(DATA))
    assert bytes(get(make_client(to(server)).source, part).data) == DATA[:PART]


def test_a_gap_in_the_nzb_is_missing_and_asks_nobody(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    with pytest.raises(ArticleMissing, match="segment 4 of 9 is not listed in the NZB"):
        get(make_client(to(server)).source, Part((), 4, 9))
    assert server.counts.total_connections == 0


def test_whoever_asks_for_an_article_in_flight_joins_it(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.STALL, after=2_000)
    client = make_client(to(server))
    part = parts(post)[0]
    first = client.source.request(part, reservation=WATCHING)
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    second = client.source.request(part, reservation=Reservation(Workload.QUEUE))
    server.release()
    assert first.result(10) is second.result(10)
    assert server.counts.bodies[part.message_ids[0]] == 1


def test_joining_lends_the_stronger_standing_and_leaving_takes_it_back(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.STALL, times=1, after=2_000)
    client = make_client(to(server, connections=1))
    queue = Reservation(Workload.QUEUE)
    wanted = parts(post)
    blocking = client.source.request(wanted[0], reservation=queue, demand=False)
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    waiting = [client.source.request(p, reservation=queue, demand=False) for p in wanted[1:]]
    last = wanted[-1]
    viewer = client.source.request(last, reservation=WATCHING)
    permits = client.pools["main"].permits
    assert permits.snapshot().waiting[Workload.STREAM] == 1
    viewer.cancel()
    assert permits.snapshot().waiting[Workload.STREAM] == 0
    viewer = client.source.request(last, reservation=WATCHING)
    server.release()
    assert viewer.result(10).end == len(DATA)
    blocking.result(10)
    for fetch in waiting:
        fetch.result(10)
    asked = [each.argument for each in server.counts.journal_of("BODY")]
    assert asked[1] == last.message_ids[0], "the viewer's article came right after the first"


def test_a_fetch_given_up_before_its_permit_is_never_sent(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.STALL, times=1, after=2_000)
    client = make_client(to(server, connections=1))
    first, second = (client.source.request(p, reservation=WATCHING) for p in parts(post)[:2])
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    second.cancel()
    with pytest.raises(ConnectionLost, match="given up"):
        second.result(20)
    server.release()
    first.result(10)
    assert server.counts.commands["BODY"] == 1


def test_a_time_out_says_whether_a_permit_or_an_answer_was_missing(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.SILENCE)
    client = make_client(to(server, connections=1))
    first, second = (client.source.request(p, reservation=WATCHING) for p in parts(post)[:2])
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    with pytest.raises(ConnectionLost, match=r"no answer within \d+\.\d s for segment 1 of 11"):
        first.result(0.01)
    with pytest.raises(PermitTimeout, match=r"no permit within \d+\.\d s: 0 of 1 free, 1 waiting"):
        second.result(0.01)


def test_a_provider_that_falls_silent_is_left_after_the_stall_time(
    server: NewsServer,
    spare: NewsServer,
    make_client: MakeClient,
    to: To,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reactor, "TICK_S", 0.05)
    server.add(post)
    spare.add(post)
    server.fail(Fault.STALL, after=3_000)
    client = make_client(to(server, "a"), to(spare, "b"), stall_s=0.5)
    assert get(client.source, parts(post)[0]).provider == "b"


def test_a_stale_connection_is_replaced_without_anybody_noticing(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    client = make_client(to(server, connections=1))
    first, second = parts(post)[:2]
    get(client.source, first)
    server.fail(Fault.CUT, times=1, after=0)
    assert bytes(get(client.source, second).data) == DATA[PART : 2 * PART]
    assert server.counts.total_connections == 2


def test_a_refused_login_is_said_once_in_one_line_and_not_tried_again_at_once(
    make_client: MakeClient, to: To, post: Post
) -> None:
    with NewsServer(users={"bob": "right"}) as server:
        client = make_client(to(server, username="bob", password="wrong"))
        wanted = parts(post)
        with pytest.raises(LoginRefused, match="check GATEWAY_PROVIDERS__MAIN__USERNAME") as caught:
            get(client.source, wanted[0])
        assert "wrong" not in str(caught.value)
        with pytest.raises(LoginRefused):
            get(client.source, wanted[1])
        assert server.counts.total_connections == 1


def test_a_login_opens_the_door(make_client: MakeClient, to: To, post: Post) -> None:
    with NewsServer(users={"bob": "right"}) as server:
        server.add(post)
        client = make_client(to(server, username="bob", password="right"))
        assert get(client.source, parts(post)[0]).begin == 0


def test_nobody_listening_is_said_with_the_address(make_client: MakeClient, post: Post) -> None:
    with NewsServer() as server:
        port = server.port
    client = make_client(Account("main", "127.0.0.1", port))
    with pytest.raises(ConnectFailed, match=f"cannot connect to 127.0.0.1:{port}"):
        get(client.source, parts(post)[0])


def test_without_a_provider_it_says_which_setting_to_make(make_client: MakeClient) -> None:
    with pytest.raises(ProviderError, match="GATEWAY_PROVIDERS__MAIN__HOST"):
        get(make_client().source, Part(("a@b",)))


def test_closing_ends_what_is_in_flight_as_unknown(server: NewsServer, to: To, post: Post) -> None:
    server.add(post)
    server.fail(Fault.SILENCE)
    with UsenetClient([to(server)]) as client:
        fetch = client.source.request(parts(post)[0], reservation=WATCHING)
        server.wait_for(lambda counts: counts.stalled == 1, 10)
    with pytest.raises(ConnectionLost, match="stopping"):
        fetch.result(20)
    with pytest.raises(ConnectionLost, match="stopping"):
        get(client.source, parts(post)[1])


def test_a_callback_is_told_once_whenever_it_is_added(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    told = threading.Semaphore(0)
    fetch = make_client(to(server)).source.request(parts(post)[0], reservation=WATCHING)
    fetch.add_done_callback(lambda _: told.release())
    assert told.acquire(timeout=10)
    fetch.add_done_callback(lambda _: told.release())
    assert told.acquire(timeout=10)
    assert fetch.done


def test_exists_knows_three_verdicts(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    wanted = parts(post)
    server.fail(Fault.MISSING, wanted[1].message_ids[0])
    server.fail(Fault.MISSING, wanted[2].message_ids[0])
    spare.add(post.articles[wanted[1].message_ids[0]])
    client = make_client(to(server, "a", connections=2), to(spare, "b", priority=1))
    with scope(Reservation(Workload.QUEUE)):
        verdicts = client.source.exists(wanted, timeout_s=10)
    assert verdicts == [Verdict.PRESENT] * 2 + [Verdict.MISSING] + [Verdict.PRESENT] * 8
    assert spare.counts.commands["STAT"] == 2
    spare.fail(Fault.CUT, commands={"STAT"})
    with scope(Reservation(Workload.QUEUE)):
        assert client.source.exists(wanted[2:3], timeout_s=10) == [Verdict.UNKNOWN]


def test_exists_falls_back_to_head_where_stat_is_unknown(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.MISSING, commands={"STAT"}, code=500)
    client = make_client(to(server))
    assert client.source.exists(parts(post), timeout_s=10) == [Verdict.PRESENT] * 11
    assert client.source.exists(parts(post), timeout_s=10) == [Verdict.PRESENT] * 11
    assert (server.counts.commands["STAT"], server.counts.commands["HEAD"]) == (11, 22)


def test_exists_pipelines_hundreds_of_stats_in_few_exchanges(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    client = make_client(to(server, connections=2))
    unknown = [Part((f"{number}@nowhere",)) for number in range(1000)]
    assert client.source.exists(unknown, timeout_s=10) == [Verdict.MISSING] * 1000
    permits = client.pools["main"].permits.snapshot()
    assert permits.granted[Workload.HEALTH] == 10


def test_what_exists_has_no_time_for_is_unknown(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.fail(Fault.SILENCE)
    client = make_client(to(server))
    assert client.source.exists(parts(post), timeout_s=0.05) == [Verdict.UNKNOWN] * 11


def test_an_article_that_nobody_holds_is_freed_at_once_and_needs_no_collector(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    source = make_client(to(server, connections=2)).source
    wanted = parts(post)
    gc.collect()
    gc.disable()
    try:
        for part in wanted:
            get(source, part)
        with pytest.raises(ArticleMissing):
            get(source, Part(("gone@nowhere",)))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        # One article may still be on its way out of the dispatcher.
        holding = [one for one in gc.garbage if isinstance(one, Body | NNTPResponse)]
        assert len(holding) <= 2
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
