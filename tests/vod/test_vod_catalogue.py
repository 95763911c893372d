"""What can be watched: a provider's lists kept, given on in its absence, and merged with ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo.xtream import Episode, Movie, Series, Trouble, XtreamServer
from gateway.errors import GatewayError
from gateway.library.catalogue import Library
from gateway.vod.catalogue import LISTS_S, MOVIE, SERIES, Catalogue, numbered
from gateway.vod.film import FIRST_ID
from gateway.vod.fresh import Fresh, FreshByKey
from gateway.vod.own import category_id
from gateway.vod.panel import Panel, PanelFailed
from gateway.vod.profiles import Profile
from gateway.vod.rewriting import Rewriting


def listed(catalogue: Catalogue, kind: str, category: str | None = None) -> list[Any]:
    return [json.loads(text) for text in catalogue.listed(kind, category)]


def names(catalogue: Catalogue, kind: str, category: str | None = None) -> list[str]:
    return [one["name"] for one in listed(catalogue, kind, category)]


# What is kept ------------------------------------------------------------------------------


def test_a_list_is_asked_for_once_an_hour(
    catalogue: Catalogue, provider: XtreamServer, clock: Any
) -> None:
    provider.add(Movie(1, "old"))
    assert names(catalogue, MOVIE) == ["old"]
    provider.add(Movie(1, "new"))
    clock.now += LISTS_S - 1
    assert names(catalogue, MOVIE) == ["old"]
    clock.now += 2
    assert names(catalogue, MOVIE) == ["new"]
    assert len(provider.requests) == 2


def test_an_old_list_is_given_while_the_provider_is_down(
    catalogue: Catalogue, provider: XtreamServer, clock: Any
) -> None:
    provider.add(Movie(1, "film"))
    assert names(catalogue, MOVIE) == ["film"]
    provider.fail(Trouble.REFUSE, api=True)
    clock.now += 2 * LISTS_S
    assert names(catalogue, MOVIE) == ["film"]
    asked = len(provider.requests)
    assert names(catalogue, MOVIE) == ["film"]
    assert len(provider.requests) == asked  # not asked again at once
    provider.heal()
    provider.add(Movie(2, "other"))
    clock.now += 20
    assert names(catalogue, MOVIE) == ["film", "other"]


def test_a_list_that_was_never_had_is_refused_and_not_shown_empty(
    catalogue: Catalogue, provider: XtreamServer, publish: Callable[..., None]
) -> None:
    publish("movies", "Ours.2020", "x.mkv")
    provider.fail(Trouble.REFUSE, api=True)
    with pytest.raises(PanelFailed):
        catalogue.listed(MOVIE)
    assert names(catalogue, MOVIE, category_id("movies")) == ["Ours (2020)"]


def test_the_second_profile_answers_for_the_first(
    catalogue: Catalogue, provider: XtreamServer
) -> None:
    provider.add(*(Movie(number) for number in range(1, 50)))
    provider.fail(Trouble.CUT, api=True, account="upstream-bob", after=9_000)
    assert len(listed(catalogue, MOVIE)) == 49  # nothing twice of the list that broke off


def test_many_who_ask_at_once_make_one_request() -> None:
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def load() -> int:
        calls.append(1)
        begun.set()
        assert go_on.wait(10)
        return 7

    fresh = Fresh(load, ttl_s=60)
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(fresh.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (got, len(calls)) == ([7] * 8, 1)


def test_who_comes_while_a_list_is_renewed_gets_the_old_one(clock: Any) -> None:
    value = [1]
    inner: list[int] = []

    def load() -> int:
        if value[0] == 2:
            inner.append(fresh.get())  # as another thread would at this moment
        return value[0]

    fresh = Fresh(load, ttl_s=10, clock=clock)
    assert fresh.get() == 1
    value[0] = 2
    clock.now += 11
    assert fresh.get() == 2
    assert inner == [1]


def test_a_failure_is_told_to_all_and_not_repeated_at_once(clock: Any) -> None:
    calls = []

    def load() -> int:
        calls.append(1)
        raise PanelFailed("no")

    fresh = Fresh(load, ttl_s=60, retry_s=15, clock=clock)
    for _ in range(3):
        with pytest.raises(PanelFailed, match="no"):
            fresh.get()
    assert len(calls) == 1
    clock.now += 16
    with pytest.raises(GatewayError):
        fresh.get()
    assert len(calls) == 2


def test_what_is_dear_is_got_less_often(clock: Any) -> None:
    calls = []

    def load() -> int:
        calls.append(1)
        clock.now += 4
        return 1

    fresh = Fresh(load, ttl_s=5, costs=30, clock=clock)
    fresh.get()
    clock.now += 119
    fresh.get()
    assert len(calls) == 1
    clock.now += 2
    fresh.get()
    assert len(calls) == 2


def test_details_are_kept_for_so_many(clock: Any) -> None:
    calls: list[int] = []

    def load(key: int) -> int:
        calls.append(key)
        return key

    kept = FreshByKey(load, ttl_s=60, limit=2, clock=clock)
    for key in (1, 2, 1, 3, 1, 2):
        assert kept.get(key) == key
    assert calls == [1, 2, 3, 2]


def test_episodes_are_asked_for_again_when_the_series_has_changed(
    catalogue: Catalogue, provider: XtreamServer, clock: Any
) -> None:
    provider.add(Series(7, "Show", (Episode(71),)))
    assert list(catalogue.series_info(7)["episodes"]) == ["1"]
    clock.now += 2 * LISTS_S
    catalogue.series_info(7)
    asked = [each.target for each in provider.requests]
    assert asked.count("get_series_info") == 1
    changed = {"series_id": 7, "name": "Show", "last_modified": "1700000001"}
    provider.fail(
        Trouble.ANSWER, api=True, target="get_series", body=json.dumps([changed]).encode()
    )
    provider.add(Series(7, "Show", (Episode(71), Episode(72, 2, 1))))
    clock.now += 2 * LISTS_S
    assert list(catalogue.series_info(7)["episodes"]) == ["1", "2"]


# What the library adds ---------------------------------------------------------------------


def test_the_librarys_videos_are_films_and_episodes(
    catalogue: Catalogue, publish: Callable[..., None], clock: Any
) -> None:
    publish("movies", "Some.Film.2026.1080p.WEB", "abc123.mkv", "abc123.nfo", "sample.mkv")
    publish("movies", "Two.In.One.2020", "First.1999.mkv", "Second.2001.avi")
    publish("tv", "Show.S01E02.720p", "xyz.mkv")
    publish("tv", "Show.S01.720p", "show.s01e01.mkv", "show.s01e03.mkv")
    publish("tv", "A.Documentary.2011", "doc.mp4")
    publish("tv", "Show.2019.S01E01", "new.mkv")
    films = listed(catalogue, MOVIE)
    assert [(film["name"], film["container_extension"]) for film in films] == [
        ("Some Film (2026)", "mkv"),
        ("First (1999)", "mkv"),
        ("Second (2001)", "avi"),
        ("A Documentary (2011)", "mp4"),
    ]
    assert [category["category_name"] for category in catalogue.categories(MOVIE)] == [
        "Library: movies",
        "Library: tv",
    ]
    show, another = listed(catalogue, SERIES)
    assert another["name"] == "Show (2019)"
    info = catalogue.series_info(show["series_id"])
    assert show["name"] == info["info"]["name"] == "Show"
    assert [each["episode_num"] for each in info["episodes"]["1"]] == [1, 2, 3]
    assert all(int(each["id"]) > FIRST_ID for each in info["episodes"]["1"])
    film = catalogue.movie_info(films[0]["stream_id"])
    assert film["movie_data"]["name"] == film["info"]["name"] == "Some Film (2026)"


def test_ids_of_the_library_name_its_files(
    catalogue: Catalogue, library: Library, publish: Callable[..., None]
) -> None:
    publish("movies", "One.2001", "one.mkv")
    publish("movies", "Two.2002", "two.mkv")
    found = {one["stream_id"]: one["name"] for one in listed(catalogue, MOVIE)}
    for number, file in library.numbered_files():
        assert found[FIRST_ID + number].startswith(file.release.name[:3])


def test_without_profiles_there_is_the_library(
    library: Library, publish: Callable[..., None]
) -> None:
    publish("movies", "One.2001", "one.mkv")
    alone = Catalogue(Panel([]), library)
    assert names(alone, MOVIE) == ["One (2001)"]
    assert listed(alone, SERIES) == []
    assert alone.series_info(FIRST_ID + 9) == {"seasons": [], "info": {}, "episodes": {}}
    assert alone.movie_info(FIRST_ID + 9) == {"info": {}, "movie_data": {}}


# What a provider may say ---------------------------------------------------------------------


@pytest.fixture
def rewriting() -> Rewriting:
    return Rewriting([Profile("main", "http://p.example:8080", "bob", "hunter22")])


def test_any_types_of_a_panel_become_those_that_players_expect(rewriting: Rewriting) -> None:
    movie = rewriting.movie(
        {
            "stream_id": "12",
            "name": None,
            "title": 'A "film"\r\n\ud800',
            "stream_icon": [],
            "rating": "n/a",
            "rating_5based": None,
            "added": "",
            "category_id": None,
            "category_ids": ["7"],
            "container_extension": "../../mkv",
            "direct_source": "http://p.example:8080/movie/bob/hunter22/12.mkv",
        }
    )
    assert movie is not None
    assert movie["stream_id"] == 12
    assert movie["name"] == 'A "film"'
    assert (movie["rating"], movie["rating_5based"], movie["added"]) == ("0", 0.0, "0")
    assert (movie["category_id"], movie["category_ids"]) == ("7", [7])
    assert (movie["container_extension"], movie["direct_source"]) == ("mp4", "")
    assert rewriting.movie({}) is None
    bads: list[Any] = [None, "x", "", [], -1, 0, "1e99"]
    for bad in bads:
        assert rewriting.movie({"stream_id": bad}) is None
    assert rewriting.movie({"stream_id": FIRST_ID + 5}) is None  # the library's
    assert rewriting.episode({"id": 5, "info": [], "season": ""}, 3) == {
        "id": "5",
        "episode_num": 0,
        "title": "5",
        "container_extension": "mp4",
        "info": {
            "plot": "",
            "duration": "",
            "movie_image": "",
            "duration_secs": 0,
            "bitrate": 0,
            "rating": 0,
        },
        "custom_sid": "",
        "added": "0",
        "season": 3,
        "direct_source": "",
    }
    assert rewriting.season({"air_date": "0000-00-00"}) == rewriting.season({"air_date": ""})
    video = rewriting.about_movie({"video": {"a": float("nan"), "b": {"c": {"d": {"e": 1}}}}})
    assert json.dumps(video, allow_nan=False)
    nothings: list[Any] = [None, [], "x", 7]
    for nothing in nothings:
        assert rewriting.about_movie(nothing)["name"] == ""
        assert rewriting.about_series(nothing)["category_id"] == "0"


def test_what_leads_to_the_provider_is_left_out(rewriting: Rewriting) -> None:
    assert rewriting.link("https://image.example/t/p.jpg") == "https://image.example/t/p.jpg"
    for leak in (
        "http://P.example:8080/images/1.jpg",
        "https://p.example/1.jpg",
        "https://cdn.example/movie/bob/x/1.jpg",
        "https://cdn.example/?u=1&k=hunter22",
        "javascript:alert(1)",
        "/images/1.jpg",
    ):
        assert rewriting.link(leak) == ""
    assert rewriting.text("ask bob the builder") == "ask bob the builder"
    short = Rewriting([Profile("main", "http://p.example", "bob", "12")])
    assert short.link("https://image.example/1234/12.jpg") == "https://image.example/1234/12.jpg"
    assert short.link("https://image.example/12/1.jpg") == ""
    assert short.text("12 Monkeys / bob") == "12 Monkeys / bob"
    assert short.text("see /movie/bob/12/1.mkv") == ""
    assert rewriting.text("see p.example for more") == ""
    assert rewriting.text("the password is HUNTER22") == ""


@pytest.mark.parametrize(
    "body",
    [
        b'{"seasons": null, "info": [], "episodes": []}',
        b"[]",
        b"null",
        b'"no"',
        b'{"episodes": {"1": null, "2": 7, "3": [null, 4, {"id": "x"}]}}',
    ],
)
def test_a_series_without_episodes_is_told_as_such(
    catalogue: Catalogue, provider: XtreamServer, body: bytes
) -> None:
    provider.fail(Trouble.ANSWER, api=True, target="get_series_info", body=body)
    assert catalogue.series_info(5) == {"seasons": [], "info": {}, "episodes": {}}


def test_episodes_come_as_lists_in_lists_or_in_objects(
    catalogue: Catalogue, provider: XtreamServer
) -> None:
    for series, episodes in [
        (5, '[[{"id": 1, "season": 1}], [{"id": 2, "season": 2}]]'),
        (6, '{"1": {"0": {"id": "1"}}, "2": [{"id": 2}]}'),
    ]:
        body = f'{{"episodes": {episodes}}}'.encode()
        provider.fail(Trouble.ANSWER, api=True, target="get_series_info", body=body, times=1)
        found = catalogue.series_info(series)["episodes"]
        assert [(one["id"], one["season"]) for each in found.values() for one in each] == [
            ("1", 1),
            ("2", 2),
        ]


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_a_list_is_numbered_and_is_json(count: int) -> None:
    text = b"".join(numbered([b'{"name":"x"}'] * count))
    assert json.loads(text) == [{"num": at + 1, "name": "x"} for at in range(count)]
