"""Every shape that posts come in: made by real programs, imported, and read back to the byte.

Of each shape: posted to a news server, added through SABnzbd's API, found in the WebDAV tree under
the names that it should have, and read there whole and from a hundred places. INN gets a few of
them, or with SHAPES_ON_INN=all every one.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import pytest
from gateway_process import (
    API_KEY,
    PASSWORD,
    USER,
    GatewayProcess,
    provider_settings,
    running_gateway,
)
from import_shapes import SHAPES
from inn2 import running_inn

from gateway.demo import NewsServer, Post

RANGES = 100
ON_INN = ["plain", "rar4 old names", "rar5 headers encrypted", "7z pieces", "rar in encrypted 7z"]
if os.environ.get("SHAPES_ON_INN") == "all":
    ON_INN = list(SHAPES)


@dataclass(frozen=True)
class Site:
    """A gateway, and how often its news server has been asked for an article, if it tells."""

    gateway: GatewayProcess
    add: Callable[[Post], object]
    bodies: Callable[[], int] | None


@contextmanager
def news_server(kind: str) -> Iterator[tuple[str, int, Callable[[Post], object], Any]]:
    if kind == "demo":
        with NewsServer() as server:
            yield server.host, server.port, server.add, lambda: server.counts.commands["BODY"]
        return
    # pytest's own folders are closed to the user that INN runs as.
    root = Path(tempfile.mkdtemp(prefix="inn2-"))
    root.chmod(0o755)
    try:
        with running_inn(root / "inn") as inn:
            yield inn.host, inn.port, lambda post: inn.feed([post]), None
    finally:
        shutil.rmtree(root)


@contextmanager
def running_site(kind: str, folder: Path) -> Iterator[Site]:
    """One gateway for all shapes; it remembers no article, so that each one is asked for."""
    with news_server(kind) as (host, port, add, bodies):
        settings = {**provider_settings(host, port), "GATEWAY_ARTICLE_CACHE": "0"}
        with running_gateway(folder / "data", settings) as gateway:
            yield Site(gateway, add, bodies)


@pytest.fixture(scope="module")
def demo_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site("demo", tmp_path_factory.mktemp("demo")) as site:
        yield site


@pytest.fixture(scope="module")
def inn_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site("inn2", tmp_path_factory.mktemp("inn2")) as site:
        yield site


class Dav:
    """A client of the WebDAV tree with one connection."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}

    def close(self) -> None:
        self.link.close()

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        self.link.request(method, quote(path), headers={**self._headers, **headers})
        answer = self.link.getresponse()
        return answer.status, answer.read()

    def tree(self, folder: str) -> dict[str, int]:
        """Return the files below *folder*, which ends with "/", with their sizes."""
        status, body = self.ask("PROPFIND", folder, Depth="1")
        assert status == 207, body
        found: dict[str, int] = {}
        for entry in ET.fromstring(body).iter("{DAV:}response"):
            path = unquote(entry.findtext("{DAV:}href") or "")
            if path.rstrip("/") == folder.rstrip("/"):
                continue
            if entry.find(".//{DAV:}collection") is not None:
                found |= self.tree(path)
            else:
                found[path] = int(entry.findtext(".//{DAV:}getcontentlength") or 0)
        return found

    def range(self, path: str, begin: int, end: int) -> bytes:
        status, body = self.ask("GET", path, Range=f"bytes={begin}-{end - 1}")
        assert status == 206, body
        return body


def add(gateway: GatewayProcess, nzb: bytes, job: str, password: str | None) -> dict[str, Any]:
    """Add an NZB as Sonarr does, and return its slot of the history."""
    boundary = "a-boundary-of-the-tests"
    fields = {"mode": "addfile", "apikey": API_KEY, "output": "json", "cat": "movies"}
    if password is not None:
        fields["password"] = password
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"; filename="{job}.nzb"\r\n'
        "Content-Type: application/x-nzb\r\n\r\n"
    )
    body = "".join(parts).encode() + nzb + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = json.loads(gateway.ask("POST", "/api", body, kind).body)
    assert answer["status"], answer
    slot: dict[str, Any] = gateway.wait_for_history(answer["nzo_ids"][0])
    return slot


@pytest.mark.system("7zz|7z", "par2")
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_read_back_to_the_byte(demo_site: Site, name: str, tmp_path: Path) -> None:
    shown(demo_site, name, tmp_path)


@pytest.mark.system("innd", "nnrpd", "7zz|7z")
@pytest.mark.parametrize("name", ON_INN)
def test_shapes_on_a_server_that_others_wrote_too(
    inn_site: Site, name: str, tmp_path: Path
) -> None:
    shown(inn_site, name, tmp_path)


def shown(site: Site, name: str, folder: Path) -> None:
    """Post the shape of this *name*, have it imported, and read it in every way."""
    shape = SHAPES[name]
    post = shape.post(name, folder)
    site.add(post)
    job = f"Job.2026.{name.title().replace(' ', '.')}.Made"

    slot = add(site.gateway, post.nzb, job, shape.password)

    assert slot["status"] == "Completed", slot["fail_message"]
    root = f"/dav/content/movies/{job}/"
    files = {root + path.format(job=job): data for path, data in shape.shown.items()}
    with closing(Dav(site.gateway)) as dav:
        assert dav.tree(root) == {path: len(data) for path, data in files.items()}
        for path, data in files.items():
            status, body = dav.ask("GET", path)
            assert status == 200
            assert hashlib.sha256(body).digest() == hashlib.sha256(data).digest()
    path, data = max(files.items(), key=lambda file: len(file[1]))
    if site.bodies:
        before = site.bodies()
        begins = random.Random(name).sample(range(len(data)), 25)
        check(site.gateway, path, data, [(begin, begin + 1) for begin in begins])
        # What is encrypted wants the block before, which may be in the article before.
        assert site.bodies() - before <= 2 * 25, "a seek costs an article, and one more at most"
    for path, data in files.items():
        ranges = random_ranges(f"{name} {path}", len(data))
        with ThreadPoolExecutor(4) as pool:
            quarters = [ranges[n::4] for n in range(4)]
            list(pool.map(partial(check, site.gateway, path, data), quarters))


def random_ranges(seed: str, size: int) -> list[tuple[int, int]]:
    """Return RANGES ranges of a file, of very few bytes, some thousands, and several articles."""
    draw = random.Random(seed)
    begins = [draw.randrange(size) for _ in range(RANGES)]
    return [(at, min(size, at + (16, 3_000, 30_000)[at % 3])) for at in begins]


def check(gateway: GatewayProcess, path: str, data: bytes, ranges: list[tuple[int, int]]) -> None:
    with closing(Dav(gateway)) as dav:
        for begin, end in ranges:
            assert dav.range(path, begin, end) == data[begin:end]
