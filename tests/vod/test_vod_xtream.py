"""player_api.php answers as panels do, to our own users, and tells nothing of the provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.demo.xtream import Episode, Movie, Series, Trouble, XtreamServer
from gateway.vod.own import category_id

NASTY = 'Ä "film", so\n#EXTINF:-1,evil\r\nhttp://evil.example/ \u2028 <b>&amp; 電影'


@pytest.fixture
def full(provider: XtreamServer, publish: Callable[..., None]) -> XtreamServer:
    """The provider with films and series, and a library with some."""
    provider.add(Movie(4711, "A Film (2001)"), Movie(12, NASTY, category='Odd "ones"\n'))
    provider.add(Series(7, "Show", (Episode(71, 1, 1, "Start"), Episode(72, 2, 1, NASTY))))
    publish("movies", "Ours.2020.1080p", "ours.mkv")
    publish("tv", "Our.Show.S01E02", "x.mkv")
    return provider


def ask(doors: Any, action: str = "", **parameters: str) -> Any:
    answer = doors.ask(action=action, **parameters)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    return json.loads(answer.body)


def test_the_login_says_who_and_where(doors: Any, watching: dict[str, int]) -> None:
    watching["eve"] = 1
    said = ask(doors)
    assert said["user_info"] == {
        "username": "eve",
        "password": "her pässword",
        "message": "",
        "auth": 1,
        "status": "Active",
        "exp_date": "2145916800",
        "is_trial": "0",
        "active_cons": "1",
        "created_at": "0",
        "max_connections": "2",
        "allowed_output_formats": ["ts", "mp4", "mkv"],
    }
    server = said["server_info"]
    assert (server["url"], server["port"]) == ("127.0.0.1", str(doors.port))
    assert (server["server_protocol"], server["timezone"]) == ("http", "UTC")
    assert isinstance(server["timestamp_now"], int)


def test_a_proxy_that_is_trusted_says_how_the_client_speaks(doors: Any) -> None:
    login = urlencode({"username": "guest", "password": "guest"})
    answer = doors.send(
        "GET",
        f"/player_api.php?{login}",
        **{"Host": "vod.example.com", "X-Forwarded-Proto": "https"},
    )
    said = json.loads(answer.body)
    assert said["server_info"]["url"] == "vod.example.com"
    assert said["server_info"]["https_port"] == "443"
    assert said["server_info"]["server_protocol"] == "https"
    assert said["user_info"]["max_connections"] == "7"  # no limit of its own: what all may


@pytest.mark.parametrize("action", ["", "get_vod_streams", "get_series_info", "get_live_streams"])
def test_a_wrong_login_is_told_as_panels_tell_it(
    doors: Any, full: XtreamServer, action: str
) -> None:
    for login in ({"password": "x"}, {"username": "eve2"}, {"username": ""}):
        answer = doors.ask(action=action, series_id="7", **login)
        assert (answer.status, json.loads(answer.body)) == (200, {"user_info": {"auth": 0}})
    assert not full.requests


def test_a_login_may_come_as_a_form(doors: Any, full: XtreamServer) -> None:
    form = urlencode(
        {"username": "eve", "password": "her pässword", "action": "get_vod_categories"}
    )
    answer = doors.send(
        "POST",
        "/player_api.php",
        form.encode(),
        **{"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert len(json.loads(answer.body)) == 3
    huge = doors.send(
        "POST",
        "/player_api.php",
        b"a=" + b"x" * 100_000,
        **{"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert huge.status == 413
    assert doors.send("DELETE", "/player_api.php").status == 405


def test_categories_and_films_are_the_providers_and_ours(doors: Any, full: XtreamServer) -> None:
    categories = ask(doors, "get_vod_categories")
    assert [one["category_name"] for one in categories] == [
        "Films",
        'Odd "ones"',
        "Library: movies",
    ]
    assert all(isinstance(one["category_id"], str) for one in categories)
    films = ask(doors, "get_vod_streams")
    assert [film["num"] for film in films] == [1, 2, 3]
    assert [film["category_id"] for film in films] == ["1", "2", category_id("movies")]
    assert films[0] == {
        "num": 1,
        "name": "A Film (2001)",
        "stream_type": "movie",
        "stream_id": 4711,
        "stream_icon": "",
        "rating": "7.3",
        "rating_5based": 3.7,
        "added": "1700004711",
        "is_adult": "0",
        "category_id": "1",
        "category_ids": [1],
        "container_extension": "mkv",
        "custom_sid": "",
        "direct_source": "",
        "year": "",
        "tmdb": "",
        "genre": "",
        "plot": "",
    }
    for category, count in [("2", 1), (category_id("movies"), 1), ("99", 0), ("0", 3), ("x", 3)]:
        assert len(ask(doors, "get_vod_streams", category_id=category)) == count


def test_an_odd_host_is_answered(doors: Any) -> None:
    login = urlencode({"username": "guest", "password": "guest"})
    for host in ("tv.example:99999", "[::1]:80", "tv.example:"):
        answer = doors.send("GET", f"/player_api.php?{login}", Host=host)
        assert json.loads(answer.body)["user_info"]["auth"] == 1


def test_films_and_series_are_told_in_detail(doors: Any, full: XtreamServer) -> None:
    film = ask(doors, "get_vod_info", vod_id="4711")
    assert film["info"]["releasedate"] == "2001-02-03"
    assert film["info"]["video"]["codec_name"] == "h264"
    assert film["movie_data"]["container_extension"] == "mkv"
    series = {one["name"]: one for one in ask(doors, "get_series")}
    assert list(series) == ["Show", "Our Show"]
    show = ask(doors, "get_series_info", series_id=str(series["Show"]["series_id"]))
    assert [one["season_number"] for one in show["seasons"]] == [1, 2]
    assert show["episodes"]["1"][0]["id"] == "71"
    ours = ask(doors, "get_series_info", series_id=str(series["Our Show"]["series_id"]))
    assert ours["episodes"]["1"][0]["episode_num"] == 2
    empty: dict[str, Any] = {"info": {}, "movie_data": {}}
    for wrong in ("", "x", "0", "99999999999999", "5", "1999999999"):
        assert ask(doors, "get_vod_info", vod_id=wrong) == empty
    assert ask(doors, "get_series_info")["episodes"] == {}


def test_there_is_nothing_live(doors: Any) -> None:
    assert ask(doors, "get_live_categories") == ask(doors, "get_live_streams") == []
    assert ask(doors, "get_short_epg", stream_id="1") == {"epg_listings": []}
    assert "user_info" in ask(doors, "an_action_of_tomorrow")


def test_no_answer_holds_the_providers_address_or_login(doors: Any, full: XtreamServer) -> None:
    answers = [
        doors.ask(action=action, **parameters).body
        for action, parameters in [
            ("", {}),
            ("get_vod_categories", {}),
            ("get_series_categories", {}),
            ("get_vod_streams", {}),
            ("get_series", {}),
            ("get_vod_info", {"vod_id": "12"}),
            ("get_series_info", {"series_id": "7"}),
        ]
    ]
    answers += [doors.ask("get.php").body, doors.ask("xmltv.php").body]
    full.fail(Trouble.REFUSE, api=True)
    answers += [doors.ask(action="get_vod_info", vod_id="99").body]
    assert json.loads(answers[-1])["error"]
    for answer in answers:
        for secret in (str(full.port), "upstr3am-pw", "upstream-bob", "0ther-pw", "upstream-ann"):
            assert secret.encode() not in answer


@pytest.mark.parametrize(
    ("trouble", "how", "read_s"),
    [
        (Trouble.REFUSE, {"status": 500}, 20),
        (Trouble.ANSWER, {"body": b"<html>"}, 20),
        (Trouble.ANSWER, {"body": b"{}"}, 20),
        (Trouble.ANSWER, {"body": b'[1, null, "x", [], {"stream_id": {}}]'}, 20),
        (Trouble.ANSWER, {"body": b'{"user_info": {"auth": 0}}'}, 20),
        (Trouble.SILENCE, {}, 0.3),
        (Trouble.CUT, {"after": 1}, 20),
    ],
    indirect=["read_s"],
)
def test_whatever_the_provider_does_the_answer_is_clean(
    doors: Any, full: XtreamServer, trouble: Trouble, how: dict[str, Any]
) -> None:
    full.fail(trouble, api=True, **how)
    for action, parameters in [
        ("get_vod_categories", {}),
        ("get_vod_streams", {}),
        ("get_series", {}),
        ("get_vod_info", {"vod_id": "4711"}),
        ("get_series_info", {"series_id": "7"}),
    ]:
        answer = doors.ask(action=action, **parameters)
        said = json.loads(answer.body)
        assert answer.status in {200, 503}
        if answer.status == 503:
            assert answer.headers["retry-after"]
            assert "profile 'bob'" in said["error"]
            assert "profile 'ann'" in said["error"]
    full.heal()
    ours = ask(doors, "get_vod_streams", category_id=category_id("movies"))
    assert [film["name"] for film in ours] == ["Ours (2020)"]


def test_many_films_are_listed_whole(doors: Any, provider: XtreamServer) -> None:
    provider.add(*(Movie(number, f"Film {number} é") for number in range(1, 5001)))
    films = ask(doors, "get_vod_streams")
    assert [film["num"] for film in films] == list(range(1, 5001))
    assert doors.ask(method="HEAD", action="get_vod_streams").body == b""
