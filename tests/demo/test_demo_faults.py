"""Every fault strikes the way it is named, where and as often as it was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.demo import Fault, NewsServer, PlainClient, Post, make_post
from gateway.demo.faults import FAULTY

Dial = Callable[..., PlainClient]


@pytest.fixture
def client(dial: Dial, server: NewsServer, post: Post) -> PlainClient:
    server.add(post)
    return dial(server)


def test_every_fault_says_which_commands_meet_it() -> None:
    assert set(FAULTY) == set(Fault)


def test_a_missing_article_is_missing_to_every_command(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    lost, kept = post.message_ids[:2]
    server.fail(Fault.MISSING, lost)
    codes = [client.code(f"{verb} <{lost}>") for verb in ("STAT", "HEAD", "BODY", "ARTICLE")]
    assert codes == [430] * 4
    assert client.body(kept)
    server.heal()
    assert client.body(lost)
    assert server.counts.faults == {Fault.MISSING: 4}


def test_a_fault_strikes_as_often_as_asked_and_each_article_for_itself(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    first, second, third = post.message_ids[:3]
    server.fail(Fault.MISSING, first, second, times=2)
    for lost in (first, second):
        assert [client.code(f"STAT <{lost}>") for _ in range(3)] == [430, 430, 223]
    server.fail(Fault.MISSING, times=1)
    assert [client.code(f"STAT <{third}>") for _ in range(2)] == [430, 223]
    with pytest.raises(ValueError, match="at least once"):
        server.fail(Fault.MISSING, times=0)


def test_a_fault_can_be_kept_to_some_commands_and_codes(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    lost = post.message_ids[0]
    server.fail(Fault.MISSING, lost, commands=["STAT"], code=423)
    assert client.code(f"STAT <{lost}>") == 423
    assert client.body(lost)


def test_one_kind_of_fault_and_one_article_can_be_healed_alone(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    first, second = post.message_ids[:2]
    server.fail(Fault.MISSING, first, second)
    server.fail(Fault.DAMAGED, second)
    server.heal(Fault.MISSING, first)
    assert client.code(f"STAT <{first}>") == 223
    assert client.code(f"STAT <{second}>") == 430
    server.heal(Fault.MISSING)
    assert client.ask(f"BODY <{second}>").crc is None


def test_a_fault_of_one_article_comes_before_one_of_all(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    server.fail(Fault.MISSING, times=1)
    server.fail(Fault.MISSING, post.message_ids[0], times=1, code=423)
    codes = [client.code(f"STAT <{post.message_ids[0]}>") for _ in range(3)]
    assert codes == [423, 430, 223]


@pytest.mark.parametrize("code", [None, 400])
def test_a_busy_server_refuses_and_hangs_up(
    client: PlainClient, server: NewsServer, post: Post, code: int | None
) -> None:
    server.fail(Fault.BUSY, post.message_ids[0], code=code)
    assert client.code(f"BODY <{post.message_ids[0]}>") == (code or 502)
    assert client.hung_up()


def test_a_wrong_article_comes_under_the_right_id(
    client: PlainClient, server: NewsServer, post: Post, contents: bytes
) -> None:
    first, second, third = post.message_ids[:3]
    server.fail(Fault.WRONG_ARTICLE, first, times=1)
    response = client.ask(f"BODY <{first}>")
    assert response.message == f"222 0 <{first}>"
    assert bytes(response.data or b"") == contents[60_000:120_000]
    other = make_post("other.mkv", contents[::-1])
    server.add(other)
    server.fail(Fault.WRONG_ARTICLE, second, third, instead=other.message_ids[0])
    assert client.body(second) == client.body(third) == contents[::-1]


def test_damage_changes_one_byte_and_the_crc_tells(
    client: PlainClient, server: NewsServer, post: Post, contents: bytes
) -> None:
    server.fail(Fault.DAMAGED, post.message_ids[0], times=1)
    response = client.ask(f"BODY <{post.message_ids[0]}>")
    assert response.data is not None
    assert response.crc is None
    assert response.crc_expected is not None
    changed = [at for at, byte in enumerate(response.data) if byte != contents[at]]
    assert (len(changed), len(response.data)) == (1, 60_000)
    assert client.body(post.message_ids[0]) == contents[:60_000]


def test_a_stall_lasts_until_it_is_released(
    client: PlainClient, server: NewsServer, post: Post, contents: bytes
) -> None:
    server.fail(Fault.STALL, post.message_ids[0], after=1000, times=1)
    client.send(f"BODY <{post.message_ids[0]}>", "DATE")
    before = server.wait_for(lambda counts: counts.stalled == 1)
    assert len(client.sock.recv(1000, 0x2)) <= 1000
    assert before.commands["DATE"] == 1
    server.release()
    assert bytes(client.receive().data or b"") == contents[:60_000]
    assert client.receive().status_code == 111
    assert server.counts.stalled == 0


def test_a_stall_can_end_by_itself(
    client: PlainClient, server: NewsServer, post: Post, contents: bytes
) -> None:
    server.fail(Fault.STALL, post.message_ids[0], seconds=0.01)
    assert client.body(post.message_ids[0]) == contents[:60_000]
    assert server.counts.faults == {Fault.STALL: 1}


def test_healing_releases_a_stall(client: PlainClient, server: NewsServer, post: Post) -> None:
    server.fail(Fault.STALL)
    client.send(f"BODY <{post.message_ids[0]}>")
    server.wait_for(lambda counts: counts.stalled == 1)
    server.heal()
    assert client.receive().status_code == 222


def test_a_stall_ends_with_its_connection(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    server.fail(Fault.STALL)
    client.send(f"BODY <{post.message_ids[0]}>")
    server.wait_for(lambda counts: counts.stalled == 1)
    client.close()
    server.wait_for(lambda counts: counts.stalled == 0 and counts.connections == 0)


def test_silence_is_no_byte_at_all(client: PlainClient, server: NewsServer, post: Post) -> None:
    server.fail(Fault.SILENCE, post.message_ids[0])
    sent = server.counts.bytes_sent
    client.send(f"STAT <{post.message_ids[0]}>")
    assert server.wait_for(lambda counts: counts.stalled == 1).bytes_sent == sent
    server.release()
    assert client.receive().status_code == 223


def test_a_cut_closes_after_so_many_bytes(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    server.fail(Fault.CUT, post.message_ids[0], after=1000)
    client.send(f"BODY <{post.message_ids[0]}>", "DATE")
    received = b""
    while chunk := client.sock.recv(4096):
        received += chunk
    assert len(received) == 1000
    assert server.wait_for(lambda counts: counts.connections == 0).total_connections == 1


def test_a_cut_is_in_the_middle_unless_said(
    client: PlainClient, server: NewsServer, post: Post
) -> None:
    server.fail(Fault.CUT, post.message_ids[0])
    client.send(f"BODY <{post.message_ids[0]}>")
    assert client.hung_up()
    sent = server.counts.bytes_sent
    assert 25_000 < sent < 35_000


def test_stat_can_lie(client: PlainClient, server: NewsServer, post: Post) -> None:
    lost = post.message_ids[0]
    server.fail(Fault.STAT_LIES, lost, times=2)
    assert [client.code(f"{verb} <{lost}>") for verb in ("STAT", "BODY", "HEAD")] == [223, 430, 430]
    assert client.body(lost)


@pytest.mark.parametrize(("code", "ends"), [(None, False), (482, False), (502, True)])
def test_a_login_can_be_refused(
    client: PlainClient, server: NewsServer, code: int | None, ends: bool
) -> None:
    server.fail(Fault.REFUSE_LOGIN, times=1, code=code)
    with pytest.raises(PermissionError, match=str(code or 481)):
        client.log_in("bob", "secret")
    if ends:
        assert client.hung_up()
    else:
        client.log_in("bob", "secret")


def test_a_connection_can_be_refused(dial: Dial, server: NewsServer) -> None:
    server.fail(Fault.REFUSE_CONNECTION, times=1, code=400)
    client = dial(server)
    assert client.greeting.status_code == 400
    assert client.hung_up()
    assert dial(server).greeting.status_code == 200
