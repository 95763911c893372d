"""A gateway that is killed while it checks: what was found stays, what was begun is begun anew."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway_process import API_KEY, GatewayProcess, provider_settings, running_gateway

from gateway.demo import Fault, NewsServer, Post, make_bulk_post
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.nzb.extents import PartTable, Run

FILMS, ARTICLES = 30, 20


def publish(data_dir: Path, posts: list[Post]) -> None:
    """Publish each post as a release of one film, a long time ago."""
    data_dir.mkdir()
    database = Database(f"sqlite:///{data_dir}/library.sqlite")
    library = Library(database)
    for number, post in enumerate(posts):
        (file,) = post.files
        table = PartTable.regular([one.encode() for one in file.message_ids], file.size, 1000)
        with database.begin() as tx:
            library.publish(
                tx,
                NewRelease(
                    "movies",
                    f"Film {number}",
                    1.0,
                    post.nzb,
                    (NewPosted(file.name, table),),
                    (NewFile(file.name, file.size, (Run(0, 0, file.size),)),),
                ),
            )
    library.close()
    database.close()


def checks(gateway: GatewayProcess, path: str = "/checks?limit=100") -> Any:
    return json.loads(
        gateway.ask("GET", f"/api/gateway{path}", headers={"X-Api-Key": API_KEY}).body
    )


def found(gateway: GatewayProcess) -> Mapping[str, float]:
    """Return when each film was checked that was."""
    return {
        release["name"]: release["files"][0]["checked_at"]
        for release in checks(gateway)["results"]
        if release["files"][0]["checked_at"] is not None
    }


def test_a_kill_in_mid_check_loses_nothing_and_the_schedule_goes_on(tmp_path: Path) -> None:
    posts = [
        make_bulk_post("film.mkv", ARTICLES * 1000, part_size=1000, seed=number)
        for number in range(FILMS)
    ]
    data_dir = tmp_path / "data"
    publish(data_dir, posts)
    with NewsServer() as server:
        server.add(*posts)
        # Nobody gives up on the silent ones before the kill, on however busy a machine.
        settings = {
            **provider_settings(server.host, server.port),
            "GATEWAY_READ_TIMEOUT": "600s",
        }
        before: Mapping[str, float] = {}
        for kill in (FILMS // 3, 2 * FILMS // 3):
            for post in posts[kill:]:
                server.fail(Fault.SILENCE, post.message_ids[ARTICLES // 2])
            with running_gateway(data_dir, settings) as gateway:
                server.wait_for(lambda counts: counts.stalled, timeout_s=60)
                gateway.wait_until(lambda: checks(gateway, "/checks?limit=0")["running"])
                seen = found(gateway)
                os.kill(gateway.process.pid, signal.SIGKILL)
                gateway.process.wait(20)
            assert before.items() <= seen.items(), "what was found before the kill is lost"
            assert len(seen) < FILMS
            before = seen
            server.heal()
        with running_gateway(data_dir, settings) as gateway:
            gateway.wait_until(
                lambda: checks(gateway, "/checks?limit=0")["schedule"]["overdue"] == 0
            )
            after = found(gateway)
            assert len(after) == FILMS
            assert before.items() <= after.items(), "a film was checked twice"
            history = checks(gateway, f"/checks/history?limit={FILMS}")["files"]
            assert [[one["health"] for one in file["checks"]] for file in history] == [
                ["healthy"]
            ] * FILMS
