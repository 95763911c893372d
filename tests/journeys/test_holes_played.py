"""Films with holes, as players meet them: at the WebDAV door and at VOD's, filled or broken off."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from gateway_process import (
    API_KEY,
    PASSWORD,
    USER,
    Answer,
    GatewayProcess,
    provider_settings,
    running_gateway,
)

from gateway.demo import NewsServer, Post, make_post
from gateway.demo.faults import Fault
from gateway.streams.padding import container_of

PART = 10_000
SECONDS = 9
_LOGIN = {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
_names = count(1)


@dataclass
class Cut:
    """What came of an answer until its connection ended before its time."""

    status: int
    length: int
    body: bytes


@dataclass(frozen=True)
class Film:
    """A film in the library of *house*, as posted: *data* in articles of PART bytes."""

    house: House
    path: str
    vod: str
    file: str
    release: str
    data: bytes
    post: Post

    def lose(self, *parts: int) -> None:
        ids = self.post.files[0].message_ids
        self.house.news.remove([ids[part] for part in parts])

    def filled(self, *parts: int) -> bytes:
        container = container_of(self.file, self.data[: 16 << 10])
        assert container is not None
        made = bytearray(self.data)
        for part in parts:
            begin, end = part * PART, min((part + 1) * PART, len(made))
            made[begin:end] = container.fill(begin, end)
        return bytes(made)

    @property
    def doors(self) -> list[str]:
        return [self.path, self.vod]

    def url(self, door: str) -> str:
        login = f"{USER}:{quote(PASSWORD)}@" if door.startswith("/dav") else ""
        return f"http://{login}127.0.0.1:{self.house.gateway.port}{quote(door)}"


@dataclass
class House:
    """A gateway whose movies are filled and whose tv is not, and its news server."""

    gateway: GatewayProcess
    news: NewsServer

    def publish(self, data: bytes, extension: str, category: str = "movies") -> Film:
        number = next(_names)  # as the library numbers its files
        release = f"Film.{number}.2026"
        file = f"{release}.{extension}"
        post = make_post(file, data, part_size=PART)
        self.news.add(post)
        answer = self.gateway.ask("PUT", f"/dav/nzbs/{category}/{release}.nzb", post.nzb)
        assert answer.status == 201, answer
        path = f"/dav/content/{category}/{release}/{file}"
        self.gateway.wait_until(lambda: self.gateway.ask("HEAD", path).status == 200)
        vod = f"/movie/ann/pw/{1_000_000_000 + number}.{extension}"
        assert self.gateway.ask("HEAD", vod).headers["content-length"] == str(len(data))
        return Film(self, path, vod, file, release, data, post)

    def get(self, door: str, start: int = 0, stop: int | None = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if start or stop is not None:
            sent["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        return self.gateway.ask("GET", door, headers=sent)

    def cut(self, door: str, start: int = 0) -> Cut:
        """Read from *start* on until the connection breaks off, which it has to by a reset."""
        link = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
        try:
            link.request("GET", door, headers={**_LOGIN, "Range": f"bytes={start}-"})
            response = link.getresponse()
            body = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := response.read1(1 << 16):
                    body += piece
                raise AssertionError("the connection ended without a reset")
            return Cut(response.status, int(response.headers["Content-Length"]), body)
        finally:
            link.close()

    def health(self, film: Film) -> dict[str, Any]:
        answer = self._api("GET", f"/checks?release={film.release}")
        (release,) = answer["results"]
        (file,) = release["files"]
        found: dict[str, Any] = file
        return found

    def check(self, film: Film) -> None:
        asked = self._api("POST", "/checks", {"releases": [film.release]})["id"]

        def is_done() -> bool:
            requests = self._api("GET", "/checks")["requests"]
            return not any(one["id"] == asked and not one["finished"] for one in requests)

        self.gateway.wait_until(is_done)

    def _api(self, method: str, path: str, body: object = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        headers = {"X-Api-Key": API_KEY, "Content-Type": "application/json"}
        answer = self.gateway.ask(method, f"/api/gateway{path}", sent, headers)
        assert answer.status < 300, answer
        return json.loads(answer.body)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with NewsServer() as news:
        settings = {
            **provider_settings(news.host, news.port),
            "GATEWAY_CATEGORIES__MOVIES__ON_MISSING": "pad",
            "GATEWAY_CATEGORIES__DEEP__ON_MISSING": "pad",
            "GATEWAY_CATEGORIES__DEEP__VERIFY": "deep",
            "GATEWAY_CATEGORIES__KEPT__ON_MISSING": "pad",
            "GATEWAY_CATEGORIES__KEPT__STORAGE": "download",
            "GATEWAY_ARTICLE_CACHE": "0",  # nothing is there that the provider has lost
            "GATEWAY_VOD__USERS__ANN__PASSWORD": "pw",
            "GATEWAY_GRACE": "0s",
        }
        data_dir = tmp_path_factory.mktemp("holes") / "data"
        with running_gateway(data_dir, settings) as gateway:
            yield House(gateway, news)


def noise(seed: int, size: int = 300 * PART - 321) -> bytes:
    return b"\x1a\x45\xdf\xa3" + random.Random(seed).randbytes(size - 4)


# An error ----------------------------------------------------------------------------------------


def test_a_hole_is_an_error_at_every_door_and_all_around_it_stays_readable(house: House) -> None:
    film = house.publish(noise(1), "mkv", "tv")
    film.lose(100, 101)
    etag = house.gateway.ask("HEAD", film.path).headers["etag"]
    for door in film.doors:
        missing = house.get(door, 100 * PART + 5, 100 * PART + 9)
        assert missing.status == 404
        assert missing.headers["content-type"].startswith("text/plain")
        assert missing.body.startswith(b"segment 101 of 300: 430 from the provider")
        assert missing.body.count(b"\n") <= 1
        before = house.get(door, 0, 100 * PART)
        assert (before.status, before.body) == (206, film.data[: 100 * PART])
        cut = house.cut(door, 90 * PART)
        assert (cut.status, cut.length) == (206, len(film.data) - 90 * PART)
        assert cut.body == film.data[90 * PART : 100 * PART]
        behind = house.get(door, 102 * PART)
        assert (behind.status, behind.body) == (206, film.data[102 * PART :])
        assert house.gateway.ask("HEAD", door).headers["etag"] == etag
    house.gateway.wait_until(lambda: house.health(film)["missing"])
    assert house.health(film)["verdict"] == "degraded"
    house.check(film)
    assert house.health(film)["missing"] == 2
    assert house.gateway.ask("HEAD", film.path).headers["etag"] == etag


def test_a_slow_player_is_given_all_that_lies_before_a_hole(house: House) -> None:
    film = house.publish(noise(2), "mkv", "tv")
    film.lose(250)
    for door in film.doors:
        with socket.create_connection(("127.0.0.1", house.gateway.port), timeout=60) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            login = f"Authorization: {_LOGIN['Authorization']}"
            lines = [f"GET {door} HTTP/1.1", "Host: 127.0.0.1", login, "", ""]
            sock.sendall("\r\n".join(lines).encode())
            taken = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(50_000):
                    taken += piece
                    # What a player does between two reads, in small.
                    time.sleep(0.005)
            assert bytes(taken).partition(b"\r\n\r\n")[2] == film.data[: 250 * PART]


# Filled ------------------------------------------------------------------------------------------


def test_a_hole_is_filled_at_every_door_and_is_another_file_from_then_on(house: House) -> None:
    for number in range(2):
        film = house.publish(noise(3 + number), "mkv")
        doors = film.doors[::-1] if number else film.doors
        before = [house.gateway.ask("HEAD", door).headers for door in doors]
        film.lose(100, 101)
        whole = house.get(doors[0])
        assert whole.status == 200
        assert whole.headers["etag"] == before[0]["etag"]
        assert whole.body == film.filled(100, 101)
        house.gateway.wait_until(lambda f=film: house.health(f)["missing"] == 2)  # type: ignore[misc]
        after = [house.gateway.ask("HEAD", door).headers for door in doors]
        assert after[0]["etag"] == after[1]["etag"] != before[0]["etag"]
        dates = [
            parsedate_to_datetime(one["last-modified"]) for one in (before[0], after[0], after[1])
        ]
        assert dates[0] < dates[1] == dates[2]
        for door in doors:
            again = house.get(door, 99 * PART, 103 * PART)
            assert again.body == film.filled(100, 101)[99 * PART : 103 * PART]
            assert again.headers["etag"] == after[0]["etag"]


def test_what_a_client_knows_of_a_film_is_not_taken_for_what_it_is_with_a_hole(
    house: House,
) -> None:
    film = house.publish(noise(5), "mkv")
    known = house.gateway.ask("HEAD", film.path).headers
    for door in film.doors:
        assert house.get(door, If_None_Match=known["etag"]).status == 304
        assert house.get(door, 5, 9, If_Range=known["etag"]).status == 206
    film.lose(100)
    assert house.get(film.path).body == film.filled(100)
    now = house.gateway.ask("HEAD", film.path).headers
    for door in film.doors:
        assert house.get(door, If_None_Match=known["etag"]).status == 200
        assert house.get(door, If_Modified_Since=known["last-modified"]).status == 200
        for validator in (known["etag"], known["last-modified"]):
            assert house.get(door, 5, 9, If_Range=validator).status == 200
        for validator in (now["etag"], now["last-modified"]):
            assert house.get(door, 5, 9, If_Range=validator).status == 206
        assert house.get(door, If_None_Match=now["etag"]).status == 304
        assert house.get(door, If_Match=known["etag"]).status == 412
    listing = house.gateway.ask("PROPFIND", film.path, headers={"Depth": "0"}).body.decode()
    assert f"<D:getetag>{now['etag']}</D:getetag>" in listing
    assert f"<D:getlastmodified>{now['last-modified']}</D:getlastmodified>" in listing


def test_a_hole_where_bytes_were_given_breaks_off_once_and_is_filled_then(house: House) -> None:
    film = house.publish(noise(6), "mkv")
    for door in film.doors:
        assert house.get(door).body == film.data
    film.lose(100)
    cut = house.cut(film.path)
    assert cut.body == film.data[: 100 * PART]
    for door in film.doors:
        assert house.get(door, 100 * PART).body == film.filled(100)[100 * PART :]


def test_a_hole_that_heals_gives_the_film_back_under_another_etag(house: House) -> None:
    film = house.publish(noise(7), "mkv")
    film.lose(100)
    house.check(film)
    assert house.get(film.path).body == film.filled(100)
    holed = house.gateway.ask("HEAD", film.path).headers["etag"]
    house.news.add(film.post)
    assert house.get(film.path).body == film.filled(100)  # as long as nobody has looked
    house.check(film)
    healed = house.gateway.ask("HEAD", film.path).headers["etag"]
    assert healed != holed
    for door in film.doors:
        answer = house.get(door)
        assert (answer.headers["etag"], answer.body) == (healed, film.data)


def test_nothing_is_filled_beyond_the_limits(house: House) -> None:
    row = house.publish(noise(8), "mkv")
    row.lose(100, 101, 102, 103, 104)
    cut = house.cut(row.path)
    assert row.filled(100, 101, 102, 103)[: 104 * PART].startswith(cut.body)
    for door in row.doors:
        house.gateway.wait_until(lambda: house.health(row)["missing"] == 5)
        assert house.get(door, 100 * PART).status == 404
        assert house.get(door, 105 * PART).body == row.data[105 * PART :]
    share = house.publish(noise(9), "mkv")
    share.lose(20, 40, 60, 80, 100, 120, 140)
    house.cut(share.path)
    house.check(share)
    assert house.get(share.path, 20 * PART).status == 404


@pytest.mark.parametrize("fault", [Fault.DAMAGED, Fault.WRONG_ARTICLE, Fault.CUT])
def test_what_is_not_missing_for_certain_is_never_filled(house: House, fault: Fault) -> None:
    film = house.publish(noise(10), "mkv")
    etag = house.gateway.ask("HEAD", film.path).headers["etag"]
    mid = film.post.files[0].message_ids[100]
    house.news.fail(fault, mid)
    try:
        for door in film.doors:
            assert house.get(door, 100 * PART).status in {502, 503}
            assert house.cut(door, 99 * PART).body == film.data[99 * PART : 100 * PART]
    finally:
        house.news.heal(fault, mid)
    for door in film.doors:
        assert house.get(door).body == film.data
    assert house.gateway.ask("HEAD", film.path).headers["etag"] == etag


@pytest.mark.parametrize("category", ["deep", "kept"])
def test_no_import_and_no_download_takes_padding_for_what_is_missing(
    house: House, category: str
) -> None:
    name = f"Holed.{category}.2026"
    post = make_post(f"{name}.mkv", noise(12), part_size=PART)
    house.news.add(post)
    house.news.remove([post.files[0].message_ids[100]])
    house.gateway.ask("PUT", f"/dav/nzbs/{category}/{name}.nzb", post.nzb)

    def ended() -> list[Any]:
        slots = house.gateway.api("history")["history"]["slots"]
        return [slot for slot in slots if slot["name"] == name]

    house.gateway.wait_until(ended)
    (slot,) = ended()
    assert slot["status"] == "Failed"
    assert "1 of 300" in slot["fail_message"]


def test_readers_at_once_at_both_doors_have_one_film(house: House) -> None:
    film = house.publish(noise(11), "mkv")
    gone = [30, 90, 150, 151, 210]
    film.lose(*gone)
    expected = film.filled(*gone)

    def read(seed: int) -> dict[str, dict[int, int]]:
        rng, seen = random.Random(seed), dict[str, dict[int, int]]()
        for _ in range(12):
            start = rng.randrange(len(film.data) - 1)
            stop = min(len(film.data), start + rng.randrange(1, 40 * PART))
            with contextlib.suppress(http.client.HTTPException, OSError):
                answer = house.get(rng.choice(film.doors), start, stop)
                if answer.status == 206:
                    assert len(answer.body) == stop - start
                    of_etag = seen.setdefault(answer.headers["etag"], {})
                    of_etag.update(zip(range(start, stop, 997), answer.body[::997], strict=False))
        return seen

    together: dict[str, dict[int, int]] = {}
    with ThreadPoolExecutor(5) as readers:
        for seen in readers.map(read, range(5)):
            for etag, found in seen.items():
                known = together.setdefault(etag, {})
                for offset, byte in found.items():
                    assert known.setdefault(offset, byte) == byte
    house.check(film)
    assert house.get(film.path).body == expected


# Players -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same film in each container, with sound, about 3 MB."""
    folder = tmp_path_factory.mktemp("clips")
    given = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={SECONDS}"]
    given += ["-f", "lavfi", "-i", f"sine=duration={SECONDS}"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "2M", "-g", "25", "-c:a", "aac"]
    first = folder / "a.mkv"
    subprocess.run(["ffmpeg", "-v", "error", *given, *coded, str(first)], check=True, timeout=120)
    for name, more in {
        "a.mp4": ["-movflags", "+faststart"],
        "a.ts": [],
        "a.m2ts": [],
    }.items():
        made = ["-i", str(first), "-c", "copy", *more, str(folder / name)]
        subprocess.run(["ffmpeg", "-v", "error", *made], check=True, timeout=120)
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}


def ffprobe_duration(url: str) -> float:
    # It reads less than the half of the clip at either end, as of any film that is longer.
    bounds = ["-probesize", "200k", "-analyzeduration", "1M"]
    shown = ["-show_entries", "format=duration", "-of", "csv=p=0"]
    said = subprocess.run(
        ["ffprobe", "-v", "error", *bounds, *shown, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    return float(said)


def decode(url: str, *before: str) -> tuple[int, float]:
    """Decode with ffmpeg; return how many pictures that were, and the time of the last."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", *before, "-i", url, "-f", "null", "-progress", "pipe:1", "-"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    told = dict(line.split("=", 1) for line in done.split() if "=" in line)
    assert told["progress"] == "end"
    return int(told["frame"]), int(told["out_time_us"]) / 1e6


@pytest.mark.system("ffmpeg", "ffprobe")
@pytest.mark.parametrize("extension", ["mkv", "mp4", "ts", "m2ts"])
def test_ffmpeg_plays_a_filled_film_to_its_end(
    house: House, clips: dict[str, bytes], extension: str
) -> None:
    film = house.publish(clips[extension], extension)
    parts = len(film.data) // PART
    film.lose(parts // 3, 2 * parts // 3, 2 * parts // 3 + 1)
    for door in film.doors[: 2 if extension == "mkv" else 1]:
        assert ffprobe_duration(film.url(door)) == pytest.approx(SECONDS, abs=0.5)
        pictures, last = decode(film.url(door))
        assert last == pytest.approx(SECONDS, abs=0.5)
        assert pictures > SECONDS * 25 * 0.8
    assert house.get(film.path).body == film.filled(parts // 3, 2 * parts // 3, 2 * parts // 3 + 1)


@pytest.mark.system("ffmpeg", "ffprobe")
@pytest.mark.parametrize("extension", ["mkv", "mp4", "ts", "m2ts"])
def test_ffmpeg_plays_what_lies_before_and_behind_a_hole_that_is_an_error(
    house: House, clips: dict[str, bytes], extension: str
) -> None:
    film = house.publish(clips[extension], extension, "tv")
    parts = len(film.data) // PART
    film.lose(parts // 2, parts // 2 + 1)
    for door in film.doors[: 2 if extension == "mkv" else 1]:
        assert ffprobe_duration(film.url(door)) == pytest.approx(SECONDS, abs=0.5)
        assert decode(film.url(door), "-t", "3")[0] == 3 * 25
        pictures, _ = decode(film.url(door), "-ss", str(SECONDS - 3))
        assert pictures == pytest.approx(
            3 * 25, abs=26
        )  # from the picture before that a seek finds
