"""The news server speaks NNTP as RFC 3977 and RFC 4643 have it; nntplib is the witness."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest
import sabctools
import trustme

from gateway.demo import Counts, LimitAt, NewsServer, PlainClient, Post, make_post

Dial = Callable[..., PlainClient]


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class TestAgainstNntplib:
    def test_it_introduces_itself(self, server: NewsServer, nntplib: ModuleType) -> None:
        with nntplib.NNTP(server.host, server.port, timeout=20) as client:
            assert client.getwelcome().startswith("200 ")
            capabilities = client.getcapabilities()
            assert client.nntp_version == 2
            assert "READER" in capabilities
            assert client.nntp_implementation == "nzb-gateway demo"

    def test_it_tells_the_time(self, server: NewsServer, nntplib: ModuleType) -> None:
        with nntplib.NNTP(server.host, server.port, timeout=20) as client:
            _, date = client.date()
            assert abs(date.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)

    def test_it_asks_for_a_login(self, nntplib: ModuleType, post: Post) -> None:
        with NewsServer(users={"bob": "secret"}) as server:
            server.add(post)
            with nntplib.NNTP(server.host, server.port, timeout=20, readermode=True) as client:
                assert client.getcapabilities()["AUTHINFO"] == ["USER"]
                with pytest.raises(nntplib.NNTPTemporaryError, match="480"):
                    client.group("alt.binaries.test")
                with pytest.raises(nntplib.NNTPTemporaryError, match="481"):
                    client.login("bob", "wrong", usenetrc=False)
                client.login("bob", "secret", usenetrc=False)
                assert "AUTHINFO" not in client.getcapabilities()
                client.group("alt.binaries.test")
            assert server.counts.commands["AUTHINFO PASS"] == 2
            assert all("secret" not in each.argument for each in server.counts.journal)

    def test_it_gives_articles_by_message_id_and_by_number(
        self, server: NewsServer, nntplib: ModuleType, post: Post
    ) -> None:
        server.add(post)
        article = post.articles[post.message_ids[2]]
        name = f"<{article.message_id}>"
        body = b"".join(article.body).splitlines()
        with nntplib.NNTP(server.host, server.port, timeout=20) as client:
            _, count, first, last, group = client.group("alt.binaries.test")
            assert (count, first, last, group) == (4, 1, 4, "alt.binaries.test")
            assert client.stat(name)[1:] == (0, name)
            assert client.stat("3")[1:] == (3, name)
            assert client.stat()[1:] == (3, name)
            for key in (name, "3"):
                assert client.head(key)[1].lines == article.head.splitlines()
                assert client.body(key)[1].lines == body
                assert client.article(key)[1].lines == [*article.head.splitlines(), b"", *body]

    def test_it_says_goodbye(self, server: NewsServer, nntplib: ModuleType) -> None:
        client = nntplib.NNTP(server.host, server.port, timeout=20)
        assert client.quit().startswith("205 ")
        server.wait_for(lambda counts: counts.connections == 0)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("XYZZY", 500),
        ("MODE STREAM", 501),
        ("AUTHINFO", 501),
        ("AUTHINFO USER", 501),
        ("AUTHINFO PASS early", 482),
        ("GROUP", 501),
        ("GROUP no.such.group", 411),
        ("BODY nonsense", 501),
        ("BODY <no one>", 501),
        ("BODY <noone@nowhere>", 430),
        ("STAT <noone@nowhere>", 430),
        ("HEAD 1", 412),
        ("ARTICLE", 412),
        (f"BODY <{'x' * 600}>", 501),
    ],
)
def test_it_refuses_with_the_right_code(
    dial: Dial, server: NewsServer, command: str, code: int
) -> None:
    client = dial(server)
    assert client.code(command) == code
    assert client.code("DATE") == 111


def test_a_group_without_articles_has_no_current_one(
    dial: Dial, server: NewsServer, post: Post
) -> None:
    server.add(post)
    server.remove(post.message_ids[:-1])
    client = dial(server)
    assert client.ask("GROUP alt.binaries.test").message == "211 1 4 4 alt.binaries.test"
    assert client.code("BODY 1") == 423
    assert client.code("BODY 5") == 423
    server.remove(post.message_ids)
    assert client.ask("GROUP alt.binaries.test").message == "211 0 1 0 alt.binaries.test"
    assert client.code("BODY") == 420


def test_a_login_happens_once(dial: Dial) -> None:
    with NewsServer(users={"bob": "secret"}) as server:
        client = dial(server)
        assert client.code("BODY <a@b>") == 480
        assert client.code("AUTHINFO USER bob") == 381
        assert client.code("AUTHINFO PASS secret") == 281
        assert client.code("AUTHINFO USER bob") == 502
        assert server.counts.logged_in == 1


def test_a_refused_login_begins_anew(dial: Dial) -> None:
    with NewsServer(users={"bob": "secret"}) as server:
        client = dial(server)
        assert client.code("AUTHINFO USER bob") == 381
        assert client.code("AUTHINFO PASS wrong") == 481
        assert client.code("AUTHINFO PASS secret") == 482


def test_without_users_any_login_is_taken(dial: Dial, server: NewsServer) -> None:
    client = dial(server)
    assert client.code("AUTHINFO USER anybody") == 381
    assert client.code("AUTHINFO PASS anything") == 281


def test_commands_may_be_pipelined_to_any_depth(
    dial: Dial, server: NewsServer, post: Post, contents: bytes
) -> None:
    server.add(post)
    client = dial(server)
    rounds = 40
    client.send(*(f"BODY <{each}>" for each in post.message_ids * rounds), "QUIT", "DATE")
    for _ in range(rounds):
        parts = [client.receive().data or b"" for _ in post.message_ids]
        assert b"".join(parts) == contents
    assert client.receive().status_code == 205
    assert client.hung_up()


def test_commands_may_arrive_in_any_pieces(dial: Dial, server: NewsServer) -> None:
    client = dial(server)
    for octet in b"date\r\nDATE\n":
        client.sock.sendall(bytes((octet,)))
    assert [client.receive().status_code for _ in range(2)] == [111, 111]


def test_articles_arrive_whole_over_tls(dial: Dial, post: Post, contents: bytes) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with NewsServer(tls=context, users={"bob": "secret"}) as server:
        server.add(post)
        client = dial(server, trusting)
        assert client.code("AUTHINFO USER bob") == 381
        assert client.code("AUTHINFO PASS secret") == 281
        client.send(*(f"BODY <{each}>" for each in post.message_ids * 20))
        for _ in range(20):
            parts = [client.receive().data or b"" for _ in post.message_ids]
            assert b"".join(parts) == contents
        assert client.code("QUIT") == 205
        assert client.hung_up()


def test_a_client_that_speaks_no_tls_is_dropped() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with (
        NewsServer(tls=context) as server,
        socket.create_connection((server.host, server.port), timeout=20) as sock,
    ):
        sock.sendall(b"CAPABILITIES\r\n")
        with suppress(ConnectionResetError):
            while alert := sock.recv(4096):
                assert not alert.startswith(b"200")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_it_listens_on_ipv6(dial: Dial) -> None:
    with NewsServer(host="::1") as server:
        assert dial(server).code("DATE") == 111


class TestConnectionLimit:
    def test_one_too_many_is_refused_in_the_greeting(self, dial: Dial) -> None:
        with NewsServer(max_connections=2) as server:
            first, _ = dial(server), dial(server)
            third = dial(server)
            assert third.greeting.status_code == 502
            assert third.hung_up()
            first.close()
            server.wait_for(lambda counts: counts.connections == 1)
            assert dial(server).greeting.status_code == 200
            counts = server.counts
            assert (counts.refused_connections, counts.peak_connections) == (1, 2)
            assert (counts.connections, counts.total_connections) == (2, 4)

    def test_who_has_left_is_counted_no_more_when_the_next_one_comes(self, dial: Dial) -> None:
        with NewsServer() as server, ExitStack() as others:
            leaver = dial(server)

            def connect() -> None:
                address = (server.host, server.port)
                others.enter_context(socket.create_connection(address))

            with server._site.changed:  # it can hear nobody for a while
                connect()
                connect()
                leaver.send("DATE")
                leaver.close()
                connect()
            counts = server.wait_for(lambda counts: counts.total_connections == 4)
            assert counts.peak_connections == 3

    def test_or_at_the_login(self, dial: Dial) -> None:
        users = {"bob": "secret"}
        with NewsServer(max_connections=1, limit_at=LimitAt.LOGIN, users=users) as server:
            codes = []
            for _ in range(2):
                client = dial(server)
                assert client.greeting.status_code == 200
                client.send("AUTHINFO USER bob", "AUTHINFO PASS secret")
                client.receive()
                codes.append(client.receive().status_code)
            assert codes == [281, 502]
            assert client.hung_up()

    def test_who_leaves_makes_room_for_a_login(self, dial: Dial) -> None:
        with NewsServer(max_connections=1, limit_at=LimitAt.LOGIN) as server:
            for _ in range(2):
                client = dial(server)
                client.log_in("bob", "secret")
                assert client.code("QUIT") == 205
                assert server.wait_for(lambda counts: counts.connections == 0).logged_in == 0

    def test_a_refusal_is_not_lost_behind_what_was_pipelined(self, dial: Dial) -> None:
        for _ in range(20):
            with NewsServer(max_connections=0, limit_at=LimitAt.LOGIN) as server:
                client = dial(server)
                client.send("AUTHINFO USER bob", "AUTHINFO PASS secret")
                client.send(*["BODY <a@b>"] * 5000)
                assert client.receive().status_code == 381
                assert client.receive().status_code == 502
                assert client.hung_up()

    def test_it_can_be_changed(self, dial: Dial, server: NewsServer) -> None:
        server.limit_connections(0)
        assert dial(server).greeting.status_code == 502
        server.limit_connections(None)
        assert dial(server).greeting.status_code == 200


def test_all_connections_can_be_dropped(dial: Dial, server: NewsServer) -> None:
    clients = [dial(server) for _ in range(3)]
    server.drop_connections()
    assert all(client.hung_up() for client in clients)
    assert server.wait_for(lambda counts: counts.connections == 0).total_connections == 3


def test_stopping_closes_what_is_open(dial: Dial) -> None:
    with NewsServer() as server:
        client = dial(server)
    assert client.hung_up()
    with pytest.raises(ConnectionRefusedError):
        dial(server)
    server.stop()


def test_a_server_that_was_never_started_can_be_stopped() -> None:
    NewsServer().stop()


def test_everything_asked_is_counted(dial: Dial, server: NewsServer, post: Post) -> None:
    server.add(post)
    first, second = post.message_ids[:2]
    one, two = dial(server), dial(server)
    one.body(first)
    two.body(second)
    one.body(first)
    two.code(f"STAT <{second}>")
    counts = server.counts
    assert counts.commands == {"BODY": 3, "STAT": 1}
    assert counts.bodies == {first: 2, second: 1}
    assert counts.stats == {second: 1}
    assert [(each.connection, each.command, each.argument) for each in counts.journal] == [
        (1, "BODY", first),
        (2, "BODY", second),
        (1, "BODY", first),
        (2, "STAT", second),
    ]
    assert [each.argument for each in counts.journal_of("STAT")] == [second]
    assert counts.bytes_sent > 3 * 60_000


def test_waiting_in_vain_says_what_the_counts_are(server: NewsServer) -> None:
    with pytest.raises(TimeoutError, match="total_connections=0"):
        server.wait_for(lambda counts: counts.connections == 7, timeout_s=0.01)


def test_posts_share_a_group(dial: Dial, server: NewsServer, post: Post, contents: bytes) -> None:
    other = make_post("other.mkv", contents[::-1], part_size=60_000)
    server.add(post, other)
    server.add(post)
    client = dial(server)
    assert client.ask("GROUP alt.binaries.test").message == "211 8 1 8 alt.binaries.test"
    bodies = [client.ask(f"BODY {at}").data for at in range(1, 9)]
    assert b"".join(each or b"" for each in bodies) == contents + contents[::-1]


def test_a_single_article_can_be_served(
    dial: Dial, server: NewsServer, post: Post, contents: bytes
) -> None:
    server.add(post.articles[post.message_ids[0]])
    assert dial(server).body(post.message_ids[0]) == contents[:60_000]


def test_counts_are_a_copy(dial: Dial, server: NewsServer) -> None:
    before: Counts = server.counts
    assert dial(server).code("DATE") == 111
    assert before.commands == {}


def test_the_decoder_of_the_gateway_reads_its_replies(dial: Dial, server: NewsServer) -> None:
    response: sabctools.NNTPResponse = dial(server).ask("CAPABILITIES")
    assert response.lines is not None
    assert response.lines[0] == "VERSION 2"
