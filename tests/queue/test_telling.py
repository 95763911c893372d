"""An *arr and rclone are told that an item has ended: over HTTP, off the workers' threads."""

from __future__ import annotations

import base64
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.demo import NewsServer, make_post
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.listeners import Arr, Rclone
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.telling import Ended, Listener, NotTold, Teller

SECRET = "hunter2-is-secret"
FILM = Ended("movies", "A Film (2026)", completed=True)
FLOP = Ended("movies", "A Flop", completed=False)


class Told:
    """A server that is told: keeps each request, and answers as a test says."""

    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[tuple[str, dict[str, str], Any]] = queue.SimpleQueue()
        self.answers: dict[str, tuple[int, object]] = {}
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answer = told.answers.get(self.path, (200, {}))
                sent = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                # First: once it is answered, the next request may come on another thread.
                told.requests.put((self.path, headers, json.loads(body)))
                self.wfile.write(sent)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def next(self) -> tuple[str, dict[str, str], Any]:
        return self.requests.get(timeout=20)


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    thread = threading.Thread(target=told.server.serve_forever, args=(0.01,))
    thread.start()
    yield told
    told.server.shutdown()
    told.server.server_close()
    thread.join(10)


class Scripted:
    """A listener that fails as often as a test says."""

    name = "scripted"

    def __init__(self, *errors: NotTold) -> None:
        self.errors = list(errors)
        self.heard: queue.SimpleQueue[Sequence[Ended] | None] = queue.SimpleQueue()

    def tell(self, ended: Sequence[Ended] | None) -> None:
        self.heard.put(ended)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def tell(clock: Any) -> Iterator[Callable[..., Teller]]:
    """Start a teller of some listeners, by the clock of the test."""
    tellers = []

    def start(*listeners: Listener) -> Teller:
        teller = Teller(listeners, clock=clock)
        tellers.append(teller)
        teller.start()
        return teller

    yield start
    for teller in tellers:
        teller.stop(10)


# The *arr


@pytest.mark.parametrize(("kind", "api"), [("sonarr", "v3"), ("radarr", "v3"), ("lidarr", "v1")])
def test_an_arr_is_made_to_ask_its_download_clients(told: Told, kind: str, api: str) -> None:
    Arr("tv", kind, f"{told.url}/base", SECRET).tell([FILM])
    path, headers, body = told.next()
    assert (path, body) == (f"/base/api/{api}/command", {"name": "RefreshMonitoredDownloads"})
    assert headers["x-api-key"] == SECRET


@pytest.mark.parametrize(
    ("status", "words", "again"),
    [
        (401, "refused us (401): check GATEWAY_ARR__TV__API_KEY", False),
        (302, "leads elsewhere (302): write the address that it has", False),
        (404, "/api/v3/command does not exist (404): check its address", False),
        (503, "answered with status 503", True),
    ],
)
def test_a_refusal_says_what_to_do_and_never_the_key(
    told: Told, status: int, words: str, again: bool
) -> None:
    told.answers["/api/v3/command"] = (status, {"error": SECRET})
    with pytest.raises(NotTold) as caught:
        Arr("tv", "sonarr", told.url, SECRET).tell([FILM])
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.again is again


def test_nobody_there_is_told_in_a_sentence() -> None:
    with pytest.raises(NotTold, match=r"^http://127\.0\.0\.1:1 does not answer \(\w+\)$") as caught:
        Arr("tv", "sonarr", "http://127.0.0.1:1", SECRET).tell([FILM])
    assert caught.value.again


# rclone


def test_a_mount_forgets_what_lies_beside_the_new_release_and_nothing_else(told: Told) -> None:
    told.answers["/vfs/list"] = (200, {"vfses": ["nzb:", "other:content"]})
    Rclone(told.url, "bob", "pässword").tell([FILM, FLOP])
    path, headers, _ = told.next()
    assert path == "/vfs/list"
    login = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert login == "bob:pässword"
    assert told.next()[::2] == (
        "/vfs/forget",
        {
            "fs": "nzb:",
            "dir0": ".ids",
            "dir1": "content/movies/A Film (2026)",
            "dir2": "completed-symlinks/movies/A Film (2026)",
        },
    )
    _, _, of_folder = told.next()
    assert (of_folder["fs"], of_folder["dir1"]) == ("other:content", "movies/A Film (2026)")


def test_of_a_film_with_other_bytes_a_mount_forgets_where_it_lies_and_an_arr_is_not_told(
    told: Told,
) -> None:
    changed = Ended("movies", "A Film (2026)", completed=True, changed="0a1b" * 8)
    told.answers["/vfs/list"] = (200, {"vfses": ["nzb:", "other:content"]})
    Arr("tv", "sonarr", told.url, SECRET).tell([changed])
    Rclone(told.url, None, None).tell([changed, changed])
    assert told.next()[0] == "/vfs/list"
    folders = {"dir0": "content/movies/A Film (2026)", "dir1": ".ids/0/a/1"}
    assert told.next()[2] == {"fs": "nzb:", **folders}
    assert told.next()[2]["dir0"] == "movies/A Film (2026)"
    Rclone(told.url, None, None).tell([changed, FILM])
    assert told.next()[0] == "/vfs/list"
    assert ".ids" in told.next()[2].values()


def test_of_a_release_that_was_removed_a_mount_forgets_its_folders_and_an_arr_is_not_told(
    told: Told,
) -> None:
    removed = Ended("movies", "A Film (2026)", completed=True, removed=True)
    told.answers["/vfs/list"] = (200, {"vfses": ["nzb:"]})
    Arr("tv", "sonarr", told.url, SECRET).tell([removed])
    Rclone(told.url, None, None).tell([removed])
    assert told.next()[0] == "/vfs/list"
    assert set(told.next()[2].values()) == {
        "nzb:",
        ".ids",
        "content/movies/A Film (2026)",
        "completed-symlinks/movies/A Film (2026)",
    }


def test_a_mount_is_told_nothing_of_what_failed(told: Told) -> None:
    Rclone(told.url, None, None).tell([FLOP])
    assert told.requests.empty()


def test_a_mount_forgets_everything_when_nobody_remembers_what_was_new(told: Told) -> None:
    told.answers["/vfs/list"] = (200, {"vfses": ["nzb:"]})
    Rclone(told.url, None, None).tell(None)
    assert "authorization" not in told.next()[1]
    assert told.next()[2] == {"fs": "nzb:"}


# Retries


def test_who_cannot_be_told_is_told_again_later_of_everything(
    tell: Callable[..., Teller], clock: Any, wait_until: Callable[..., None], said: list[str]
) -> None:
    down, well = Scripted(NotTold("down")), Scripted()
    teller = tell(down, well)
    teller.ended(FILM)
    assert down.heard.get(timeout=20) == [FILM]
    assert well.heard.get(timeout=20) == [FILM], "nobody waits for another"
    wait_until(lambda: said)
    assert said == ["INFO scripted is told again in 1 s: down"]
    teller.ended(FLOP)
    assert well.heard.get(timeout=20) == [FLOP]
    assert down.heard.empty(), "its pause is not over"
    clock.now += 1
    teller.wake()
    assert down.heard.get(timeout=20) == [FILM, FLOP]


def test_after_some_attempts_it_is_given_up_until_the_next_item_ends(
    tell: Callable[..., Teller], clock: Any, wait_until: Callable[..., None], said: list[str]
) -> None:
    down = Scripted(*(NotTold("down") for _ in range(5)))
    teller = tell(down)
    teller.ended(FILM)
    for attempt in range(1, 6):
        assert down.heard.get(timeout=20) == [FILM]
        wait_until(lambda attempt=attempt: len(said) == attempt)
        clock.now += 120
        teller.wake()
    assert said[-1] == "WARNING scripted was not told of what has ended: down"
    teller.ended(FLOP)
    assert down.heard.get(timeout=20) == [FLOP]


def test_what_is_wrong_for_good_is_not_tried_again(
    tell: Callable[..., Teller], wait_until: Callable[..., None], said: list[str]
) -> None:
    wrong = Scripted(NotTold("refused", again=False))
    tell(wrong).ended(FILM)
    wait_until(lambda: said)
    assert said == ["WARNING scripted was not told of what has ended: refused"]


def test_only_so_much_is_remembered_for_one_who_is_down(
    tell: Callable[..., Teller], clock: Any, wait_until: Callable[..., None], said: list[str]
) -> None:
    down = Scripted(NotTold("down"))
    teller = tell(down)
    teller.ended(FILM)
    wait_until(lambda: said)
    for number in range(300):
        teller.ended(Ended("movies", f"Film {number}", completed=True))
    clock.now += 1
    teller.wake()
    assert [down.heard.get(timeout=20) for _ in range(2)] == [[FILM], None]


def test_without_listeners_there_is_no_thread() -> None:
    teller = Teller([])
    before = set(threading.enumerate())
    teller.start()
    teller.ended(FILM)
    assert set(threading.enumerate()) <= before
    teller.stop()


# The queue


def test_a_worker_tells_of_what_is_completed_and_of_what_failed(
    server: NewsServer, store: JobStore, importer: Any, clock: Any
) -> None:
    heard: queue.SimpleQueue[Item] = queue.SimpleQueue()
    processor = Processor(store, importer, 1, ended=heard.put, clock=clock)
    jobs = Queue(store, processor)
    processor.start()
    try:
        film, flop = (make_post(f"{name}.mkv", b"film" * 99) for name in ("a", "b"))
        server.add(film)
        for number, post in enumerate((film, flop)):
            jobs.add(post.nzb, filename=f"Film.{number}.nzb", category="movies")
        ended = [heard.get(timeout=20) for _ in range(2)]
    finally:
        assert processor.stop(20)
    assert [(item.name, item.state) for item in ended] == [
        ("Film.0", State.COMPLETED),
        ("Film.1", State.FAILED),
    ]


def test_nothing_secret_is_logged(
    told: Told, tell: Callable[..., Teller], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told.answers["/vfs/list"] = (200, {"vfses": ["nzb:"]})
    told.answers["/api/v3/command"] = (401, {})
    teller = tell(Rclone(told.url, "bob", SECRET), Arr("tv", "sonarr", told.url, SECRET))
    teller.ended(FILM)
    assert [told.next()[0] for _ in range(3)] == ["/vfs/list", "/vfs/forget", "/api/v3/command"]
    teller.stop(10)
    assert "was not told" in caplog.text
    assert SECRET not in caplog.text
