"""What the API tells of the health of files, over a real library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from openapi_spec_validator import validate

from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.library.health import Findings, holes
from gateway.nzb.extents import PartTable, Run
from gateway.page import checks
from gateway.page.endpoint import Endpoint
from gateway.usenet.client import UsenetClient
from gateway_queue.checks import HealthChecks
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker

Ask = Callable[..., Any]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/library.sqlite")
    yield database
    database.close()


@pytest.fixture
def records(database: Database) -> CheckRecords:
    return CheckRecords(database)


@pytest.fixture
def library(database: Database) -> Iterator[Library]:
    library = Library(database)
    yield library
    library.close()


@pytest.fixture
def publish(database: Database, library: Library) -> Callable[..., Release]:
    """Publish a release of one film of 40 articles."""

    def publish(name: str, category: str = "movies") -> Release:
        table = PartTable.regular([f"{n}@{name}".encode() for n in range(40)], 400, 10)
        posted = (NewPosted("film.mkv", table),)
        files = (NewFile("film.mkv", 400, (Run(0, 0, 400),)),)
        with database.begin() as tx:
            return library.publish(
                tx, NewRelease(category, name, 1.0, b"", posted, files, password="hunter2")
            )

    return publish


@pytest.fixture
def worker(library: Library, records: CheckRecords) -> Iterator[HealthWorker]:
    """What checks, without a provider to ask; not started."""
    with UsenetClient([]) as nobody:
        examiner = Examiner(nobody.source, providers=0)
        worker = HealthWorker(examiner, library, records, interval_s=3600, clock=lambda: 50.0)
        yield worker
        assert worker.stop(20)


@pytest.fixture
def ask(
    library: Library,
    records: CheckRecords,
    worker: HealthWorker,
    serve_api: Callable[[Sequence[Endpoint]], Ask],
) -> Ask:
    return serve_api(checks.endpoints(HealthChecks(library, records, worker)))


def check(records: CheckRecords, release: Release, findings: Findings, at: float) -> None:
    (known,) = records.of_releases([release.id])
    assert records.record(known, findings, at) is not None


def test_each_file_is_told_with_its_verdict_and_what_the_latest_check_left_open(
    ask: Ask, publish: Callable[..., Release], records: CheckRecords
) -> None:
    release = publish("Film 2020")
    check(records, release, Findings(40, 3, 0, holes([(0, 11), (0, 12), (0, 30)])), 10.0)
    check(records, release, Findings(40, 0, 40, (), "the provider did not answer"), 20.0)
    publish("New", "tv")
    answer = ask("GET", "/checks")
    assert answer.status == 200
    assert "hunter2" not in answer.text
    assert answer.json == {
        "running": None,
        "requests": [],
        "round": None,
        "interval_s": 3600,
        "results": [
            {
                "category": "movies",
                "name": "Film 2020",
                "files": [
                    {
                        "path": "film.mkv",
                        "health": "unknown",
                        "words": "40 of 40 articles unknown: the provider did not answer",
                        "verdict": "degraded",
                        "articles": 40,
                        "missing": 3,
                        "unknown": 40,
                        "reason": "the provider did not answer",
                        "holes": [
                            {"posted": 1, "first": 12, "last": 13},
                            {"posted": 1, "first": 31, "last": 31},
                        ],
                        "checked_at": 20.0,
                        "decided_at": 10.0,
                    }
                ],
            },
            {
                "category": "tv",
                "name": "New",
                "files": [
                    {
                        "path": "film.mkv",
                        "health": "unknown",
                        "words": "never checked",
                        "verdict": "unknown",
                        "articles": 0,
                        "missing": 0,
                        "unknown": 0,
                        "reason": "",
                        "holes": [],
                        "checked_at": None,
                        "decided_at": None,
                    }
                ],
            },
        ],
        "next": None,
    }


def test_the_library_comes_in_pages_and_one_release_by_its_name(
    ask: Ask, publish: Callable[..., Release]
) -> None:
    for number in range(5):
        publish(f"Film {number}")
    names, after = [], 0
    while after is not None:
        answer = ask("GET", f"/checks?limit=2&after={after}").json
        names.append([release["name"] for release in answer["results"]])
        after = answer["next"]
    assert names == [["Film 0", "Film 1"], ["Film 2", "Film 3"], ["Film 4"]]
    for name in ("Film 3", "movies/Film 3"):
        (release,) = ask("GET", f"/checks?release={quote(name, safe='')}").json["results"]
        assert release["name"] == "Film 3"
    assert ask("GET", "/checks?limit=0").json["results"] == []


def test_a_check_is_asked_for_and_can_be_followed(
    ask: Ask, publish: Callable[..., Release]
) -> None:
    publish("Film")
    answer = ask("POST", "/checks", {"releases": ["Film"]})
    assert answer.status == 202
    assert answer.json == {"id": answer.json["id"], "files": 1, "done": 0, "finished": False}
    whole = ask("POST", "/checks", {}).json
    assert ask("GET", "/checks?limit=0").json["requests"] == [answer.json, whole]


def test_a_round_that_was_stopped_says_why(
    ask: Ask, records: CheckRecords, worker: HealthWorker
) -> None:
    began = records.begin_round(5.0)
    records.end_round(began.id, 9.0, "5 of 5 checks ...")
    worker.start()
    assert ask("GET", "/checks").json["round"] == {
        "began": 5.0,
        "ended": 9.0,
        "stopped": "5 of 5 checks ...",
        "left": 0,
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/checks", {"releases": ["nothing"]}, 404, "no release is called 'nothing'"),
        ("GET", "/checks?release=nothing", None, 404, "no release is called 'nothing'"),
        ("POST", "/checks", {"releases": [""]}, 400, "releases.0: string should have at least 1"),
        ("POST", "/checks", {"releases": "Film"}, 400, "releases: input should be a valid array"),
        ("POST", "/checks", {"release": []}, 400, "release: extra inputs are not permitted"),
        ("GET", "/checks?limit=5000", None, 400, "limit: input should be less than or equal"),
        ("GET", "/checks?after=-1", None, 400, "after: input should be greater than or equal"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    ask: Ask, method: str, path: str, body: object, status: int, words: str
) -> None:
    answer = ask(method, path, body)
    assert answer.status == status
    assert answer.json["error"].startswith(words)


def test_what_is_asked_and_answered_is_described(ask: Ask) -> None:
    description = ask("GET", "/openapi.json").json
    validate(description)
    assert set(description["paths"]["/checks"]) == {"get", "post"}
