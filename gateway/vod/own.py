"""Our own library as a catalogue: its videos are films, and episodes where a name says S01E02."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from gateway.library.catalogue import Library
from gateway.library.entries import FileEntry
from gateway.vod.film import FIRST_ID
from gateway.vod.rewriting import extension
from gateway.vod.titles import Title, is_video, parse_title


@dataclass(frozen=True, slots=True)
class OwnEpisode:
    """An episode: *id* is what players ask for it by."""

    id: int
    season: int
    number: int
    file: FileEntry


@dataclass(slots=True)
class OwnSeries:
    """All episodes of one name in one category; *id* comes of the oldest of them."""

    id: int
    title: str
    category: str
    episodes: list[OwnEpisode] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OwnFilms:
    """What the library held at one moment. Films are JSON objects, by categories and by ids."""

    movies: dict[str, list[bytes]]
    series: dict[int, OwnSeries]
    by_id: dict[int, bytes]

    def categories(self, kind: str) -> list[dict[str, Any]]:
        """Return the categories in which there is something of *kind*: "movie" or "series"."""
        found = self.movies if kind == "movie" else {one.category for one in self.series.values()}
        return [
            {"category_id": category_id(name), "category_name": shown(name), "parent_id": 0}
            for name in sorted(found)
        ]

    def listed(self, kind: str) -> dict[str, list[bytes]]:
        """Return what there is of *kind*, as JSON objects by the ids of categories."""
        if kind == "movie":
            return {category_id(name): listed for name, listed in self.movies.items()}
        by_category: dict[str, list[bytes]] = {}
        for one in self.series.values():
            made = json.dumps(about_series(one), ensure_ascii=False).encode()
            by_category.setdefault(category_id(one.category), []).append(made)
        return by_category


def read_library(library: Library) -> OwnFilms:
    """Return what can be watched of *library*."""
    movies: dict[str, list[bytes]] = {}
    by_id: dict[int, bytes] = {}
    series: dict[tuple[str, str], OwnSeries] = {}
    for number, file, title in _videos(library.numbered_files()):
        category = file.release.category
        if title.season is None or title.number is None:
            made = json.dumps(about_movie(number, file, title), ensure_ascii=False).encode()
            movies.setdefault(category, []).append(made)
            by_id[FIRST_ID + number] = made
            continue
        key = (category, title.with_year.lower())
        one = series.get(key)
        if one is None:
            one = series[key] = OwnSeries(FIRST_ID + number, title.with_year, category)
        one.episodes.append(OwnEpisode(FIRST_ID + number, title.season, title.number, file))
    return OwnFilms(movies, {one.id: one for one in series.values()}, by_id)


def _videos(numbered: Iterable[tuple[int, FileEntry]]) -> Iterator[tuple[int, FileEntry, Title]]:
    """Give the videos with what their names say.

    A release with one video has the better name; the files of one with several have their own.
    Files of a release are numbered together.
    """
    for _, together in groupby(numbered, key=lambda pair: pair[1].release.id):
        videos = [(number, file) for number, file in together if is_video(file.name, file.size)]
        for number, file in videos:
            yield number, file, _title_of(file, is_alone=len(videos) == 1)


def _title_of(file: FileEntry, *, is_alone: bool) -> Title:
    """Return what the names of *file* and its release say, the better one first."""
    release, own = file.release.name, file.name.rpartition(".")[0]
    first, second = (release, own) if is_alone else (own, release)
    title = parse_title(first)
    if title.number is None and second != first:
        other = parse_title(second)
        return title if other.number is None else other
    return title


def about_movie(number: int, file: FileEntry, title: Title) -> dict[str, Any]:
    """Return a film of the library as get_vod_streams lists it."""
    category = category_id(file.release.category)
    return {
        "name": title.with_year,
        "stream_type": "movie",
        "stream_id": FIRST_ID + number,
        "stream_icon": "",
        "rating": "0",
        "rating_5based": 0,
        "added": str(int(file.release.created)),
        "is_adult": "0",
        "category_id": category,
        "category_ids": [int(category)],
        "container_extension": _extension(file),
        "custom_sid": "",
        "direct_source": "",
        "year": str(title.year or ""),
    }


def about_series(one: OwnSeries) -> dict[str, Any]:
    """Return a series of the library as get_series lists it."""
    category = category_id(one.category)
    return {
        "name": one.title,
        "series_id": one.id,
        "cover": "",
        "plot": "",
        "cast": "",
        "director": "",
        "genre": "",
        "youtube_trailer": "",
        "releaseDate": "",
        "rating": "0",
        "rating_5based": 0,
        "backdrop_path": [],
        "episode_run_time": "0",
        "last_modified": str(int(max(each.file.release.created for each in one.episodes))),
        "category_id": category,
        "category_ids": [int(category)],
    }


def series_info(one: OwnSeries) -> dict[str, Any]:
    """Return what get_series_info answers for a series of the library."""
    seasons: dict[int, list[dict[str, Any]]] = {}
    in_order = sorted(one.episodes, key=lambda each: (each.season, each.number, each.id))
    for each in in_order:
        seasons.setdefault(each.season, []).append(
            {
                "id": str(each.id),
                "episode_num": each.number,
                "title": f"{one.title} S{each.season:02}E{each.number:02}",
                "container_extension": _extension(each.file),
                "info": {"duration_secs": 0, "bitrate": 0, "rating": 0, "plot": ""},
                "custom_sid": "",
                "added": str(int(each.file.release.created)),
                "season": each.season,
                "direct_source": "",
            }
        )
    about = about_series(one)
    del about["series_id"]
    return {
        "seasons": [
            {
                "id": season,
                "name": f"Season {season}",
                "season_number": season,
                "episode_count": len(episodes),
                "overview": "",
                "cover": "",
                "cover_big": "",
            }
            for season, episodes in seasons.items()
        ],
        "info": about,
        "episodes": {str(season): episodes for season, episodes in seasons.items()},
    }


def movie_info(text: bytes) -> dict[str, Any]:
    """Return what get_vod_info answers for a film of the library; *text* is what lists it."""
    listed = json.loads(text)
    kept = ("stream_id", "name", "added", "category_id", "category_ids", "container_extension")
    return {
        "info": {
            "name": listed["name"],
            "o_name": listed["name"],
            "plot": "",
            "movie_image": "",
            "rating": "0",
            "duration_secs": 0,
            "bitrate": 0,
            "backdrop_path": [],
        },
        "movie_data": {
            **{name: listed[name] for name in kept},
            "custom_sid": "",
            "direct_source": "",
        },
    }


def category_id(name: str) -> str:
    """Return the id of a category of the library: it comes of the name, so it stays."""
    return str(FIRST_ID + zlib.crc32(name.encode(errors="replace")) % FIRST_ID)


def shown(category: str) -> str:
    """Return a category's name beside those of a provider."""
    return f"Library: {category}"


def _extension(file: FileEntry) -> str:
    return extension(file.name.rpartition(".")[2].lower())
