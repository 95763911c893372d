"""What is asked of a Sonarr or Radarr, and what becomes of whatever it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fake_arr import KEY, VERSIONS, FakeArr, Fault

from gateway_queue.replacing import answers
from gateway_queue.replacing.arr import ArrOverHttp
from gateway_queue.telling import NotTold

Serve = Callable[..., FakeArr]
Client = Callable[..., ArrOverHttp]


@pytest.mark.parametrize(("kind", "version"), VERSIONS)
def test_who_has_grabbed_a_download_knows_it_and_nobody_else(
    serve: Serve, client: Client, kind: str, version: int
) -> None:
    fake = serve(kind, version=version)
    number = 3 if kind == "radarr" else 7001
    fake.grab("another", number)
    fake.grab("ours & theirs", number)
    arr = client(fake)
    grab = arr.find("ours & theirs")
    assert grab is not None
    assert (grab.ids, grab.is_failed, grab.is_by_hand) == ((number,), False, False)
    assert arr.find("unheard-of") is None
    arr.mark_failed(grab)
    after = arr.find("ours & theirs")
    assert after is not None
    assert after.is_failed
    other = arr.find("another")
    assert other is not None
    assert not other.is_failed
    assert fake.blocklist == ["Some.Release.ours & theirs"]


@pytest.mark.parametrize(("kind", "version"), VERSIONS)
def test_what_was_grabbed_has_a_title_and_a_search(
    serve: Serve, client: Client, kind: str, version: int
) -> None:
    fake = serve(kind, version=version)
    arr = client(fake)
    if kind == "radarr":
        fake.grab("one", 3)
        search: dict[str, Any] = {"name": "MoviesSearch", "movieIds": [3]}
        expected = [("The Film (1999)", {"movie:3"}, [search])]
    else:
        fake.grab("one", 7002)
        fake.grab("two", 7004, 7002)
        fake.grab("season", 7001, 7002, 7003)
        of_season = {"name": "SeasonSearch", "seriesId": 7, "seasonNumber": 1}
        one = {"name": "EpisodeSearch", "episodeIds": [7002]}
        expected = [
            ("The Show S01E02", {"episode:7002"}, [one]),
            (
                "The Show S01E02 S02E01",
                {"episode:7002", "episode:7004"},
                [one, {"name": "EpisodeSearch", "episodeIds": [7004]}],
            ),
            ("The Show S01", {f"episode:{n}" for n in (7001, 7002, 7003)}, [of_season]),
        ]
    for download_id, (words, titles, searches) in zip(
        ("one", "two", "season"), expected, strict=False
    ):
        grab = arr.find(download_id)
        assert grab is not None
        title = arr.title(grab)
        assert (title.words, {*arr.titles(grab)}) == (words, titles)
        assert [*title.searches] == searches
        assert not title.has_file


def test_what_is_not_monitored_is_not_searched_for(sonarr: FakeArr, client: Client) -> None:
    sonarr.grab("season", 7001, 7002, 7003)
    sonarr.episodes[7002]["monitored"] = False
    arr = client(sonarr)
    grab = arr.find("season")
    assert grab is not None
    assert arr.title(grab).searches == ({"name": "EpisodeSearch", "episodeIds": [7001, 7003]},)
    sonarr.series[7]["monitored"] = False
    assert arr.title(grab).searches == ()


def test_a_pack_of_hundreds_of_episodes_is_read_to_its_end(sonarr: FakeArr, client: Client) -> None:
    sonarr.add_series(8, "A Long Show", {1: 700})
    sonarr.grab("pack", *range(8001, 8701))
    grab = client(sonarr).find("pack")
    assert grab is not None
    assert len(grab.ids) == 700
    assert [one.query["page"] for one in sonarr.asked] == [["1"], ["2"]]


@pytest.mark.parametrize(
    ("auto", "interactive", "by_hand", "version", "expected"),
    [
        (True, True, False, 4, True),
        (False, True, False, 4, False),
        (True, False, False, 4, True),
        (True, False, True, 4, False),  # somebody chose it: then somebody chooses again
        (True, True, True, 4, True),
        (True, False, True, 3, True),  # an older one makes no such difference
    ],
)
def test_it_is_known_whether_it_searches_by_itself(
    serve: Serve,
    client: Client,
    auto: bool,
    interactive: bool,
    by_hand: bool,
    version: int,
    expected: bool,
) -> None:
    fake = serve(version=version, auto_redownload=auto, from_interactive=interactive)
    fake.grab("one", 7001, by_hand=by_hand)
    arr = client(fake)
    grab = arr.find("one")
    assert grab is not None
    assert arr.searches_by_itself(grab) is expected
    arr.mark_failed(grab)
    assert fake.own_searches == expected


def test_a_search_that_may_be_under_way_is_not_asked_for_twice(
    sonarr: FakeArr, client: Client
) -> None:
    arr = client(sonarr)
    searches = [{"name": "EpisodeSearch", "episodeIds": [7002, 7001]}]
    other = [{"name": "EpisodeSearch", "episodeIds": [7001]}]
    arr.search(searches, again=False)
    sonarr.commands[0]["status"] = "completed"
    arr.search(searches, again=True)
    assert len(sonarr.searches()) == 1
    arr.search(other, again=True)
    assert len(sonarr.searches()) == 2
    sonarr.commands[0]["status"] = "failed"
    arr.search(searches, again=True)
    assert len(sonarr.searches()) == 3


# Nonsense --------------------------------------------------------------------------------------

JSON = (("Content-Type", "application/json"),)
PAGE = {"page": 1, "pageSize": 1000, "totalRecords": 1}
RECORD = {"id": 1, "downloadId": "one", "eventType": "grabbed", "episodeId": 7001, "seriesId": 7}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(401), "refused us (401): check GATEWAY_ARR__SONARR__API_KEY"),
        (Fault(403), "refused us (403): check GATEWAY_ARR__SONARR__API_KEY"),
        (Fault(404), "/api/v3/history does not exist (404): check its address"),
        (Fault(500, b"<h1>Oops</h1>"), "answered with status 500"),
        (
            Fault(302, headers=(("Location", "http://127.0.0.1:1/login"),)),
            "leads elsewhere (302): write the address that it has",
        ),
        (Fault(raw=b"<html>login</html>"), "its history is no JSON object"),
        (Fault(raw=b'{"records": [{"id": 1, '), "its history is no JSON object"),
        (Fault(raw=b"[" * 100_000), "its history is no JSON object"),
        (Fault(raw=b"[]"), "its history is no JSON object"),
        (Fault(raw=b"null"), "its history is no JSON object"),
        (Fault(raw=b"\xff\xfe\x00"), "its history is no JSON object"),
        (Fault(raw=b""), "its history is no JSON object"),
        (Fault(megabytes=200), "answers more than 8 MiB"),
        (Fault(cut=True), "does not answer ("),
        (Fault(silent=True), "does not answer ("),
        (Fault(drips=True), "does not "),
        (Fault(204), "its history is no JSON object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_is_answered_is_told_in_one_sentence_without_the_key(
    sonarr: FakeArr, client: Client, fault: Fault, words: str
) -> None:
    sonarr.fault = lambda _: fault
    longest_s = 0.5 if fault.silent or fault.drips else 20.0
    with pytest.raises(NotTold) as caught:
        client(sonarr, longest_s=longest_s).find("one")
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(sonarr.asked) == 1, "no redirect is followed, nothing is tried twice at once"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "there is no list of records"),
        ({**PAGE, "records": {}}, "there is no list of records"),
        ({**PAGE, "records": [7]}, "a record of its history is no JSON object"),
        ({**PAGE, "totalRecords": "1", "records": [RECORD]}, "no totalRecords"),
        ({**PAGE, "records": [{**RECORD, "downloadId": "two"}]}, "it is too old"),
        ({**PAGE, "records": [{**RECORD, "episodeId": "7001"}]}, "episodeId is no number"),
        ({**PAGE, "records": [{**RECORD, "episodeId": True}]}, "episodeId is no number"),
        ({**PAGE, "records": [{**RECORD, "id": -1}]}, "id is no number"),
        ({**PAGE, "records": [{**RECORD, "id": 10**30}]}, "id is no number"),
        ({**PAGE, "records": [{**RECORD, "seriesId": None}]}, "seriesId is no number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_history_of_wrong_types_is_refused(
    sonarr: FakeArr, client: Client, answer: object, words: str
) -> None:
    sonarr.fault = lambda _: Fault(raw=json.dumps(answer).encode(), headers=JSON)
    with pytest.raises(NotTold) as caught:
        client(sonarr).find("one")
    assert str(caught.value).startswith("what sonarr 'sonarr' answers is not of a Sonarr: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("path", ["series", "episode", "movie", "config", "command"])
@pytest.mark.parametrize("raw", [b"[]", b"{}", b"[7]", b"<html>", b'{"title": 5, "id": "x"}'])
def test_other_answers_of_wrong_types_are_refused_too(
    serve: Serve, client: Client, path: str, raw: bytes
) -> None:
    kind = "radarr" if path == "movie" else "sonarr"
    fake = serve(kind)
    fake.grab("one", 3 if kind == "radarr" else 7001)
    arr = client(fake)
    grab = arr.find("one")
    assert grab is not None
    fake.fault = lambda asked: (
        Fault(raw=raw) if f"/{path}" in asked.path and asked.method == "GET" else None
    )
    ask: dict[str, Callable[[], object]] = {
        "config": lambda: arr.searches_by_itself(grab),
        "command": lambda: arr.search([{"name": "EpisodeSearch", "episodeIds": [1]}], again=True),
    }
    if raw == b"[]" and path in {"episode", "command"}:
        ask.get(path, lambda: arr.title(grab))()  # nothing is under way, or left of it
        return
    with pytest.raises(NotTold, match=f"is not of a {kind.capitalize()}: "):
        ask.get(path, lambda: arr.title(grab))()


def test_a_title_of_strangers_is_fit_for_a_log(radarr: FakeArr, client: Client) -> None:
    radarr.grab("one", 3)
    radarr.movies[3]["title"] = "Line\r\n2026 ERROR \x1b[31m" + "x" * 5000
    arr = client(radarr)
    grab = arr.find("one")
    assert grab is not None
    words = arr.title(grab).words
    assert words.isprintable()
    assert len(words) < 120


def test_events_are_known_by_name_in_any_case_and_by_number() -> None:
    for event in ("grabbed", "Grabbed", 1):
        found = answers.grab_of([{**RECORD, "eventType": event}], of_movie=False)
        assert found is not None
        assert not found.is_failed
    failed: dict[str, Any] = {**RECORD, "eventType": 4}
    found = answers.grab_of([failed, RECORD], of_movie=False)
    assert found is not None
    assert found.is_failed
    assert answers.grab_of([failed], of_movie=False) is None


def test_nothing_is_ever_sent_but_looks_marks_and_searches(sonarr: FakeArr, client: Client) -> None:
    sonarr.grab("one", 7001)
    arr = client(sonarr)
    grab = arr.find("one")
    assert grab is not None
    arr.mark_failed(grab)
    arr.search(arr.title(grab).searches, again=False)
    assert {(one.method, one.path) for one in sonarr.asked if one.method != "GET"} == {
        ("POST", f"/api/v3/history/failed/{grab.history_id}"),
        ("POST", "/api/v3/command"),
    }
    assert all(one.headers["x-api-key"] == KEY for one in sonarr.asked)
    assert not any(KEY in str(asked.query) for asked in sonarr.asked)
