"""What clients ask of a gateway that really runs: ranges, seeks, hang-ups, uploads, listings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from gateway_process import PASSWORD, USER, GatewayProcess, provider_settings, running_gateway

from gateway.demo import Fault, NewsServer, Post, Shape, make_posts

PART = 700_000
FOLDER = "/dav/content/movies/Some.Film.2026"
FILM = f"{FOLDER}/Some.Film.2026.mp4"
CONNECTIONS = 8


@contextlib.contextmanager
def showing(
    server: NewsServer, post: Post, data_dir: Path, **settings: str
) -> Iterator[GatewayProcess]:
    """Run a gateway that shows *post*; *settings* are without their prefix."""
    server.add(post)
    given = {
        **provider_settings(server.host, server.port, CONNECTIONS),
        **{f"GATEWAY_{name}": value for name, value in settings.items()},
    }
    with running_gateway(data_dir, given) as running:
        assert running.ask("PUT", "/dav/nzbs/movies/Some.Film.2026.nzb", post.nzb).status == 201
        wait_until(running, lambda: running.ask("HEAD", FILM).status == 200)
        yield running


@pytest.fixture(scope="module")
def news() -> Iterator[NewsServer]:
    with NewsServer() as server:
        yield server


@pytest.fixture(scope="module")
def shown(
    news: NewsServer, post: Post, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with showing(news, post, tmp_path_factory.mktemp("clients") / "data") as running:
        yield running


def wait_until(
    running: GatewayProcess, predicate: Callable[[], Any], timeout_s: float = 30.0
) -> Any:
    """Return what *predicate* gives as soon as that is true; the gateway must live so long."""
    deadline = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the gateway has ended with {running.process.wait(0.02)}")
    return found


def served(running: GatewayProcess) -> list[Any]:
    """Return the connections of clients that the gateway has not parted from yet.

    It closes a response, and the stream behind it, before it closes the socket.
    """
    every = psutil.Process(running.process.pid).net_connections("tcp")
    return [
        one for one in every if one.laddr.port == running.port and one.status != psutil.CONN_LISTEN
    ]


def bodies(server: NewsServer, *message_ids: str) -> int:
    """Return how many articles the server was asked for, or how often these."""
    asked = server.counts.bodies
    return sum(asked[each] for each in message_ids) if message_ids else sum(asked.values())


def history(running: GatewayProcess, name: str) -> Any:
    """Return the history's row of *name* as soon as it is there."""

    def row() -> Any:
        slots = running.api("history")["history"]["slots"]
        return next((slot for slot in slots if slot["name"] == name), None)

    return wait_until(running, row)


# Ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=699990-700009", 699_990, 700_010),  # from one article into the next
        ("bytes=100-2099999", 100, 2_100_000),
        ("bytes=-1", -1, None),
        ("bytes=-100000", -100_000, None),
        ("bytes=-99999999999", 0, None),
        ("bytes=28000000-", 28_000_000, None),
        ("bytes=28000000-99999999999999999999999", 28_000_000, None),
        ("bytes=5-9,100-200", 5, 10),  # of several the first
        ("bytes=99999999-,7-8", 7, 9),  # that can be had
        ("Bytes= 3-4", 3, 5),
    ],
)
def test_a_range_gives_exactly_its_bytes(
    shown: GatewayProcess, film: bytes, asked: str, start: int, stop: int | None
) -> None:
    answer = shown.ask("GET", FILM, headers={"Range": asked})
    wanted = film[start:stop]
    first = range(len(film))[start]
    assert answer.status == 206
    assert answer.body == wanted
    assert answer.headers["content-length"] == str(len(wanted))
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(film)}"


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0", "bytes=99999999-100000000"])
def test_a_range_behind_the_end_is_refused_with_the_length(
    shown: GatewayProcess, film: bytes, asked: str
) -> None:
    answer = shown.ask("GET", FILM, headers={"Range": asked})
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(film)}"


@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=abc", "bytes=", "items=0-1", "0-1"])
def test_what_is_no_range_gives_the_whole_film(
    shown: GatewayProcess, film: bytes, asked: str
) -> None:
    answer = shown.ask("GET", FILM, headers={"Range": asked})
    assert answer.status == 200
    assert "content-range" not in answer.headers
    assert answer.body == film


def test_a_range_of_another_version_gives_the_whole_film(
    shown: GatewayProcess, film: bytes
) -> None:
    head = shown.ask("HEAD", FILM).headers
    tag, date = head["etag"], head["last-modified"]

    def ask(version: str) -> tuple[int, int]:
        answer = shown.ask("GET", FILM, headers={"Range": "bytes=0-9", "If-Range": version})
        return answer.status, len(answer.body)

    assert {ask(tag), ask(date)} == {(206, 10)}
    for other in ('"another"', f"W/{tag}", "Thu, 01 Jan 1970 00:00:00 GMT", "nonsense"):
        assert ask(other) == (200, len(film)), other


def test_head_and_conditions_fetch_nothing(
    shown: GatewayProcess, news: NewsServer, film: bytes
) -> None:
    before = bodies(news)
    head = shown.ask("HEAD", FILM, headers={"Range": "bytes=0-9"})
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(film))
    assert head.headers["accept-ranges"] == "bytes"
    tag, date = head.headers["etag"], head.headers["last-modified"]
    for condition, status in [
        ({"If-None-Match": tag}, 304),
        ({"If-Modified-Since": date}, 304),
        ({"If-Match": '"another"'}, 412),
    ]:
        answer = shown.ask("GET", FILM, headers=condition)
        assert (answer.status, answer.body) == (status, b"")
    assert bodies(news) == before


# Players -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def far(
    post: Post, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[NewsServer, GatewayProcess]]:
    """A gateway that has read nothing of the film but its first article, over a long line."""
    data_dir = tmp_path_factory.mktemp("far") / "data"
    with (
        NewsServer(shape=Shape.premium()) as server,
        showing(server, post, data_dir) as running,
    ):
        yield server, running


@pytest.mark.system("ffprobe")
def test_a_probe_and_twenty_seeks_ask_for_few_articles(
    far: tuple[NewsServer, GatewayProcess], film: bytes
) -> None:
    server, running = far
    before = bodies(server)
    url = f"http://{USER}:{quote(PASSWORD)}@127.0.0.1:{running.port}{FILM}"
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-show_format", "-show_streams", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (probed.returncode, probed.stderr) == (0, "")
    assert "codec_type=video" in probed.stdout
    wait_until(running, lambda: not served(running))
    # The clip has 5, and what is under way when the probe hangs up arrives, too.
    assert bodies(server) - before <= 5 + 2 * CONNECTIONS

    rng = random.Random(20)
    before = bodies(server)
    for _ in range(20):
        at = rng.randrange(len(film) // PART) * PART + rng.randrange(PART - 1000)
        answer = running.ask("GET", FILM, headers={"Range": f"bytes={at}-{at + 999}"})
        assert (answer.status, answer.body) == (206, film[at : at + 1000])
    assert bodies(server) - before <= 20


def test_a_second_viewer_of_a_film_has_nothing_fetched(
    far: tuple[NewsServer, GatewayProcess], post: Post, film: bytes
) -> None:
    server, running = far
    digest = hashlib.sha256(film).digest()
    assert hashlib.sha256(running.ask("GET", FILM).body).digest() == digest
    before = bodies(server)
    assert set(post.files[0].message_ids) <= set(server.counts.bodies)
    with ThreadPoolExecutor(2) as viewers:
        for answer in viewers.map(running.ask, ["GET"] * 2, [FILM] * 2):
            assert hashlib.sha256(answer.body).digest() == digest
    assert bodies(server) == before


def test_thirty_viewers_who_hang_up_at_once_leave_nothing_behind(
    film: bytes, tmp_path: Path
) -> None:
    small = {f"Deleted.Scene.{number}.bin": bytes([number]) * 1000 for number in range(CONNECTIONS)}
    both = make_posts({"Some.Film.2026.mp4": film, **small}, part_size=PART)
    parts = both.files[0].message_ids
    others = [file.message_ids[0] for file in both.files[1:]]
    together = threading.Barrier(30, timeout=30)

    def hang_up(running: GatewayProcess) -> None:
        credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        at = random.Random(threading.get_ident()).randrange(len(film) // 2)
        viewer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        with viewer:
            viewer.sendall(
                f"GET {FILM} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={at}-\r\n"
                f"Authorization: Basic {credentials}\r\n\r\n".encode()
            )
            got = bytearray()
            while len(got) < 300_000:
                piece = viewer.recv(1 << 16)
                assert piece
                got += piece
            assert got.startswith(b"HTTP/1.1 206 ")
            together.wait()
            reset = struct.pack("ii", 1, 0)
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    with (
        NewsServer() as server,
        showing(server, both, tmp_path / "data", ARTICLE_CACHE="0") as running,
    ):
        with ThreadPoolExecutor(30) as viewers:
            list(viewers.map(hang_up, [running] * 30))
        wait_until(running, lambda: not served(running))
        left = bodies(server, *parts)

        # Every permit is there, and every connection: as many articles as there are of them are
        # under way at the same time.
        server.fail(Fault.SILENCE, *others, commands={"BODY"})
        with ThreadPoolExecutor(CONNECTIONS) as viewers:
            asked = [viewers.submit(running.ask, "GET", f"{FOLDER}/{name}") for name in small]
            server.wait_for(lambda counts: counts.stalled == CONNECTIONS)
            # The server has seen all by now that was on its way to it when they left.
            after = bodies(server, *parts)
            # On each connection one, and one on another that was opened in its place.
            assert after - left <= 2 * CONNECTIONS
            server.heal()
            assert [one.result().body for one in asked] == list(small.values())
        assert bodies(server, *parts) == after, "nobody waits for the parts of the film"
        assert server.counts.peak_connections <= CONNECTIONS
        answer = running.ask("GET", FILM, headers={"Range": "bytes=1000000-1000009"})
        assert answer.body == film[1_000_000:1_000_010]


# Listings ------------------------------------------------------------------------------------

# As rclone 1.75 sends it.
PROPFIND = (
    b'<?xml version="1.0"?>\n'
    b'<d:propfind  xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" '
    b'xmlns:nc="http://nextcloud.org/ns">\n<d:prop>\n<d:displayname />\n<d:getlastmodified />\n'
    b"<d:getcontentlength />\n<d:resourcetype />\n<d:getcontenttype />\n<oc:checksums />\n"
    b"<oc:permissions />\n</d:prop>\n</d:propfind>\n"
)


def test_a_folder_is_listed_as_rclone_asks_for_it(shown: GatewayProcess, film: bytes) -> None:
    answer = shown.ask("PROPFIND", f"{FOLDER}/", PROPFIND, {"Depth": "1"})
    assert answer.status == 207
    listed = answer.body.decode()
    hrefs = re.findall(r"<D:href>([^<]+)</D:href>", listed)
    assert hrefs == [f"{FOLDER}/", FILM, f"{FOLDER}/Some.Film.2026.srt"]
    assert f"<D:getcontentlength>{len(film)}</D:getcontentlength>" in listed
    assert listed.count("<D:collection/>") == 1


def test_a_browser_is_shown_links_down_to_the_film(shown: GatewayProcess) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    path = "/dav/"
    seen: list[str] = []
    while not path.endswith(".mp4"):
        page = shown.ask("GET", path, headers=browser)
        assert page.status == 200
        assert page.headers["content-type"].startswith("text/html")
        links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page.body.decode())
        wanted = ("content/", "movies/", "Some.Film.2026/", "Some.Film.2026.mp4")[len(seen)]
        path = next(href for href, name in links if name == wanted)
        seen.append(path)
    assert seen == ["/dav/content/", "/dav/content/movies/", f"{FOLDER}/", FILM]
    assert shown.ask("HEAD", path).headers["content-type"] == "video/mp4"


# Uploads -------------------------------------------------------------------------------------


def nzb_of(post: Post, name: str) -> bytes:
    """Return the post's NZB under a title of its own, padded until curl asks before it sends."""
    return post.nzb + f"<!-- {name} {'x' * (2 << 20)} -->".encode()


@pytest.mark.system("curl")
@pytest.mark.parametrize("way", ["to the folder", "to a name", "from a pipe"])
def test_curl_puts_an_nzb_and_it_is_imported(
    shown: GatewayProcess, post: Post, tmp_path: Path, way: str
) -> None:
    name = f"curl {way}"
    document = nzb_of(post, name)
    file = tmp_path / f"{name}.nzb"
    file.write_bytes(document)
    source, target = {
        "to the folder": (str(file), "/dav/nzbs/tv/"),
        "to a name": (str(file), f"/dav/nzbs/tv/{quote(name)}.nzb"),
        "from a pipe": ("-", f"/dav/nzbs/tv/{quote(name)}.nzb"),  # in chunks
    }[way]
    done = subprocess.run(
        [
            "curl", "-sS", "-u", f"{USER}:{PASSWORD}", "-T", source, "-w", "%{http_code}",
            "-o", os.devnull, f"{shown.url}{target}",
        ],
        input=document, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"201", b"")
    slot = history(shown, name)
    assert (slot["status"], slot["category"]) == ("Completed", "tv")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/dav/nzbs/movies/film.txt", 403, "'film.txt' is no NZB: put files ending in .nzb"),
        ("/dav/nzbs/film.nzb", 403, "belongs into a category: one of the folders here"),
        ("/dav/nzbs/filme/film.nzb", 409, "no such folder to put it into: those in /nzbs are the"),
        ("/dav/content/movies/film.nzb", 403, "the library is read-only: only /nzbs takes NZBs"),
        ("/dav/film.nzb", 403, "the library is read-only: only /nzbs takes NZBs"),
    ],
)
def test_an_nzb_in_the_wrong_place_is_refused_with_the_right_one(
    shown: GatewayProcess, post: Post, path: str, status: int, words: str
) -> None:
    answer = shown.ask("PUT", path, post.nzb)
    assert answer.status == status
    assert words in answer.body.decode()
    assert answer.body.count(b"\n") == 1


# rclone --------------------------------------------------------------------------------------

Rclone = Callable[..., bytes]


@pytest.fixture(params=["newest", "the system's"])
def rclone(request: pytest.FixtureRequest, shown: GatewayProcess, tmp_path: Path) -> Rclone:
    """Run rclone on the remote "gw:", and return its output. The newest comes as a wheel."""
    newest = str(Path(sys.executable).with_name("rclone"))
    program = newest if request.param == "newest" else "/usr/bin/rclone"

    def run(*words: str | Path, stdin: bytes = b"", environ: dict[str, str] | None = None) -> bytes:
        done = subprocess.run(
            [program, "--retries=1", *map(str, words)],
            env=environ or {**os.environ, "HOME": str(tmp_path)},
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    environ = {
        **os.environ,
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_GW_TYPE": "webdav",
        "RCLONE_CONFIG_GW_URL": f"{shown.url}/dav",
        "RCLONE_CONFIG_GW_VENDOR": "other",
        "RCLONE_CONFIG_GW_USER": USER,
        "RCLONE_CONFIG_GW_PASS": run("obscure", PASSWORD).decode().strip(),
    }
    return lambda *words, stdin=b"": run(*words, stdin=stdin, environ=environ)


@pytest.mark.system("rclone")
def test_rclone_lists_all_there_is(rclone: Rclone) -> None:
    # Of the 4,096 folders of .ids, those below one of sixteen: it asks for one after another.
    some = ("--exclude", "/.ids/[1-9a-f]/**")
    listed = rclone("lsf", "-R", *some, "gw:").decode().splitlines()
    expected = {"content/", "nzbs/", "nzbs/movies/", "content/movies/Some.Film.2026/"}
    expected |= {".ids/", ".ids/0/", ".ids/0/f/", ".ids/0/f/f/"}
    assert expected <= set(listed)
    assert FILM.removeprefix("/dav/") in listed
    assert len(listed) == len(set(listed))


@pytest.mark.system("rclone")
@pytest.mark.parametrize("ways", [1, 4])
def test_rclone_copies_the_film_byte_for_byte(
    rclone: Rclone, film: bytes, tmp_path: Path, ways: int
) -> None:
    copy = tmp_path / "copy.mp4"
    cutoff = "1M" if ways > 1 else "1G"
    several = [f"--multi-thread-streams={ways}", f"--multi-thread-cutoff={cutoff}"]
    rclone("copyto", *several, f"gw:{FILM.removeprefix('/dav/')}", copy)
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(film).digest()


@pytest.mark.system("rclone")
@pytest.mark.parametrize("way", ["copy", "rcat"])
def test_rclone_hands_in_an_nzb_and_it_is_imported(
    rclone: Rclone,
    shown: GatewayProcess,
    post: Post,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    way: str,
) -> None:
    name = f"rclone {way} {request.node.callspec.params['rclone']}"
    if way == "copy":
        (tmp_path / f"{name}.nzb").write_bytes(post.nzb)
        rclone("copy", tmp_path / f"{name}.nzb", "gw:nzbs/tv")
    else:
        rclone("rcat", f"gw:nzbs/tv/{name}.nzb", stdin=nzb_of(post, name))
    slot = history(shown, name)
    assert (slot["status"], slot["category"]) == ("Completed", "tv")
    assert f"{name}.nzb" in rclone("lsf", "gw:nzbs/tv").decode().splitlines()
