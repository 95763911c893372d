"""Downloads by a gateway that really runs, and is killed while it does.

DOWNLOAD_KILLS sets how often; each kill comes at a moment left to chance, seeded by DOWNLOAD_SEED.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import par2_maker
import psutil
import pytest
from gateway_process import GatewayProcess, environment, provider_settings, running_gateway

from gateway.demo import Fault, NewsServer, Post, Shape, make_posts

KILLS = int(os.environ.get("DOWNLOAD_KILLS", "10"))
CONNECTIONS = 8
# What may be on its way, or come and not yet be written: see `gateway_queue.download.transfer`.
WINDOW = 3 * CONNECTIONS


def settings_of(server: NewsServer) -> dict[str, str]:
    return {
        **provider_settings(server.host, server.port, CONNECTIONS),
        "GATEWAY_CATEGORIES__MOVIES__STORAGE": "download",
    }


def add(gateway: GatewayProcess, post: Post, name: str) -> str:
    assert gateway.ask("PUT", f"/dav/nzbs/movies/{name}.nzb", post.nzb).status == 201
    (slot,) = gateway.api("queue")["queue"]["slots"]
    return str(slot["nzo_id"])


@pytest.fixture(scope="module")
def film() -> bytes:
    return b"\x1a\x45\xdf\xa3" + random.Random(5).randbytes(18_000_000)


@pytest.fixture(scope="module")
def split_post(film: bytes, tmp_path_factory: pytest.TempPathFactory) -> Post:
    """A film cut in pieces, with a par2 set."""
    folder = tmp_path_factory.mktemp("post")
    size = 5_000_000
    names = []
    for number, begin in enumerate(range(0, len(film), size), 1):
        names.append(f"Some.Film.2026.mkv.{number:03}")
        (folder / names[-1]).write_bytes(film[begin : begin + size])
    par2s = par2_maker.create(folder, "Some.Film", names, "-s50000", "-r12", "-n4")
    files = [folder / name for name in names] + par2s
    return make_posts({path.name: path.read_bytes() for path in files}, part_size=60_000)


def test_a_download_that_is_killed_at_any_moment_is_gone_on_with(
    split_post: Post, film: bytes, tmp_path: Path
) -> None:
    rng = random.Random(os.environ.get("DOWNLOAD_SEED", "8"))
    data = [mid for file in split_post.files[:4] for mid in file.message_ids]
    complete = tmp_path / "data" / "complete" / "movies" / "Some.Film.2026"
    kills = 0
    with NewsServer(shape=Shape(round_trip_s=0.01, rate_total=5 << 20)) as server:
        server.add(split_post)
        server.remove(rng.sample(data, 6))
        settings, nzo_id = settings_of(server), ""
        while kills < KILLS:
            with running_gateway(tmp_path / "data", settings) as running:
                nzo_id = nzo_id or add(running, split_post, "Some.Film.2026")
                already = sum(server.counts.bodies.values())
                if rng.random() < 0.7:
                    more = already + rng.randrange(80)
                    running.wait_until(
                        lambda more=more: (
                            sum(server.counts.bodies.values()) >= more  # type: ignore[misc]
                            or not running.api("queue")["queue"]["slots"]
                        )
                    )
                running.process.send_signal(signal.SIGKILL)
                assert running.process.wait(10) == -signal.SIGKILL
                kills += 1
        with running_gateway(tmp_path / "data", settings) as running:
            slot = running.wait_for_history(nzo_id)
            assert (slot["status"], slot["fail_message"]) == ("Completed", "")
            seen = running.ask("GET", "/dav/content/movies/Some.Film.2026/Some.Film.2026.mkv")
            assert seen.body == film
        fetched = server.counts.bodies

    assert {path.name: path.read_bytes() for path in complete.iterdir()} == {
        "Some.Film.2026.mkv": film
    }
    assert not list((tmp_path / "data" / "incomplete").iterdir())
    twice = sum(fetched.values()) - len(fetched)
    assert twice <= kills * WINDOW, "only what was in flight is fetched again"


def test_a_gateway_that_starts_without_the_disk_of_its_downloads_makes_no_other(
    tmp_path: Path,
) -> None:
    disk, away = tmp_path / "disk", tmp_path / "away"
    disk.mkdir()
    films = {name: random.Random(name).randbytes(50_000) for name in ("One", "Two")}
    posts = {name: make_posts({f"{name}.mkv": film}) for name, film in films.items()}
    with NewsServer() as server:
        server.add(*posts.values())
        settings = {
            **settings_of(server),
            "GATEWAY_INCOMPLETE_DIR": str(disk / "incomplete"),
            "GATEWAY_COMPLETE_DIR": str(disk / "complete"),
        }
        with running_gateway(tmp_path / "data", settings) as running:
            running.wait_for_history(add(running, posts["One"], "One"))
        disk.rename(away)
        with running_gateway(tmp_path / "data", settings) as running:
            add(running, posts["Two"], "Two")
            running.wait_until(
                lambda: "is the disk mounted" in str(running.api("queue")["queue"]["slots"])
            )
            assert not disk.exists()
    assert (away / "complete/movies/One/One.mkv").read_bytes() == films["One"]


def test_the_queue_tells_how_far_a_download_is(split_post: Post, tmp_path: Path) -> None:
    with NewsServer(shape=Shape(round_trip_s=0.01, rate_total=8 << 20)) as server:
        server.add(split_post)
        # The last two articles of the film are not there before all has been looked at.
        server.fail(Fault.SILENCE, *split_post.files[3].message_ids[-2:], commands={"BODY"})
        with running_gateway(tmp_path / "data", settings_of(server)) as running:
            add(running, split_post, "Some.Film.2026")
            seen: list[int] = []

            def looked() -> bool:
                """Look at the queue; say whether it is empty."""
                slots = running.api("queue")["queue"]["slots"]
                if slots and slots[0]["status"] == "Downloading":
                    seen.append(int(slots[0]["percentage"]))
                    assert float(slots[0]["mbleft"]) <= float(slots[0]["mb"])
                return not slots

            running.wait_until(lambda: looked() or max(seen, default=0) > 80)
            listing = subprocess.run(
                [sys.executable, "-m", "gateway", "queue"],
                env=environment(running.data_dir, running.port, settings_of(server)),
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            ).stdout
            assert re.search(
                r" downloading .* \d+  [\d.]+ MB  [\d.]+ MB .* \d+:\d\d  Some\.Film\.2026", listing
            )
            server.heal()
            running.wait_until(looked)
            assert running.api("history")["history"]["slots"][0]["status"] == "Completed"
    assert seen == sorted(seen), "it never goes back"
    assert seen[-1] > 80


def test_what_came_whole_is_read_no_second_time(
    split_post: Post, film: bytes, tmp_path: Path
) -> None:
    with NewsServer() as server:
        server.add(split_post)
        with running_gateway(tmp_path / "data", settings_of(server)) as running:
            process = psutil.Process(running.process.pid)
            before = process.io_counters()
            nzo_id = add(running, split_post, "Some.Film.2026")
            assert running.wait_for_history(nzo_id)["status"] == "Completed"
            after = process.io_counters()
    # The pieces are put together: that reads them once, and writes them a second time.
    assert after.write_chars - before.write_chars >= 2 * len(film)
    assert after.read_chars - before.read_chars < 1.2 * len(film)
    par2s = [file for file in split_post.files if ".vol" in file.name]
    assert not sum(server.counts.bodies[mid] for file in par2s for mid in file.message_ids)
