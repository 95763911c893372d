"""Clients of SABnzbd that others wrote, against a gateway as it is run: `pysabnzbd`, which Home
Assistant uses, and `sabnzbd-api`, which knows the longer path only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateway_process import API_KEY, GatewayProcess, provider_settings, running_gateway
from pysabnzbd import SabnzbdApi, SabnzbdApiException
from sabnzbd_api import SabnzbdClient

from gateway.demo import NewsServer, make_post

SHOW = "My.Show.S01E01.1080p"
LOCAL = f"kept/tv/{SHOW}.nzb"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of *folder*, as an indexer does, and give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an NZB, which the indexer serves and the gateway may read."""
    return tmp_path_factory.mktemp("drop")


@pytest.fixture(scope="module")
def indexer(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield address


@pytest.fixture(scope="module")
def gateway(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    film = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 4_000
    post = make_post(f"{SHOW}.mkv", film, part_size=100_000)
    # Two folders down: what lies further up is queued without being asked for.
    (folder / LOCAL).parent.mkdir(parents=True)
    (folder / LOCAL).write_bytes(post.nzb)
    with NewsServer() as server:
        server.add(post)
        settings = {
            **provider_settings(server.host, server.port),
            "GATEWAY_ADDURL_PRIVATE": "127.0.0.1",
            "GATEWAY_DROP_DIR": str(folder),
        }
        with running_gateway(tmp_path_factory.mktemp("gateway") / "data", settings) as gateway:
            yield gateway


def test_pysabnzbd_drives_the_queue(gateway: GatewayProcess, indexer: str) -> None:
    async def drive() -> None:
        async with aiohttp.ClientSession() as session:
            client = SabnzbdApi(gateway.url, API_KEY, session=session)
            assert await client.check_available()

            await client.pause_queue()
            await client.refresh_data()
            assert client.queue["paused"] is True
            added = await client._call(
                {"mode": "addurl", "name": f"{indexer}/{LOCAL}", "cat": "tv"}
            )
            (nzo_id,) = added["nzo_ids"]
            assert [slot["nzo_id"] for slot in (await client.get_queue())["slots"]] == [nzo_id]
            await client.resume_queue()
            await asyncio.to_thread(gateway.wait_for_history, nzo_id)

            history = await client.get_history()
            assert [slot["status"] for slot in history["slots"]] == ["Completed"]
            assert history["slots"][0]["name"] == SHOW
            await client.refresh_data()
            assert client.queue["paused"] is False
            assert client.queue["day_size"] > 0
            await client.set_speed_limit(100)
            with pytest.raises(SabnzbdApiException, match="no speed limit"):
                await client.set_speed_limit(50)
            await client._call({"mode": "history", "name": "delete", "value": nzo_id})
            assert (await client.get_history())["slots"] == []

    asyncio.run(drive())


def test_pysabnzbd_is_told_in_words_what_is_wrong_with_its_key(gateway: GatewayProcess) -> None:
    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(SabnzbdApiException, match="API Key Incorrect"):
                await SabnzbdApi(gateway.url, "wrong", session=session).check_available()

    asyncio.run(ask())


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[Any]:
    client = SabnzbdClient("http://127.0.0.1", API_KEY, str(gateway.port))
    yield client
    client.close()


def test_sabnzbd_api_drives_all_that_it_knows_by_the_longer_path(
    gateway: GatewayProcess, client: Any
) -> None:
    ok = {"status": True}
    assert client.version() == {"version": "4.5.5"}
    assert client.check_login()["servers"][0]["name"] == "main"
    assert client.pause_all() == ok
    first, second = (
        client.add_uri(file=LOCAL, nzbname=name, cat="tv", priority=priority)["nzo_ids"][0]
        for name, priority in (("first", 0), ("second", 1))
    )

    def queued(**parameters: Any) -> list[str]:
        slots = client.get_downloads(**parameters)["queue"]["slots"]
        return [slot["nzo_id"] for slot in slots]

    assert queued() == [second, first]
    assert queued(start=1, limit=1) == queued(search="first") == queued(nzo_ids=[first]) == [first]
    assert queued(category="movies") == queued(status="Paused") == []
    assert client.pause_job(first) == {"status": True, "nzo_ids": [first]}
    assert queued(status=["Paused"]) == [first]
    assert client.resume_job(first) == {"status": True, "nzo_ids": [first]}
    (file,) = client.get_files(first)["files"]
    assert file["filename"] == f"{SHOW}.mkv"
    assert client.remove_file(first, file["nzf_id"])["status"] is False
    assert client.change_job_pp(first, 3) == ok
    assert client.set_speedlimit(0) == ok
    assert client.delete_job(second) == {"status": True, "nzo_ids": [second]}

    assert client.resume_all() == ok
    gateway.wait_for_history(first)
    (slot,) = client.get_history(limit=10, failed_only=0)["history"]["slots"]
    assert (slot["nzo_id"], slot["name"], slot["category"]) == (first, "first", "tv")
    assert client.get_history(failed_only=1)["history"]["slots"] == []
    assert client.retry_item(first)["status"] is False
    assert client.retry_all() == {"status": []}
    assert client.delete_history(first) == ok
    assert client.server_stats()["servers"]["main"]["total"] > 100_000
    assert client.purge_all() == {"status": False, "nzo_ids": []}
    for refused in (
        client.set_config("misc", "complete_dir", "/"),
        client.create_category("x", "x"),
        client.delete_config("servers", "main"),
        client.restart(),
        client.shutdown(),
    ):
        assert refused["status"] is False
        assert refused["error"]


def test_a_pause_and_what_is_queued_survive_a_restart(
    folder: Path, tmp_path: Path, gateway: GatewayProcess
) -> None:
    settings = {"GATEWAY_DROP_DIR": str(folder)}
    with running_gateway(tmp_path / "data", settings) as first:
        first.api("config", name="set_pause", value="60")
        one, two = (
            first.api("addlocalfile", name=LOCAL, nzbname=name)["nzo_ids"][0]
            for name in ("one", "two")
        )
        first.api("switch", value=two, value2=one)
    with running_gateway(tmp_path / "data", settings) as second:
        queue = second.api("queue")["queue"]
    assert queue["paused"] is True
    assert 50 <= int(queue["pause_int"].partition(":")[0]) <= 60
    assert [slot["nzo_id"] for slot in queue["slots"]] == [two, one]
