"""get.php is a playlist that any parser reads, and xmltv.php a guide with nothing in it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
from m3u_parser import Entry, parse_m3u

from gateway.demo.xtream import Episode, Movie, Series, Trouble, XtreamServer
from gateway.vod.film import FIRST_ID

LOGIN = f"eve/{quote('her pässword')}"


def entries(doors: Any, **parameters: str) -> list[Entry]:
    answer = doors.ask("get.php", **parameters)
    assert answer.status == 200
    assert answer.headers["content-type"] == "audio/x-mpegurl; charset=utf-8"
    return parse_m3u(answer.body.decode())


def test_films_and_episodes_are_listed_with_our_addresses(
    doors: Any, provider: XtreamServer, publish: Callable[..., None]
) -> None:
    provider.add(Movie(4711, "A Film (2001)"))
    provider.add(Series(7, "Show", (Episode(71, 1, 1, "Start"), Episode(72, 2, 1, "Show S02E01"))))
    publish("movies", "Ours.2020", "ours.mp4")
    publish("tv", "Our.Show.S01E02", "x.mkv")
    listed = entries(doors, type="m3u_plus", output="ts")
    assert [(one.name, one.attributes["group-title"]) for one in listed] == [
        ("A Film (2001)", "Films"),
        ("Ours (2020)", "Library: movies"),
        ("Show S01E01 Start", "Series"),
        ("Show S02E01", "Series"),
        ("Our Show S01E02", "Library: tv"),
    ]
    assert [one.url for one in listed] == [
        f"{doors.url}/movie/{LOGIN}/4711.mkv",
        f"{doors.url}/movie/{LOGIN}/{FIRST_ID + 1}.mp4",
        f"{doors.url}/series/{LOGIN}/71.mkv",
        f"{doors.url}/series/{LOGIN}/72.mkv",
        f"{doors.url}/series/{LOGIN}/{FIRST_ID + 2}.mkv",
    ]


@pytest.mark.parametrize(
    "title",
    [
        'A "quoted" film',
        "one\n#EXTINF:-1,evil\nhttp://evil.example/1.mkv",
        "one\r\nhttp://evil.example/1.mkv",
        "comma, comma",
        'tvg-logo="x" group-title="y",z',
        "\u2028\u2029\x85\x00",
        "電影 🎬 Ä",
        "  ",
    ],
)
def test_no_title_breaks_the_playlist(doors: Any, provider: XtreamServer, title: str) -> None:
    provider.add(Movie(1, title, category=title), Movie(2, "after"))
    one, after = entries(doors)
    assert one.url == f"{doors.url}/movie/{LOGIN}/1.mkv"
    assert set(one.attributes) == {"tvg-id", "tvg-name", "tvg-logo", "group-title"}
    assert one.name == (re.sub(r"[\x00-\x1f\x85\u2028\u2029]+", " ", title).strip() or "1")
    assert after.name == "after"


def test_a_plain_playlist_has_no_attributes(doors: Any, provider: XtreamServer) -> None:
    provider.add(Movie(1, "film"))
    (one,) = entries(doors, type="m3u")
    assert (one.name, one.attributes) == ("film", {})
    assert doors.ask("get.php", type="xspf").status == 400


def test_an_empty_catalogue_is_an_empty_playlist(doors: Any, provider: XtreamServer) -> None:
    assert doors.ask("get.php").body == b"#EXTM3U\n"


def test_a_wrong_login_gets_neither_playlist_nor_guide(doors: Any, provider: XtreamServer) -> None:
    for door in ("get.php", "xmltv.php"):
        assert doors.ask(door, password="no").status == 403
    assert not provider.requests


def test_a_playlist_that_cannot_be_whole_is_refused(doors: Any, provider: XtreamServer) -> None:
    provider.fail(Trouble.REFUSE, api=True, target="get_series")
    answer = doors.ask("get.php")
    assert answer.status == 503
    assert b"profile 'bob'" in answer.body


def test_one_series_that_cannot_be_had_is_left_out(doors: Any, provider: XtreamServer) -> None:
    provider.add(Movie(1, "film"))
    provider.add(*(Series(7 + at, f"Show {at}", (Episode(71 + at),)) for at in range(4)))
    # Both profiles' answers to one series.
    provider.fail(Trouble.REFUSE, api=True, target="get_series_info", times=2)
    assert [one.name for one in entries(doors)] == [
        "film",
        *(f"Show {at} S01E01 An Episode" for at in (1, 2, 3)),
    ]


def test_a_provider_that_goes_in_the_middle_cuts_the_playlist(
    doors: Any, provider: XtreamServer
) -> None:
    provider.add(*(Movie(at) for at in range(1, 2000)))
    provider.add(*(Series(7 + at, f"Show {at}", (Episode(71 + at),)) for at in range(4)))
    provider.fail(Trouble.REFUSE, api=True, target="get_series_info")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        doors.ask("get.php")


def test_the_guide_is_xml_and_empty(doors: Any) -> None:
    answer = doors.ask("xmltv.php")
    root = ET.fromstring(answer.body)
    assert (root.tag, list(root)) == ("tv", [])
