"""What the API tells of the health of files, over a real library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from openapi_spec_validator import validate

from gateway.library.by_name import named
from gateway.library.catalogue import Library
from gateway.library.check_agenda import Braked, CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.damage import Damage, Playable
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
from gateway_queue.replacing.asking import ArrReplacements
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker

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
def worker(database: Database, library: Library, records: CheckRecords) -> Iterator[HealthWorker]:
    """What checks, without a provider to ask; not started."""
    with UsenetClient([]) as nobody:
        examiner = Examiner(nobody.source, providers=0)
        worker = HealthWorker(
            examiner, library, records, CheckAgenda(database), scheduled=False, clock=lambda: 50.0
        )
        yield worker
        assert worker.stop(20)


@pytest.fixture
def ask(
    database: Database,
    library: Library,
    records: CheckRecords,
    worker: HealthWorker,
    serve_api: Callable[[Sequence[Endpoint]], Ask],
) -> Ask:
    asked = HealthChecks(library, records, CheckAgenda(database), worker)
    outbox = ReplacementStore(database)
    replacing = ArrReplacements(outbox, ReplacementWorker(outbox, []), partial(named, library))
    return serve_api(checks.endpoints(asked, replacing))


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
    soon = records.of_releases([release.id])
    answer = ask("GET", "/checks")
    assert answer.status == 200
    assert "hunter2" not in answer.text
    assert answer.json == {
        "running": None,
        "requests": [],
        "schedule": {
            "on": False,
            "overdue": 0,
            "next_due": None,
            "brake": None,
            "files": {"healthy": 0, "degraded": 1, "failed": 0, "unknown": 1},
        },
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
                        "damaged": 0,
                        "playable": "",
                        "why": "",
                        "lost": [],
                        "lost_bytes": 0,
                        "checked_at": 20.0,
                        "decided_at": 10.0,
                        "confirmed_at": None,
                        "due_at": soon[0].due_at,
                    }
                ],
                "standing": None,
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
                        "damaged": 0,
                        "playable": "",
                        "why": "",
                        "lost": [],
                        "lost_bytes": 0,
                        "checked_at": None,
                        "decided_at": None,
                        "confirmed_at": None,
                        "due_at": 3601.0,
                    }
                ],
                "standing": None,
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


def test_a_brake_that_is_on_says_since_when_until_when_and_why(
    ask: Ask, database: Database, worker: HealthWorker
) -> None:
    CheckAgenda(database).brake(Braked(5.0, 3605.0, "5 of 5 checks ..."), ill_since=1.0)
    worker.start()
    assert ask("GET", "/checks").json["schedule"]["brake"] == {
        "since": 5.0,
        "until": 3605.0,
        "reason": "5 of 5 checks ...",
    }


def test_what_is_lost_is_told_in_bytes_with_what_follows_for_players(
    ask: Ask, publish: Callable[..., Release], records: CheckRecords
) -> None:
    release = publish("Film 2020")
    (known,) = records.of_releases([release.id])
    damage = Damage(((110, 130),), 20, Playable.GAPS, "players go on at the next cluster")
    found = Findings(40, 2, 0, holes([(0, 11), (0, 12)]), damaged=holes([(0, 11)]))
    records.record(known, found, 10.0, judge=lambda _holes: damage)
    (told,) = ask("GET", "/checks").json["results"][0]["files"]
    assert told["words"] == (
        "2 of 40 articles missing, 1 of them damaged (segments 12-13; at 27.5-32.5 % of the file)"
    )
    assert (told["playable"], told["why"]) == ("gaps", "players go on at the next cluster")
    assert (told["lost"], told["lost_bytes"]) == ([{"begin": 110, "end": 130}], 20)
    assert told["damaged"] == 1


def test_the_history_of_a_release_tells_each_check_the_latest_first(
    ask: Ask, publish: Callable[..., Release], records: CheckRecords
) -> None:
    release = publish("Film 2020")
    check(records, release, Findings(40), 10.0)
    check(records, release, Findings(40, 0, 40, (), "the provider did not answer"), 20.0)
    (file,) = ask("GET", "/checks/history?release=Film%202020").json["files"]
    assert (file["category"], file["release"], file["path"]) == ("movies", "Film 2020", "film.mkv")
    late, early = file["checks"]
    assert late == {
        "at": 20.0,
        "health": "unknown",
        "deep": False,
        "articles": 40,
        "missing": 0,
        "unknown": 40,
        "took_s": 0.0,
        "reason": "the provider did not answer",
    }
    assert (early["at"], early["health"]) == (10.0, "healthy")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/checks", {"releases": ["nothing"]}, 404, "no release is called 'nothing'"),
        ("GET", "/checks?release=nothing", None, 404, "no release is called 'nothing'"),
        ("GET", "/checks/history?release=nothing", None, 404, "no release is called 'nothing'"),
        ("GET", "/checks/history?limit=0", None, 400, "limit: "),
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
    assert set(description["paths"]["/checks/history"]) == {"get"}
