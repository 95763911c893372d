"""The gateway as a whole: its doors for Xtream players are there when somebody may use them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gateway.app import Gateway
from gateway.demo.xtream import Movie, XtreamServer
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


def test_a_user_finds_the_providers_films_and_how_many_are_watched(
    tmp_path: Path, provider: XtreamServer
) -> None:
    provider.add(Movie(4711, "A Film (2001)"))
    environ = settings(
        tmp_path,
        GATEWAY_VOD__PROFILES__MAIN__URL=provider.url,
        GATEWAY_VOD__PROFILES__MAIN__USERNAME="upstream-bob",
        GATEWAY_VOD__PROFILES__MAIN__PASSWORD="upstr3am-pw",
        GATEWAY_VOD__USERS__EVE__PASSWORD="her password",
        GATEWAY_VOD__USERS__EVE__MAX_STREAMS="3",
    )
    login = {"username": "eve", "password": "her password"}
    with Gateway(load(environ=environ)) as gateway:

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
