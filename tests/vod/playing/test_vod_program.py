"""The whole program, made of settings: a film, a stranger, the operator's view of it, its end."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.demo.xtream import Movie, XtreamServer
from gateway.settings import load

SIZE = 60_000_003


def test_a_film_plays_and_the_operator_sees_it(tmp_path: Path, provider: XtreamServer) -> None:
    provider.add(Movie(4711, size=SIZE))
    environ = {
        "GATEWAY_PORT": "0",
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_GRACE": "0",
        "GATEWAY_API_KEY": "key",
        "GATEWAY_VOD__PROFILES__7__URL": provider.url,
        "GATEWAY_VOD__PROFILES__7__USERNAME": "upstream-bob",
        "GATEWAY_VOD__PROFILES__7__PASSWORD": "upstr3am-pw",
        "GATEWAY_VOD__USERS__EVE__PASSWORD": "her-password",
    }
    with Gateway(load(environ=environ)) as gateway:

        def told(path: str) -> str:
            address = f"http://127.0.0.1:{gateway.server.port}{path}"
            request = urllib.request.Request(address, headers={"X-Api-Key": "key"})
            with urllib.request.urlopen(request) as answer:
                text: str = answer.read().decode()
                return text

        film = f"http://127.0.0.1:{gateway.server.port}/movie/eve/her-password/4711.mkv"
        with urllib.request.urlopen(film) as playing:
            assert playing.read(1000) == provider.content(4711).read(0, 1000)
            leases = json.loads(told("/api/gateway/leases"))
            (session,) = leases["sessions"]
            assert (session["user"], session["content"], session["profile"]) == (
                "eve", "movie 4711", "7",
            )  # fmt: skip
            pools = {pool["name"]: pool["count"] for pool in leases["pools"]}
            assert (pools["profile:7"], pools["user:eve"], pools["global"]) == (1, 1, 1)
            metrics = told("/metrics")
            assert "nzb_gateway_vod_upstream_connections 1.0" in metrics
            assert "nzb_gateway_vod_admitted_total 1.0" in metrics
            assert playing.read() == provider.content(4711).read(1000)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(film.replace("her-", "his-"))
        refused.value.close()
        assert refused.value.code == 401
    provider.wait_for(lambda server: not server.counts("upstream-bob").open)
