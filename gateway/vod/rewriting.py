"""A provider's words made ours: known fields in one type each, and nothing that leads to it.

Panels send numbers as text and text as numbers, null or "" for either, `[]` for an object that is
empty, and addresses with the login in them. Players are strict: one wrong type and they show
nothing at all. Fields that we do not know are left out; those that we do are what players expect.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from gateway.vod.profiles import Profile

MAX_ID = 999_999_999  # what is above names the library's own
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]+")
_DATE = re.compile(r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,10}")
_SEPARATORS = re.compile(r"[/?=&:@;,]+")
_MIN_WORD = 6  # a shorter password is looked for as a part of addresses only: it may be a word


class Rewriting:
    """Makes values that hold neither address nor login of *profiles*."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        hosts: set[str] = set()
        names: set[str] = set()
        passwords: set[str] = set()
        for profile in profiles:
            hosts |= {urlsplit(profile.url).netloc.lower(), urlsplit(profile.url).hostname or ""}
            names |= {profile.username.lower(), quote(profile.username, safe="").lower()}
            passwords |= {profile.password.lower(), quote(profile.password, safe="").lower()}
        self._names, self._passwords = names, passwords
        long = {word for word in passwords if len(word) >= _MIN_WORD}
        self._words = (hosts | long) - {""}

    def text(self, value: Any) -> str:
        """Return *value* as one line of text; "" if it is none, or tells too much."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return ""
        text = _CONTROL.sub(" ", str(value)).strip()
        return "" if self._tells(text.lower()) else text

    def link(self, value: Any) -> str:
        """Return *value* if it is an address of a picture elsewhere, otherwise ""."""
        text = self.text(value)
        return text if text.lower().startswith(("http://", "https://")) else ""

    def _tells(self, low: str) -> bool:
        """Say whether text in small letters holds a provider's address, or a login with it."""
        if any(word in low for word in self._words):
            return True
        if "/" not in low and "=" not in low:
            return False  # a user may be called bob, and a film be about one
        parts = set(_SEPARATORS.split(low))
        named, opened = parts & self._names, parts & self._passwords
        return bool(named or opened) if "://" in low else bool(named and opened)

    def movie(self, said: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a film of get_vod_streams, None if it has no number to be asked for by."""
        number = self.number(said.get("stream_id"))
        if not 0 < number <= MAX_ID:
            return None
        return {
            "name": self.text(said.get("name") or said.get("title")) or str(number),
            "stream_type": "movie",
            "stream_id": number,
            "stream_icon": self.link(said.get("stream_icon")),
            **self._rating(said),
            "added": self.epoch(said.get("added")),
            "is_adult": "1" if str(said.get("is_adult")) == "1" else "0",
            **self._category(said),
            "container_extension": extension(said.get("container_extension")),
            "custom_sid": "",
            "direct_source": "",
            **self._texts(said, "year", "tmdb", "genre", "plot"),
        }

    def series(self, said: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a series of get_series or get_series_info, None if it has no number."""
        number = self.number(said.get("series_id"))
        if not 0 < number <= MAX_ID:
            return None
        return {
            "name": self.text(said.get("name") or said.get("title")) or str(number),
            "series_id": number,
            **self._about(said),
            "last_modified": self.epoch(said.get("last_modified")),
            **self._category(said),
        }

    def about_series(self, said: Any) -> dict[str, Any]:
        """Return what get_series_info tells of the series as a whole."""
        said = said if isinstance(said, Mapping) else {}
        return {
            "name": self.text(said.get("name") or said.get("title")),
            **self._about(said),
            "last_modified": self.epoch(said.get("last_modified")),
            **self._category(said),
        }

    def about_movie(self, said: Any) -> dict[str, Any]:
        """Return what get_vod_info tells of a film."""
        said = said if isinstance(said, Mapping) else {}
        told = self._texts(
            said, "name", "o_name", "plot", "description", "cast", "actors", "director", "genre",
            "country", "youtube_trailer", "age", "mpaa_rating", "duration",
        )  # fmt: skip
        for field in ("movie_image", "cover_big"):
            told[field] = self.link(said.get(field) or said.get("movie_image"))
        if number := self.number(said.get("tmdb_id") or said.get("tmdb")):
            told["tmdb_id"] = number
        return {
            **told,
            **self._measures(said),
            "rating": f"{_decimal(said.get('rating')):g}",
            "backdrop_path": self._links(said),
        }

    def episode(self, said: Any, season: int) -> dict[str, Any] | None:
        """Return an episode of get_series_info, None if it has no number to be asked for by."""
        if not isinstance(said, Mapping):
            return None
        number = self.number(said.get("id"))
        if not 0 < number <= MAX_ID:
            return None
        told = said.get("info")
        told = told if isinstance(told, Mapping) else {}
        info = {
            **self._texts(told, "plot", "duration"),
            "movie_image": self.link(told.get("movie_image")),
            **self._measures(told),
        }
        return {
            "id": str(number),
            "episode_num": self.number(said.get("episode_num")),
            "title": self.text(said.get("title")) or str(number),
            "container_extension": extension(said.get("container_extension")),
            "info": info,
            "custom_sid": "",
            "added": self.epoch(said.get("added")),
            "season": self.number(said.get("season")) or season,
            "direct_source": "",
        }

    def season(self, said: Any) -> dict[str, Any] | None:
        """Return a season of get_series_info."""
        if not isinstance(said, Mapping):
            return None
        made: dict[str, Any] = {
            "id": self.number(said.get("id")),
            "name": self.text(said.get("name")),
            "season_number": self.number(said.get("season_number")),
            "episode_count": self.number(said.get("episode_count")),
            "overview": self.text(said.get("overview")),
            "cover": self.link(said.get("cover")),
            "cover_big": self.link(said.get("cover_big")),
        }
        if day := _date(said.get("air_date")):
            made["air_date"] = day
        return made

    def category(self, said: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a category, None if it has no number."""
        number = self.number(said.get("category_id"))
        if not 0 < number <= MAX_ID:
            return None
        name = self.text(said.get("category_name")) or str(number)
        return {"category_id": str(number), "category_name": name, "parent_id": 0}

    @staticmethod
    def number(value: Any) -> int:
        """Return *value* as a whole number, 0 if it is none."""
        try:
            number = int(float(value)) if value is not None else 0
        except (TypeError, ValueError, OverflowError):
            return 0
        return number if abs(number) < 1 << 31 else 0

    @staticmethod
    def epoch(value: Any) -> str:
        """Return *value* as seconds since 1970, in digits; "0" if it is none: never empty."""
        text = str(value) if isinstance(value, str | int) else ""
        return text if text.isascii() and text.isdigit() and len(text) < 11 else "0"

    def _about(self, said: Mapping[str, Any]) -> dict[str, Any]:
        day = _date(said.get("releaseDate") or said.get("release_date")) or ""
        return {
            "cover": self.link(said.get("cover")),
            **self._texts(said, "plot", "cast", "director", "genre", "youtube_trailer"),
            "releaseDate": day,
            **self._rating(said),
            "backdrop_path": self._links(said),
            "episode_run_time": str(self.number(said.get("episode_run_time"))),
        }

    def _rating(self, said: Mapping[str, Any]) -> dict[str, Any]:
        rating = _decimal(said.get("rating"))
        return {
            "rating": f"{rating:g}",
            "rating_5based": _decimal(said.get("rating_5based")) or round(rating / 2, 1),
        }

    def _measures(self, said: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {
            "duration_secs": self.number(said.get("duration_secs")),
            "bitrate": self.number(said.get("bitrate")),
            # Whole: some players read an integer here.
            "rating": round(_decimal(said.get("rating"))),
        }
        if day := _date(said.get("releasedate") or said.get("release_date")):
            made["releasedate"] = day
        for field in ("video", "audio"):
            if isinstance(said.get(field), Mapping):
                made[field] = self._plain(said[field], depth=3)
        return made

    def _plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {
                self.text(key): self._plain(inner, depth - 1)
                for key, inner in list(value.items())[:100]
                if depth and not isinstance(inner, list)
            }
        if isinstance(value, float):
            return value if math.isfinite(value) else 0
        return value if isinstance(value, int) else self.text(value)

    def _texts(self, said: Mapping[str, Any], *fields: str) -> dict[str, Any]:
        return {field: self.text(said.get(field)) for field in fields}

    def _links(self, said: Mapping[str, Any]) -> list[str]:
        given = said.get("backdrop_path")
        given = given if isinstance(given, list) else [given]
        return [link for each in given[:10] if (link := self.link(each))]

    def _category(self, said: Mapping[str, Any]) -> dict[str, Any]:
        several = said.get("category_ids")
        first = several[0] if isinstance(several, list) and several else None
        number = self.number(said.get("category_id") or first)
        number = number if 0 < number <= MAX_ID else 0
        return {"category_id": str(number), "category_ids": [number]}


def extension(value: Any) -> str:
    """Return *value* if it may stand behind the dot of an address, otherwise "mp4"."""
    text = value.strip().removeprefix(".") if isinstance(value, str) else ""
    return text if _EXTENSION.fullmatch(text) else "mp4"


def _decimal(value: Any) -> float:
    try:
        number = float(value) if value is not None and not isinstance(value, bool) else 0.0
    except (TypeError, ValueError):
        return 0.0
    return number if 0 <= number <= 100 else 0.0


def _date(value: Any) -> str | None:
    match = _DATE.match(value) if isinstance(value, str) else None
    return match[0] if match else None
