"""player_api.php of a VOD service: what a catalogue says, in the types that real panels use."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.demo.xtream.content import Content
from gateway.demo.xtream.site import Account

_ADDED = 1_700_000_000
FILM_SIZE = 700_000_001


@dataclass(frozen=True, slots=True)
class Movie:
    """A film of *size* bytes, or exactly *given*. Not *listed*: it plays, no list names it."""

    id: int
    title: str = "A Film (2001)"
    size: int = FILM_SIZE
    extension: str = "mkv"
    category: str = "Films"
    listed: bool = True
    given: bytes | None = field(default=None, repr=False)

    @property
    def content(self) -> Content:
        return Content(self.id, self.size, self.given)


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode; what `Movie` says holds for it too."""

    id: int
    season: int = 1
    number: int = 1
    title: str = "An Episode"
    size: int = FILM_SIZE
    extension: str = "mkv"
    given: bytes | None = field(default=None, repr=False)

    @property
    def content(self) -> Content:
        return Content(self.id, self.size, self.given)


@dataclass(frozen=True, slots=True)
class Series:
    id: int
    title: str
    episodes: tuple[Episode, ...] = ()
    category: str = "Series"


class Panel:
    """The catalogue, and its answers as JSON; *url* is where the service says that it is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._movies: dict[int, Movie] = {}
        self._series: dict[int, Series] = {}
        self.contents: dict[int, tuple[str, Content]] = {}

    def add(self, items: Iterable[Movie | Series]) -> None:
        for item in items:
            if isinstance(item, Series):
                self._series[item.id] = item
                for episode in item.episodes:
                    self.contents[episode.id] = ("series", episode.content)
            else:
                self._movies[item.id] = item
                self.contents[item.id] = ("movie", item.content)

    def content(self, kind: str, item: int) -> Content | None:
        """Return what plays at /*kind*/…/*item*: "movie" or "series"."""
        found = self.contents.get(item)
        return found[1] if found is not None and found[0] == kind else None

    def answer(self, account: Account, active: int, query: dict[str, str]) -> bytes:
        """Return the answer to the action in *query*; to none, the login."""
        wanted = query.get("category_id")
        match query.get("action", ""):
            case "get_vod_categories":
                said: Any = _categories(movie.category for movie in self._movies.values())
            case "get_series_categories":
                said = _categories(series.category for series in self._series.values())
            case "get_vod_streams":
                said = [each for each in self._vod(account) if _is_in(each, wanted)]
            case "get_series":
                said = [each for each in self._listed_series(account) if _is_in(each, wanted)]
            case "get_vod_info":
                said = self._vod_info(account, query.get("vod_id", ""))
            case "get_series_info":
                said = self._series_info(account, query.get("series_id", ""))
            case action if action.startswith("get_"):
                said = []
            case _:
                said = self._login(account, active)
        return json.dumps(said).encode()

    def _login(self, account: Account, active: int) -> dict[str, Any]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return {
            "user_info": {
                "username": account.name,
                "password": account.password,
                "message": "",
                "auth": 1,
                "status": "Active",
                "exp_date": "1999999999",
                "is_trial": "0",
                "active_cons": str(active),
                "created_at": str(_ADDED),
                "max_connections": str(account.max_connections),
                "allowed_output_formats": ["m3u8", "ts"],
            },
            "server_info": {
                "url": host,
                "port": port,
                "https_port": "443",
                "server_protocol": "http",
                "rtmp_port": "8880",
                "timezone": "UTC",
                "timestamp_now": int(time.time()),
                "time_now": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
                "process": True,
            },
        }

    def _vod(self, account: Account) -> list[dict[str, Any]]:
        numbers = _numbers(movie.category for movie in self._movies.values())
        return [
            {
                "num": number,
                "name": movie.title,
                "stream_type": "movie",
                "stream_id": movie.id,
                "stream_icon": f"{self.url}/images/{movie.id}.jpg",
                "rating": "7.3",
                "rating_5based": 3.7,
                "added": str(_ADDED + movie.id % 1_000_000),
                "is_adult": "0",
                "category_id": numbers[movie.category],
                "category_ids": [int(numbers[movie.category])],
                "container_extension": movie.extension,
                "custom_sid": None,
                "direct_source": self._source("movie", account, movie.id, movie.extension),
            }
            for number, movie in enumerate(
                (each for each in self._movies.values() if each.listed), start=1
            )
        ]

    def _listed_series(self, account: Account) -> list[dict[str, Any]]:
        numbers = _numbers(series.category for series in self._series.values())
        return [
            {
                "num": number,
                "name": series.title,
                "series_id": series.id,
                "cover": f"{self.url}/images/{account.name}/{account.password}/{series.id}.jpg",
                "plot": f"What happens in {series.title}.",
                "cast": "",
                "director": "",
                "genre": "Drama",
                "releaseDate": "2001-02-03",
                "last_modified": str(_ADDED),
                "rating": "8",
                "rating_5based": 4,
                "backdrop_path": [f"{self.url}/images/b{series.id}.jpg"],
                "youtube_trailer": "",
                "episode_run_time": "45",
                "category_id": numbers[series.category],
            }
            for number, series in enumerate(self._series.values(), start=1)
        ]

    def _vod_info(self, account: Account, vod_id: str) -> Any:
        movie = self._movies.get(int(vod_id)) if vod_id.isdigit() else None
        if movie is None:
            return {"info": [], "movie_data": []}
        return {
            "info": {
                "movie_image": f"{self.url}/images/{movie.id}.jpg",
                "name": movie.title,
                "plot": f"What happens in {movie.title}.",
                "genre": "Drama",
                "releasedate": "2001-02-03",
                "rating": "7.3",
                "duration_secs": 5400,
                "duration": "01:30:00",
                "bitrate": 4000,
                "video": {"codec_name": "h264", "width": 1280, "height": 720},
                "audio": {"codec_name": "aac", "channels": 2},
                "backdrop_path": [f"{self.url}/images/b{movie.id}.jpg"],
            },
            "movie_data": {
                "stream_id": movie.id,
                "name": movie.title,
                "added": str(_ADDED),
                "category_id": _numbers(m.category for m in self._movies.values())[movie.category],
                "container_extension": movie.extension,
                "custom_sid": "",
                "direct_source": self._source("movie", account, movie.id, movie.extension),
            },
        }

    def _series_info(self, account: Account, series_id: str) -> Any:
        series = self._series.get(int(series_id)) if series_id.isdigit() else None
        if series is None:
            return {"seasons": [], "info": [], "episodes": []}
        listed = next(e for e in self._listed_series(account) if e["series_id"] == series.id)
        seasons: dict[str, list[dict[str, Any]]] = {}
        for episode in series.episodes:
            seasons.setdefault(str(episode.season), []).append(
                {
                    "id": str(episode.id),
                    "episode_num": episode.number,
                    "title": episode.title,
                    "container_extension": episode.extension,
                    "info": {"duration_secs": 2700, "plot": "", "rating": 7.5},
                    "custom_sid": "",
                    "added": str(_ADDED),
                    "season": episode.season,
                    "direct_source": self._source("series", account, episode.id, episode.extension),
                }
            )
        return {
            "seasons": [
                {
                    "id": series.id * 100 + int(number),
                    "name": f"Season {number}",
                    "season_number": int(number),
                    "episode_count": len(episodes),
                    "air_date": "2001-02-03",
                    "overview": "",
                    "cover": f"{self.url}/images/{series.id}-{number}.jpg",
                }
                for number, episodes in seasons.items()
            ],
            "info": {key: value for key, value in listed.items() if key != "num"},
            "episodes": seasons,
        }

    def _source(self, kind: str, account: Account, item: int, extension: str) -> str:
        return f"{self.url}/{kind}/{account.name}/{account.password}/{item}.{extension}"


def _numbers(names: Iterable[str]) -> dict[str, str]:
    return {name: str(number) for number, name in enumerate(dict.fromkeys(names), start=1)}


def _categories(names: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {"category_id": number, "category_name": name, "parent_id": 0}
        for name, number in _numbers(names).items()
    ]


def _is_in(listed: dict[str, Any], category: str | None) -> bool:
    return category in (None, "", "0", listed["category_id"])
