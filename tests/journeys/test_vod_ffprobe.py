"""A library scan of an account with one slot: ffprobe after ffprobe, each of which hangs up."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway_process import API_KEY, Answer, GatewayProcess, running_gateway

from bench.redis_server import RedisServer
from gateway.demo.xtream import Movie, XtreamServer

pytestmark = pytest.mark.system("ffmpeg", "ffprobe")
_GRACE_S = 0.5
_PROBES = 50


_SEGMENT, _INFO, _TRACKS, _TAGS, _CUES = "18538067", "1549a966", "1654ae6b", "1254c367", "1c53bb6b"


def element(name: str, body: bytes, width: int = 8) -> bytes:
    """Return one element of EBML (RFC 8794), its size written in so many bytes."""
    return bytes.fromhex(name) + (len(body) | 1 << 7 * width).to_bytes(width, "big") + body


def with_tags_behind_the_film(mkv: bytes) -> bytes:
    """Return *mkv*, as ffmpeg writes it, in the order of others: the tags behind all clusters.

    The head says where they are (RFC 9559, SeekHead), and whoever probes asks for them there.
    """

    def seek(name: str, at: int) -> bytes:
        where = element("53ac", (at - begin).to_bytes(8, "big"), 1)
        return element("4dbb", element("53ab", bytes.fromhex(name), 1) + where, 1)

    def place(name: str) -> int:
        # Behind its first occurrence, which is its entry in ffmpeg's own SeekHead.
        sought = bytes.fromhex(name)
        return mkv.index(sought, mkv.index(sought, begin) + 1)

    begin = mkv.index(bytes.fromhex(_SEGMENT)) + 12
    info, tags = place(_INFO), place(_TAGS)
    width = 9 - mkv[tags + 4].bit_length()
    size = int.from_bytes(mkv[tags + 4 : tags + 4 + width], "big") - (1 << 7 * width)
    after = tags + 4 + width + size
    seeks = seek(_INFO, info) + seek(_TRACKS, place(_TRACKS)) + seek(_TAGS, len(mkv))
    head = element("114d9b74", seeks + seek(_CUES, mkv.rindex(bytes.fromhex(_CUES))))
    head += element("ec", bytes(info - begin - len(head) - 9))
    hidden = element("ec", bytes(after - tags - 9))
    body = head + mkv[info:tags] + hidden + mkv[after:] + mkv[tags:after]
    return mkv[: begin - 12] + element(_SEGMENT, body)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """A Matroska film with tags at its end, and an MP4 that tells there all that it holds."""
    folder = tmp_path_factory.mktemp("films")
    clip = Path(__file__).parents[2] / "gateway/demo/clip.mp4"
    for name in ("film.mkv", "film.mp4"):
        given = ["-v", "error", "-stream_loop", "10", "-i", str(clip)]
        made = ["-c", "copy", "-write_crc32", "0", str(folder / name)]
        subprocess.run(["ffmpeg", *given, *made], check=True)
    mp4 = (folder / "film.mp4").read_bytes()
    moov = mp4.rindex(b"moov") - 4
    filling = (24 << 20).to_bytes(4, "big") + b"free" + bytes((24 << 20) - 8)
    return {
        1: with_tags_behind_the_film((folder / "film.mkv").read_bytes()),
        2: mp4[:moov] + filling + mp4[moov:],
    }


@pytest.fixture
def account(films: dict[int, bytes]) -> Iterator[XtreamServer]:
    with XtreamServer({"account": ("secret", 1)}) as server:
        server.add(
            Movie(1, "A film", given=films[1], extension="mkv"),
            Movie(2, "Another", given=films[2], extension="mp4"),
        )
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.system("redis-server"))])
def gateway(
    request: pytest.FixtureRequest, account: XtreamServer, tmp_path: Path
) -> Iterator[GatewayProcess]:
    settings = {
        "GATEWAY_VOD__PROFILES__SEVEN__URL": account.url,
        "GATEWAY_VOD__PROFILES__SEVEN__USERNAME": "account",
        "GATEWAY_VOD__PROFILES__SEVEN__PASSWORD": "secret",
        "GATEWAY_VOD__PROFILES__SEVEN__MAX_STREAMS": "1",
        "GATEWAY_VOD__USERS__BOB__PASSWORD": "viewer",
        "GATEWAY_GRACE": f"{_GRACE_S}s",
        "GATEWAY_LEASE_TTL": "2s",
    }
    with contextlib.ExitStack() as stack:
        if request.param == "redis":
            redis = stack.enter_context(RedisServer(tmp_path))
            settings["GATEWAY_REDIS_URL"] = redis.url
        gateway = stack.enter_context(running_gateway(tmp_path / "data", settings))
        wait_until(gateway, lambda: first_byte(gateway).status == 206)
        yield gateway


def first_byte(gateway: GatewayProcess) -> Answer:
    """Ask for one byte; a store that is new admits nobody for two heartbeats."""
    return gateway.ask("GET", "/movie/bob/viewer/1.mkv", headers={"Range": "bytes=0-0"})


def leases(gateway: GatewayProcess) -> dict[str, int]:
    answer = gateway.ask("GET", "/api/gateway/leases", headers={"X-Api-Key": API_KEY})
    assert answer.status == 200, answer
    return {pool["name"]: pool["count"] for pool in json.loads(answer.body)["pools"]}


def wait_until(gateway: GatewayProcess, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, leases(gateway)
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the gateway has ended with {gateway.process.wait(0.05)}")


@pytest.mark.parametrize(
    ("film", "extension", "format_"), [(1, "mkv", "matroska"), (2, "mp4", "mp4")]
)
def test_fifty_probes_in_a_row_never_fill_an_account_of_one_slot(
    gateway: GatewayProcess, account: XtreamServer, film: int, extension: str, format_: str
) -> None:
    url = f"{gateway.url}/movie/bob/viewer/{film}.{extension}"
    for number in range(_PROBES):
        probe = subprocess.run(
            ["ffprobe", "-v", "error", "-show_format", "-of", "json", url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert probe.returncode == 0, f"probe {number + 1}: {probe.stderr}"
        found = json.loads(probe.stdout)["format"]
        assert format_ in found["format_name"]
        assert float(found["duration"]) > 1
    wait_until(gateway, lambda: not any(leases(gateway).values()))
    account.wait_for(lambda server: not server.counts("account").open, 15)
    counts = account.counts("account")
    assert (counts.open, counts.most, counts.offences) == (0, 1, 0)
    assert counts.total > _PROBES, "a probe asks more than once"
    assert {asked.status for asked in account.requests if asked.method == "GET"} == {206}
