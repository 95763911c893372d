"""A gateway that is killed by `kill -9` again and again loses nothing and publishes nothing twice.

CRASH_KILLS sets how often; each kill comes at a moment left to chance, seeded by CRASH_SEED.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from gateway_process import API_KEY, GatewayProcess, provider_settings, running_gateway
from stored_archives import in_7z, in_rar5

from gateway.demo import NewsServer, Post, Shape, make_posts

KILLS = int(os.environ.get("CRASH_KILLS", "6"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
# How long after its start a gateway is killed at most: some imports are over by then.
LONGEST_S = 1.2
_BOUNDARY = "a-boundary-of-the-tests"


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer(shape=Shape(round_trip_s=0.02)) as server:
        yield server


def posts() -> Iterator[tuple[Post, list[str]]]:
    """Give posts, a plain one and two archives in turn, and the SHA-256 of the files in them."""
    rng = random.Random(SEED)
    for number in itertools.count():
        film = rng.randbytes(300_000)
        named = [("film.mkv", film), ("film.en.srt", rng.randbytes(5_000))]
        if number % 3 == 1:
            packed = in_rar5(named, 90_000)
        else:
            packed = in_7z(named, 90_000, "secret") if number % 3 == 2 else named
        post = make_posts(dict(packed), part_size=20_000, seed=number, meta={"password": "secret"})
        yield post, sorted(hashlib.sha256(data).hexdigest() for _, data in named)


def add(gateway: GatewayProcess, name: str, nzb: bytes) -> str | None:
    """Queue an NZB and return its id, None if the gateway was gone before it had answered."""
    body = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="name"; '
        f'filename="{name}.nzb"\r\n\r\n'
    ).encode() + nzb
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    where = f"/api?mode=addfile&cat=movies&output=json&apikey={API_KEY}"
    try:
        answer = gateway.ask("POST", where, body + f"\r\n--{_BOUNDARY}--\r\n".encode(), headers)
    except (OSError, http.client.HTTPException):
        return None
    nzo_id: str = json.loads(answer.body)["nzo_ids"][0]
    return nzo_id


def listed(gateway: GatewayProcess, folder: str) -> list[str]:
    found = ET.fromstring(gateway.ask("PROPFIND", f"{folder}/", headers={"Depth": "1"}).body)
    names = [each.text or "" for each in found.iter("{DAV:}displayname")]
    return sorted(names[1:])


@pytest.mark.timeout(120 + 10 * KILLS)
def test_kills_at_any_moment_of_imports_lose_nothing_and_publish_nothing_twice(
    server: NewsServer, tmp_path: Path
) -> None:
    settings = provider_settings(server.host, server.port)
    settings["GATEWAY_MAX_CONCURRENT_ITEMS"] = "3"
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    moments, supply = random.Random(SEED), posts()
    answered: dict[str, str] = {}
    wanted: dict[str, list[str]] = {}

    for kill in range(KILLS):
        with running_gateway(data_dir, settings) as gateway:
            killer = threading.Timer(moments.uniform(0, LONGEST_S), gateway.process.kill)
            killer.start()
            for _ in range(2):
                post, files = next(supply)
                server.add(post)
                name = f"Job {len(wanted):03}"
                wanted[name] = files
                nzo_id = add(gateway, name, post.nzb)
                if nzo_id is not None:
                    answered[nzo_id] = name
            assert gateway.process.wait(30) == -9, f"kill {kill}"
            killer.join()

    with running_gateway(data_dir, settings) as gateway:
        history = finished(gateway)
        # What was answered for has an end, and one only.
        assert sorted(slot["nzo_id"] for slot in history if slot["nzo_id"] in answered) == sorted(
            answered
        )
        assert {slot["status"] for slot in history} == {"Completed"}
        # What was not answered for may have come or not; nothing is there twice, or unasked for.
        names = sorted(slot["name"] for slot in history)
        assert len(set(names)) == len(names)
        assert set(names) <= set(wanted)
        assert set(answered.values()) <= set(names)
        assert listed(gateway, "/dav/content/movies") == names
        for name in names:
            assert digests(gateway, name) == wanted[name], name


def finished(gateway: GatewayProcess) -> list[dict[str, str]]:
    """Wait until nothing is in the queue, and return the history."""
    for _ in range(1_200):
        if not gateway.api("queue")["queue"]["slots"]:
            slots: list[dict[str, str]] = gateway.api("history", limit="1000")["history"]["slots"]
            return slots
        gateway._pause(0.05)
    raise AssertionError("the queue is not empty after a minute")


def digests(gateway: GatewayProcess, release: str) -> list[str]:
    """Return the SHA-256 of the files of a release, which are called after it."""
    folder = f"/dav/content/movies/{release}"
    read = [gateway.ask("GET", f"{folder}/{name}").body for name in listed(gateway, folder)]
    return sorted(hashlib.sha256(data).hexdigest() for data in read)
