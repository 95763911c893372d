"""Viewers of a running gateway who hang up, pause, or come in numbers, through the WebDAV door."""

from __future__ import annotations

import http.client
import random
import signal
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from gateway_process import (
    API_KEY,
    PASSWORD,
    USER,
    GatewayProcess,
    provider_settings,
    running_gateway,
)

from gateway.demo import Counts, Fault, NewsServer, Post, make_post

PART = 700_000
CONTENT = random.Random(4).randbytes(24 << 20)
FILM, OTHER = (f"/dav/content/movies/{name}/{name}.mkv" for name in ("film", "other"))


@pytest.fixture(scope="module")
def posts() -> dict[str, Post]:
    return {name: make_post(f"{name}.mkv", CONTENT, part_size=PART) for name in ("film", "other")}


@contextmanager
def site(
    tmp_path: Path, posts: dict[str, Post], **settings: str
) -> Iterator[tuple[NewsServer, GatewayProcess]]:
    """Run a gateway with both films in its library, and no memory of their articles."""
    with NewsServer() as news:
        news.add(*posts.values())
        given = provider_settings(news.host, news.port) | {
            f"GATEWAY_{name}": value for name, value in {"ARTICLE_CACHE": "0", **settings}.items()
        }
        with running_gateway(tmp_path / "data", given) as gateway:
            for name, post in posts.items():
                assert gateway.ask("PUT", f"/dav/nzbs/movies/{name}.nzb", post.nzb).status == 201
            while len(slots := gateway.api("history")["history"]["slots"]) < len(posts):
                gateway._pause(0.05)
            assert {slot["status"] for slot in slots} == {"Completed"}
            yield news, gateway


class Viewer:
    """A player with a small buffer."""

    def __init__(self, gateway: GatewayProcess, path: str, begin: int = 0) -> None:
        self.responses: list[http.client.HTTPResponse] = []
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", gateway.port))
        credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        lines = (
            f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Basic {credentials}",
            f"Range: bytes={begin}-",
        )  # fmt: skip
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def response(self) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(self.socket, method="GET")
        self.responses.append(response)
        response.begin()
        return response

    def leave(self, how: str) -> None:
        if how == "reset":
            option = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.close()

    def close(self) -> None:
        for response in self.responses:
            response.close()
        self.socket.close()


Watch: TypeAlias = Callable[..., Viewer]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Give what makes viewers, and close their connections at the end."""
    with ExitStack() as stack:
        yield lambda *which: stack.enter_context(closing(Viewer(*which)))


def figure(gateway: GatewayProcess, name: str) -> float:
    text = gateway.ask("GET", "/metrics", headers={"X-Api-Key": API_KEY}).body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def wait_for(gateway: GatewayProcess, name: str, value: float) -> None:
    deadline = time.monotonic() + 15
    while (seen := figure(gateway, name)) != value:
        assert time.monotonic() < deadline, f"{name} is {seen}"
        gateway._pause(0.02)


def _was_asked_for(message_id: str, counts: Counts) -> bool:
    return counts.bodies[message_id] > 0


def test_a_viewer_who_is_gone_frees_its_place_while_the_provider_hangs(
    tmp_path: Path, posts: dict[str, Post], watch: Watch
) -> None:
    # One stream at a time, and a read waits for longer than the test may take.
    with site(tmp_path, posts, RESPONSES="2", READ_TIMEOUT="10m") as (news, gateway):
        # Each time another hole, before the last one: what was given up may still be on its way.
        for hole, how, seen in (
            (26, "reset", 0), (24, "fin", 0), (22, "reset", 22 * PART), (20, "fin", 20 * PART),
        ):  # fmt: skip
            article = posts["film"].files[0].message_ids[hole]
            news.fail(Fault.STALL, article)
            viewer = watch(gateway, FILM, hole * PART - seen)
            if seen:  # it hangs in the middle
                assert viewer.response().read(seen) == CONTENT[:seen]
            news.wait_for(partial(_was_asked_for, article))
            assert gateway.ask("GET", OTHER).status == 503
            viewer.leave(how)
            wait_for(gateway, "nzb_gateway_http_streams", 0)
            wait_for(gateway, "nzb_gateway_streams_active", 0)
            answer = gateway.ask("GET", OTHER, headers={"Range": "bytes=5-9"})
            assert (answer.status, answer.body) == (206, CONTENT[5:10])
            wait_for(gateway, "nzb_gateway_http_streams", 0)
        assert figure(gateway, "nzb_gateway_http_hang_ups_total") == 4
        assert figure(gateway, "nzb_gateway_http_streams_refused_total") == 4


def test_a_paused_viewer_holds_nothing_ahead_and_goes_on_byte_for_byte(
    tmp_path: Path, posts: dict[str, Post], watch: Watch
) -> None:
    with site(tmp_path, posts, SUSPEND="0.3s", RESPONSES="2") as (news, gateway):
        viewer = watch(gateway, FILM)
        response = viewer.response()
        seen = response.read(1 << 20)
        wait_for(gateway, "nzb_gateway_http_streams_suspended", 1)
        assert figure(gateway, "nzb_gateway_readahead_bytes") == 0
        assert figure(gateway, "nzb_gateway_streams_active") == 1
        news.drop_connections()  # nothing of it is on its way any more
        seen += response.read()
        assert seen == CONTENT
        wait_for(gateway, "nzb_gateway_http_streams", 0)
        # One that never comes back is cut as soon as its place is wanted.
        paused = watch(gateway, FILM).response()
        wait_for(gateway, "nzb_gateway_http_streams_suspended", 1)
        while (answer := gateway.ask("GET", OTHER, headers={"Range": "bytes=0-0"})).status == 503:
            gateway._pause(0.05)
        assert answer.body == CONTENT[:1]
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            paused.read()


def test_short_answers_go_on_while_every_place_for_viewers_is_taken(
    tmp_path: Path, posts: dict[str, Post], watch: Watch
) -> None:
    with site(tmp_path, posts, RESPONSES="8") as (_, gateway):
        viewers = [watch(gateway, FILM) for _ in range(4)]
        responses = [viewer.response() for viewer in viewers]  # and they read no further
        assert figure(gateway, "nzb_gateway_http_streams_limit") == 4
        for _ in range(5):
            assert gateway.ask("GET", "/healthz").status == 200
            assert (
                gateway.ask("PROPFIND", "/dav/content/movies/", headers={"Depth": "1"}).status
                == 207
            )
            assert gateway.ask("HEAD", FILM).status == 200
            refused = gateway.ask("GET", FILM)
            assert refused.status == 503
            assert refused.headers["retry-after"] == "5"
        for viewer, response in zip(viewers, responses, strict=True):
            assert response.read(PART) == CONTENT[:PART]
            viewer.leave("reset")
        wait_for(gateway, "nzb_gateway_http_streams", 0)


def test_sigterm_lets_a_fast_viewer_finish_and_cuts_a_slow_a_paused_and_a_stalled_one(
    tmp_path: Path, posts: dict[str, Post], watch: Watch
) -> None:
    with site(tmp_path, posts, DRAIN="2s", READ_TIMEOUT="10m") as (news, gateway):
        news.fail(Fault.STALL, posts["other"].files[0].message_ids[5])
        fast, slow, paused = (watch(gateway, FILM) for _ in range(3))
        stalled = watch(gateway, OTHER)
        begun = [viewer.response() for viewer in (fast, slow, paused, stalled)]
        news.wait_for(lambda counts: counts.stalled)
        begin = begun[0].read(20 << 20)
        stopped = threading.Event()

        def trickle() -> bytes:
            data = bytearray()
            while piece := begun[1].read(32 << 10):
                data += piece
                stopped.wait(0.05)
            return bytes(data)

        with ThreadPoolExecutor(3) as watching:
            slow_film = watching.submit(trickle)
            gateway.process.send_signal(signal.SIGTERM)
            fast_film = watching.submit(begun[0].read)
            stalled_film = watching.submit(begun[3].read)
            assert gateway.process.wait(20) == 0
            stopped.set()
            assert begin + fast_film.result(20) == CONTENT
            for cut in (slow_film, stalled_film, watching.submit(begun[2].read)):
                with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
                    cut.result(20)
