"""A mount that remembers what a folder holds is told when a hole appears, and looks again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway_process import API_KEY, GatewayProcess, provider_settings, running_gateway
from rclone_mount import SYSTEM, mounted

from bench.ports import free_port
from gateway.demo import NewsServer, Post, make_post
from gateway.streams.padding import Container, Kind

pytestmark = pytest.mark.system(SYSTEM, "fusermount3")
PART = 100_000
FILM = b"\x1a\x45\xdf\xa3" + random.Random(8).randbytes(120 * PART)


@dataclass
class Mounted:
    gateway: GatewayProcess
    news: NewsServer
    post: Post
    film: Path
    by_id: Path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Mounted]:
    """A gateway, and a mount that asks for a folder once, and not again within the hour."""
    rc_port = free_port()
    post = make_post("Film.2026.mkv", FILM, part_size=PART)
    point = tmp_path / "mount"
    point.mkdir()
    with NewsServer() as news:
        news.add(post)
        settings = {
            **provider_settings(news.host, news.port),
            "GATEWAY_CATEGORIES__MOVIES__ON_MISSING": "pad",
            "GATEWAY_ARTICLE_CACHE": "0",
            "GATEWAY_MOUNT_DIR": str(point),
            "GATEWAY_RCLONE__URL": f"http://127.0.0.1:{rc_port}",
        }
        options = (
            "--read-only", "--dir-cache-time=1h", "--poll-interval=0", "--vfs-cache-mode=off",
            "--rc", f"--rc-addr=127.0.0.1:{rc_port}", "--rc-no-auth",
        )  # fmt: skip
        with (
            running_gateway(tmp_path / "data", settings) as gateway,
            mounted(SYSTEM, gateway.url, point, *options),
        ):
            gateway.ask("PUT", "/dav/nzbs/movies/Film.2026.nzb", post.nzb)
            link = "/dav/completed-symlinks/movies/Film.2026/Film.2026.mkv.rclonelink"
            gateway.wait_until(lambda: gateway.ask("GET", link).status == 200)
            by_id = Path(gateway.ask("GET", link).body.decode())
            film = point / "content/movies/Film.2026/Film.2026.mkv"
            yield Mounted(gateway, news, post, film, by_id)


def check(gateway: GatewayProcess) -> None:
    headers = {"X-Api-Key": API_KEY, "Content-Type": "application/json"}
    answer = gateway.ask("POST", "/api/gateway/checks", b"{}", headers)
    asked = json.loads(answer.body)["id"]

    def is_done() -> bool:
        status = json.loads(gateway.ask("GET", "/api/gateway/checks", headers=headers).body)
        return any(one["id"] == asked and one["finished"] for one in status["requests"])

    gateway.wait_until(is_done)


def test_a_mount_reads_a_film_again_when_a_hole_appears_in_it_and_when_it_heals(
    house: Mounted,
) -> None:
    ways = [house.film, house.by_id]
    assert [way.read_bytes() == FILM for way in ways] == [True, True]
    before = [way.stat().st_mtime for way in ways]
    house.news.remove([house.post.files[0].message_ids[60]])
    check(house.gateway)
    hole = slice(60 * PART, 61 * PART)
    holed = bytearray(FILM)
    holed[hole] = Container(Kind.MATROSKA).fill(60 * PART, 61 * PART)
    for way, was in zip(ways, before, strict=True):
        house.gateway.wait_until(lambda way=way, was=was: way.stat().st_mtime > was)  # type: ignore[misc]
        assert way.read_bytes() == bytes(holed)
    between = house.film.stat().st_mtime
    house.news.add(house.post)
    check(house.gateway)
    house.gateway.wait_until(lambda: house.film.stat().st_mtime > between)
    assert house.film.read_bytes() == FILM
