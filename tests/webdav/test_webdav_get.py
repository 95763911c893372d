"""Reading files over WebDAV: right bytes or an error, and nothing left open."""

from __future__ import annotations

import http.client
import threading
from typing import Any
from urllib.parse import quote

import pytest

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ConnectionLost,
    FileChanged,
    PermitTimeout,
)
from gateway.library.entries import FileEntry
from gateway.streams.holes import Holes
from gateway.streams.on_disk import FileLayout

FOLDER = "/content/movies/" + quote("Größe & Tücke; 100% +1 (2026)")
FILM = f"{FOLDER}/film.mkv"
SIZE = 1_234_567


def test_a_file_comes_whole(gateway: Any, bytes_of: Any) -> None:
    answer = gateway.ask("GET", FILM)
    assert answer.status == 200
    assert answer.body == bytes_of(SIZE)
    assert answer.headers["Content-Type"] == "video/x-matroska"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Last-Modified"] == "Tue, 01 Sep 2026 12:30:15 GMT"
    assert answer.headers["ETag"].startswith('"')
    assert gateway.streams.opened[0].closed.wait(20)
    assert [stream.closings for stream in gateway.streams.opened] == [1]


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=100000-199999", 100_000, 200_000),
        ("bytes=99999-100000", 99_999, 100_001),
        ("bytes=-500", SIZE - 500, SIZE),
        ("bytes=1234566-", SIZE - 1, SIZE),
        ("bytes=1000000-99999999999", 1_000_000, SIZE),
    ],
)
def test_a_range_comes_and_no_byte_more_is_opened(
    gateway: Any, bytes_of: Any, header: str, start: int, stop: int
) -> None:
    answer = gateway.ask("GET", FILM, Range=header)
    assert answer.status == 206
    assert answer.body == bytes_of(SIZE)[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert [stream.stop for stream in gateway.streams.opened] == [stop]


@pytest.mark.parametrize("header", ["bytes=5-2", "garbage", "bytes=0-x"])
def test_what_is_no_range_gives_the_whole_file(gateway: Any, header: str) -> None:
    answer = gateway.ask("GET", FILM, Range=header)
    assert (answer.status, len(answer.body)) == (200, SIZE)


def test_several_ranges_give_the_first(gateway: Any, bytes_of: Any) -> None:
    answer = gateway.ask("GET", FILM, Range="bytes=10-19,50-59")
    assert (answer.status, answer.body) == (206, bytes_of(SIZE)[10:20])


def test_head_304_412_and_416_open_no_stream(gateway: Any) -> None:
    head = gateway.ask("HEAD", FILM)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(SIZE)
    etag, date = head.headers["ETag"], head.headers["Last-Modified"]
    assert gateway.ask("GET", FILM, If_None_Match=etag).status == 304
    assert gateway.ask("GET", FILM, If_Modified_Since=date).status == 304
    # wsgidav 4.4.0 answers these two together with 412
    both = gateway.ask("GET", FILM, If_None_Match=etag, If_Modified_Since=date)
    assert both.status == 304
    assert gateway.ask("GET", FILM, If_Match='"other"').status == 412
    beyond = gateway.ask("GET", FILM, Range=f"bytes={SIZE}-")
    assert (beyond.status, beyond.body) == (416, b"")
    assert beyond.headers["Content-Range"] == f"bytes */{SIZE}"
    assert gateway.streams.opened == []


def test_if_range_gives_the_part_of_the_same_file_only(gateway: Any) -> None:
    etag = gateway.ask("HEAD", FILM).headers["ETag"]
    assert gateway.ask("GET", FILM, Range="bytes=0-9", If_Range=etag).status == 206
    assert gateway.ask("GET", FILM, Range="bytes=0-9", If_Range='"other"').status == 200


def test_a_file_of_no_bytes_is_sent_without_a_stream(gateway: Any) -> None:
    answer = gateway.ask("GET", f"{FOLDER}/film.srt", Range="bytes=0-")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-subrip"
    assert gateway.streams.opened == []


@pytest.mark.parametrize(
    "path",
    [
        "/content/movies/nothing/film.mkv",
        f"{FOLDER}/film",
        f"{FOLDER}/film.mkv/",
        f"{FOLDER}/film.mkv/x",
        f"{FOLDER}/._film.mkv",
        f"{FOLDER}/.DS_Store",
        "/content/none",
        "/elsewhere",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND", "OPTIONS"])
def test_what_is_not_there_is_404(gateway: Any, method: str, path: str) -> None:
    assert gateway.ask(method, path, Depth="0").status == 404


def test_what_finder_asks_for_beside_every_file_costs_no_query(gateway: Any) -> None:
    gateway.library.file = gateway.library.release = None  # calling them would fail
    assert gateway.ask("PROPFIND", f"{FOLDER}/._film.mkv", Depth="0").status == 404
    assert gateway.ask("GET", f"{FOLDER}/.DS_Store").status == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ArticleMissing("segment 1 of 13: 430 from all 3 providers"), 404),
        (ArticleDamaged("segment 1 of 13: CRC does not fit"), 502),
        (ConnectionLost("news.example.com:563 closed the connection"), 502),
        (PermitTimeout("no permit within 5 s: 0 of 20 free, 7 waiting"), 503),
    ],
)
def test_an_error_before_the_first_byte_is_a_clean_answer(
    gateway: Any, error: Exception, status: int
) -> None:
    def fail(_: object) -> None:
        raise error

    gateway.streams.before_read = fail
    answer = gateway.ask("GET", FILM, Range="bytes=0-")
    assert answer.status == status
    assert answer.body == f"{error}\n".encode()
    assert ("Retry-After" in answer.headers) is (status == 503)
    assert "Content-Range" not in answer.headers
    assert gateway.streams.opened[0].closed.wait(20)
    assert [stream.closings for stream in gateway.streams.opened] == [1]


def test_an_error_after_the_first_byte_cuts_the_connection(gateway: Any) -> None:
    def fail(stream: Any) -> None:
        if stream.position >= 600_000:
            raise ArticleMissing("segment 7 of 13: 430 from all 3 providers")

    gateway.streams.before_read = fail
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        gateway.ask("GET", FILM)
    assert gateway.streams.opened[0].closed.wait(20)
    assert gateway.ask("GET", FILM, Range="bytes=0-99").status == 206  # what lies before it
    gateway.streams.before_read = lambda _: None
    assert gateway.ask("GET", FILM, Range="bytes=700000-").status == 206  # and behind


def test_a_stream_that_ends_early_is_an_error_and_no_short_body(gateway: Any) -> None:
    def cut(stream: Any) -> None:
        stream.stop = min(stream.stop, 500_000)

    gateway.streams.before_read = cut
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        gateway.ask("GET", FILM)


@pytest.mark.parametrize("when", ["before the first byte", "in mid-body"])
@pytest.mark.parametrize("how", ["reset", "fin"])
def test_a_player_that_hangs_up_leaves_no_stream_open(
    gateway: Any, client_reset: Any, when: str, how: str
) -> None:
    reading, gone = threading.Event(), threading.Event()

    def wait(stream: Any) -> None:
        if when == "before the first byte" or stream.position:
            reading.set()
            assert gone.wait(10)

    gateway.streams.before_read = wait
    sock = gateway.raw(f"GET /dav{FILM} HTTP/1.1")
    assert reading.wait(20)
    client_reset(sock) if how == "reset" else sock.close()
    gone.set()
    assert gateway.streams.opened[0].closed.wait(20)
    assert gateway.streams.opened[0].closings == 1


def test_a_storm_of_aborts_leaves_no_stream_open_and_no_thread_lost(
    gateway: Any, client_reset: Any
) -> None:
    def storm(number: int) -> None:
        for turn in range(10):
            sock = gateway.raw(f"GET /dav{FILM} HTTP/1.1", "Range: bytes=1000-")
            if (number + turn) % 3:
                sock.recv(1 + turn * 1000)
            client_reset(sock) if turn % 2 else sock.close()

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    streams: list[Any] = []
    while len(streams) < len(gateway.streams.opened):  # some requests are heard late
        streams = list(gateway.streams.opened)
        for stream in streams:
            assert stream.closed.wait(20)
    assert {stream.closings for stream in streams} == {1}
    assert gateway.ask("GET", FILM, Range="bytes=0-9").status == 206


def test_beyond_the_limit_of_streams_the_next_gets_503_while_folders_are_listed(
    gateway: Any,
) -> None:
    started, release = threading.Semaphore(0), threading.Event()

    def wait(_: object) -> None:
        started.release()
        assert release.wait(30)

    gateway.streams.before_read = wait
    socks = [gateway.raw(f"GET /dav{FILM} HTTP/1.1") for _ in range(10)]  # of 20 responses
    for _ in socks:
        assert started.acquire(timeout=10)
    refused = gateway.ask("GET", FILM)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert gateway.ask("HEAD", FILM).status == 200
    assert gateway.ask("PROPFIND", FOLDER, Depth="1").status == 207
    release.set()
    for sock in socks:
        sock.close()


def test_a_browser_may_click_through_the_folders(gateway: Any) -> None:
    page = gateway.ask("GET", f"{FOLDER}/")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    text = page.body.decode()
    assert "Größe &amp; Tücke; 100% +1 (2026)" in text
    assert "Größe & " not in text
    assert f'href="/dav{FOLDER.replace("%28", "(").replace("%29", ")")}/film.mkv"' in text
    assert "1,234,567" in text
    root = gateway.ask("GET", "/").body.decode()
    assert 'href="/dav/content/"' in root
    assert 'href=".."' not in root
    head = gateway.ask("HEAD", "/content/")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("header", ["", "Basic", "Basic !", "Basic Z2F0ZXdheTp3cm9uZw=="])
def test_nobody_reads_without_credentials(gateway: Any, header: str) -> None:
    for method in ("GET", "PROPFIND", "PUT", "OPTIONS"):
        answer = gateway.ask(method, FILM, Authorization=header)
        assert answer.status == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]
    assert gateway.streams.opened == []


@pytest.mark.parametrize("path", ["/../x", "/content/%2e%2e/x", "/content/%zz", "/content/a%00b"])
def test_a_path_that_leads_out_is_answered_at_once(gateway: Any, path: str) -> None:
    assert gateway.ask("GET", path).status == 400
    assert gateway.ask("PUT", path, b"x").status == 400


def test_a_name_that_is_not_ours_is_not_answered_to(gateway: Any) -> None:
    assert gateway.ask("GET", FILM, Host="attacker.example").status == 403


def test_a_file_that_changes_between_two_looks_is_looked_at_again(
    gateway: Any, bytes_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def holes(file: FileEntry, _layout: FileLayout) -> Holes:
        looks.append(file)
        if len(looks) == 1:
            raise FileChanged("ask again")
        return Holes()

    monkeypatch.setattr(gateway.library, "holes", holes)
    answer = gateway.ask("GET", FILM, Range="bytes=5-9")
    assert (answer.status, answer.body) == (206, bytes_of(SIZE)[5:10])
    assert len(looks) == 2


def test_a_file_that_changes_without_end_is_asked_for_again_by_the_client(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def holes(file: FileEntry, _layout: FileLayout) -> Holes:
        raise FileChanged(f"{file.name} has changed")

    monkeypatch.setattr(gateway.library, "holes", holes)
    answer = gateway.ask("GET", FILM)
    assert (answer.status, answer.body) == (503, b"film.mkv has changed\n")
    assert "Retry-After" in answer.headers
