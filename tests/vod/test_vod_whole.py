"""The gateway as a whole: its doors for Xtream players are there when somebody may use them."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from m3u_parser import parse_m3u

from gateway.app import Gateway
from gateway.demo import CLIP_SECONDS, read_clip
from gateway.demo.xtream import Episode, Movie, Series, XtreamServer
from gateway.leases.lease import Pool
from gateway.settings import load


def settings(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"GATEWAY_PORT": "0", "GATEWAY_DATA_DIR": str(tmp_path / "data"), **more}


def test_without_a_user_these_doors_do_not_exist(tmp_path: Path) -> None:
    with Gateway(load(environ=settings(tmp_path))) as gateway:
        url = f"http://127.0.0.1:{gateway.server.port}/player_api.php"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url)
        assert refused.value.code == 404
        refused.value.close()


@pytest.fixture
def gateway(tmp_path: Path, provider: XtreamServer) -> Iterator[Gateway]:
    """A gateway with an account of the provider and the user eve."""
    environ = settings(
        tmp_path,
        GATEWAY_VOD__PROFILES__MAIN__URL=provider.url,
        GATEWAY_VOD__PROFILES__MAIN__USERNAME="upstream-bob",
        GATEWAY_VOD__PROFILES__MAIN__PASSWORD="upstr3am-pw",
        GATEWAY_VOD__USERS__EVE__PASSWORD="her password",
        GATEWAY_VOD__USERS__EVE__MAX_STREAMS="3",
    )
    with Gateway(load(environ=environ)) as gateway:
        yield gateway


def links(gateway: Gateway) -> list[str]:
    """Return the addresses in eve's playlist."""
    query = urlencode({"username": "eve", "password": "her password", "type": "m3u_plus"})
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.server.port}/get.php?{query}") as got:
        return [entry.url for entry in parse_m3u(got.read().decode())]


def test_a_user_finds_the_providers_films_and_how_many_are_watched(
    gateway: Gateway, provider: XtreamServer
) -> None:
    provider.add(Movie(4711, "A Film (2001)"))
    login = {"username": "eve", "password": "her password"}

    def ask(**query: str) -> object:
        address = f"http://127.0.0.1:{gateway.server.port}/player_api.php"
        with urllib.request.urlopen(f"{address}?{urlencode({**login, **query})}") as answer:
            said: object = json.loads(answer.read())
            return said

    gateway.leases.acquire([[Pool("user:eve", 3)]], "session", "ref", 20.0)
    match ask():
        case {"user_info": {"active_cons": "1", "max_connections": "3"}}:
            pass
        case other:
            pytest.fail(str(other))
    match ask(action="get_vod_streams"):
        case [{"stream_id": 4711, "name": "A Film (2001)"}]:
            pass
        case other:
            pytest.fail(str(other))


def test_what_the_playlist_names_plays(gateway: Gateway, provider: XtreamServer) -> None:
    provider.add(Movie(4711, "A Film (2001)", size=3_000_000))
    provider.add(Series(7, "Show", (Episode(71, size=2_000_000),)))
    film, episode = links(gateway)
    for address, number in [(film, 4711), (episode, 71)]:
        content = provider.content(number)
        with urllib.request.urlopen(address) as whole:
            assert whole.read() == content.read()
        wanted = urllib.request.Request(address, headers={"Range": "bytes=1000000-1000099"})
        with urllib.request.urlopen(wanted) as part:
            assert (part.status, part.read()) == (206, content.read(1_000_000, 100))
    assert provider.counts("upstream-bob").offences == 0
    assert provider.counts("upstream-bob").most == 1


@pytest.mark.system("ffprobe")
def test_ffprobe_reads_what_a_strm_file_names(gateway: Gateway, provider: XtreamServer) -> None:
    provider.add(Movie(1, "The Clip", extension="mp4", given=read_clip()))
    (address,) = links(gateway)
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", address],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (told.returncode, float(told.stdout)) == (0, CLIP_SECONDS), told.stderr
    assert provider.counts("upstream-bob").offences == 0
