"""The demo VOD service behaves as real ones do, counts who is connected, and fails when told to."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psutil
import pytest

from gateway.demo.xtream import Episode, Movie, Series, Trouble, XtreamServer, spawn

SIZE = 1_500_636_194
FILM = "/movie/bob/secret/4711.mkv"
Get = Callable[..., http.client.HTTPResponse]


def header(answer: http.client.HTTPResponse, name: str) -> str | None:
    """Return a header of *answer*, all of which has been received then."""
    answer.read()
    return answer.headers[name]


def begin(server: XtreamServer) -> socket.socket:
    """Ask for the film, return the connection once it has begun to come."""
    client = socket.create_connection((server.host, server.port))
    client.sendall(f"GET {FILM} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    return client


@pytest.fixture
def server() -> Iterator[XtreamServer]:
    with XtreamServer({"bob": ("secret", 1), "ann": ("word", 2)}) as server:
        server.add(Movie(4711, size=SIZE), Movie(12, size=3_000_000))
        server.add(Series(7, "A Series", (Episode(71, 1, 1, size=9), Episode(72, 1, 2))))
        yield server


@pytest.fixture
def get(server: XtreamServer) -> Iterator[Get]:
    """A function that asks on a connection of its own: get(path, range, method, **headers)."""
    with ExitStack() as stack:

        def ask(
            path: str = FILM, range_: str = "", method: str = "GET", **headers: str
        ) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
            stack.callback(connection.close)
            if range_:
                headers["Range"] = f"bytes={range_}"
            connection.request(method, path, headers=headers)
            return stack.enter_context(connection.getresponse())

        yield ask


def test_content_is_the_same_whatever_range_asks_for_it(server: XtreamServer, get: Get) -> None:
    film = server.content(4711)
    assert film.size == SIZE
    around = film.read(2**20 - 10, 20)
    assert around == film.read(2**20 - 10, 10) + film.read(2**20, 10)
    assert film.read(0, 1000) != film.read(2**20, 1000) != film.read(2**21, 1000)
    for range_, start, count in [
        ("0-99", 0, 100),
        (f"{SIZE - 983}-", SIZE - 983, 983),
        ("-500", SIZE - 500, 500),
        ("1048570-1048589", 1_048_570, 20),
        (f"{SIZE - 3}-{SIZE + 50}", SIZE - 3, 3),
    ]:
        answer = get(range_=range_)
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + count - 1}/{SIZE}"
        assert answer.read() == film.read(start, count)


def test_a_range_beyond_the_end_is_416_and_head_has_no_body(get: Get) -> None:
    answer = get(range_=f"{SIZE}-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    head = get(method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(SIZE))


def test_if_range_of_another_film_gets_all_of_it(server: XtreamServer, get: Get) -> None:
    path = "/movie/bob/secret/12.mkv"
    etag = header(get(path, "0-0"), "ETag")
    assert etag is not None
    assert get(path, "5-9", **{"If-Range": etag}).read() == server.content(12).read(5, 5)
    assert get(path, "5-9", **{"If-Range": '"other"'}).read() == server.content(12).read()


def test_bytes_that_were_given_are_served(server: XtreamServer, get: Get) -> None:
    server.add(Movie(13, given=b"real bytes", extension="mp4"))
    answer = get("/movie/bob/secret/13.mp4", "5-")
    assert (answer.headers["Content-Type"], answer.read()) == ("video/mp4", b"bytes")


def test_one_stream_above_the_limit_is_refused_and_counted(server: XtreamServer, get: Get) -> None:
    get().read(10)
    assert get().status == 403
    assert get(method="HEAD").status == 200
    counts = server.counts("bob")
    assert (counts.open, counts.most, counts.offences) == (1, 1, 1)


def test_a_client_that_closes_and_comes_back_has_one_stream(server: XtreamServer) -> None:
    for turn in range(40):
        client = begin(server)
        if turn % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    counts = server.counts("bob")
    assert (counts.open, counts.most, counts.total, counts.offences) == (0, 1, 40, 0)


def test_the_end_of_a_body_frees_the_place_before_the_next_request(get: Get) -> None:
    for _ in range(40):
        assert len(get("/movie/bob/secret/12.mkv", "0-500000").read()) == 500_001


def test_a_client_that_goes_is_noticed_without_a_byte_being_asked_for(
    server: XtreamServer,
) -> None:
    server.fail(Trouble.STALL, after=100)
    client = begin(server)
    server.wait_for(lambda s: s.held == 1)
    client.close()
    server.wait_for(lambda s: s.requests[0].ended == "client left" and not s.held)
    assert server.requests[0].sent == 100


def test_the_log_tells_what_was_asked_and_how_it_ended(server: XtreamServer, get: Get) -> None:
    get(range_="0-9").read()
    get("/movie/bob/wrong/4711.mkv")
    get("/series/ann/word/71.mkv").read()
    get("/movie/ann/word/71.mkv")
    server.wait_for(lambda s: all(each.ended != "open" for each in s.requests))
    assert [(a.account, a.target, a.range, a.status, a.sent, a.ended) for a in server.requests] == [
        ("bob", "4711", "bytes=0-9", 206, 10, "whole"),
        ("", "4711", None, 401, 0, "refused"),
        ("ann", "71", None, 200, 9, "whole"),
        ("ann", "71", None, 404, 0, "refused"),
    ]


def test_streams_fail_as_they_are_told(server: XtreamServer, get: Get) -> None:
    server.fail(Trouble.REFUSE, status=458, times=1)
    assert get().status == 458
    server.fail(Trouble.CUT, after=1000, times=1, account="bob")
    with pytest.raises(http.client.IncompleteRead) as cut:
        get(range_="0-9999").read()
    assert len(cut.value.partial) == 1000
    server.fail(Trouble.IGNORE_RANGE, times=1, target="12")
    assert get("/movie/bob/secret/12.mkv", "7-9").read() == server.content(12).read()
    server.fail(Trouble.CHANGE_ETAG, times=1)
    tags = [header(get(range_="0-0"), "ETag") for _ in range(2)]
    assert tags[0] != tags[1]
    server.fail(Trouble.NO_ETAG, times=1)
    assert header(get(range_="0-0"), "ETag") is None
    server.fail(Trouble.OTHER_RANGE, after=5, times=1)
    assert header(get(range_="0-9"), "Content-Range") == f"bytes 5-9/{SIZE}"
    server.fail(Trouble.SLOW, rate=1 << 20, times=1)
    assert get(range_="0-99999").read() == server.content(4711).read(0, 100_000)
    server.fail(Trouble.SILENCE, seconds=0.01, times=1)
    assert get(range_="0-9").read() == server.content(4711).read(0, 10)
    with pytest.raises(ValueError, match="cannot happen"):
        server.fail(Trouble.SLOW, api=True)


def test_a_redirect_leads_to_a_path_that_serves(server: XtreamServer, get: Get) -> None:
    server.fail(Trouble.REDIRECT)
    answer = get(range_="0-9")
    assert answer.status == 302
    path = answer.headers["Location"].removeprefix(server.url)
    assert "secret" not in path
    assert get(path, "10-19").read() == server.content(4711).read(10, 10)
    assert server.counts("bob").total == 1


def test_the_catalogue_says_what_there_is(server: XtreamServer, get: Get) -> None:
    def ask(query: str, user: str = "username=ann&password=word") -> object:
        return json.loads(get(f"/player_api.php?{user}&{query}").read())

    assert ask("", "username=ann&password=no") == {"user_info": {"auth": 0}}
    match ask(""):
        case {"user_info": {"auth": 1, "max_connections": "2"}, "server_info": {"port": str()}}:
            pass
        case other:
            pytest.fail(str(other))
    match ask("action=get_vod_streams&category_id=1"):
        case [{"stream_id": 4711, "category_id": "1", "direct_source": source}, {"stream_id": 12}]:
            assert source == server.movie_url("ann", 4711)
        case other:
            pytest.fail(str(other))
    assert ask("action=get_vod_streams&category_id=99") == []
    match ask("action=get_series_info&series_id=7"):
        case {"episodes": {"1": [{"id": "71"}, {"id": "72", "episode_num": 2}]}}:
            pass
        case other:
            pytest.fail(str(other))
    assert ask("action=get_vod_info&vod_id=99999") == {"info": [], "movie_data": []}
    assert ask("action=get_live_streams") == []


def test_the_catalogue_fails_as_it_is_told(server: XtreamServer, get: Get) -> None:
    path = "/player_api.php?username=bob&password=secret"
    server.fail(Trouble.ANSWER, api=True, body=b"<html>", content_type="text/html", times=1)
    assert get(path).read() == b"<html>"
    server.fail(Trouble.REFUSE, api=True, status=500, target="get_series", times=1)
    assert get(path).status == 200
    assert get(f"{path}&action=get_series").status == 500
    server.fail(Trouble.CUT, api=True, after=3, times=1)
    with pytest.raises(http.client.IncompleteRead):
        get(path).read()
    server.fail(Trouble.ANSWER, api=True, body=b"[", endless=True, times=1)
    assert get(path).read(1_000_000) == b"[" * 1_000_000


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait for what another process does: it rings no bell for us."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_it_runs_as_a_process_of_its_own_and_tells_what_it_did() -> None:
    with spawn({"bob": ("secret", 1)}, {4711: SIZE}) as server:
        server.fail(Trouble.STALL, after=5, times=1)
        connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        with closing(connection):
            connection.request("GET", FILM, headers={"Range": "bytes=0-9"})
            answer = connection.getresponse()
            assert len(answer.read(5)) == 5
            assert server.counts("bob").open == 1
            eventually(lambda: server.report()["held"] == 1)
            server.release()
            assert len(answer.read()) == 5
        server.heal()
        assert server.report()["cpu_s"] > 0
        eventually(lambda: server.counts("bob").open == 0)
        eventually(lambda: server.counts("bob").bytes_sent == 10)
    assert not psutil.pid_exists(server.pid)
