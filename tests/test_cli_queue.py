"""`nzb-gateway queue`, as somebody types it, and the figures of a download that it shows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from gateway.api_client import ApiClient
from gateway.app import Gateway
from gateway.demo import NewsServer, Shape, make_posts
from gateway.settings import load

PART = 64 << 10
FILM = b"\x1a\x45\xdf\xa3" + random.Random(3).randbytes(4_000_000)
POST = make_posts({"Some.Film.mkv": FILM}, part_size=PART)

Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(autouse=True)
def _nzbs(own_settings: None, tmp_path: Path) -> None:
    (tmp_path / "film.nzb").write_bytes(POST.nzb)
    (tmp_path / "other.nzb").write_bytes(POST.nzb)


@pytest.fixture
def gateway(gateway: Gateway) -> Gateway:
    """A gateway whose queue rests."""
    gateway.jobs.pause_all()
    return gateway


@pytest.fixture
def run(command: Run) -> Run:
    return command


def test_the_queue_is_a_table_that_says_why_a_job_waits(gateway: Gateway, run: Run) -> None:
    assert run("queue") == (0, ["Queue: 0 (paused)", "History: 0"], [])
    (film,) = [line.split()[0] for line in run("add", "film.nzb", "--category", "tv")[1]]
    code, out, _ = run("queue")
    assert code == 0
    assert out[0] == "Queue: 1 (paused)"
    assert out[1].split() == [
        "JOB",
        "STATE",
        "CATEGORY",
        "PRIORITY",
        "%",
        "DONE",
        "OF",
        "SPEED",
        "LEFT",
        "NAME",
    ]
    assert out[2].split() == [
        *(film, "queued", "tv", "normal", "-", "-", "4.15", "MB", "-", "-"),
        *("film", "(the", "queue", "is", "paused)"),
    ]


def test_jobs_are_paused_resumed_and_removed_by_id_or_name(gateway: Gateway, run: Run) -> None:
    ids = [line.split()[0] for line in run("add", "film.nzb", "other.nzb")[1]]
    assert run("queue", "pause", "film", ids[1]) == (0, ["paused film", "paused other"], [])
    assert [job["state"] for job in shown(run)] == ["paused", "paused"]
    assert run("queue", "pause", "film") == (1, ["film was not paused: it is paused"], [])
    assert run("queue", "resume", "film") == (0, ["resumed film"], [])
    assert run("queue", "priority", "force", ids[1])[1] == ["other has priority force"]
    assert [(job["name"], job["priority"]) for job in shown(run)] == [
        ("other", "force"),
        ("film", "normal"),
    ]
    assert run("queue", "rm", "none", "film") == (
        1,
        [],
        ["nzb-gateway: no job of the queue is called 'none', and none has that id"],
    )
    assert run("queue", "rm", "film") == (0, ["removed film"], [])
    run("add", "other.nzb")
    code, _, (complaint,) = run("queue", "rm", "other")
    assert code == 1
    assert complaint.startswith(f"nzb-gateway: 2 jobs are called 'other': name one of {ids[1]}, ")
    assert len(shown(run)) == 2


def test_the_whole_queue_is_paused_and_resumed(gateway: Gateway, run: Run) -> None:
    assert run("queue", "resume")[1] == ["the queue was resumed"]
    assert not gateway.jobs.paused
    assert run("queue", "pause")[1] == ["the queue was paused"]
    assert gateway.jobs.paused


def shown(run: Run) -> list[dict[str, object]]:
    found = json.loads("\n".join(run("queue", "--json")[1]))
    assert found["history"] == {"jobs": [], "total": 0}
    jobs: list[dict[str, object]] = found["queue"]["jobs"]
    assert len(jobs) == found["queue"]["total"]
    return jobs


def on_disk(folder: Path) -> int:
    """Return how many bytes of a film without zeros have been written, of whole articles."""
    while True:
        paths = sorted(folder.glob("*/p*/*"))
        found = sum(len(one) for path in paths for one in pieces(path) if any(one[:64]) or any(one))
        if sorted(folder.glob("*/p*/*")) == paths:  # or it was given its name at this moment
            return found


def pieces(path: Path) -> Iterator[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # it has just got its name
        return
    for start in range(0, len(content), PART):
        yield content[start : start + PART]


def test_what_is_shown_of_a_download_is_what_lies_on_the_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with NewsServer(shape=Shape(round_trip_s=0.01, rate_total=1 << 20)) as server:
        server.add(POST)
        for name, value in {
            "PROVIDERS__MAIN__HOST": server.host,
            "PROVIDERS__MAIN__PORT": str(server.port),
            "PROVIDERS__MAIN__TLS": "false",
            "PROVIDERS__MAIN__CONNECTIONS": "4",
            "CATEGORIES__MOVIES__STORAGE": "download",
        }.items():
            monkeypatch.setenv(f"GATEWAY_{name}", value)
        with Gateway(load()) as gateway:
            monkeypatch.setenv("GATEWAY_PORT", str(gateway.server.port))
            run("add", "film.nzb", "--category", "movies")
            client = ApiClient.of(load())
            incomplete, pause = tmp_path / "data" / "incomplete", Event()
            seen = []
            for _ in range(600):
                before = on_disk(incomplete)
                page = client.queue()
                if not page["jobs"]:
                    break
                (job,) = page["jobs"]
                if job["state"] == "downloading":
                    seen.append((before, job, page, on_disk(incomplete)))
                pause.wait(0.05)
            (ended,) = client.history()["jobs"]
    assert (ended["state"], ended["size"]) == ("completed", len(FILM))
    assert seen
    weight = sum(article.size for file in POST.files for article in file.articles)
    encoding = weight / len(FILM)
    for before, job, page, after in seen:
        assert job["total"] == weight
        # An article is counted once it is written: between the two looks, or after the second one.
        assert before * encoding - 2 * PART <= job["done"] <= after * encoding + 2 * PART
        assert (job["missing"], page["left"]) == (0, weight - job["done"])
        if job["left_s"]:
            left = (weight - job["done"]) / encoding
            assert job["left_s"] == pytest.approx(left / job["speed"], rel=0.05)
