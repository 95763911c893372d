"""Everything that can be watched: the provider's films and series, and our own library's.

The provider's lists are kept for an hour as JSON, got by one request at a time, and given on when
the provider is down. A list that cannot be whole is refused: players take what is missing in it
for removed, and forget what was watched. What the library alone answers needs no provider.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import GatewayError
from gateway.library.catalogue import Library
from gateway.vod import own
from gateway.vod.film import FIRST_ID
from gateway.vod.fresh import Fresh, FreshByKey
from gateway.vod.panel import Panel
from gateway.vod.rewriting import Rewriting

LISTS_S = 3600.0
"""How long a list of the provider's is given before it is asked for again."""
DETAILS_S = 86_400.0
"""The same for a series' episodes, unless the list says that the series has changed."""
_LIBRARY_S = 5.0
_MOVIES, _SERIES = 256, 20_000
_PIECE = 64 << 10

MOVIE, SERIES = "movie", "series"
_NO_MOVIE: dict[str, Any] = {"info": {}, "movie_data": {}}
_NO_SERIES: dict[str, Any] = {"seasons": [], "info": {}, "episodes": {}}


class _NotListed(GatewayError):
    """The provider answered, and has nothing of that number: asked again soon, it may."""

    http_status = 404


@dataclass(slots=True)
class _Listed:
    """A list: objects without their ordinal, by categories. *modified*: a series' last change."""

    by_category: dict[str, list[bytes]] = field(default_factory=dict)
    modified: dict[int, str] = field(default_factory=dict)


class Catalogue:
    """What *panel*'s profiles and *library* have. Safe for all threads.

    Methods that need the provider raise PanelFailed when it has never answered, and StorageError
    when the library cannot be read.
    """

    def __init__(
        self, panel: Panel, library: Library, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._panel = panel
        self._rewriting = Rewriting(panel.profiles)
        self._own = Fresh(
            lambda: own.read_library(library), ttl_s=_LIBRARY_S, costs=30, clock=clock
        )
        self._lists = {
            MOVIE: Fresh(self._load_movies, ttl_s=LISTS_S, clock=clock),
            SERIES: Fresh(self._load_series, ttl_s=LISTS_S, clock=clock),
        }
        self._categories = {
            MOVIE: Fresh(lambda: self._load_categories("vod"), ttl_s=LISTS_S, clock=clock),
            SERIES: Fresh(lambda: self._load_categories("series"), ttl_s=LISTS_S, clock=clock),
        }
        self._movie_infos = FreshByKey(
            self._load_movie_info, ttl_s=LISTS_S, limit=_MOVIES, clock=clock
        )
        self._series_infos = FreshByKey(
            self._load_series_info, ttl_s=DETAILS_S, limit=_SERIES, clock=clock
        )

    # Lists ---------------------------------------------------------------------------------

    def categories(self, kind: str) -> list[dict[str, Any]]:
        """Return the categories of films (MOVIE) or series, the provider's first."""
        theirs = self._categories[kind].get() if self._panel.profiles else []
        return [*theirs, *self._own.get().categories(kind)]

    def listed(self, kind: str, category: str | None = None) -> list[bytes]:
        """Return films or series as JSON objects, of all categories or of one.

        They lack `num`, their ordinal in whichever list they come to stand.
        """
        ours = self._own.get().listed(kind)
        if category is not None and category in ours:
            return ours[category]
        theirs = self._lists[kind].get().by_category if self._panel.profiles else {}
        if category is not None:
            return theirs.get(category, [])
        return [one for each in (*theirs.values(), *ours.values()) for one in each]

    # Details -------------------------------------------------------------------------------

    def movie_info(self, number: int) -> dict[str, Any]:
        """Return what get_vod_info says of a film; both parts are empty if there is none."""
        if number >= FIRST_ID:
            text = self._own.get().by_id.get(number)
            return own.movie_info(text) if text else _NO_MOVIE
        if number < 1:
            return _NO_MOVIE
        try:
            return self._movie_infos.get(number)
        except _NotListed:
            return _NO_MOVIE

    def series_info(self, number: int) -> dict[str, Any]:
        """Return what get_series_info says of a series; all parts are empty if there is none."""
        if number >= FIRST_ID:
            one = self._own.get().series.get(number)
            return own.series_info(one) if one else _NO_SERIES
        if number < 1:
            return _NO_SERIES
        modified = self._lists[SERIES].get().modified.get(number, "")
        try:
            packed = self._series_infos.get((number, modified))
        except _NotListed:
            return _NO_SERIES
        info: dict[str, Any] = json.loads(zlib.decompress(packed))
        return info

    # The provider --------------------------------------------------------------------------

    def _load_movies(self) -> _Listed:
        movie = self._rewriting.movie
        return _listed(self._panel.each("get_vod_streams", lambda said: _packed(movie(said))))

    def _load_series(self) -> _Listed:
        series = self._rewriting.series
        return _listed(self._panel.each("get_series", lambda said: _packed(series(said))))

    def _load_categories(self, kind: str) -> list[dict[str, Any]]:
        return self._panel.each(f"get_{kind}_categories", self._rewriting.category)

    def _load_movie_info(self, number: int) -> dict[str, Any]:
        said = self._panel.ask("get_vod_info", vod_id=str(number))
        said = said if isinstance(said, dict) else {}
        told = said.get("movie_data")
        if not isinstance(told, dict) or not told:
            raise _NotListed(f"the provider has no film {number}")
        data = self._rewriting.movie({**told, "stream_id": number}) or {}
        kept = ("stream_id", "name", "added", "category_id", "category_ids", "container_extension")
        return {
            "info": self._rewriting.about_movie(said.get("info")),
            "movie_data": {
                **{name: data[name] for name in kept},
                "custom_sid": "",
                "direct_source": "",
            },
        }

    def _load_series_info(self, key: tuple[int, str]) -> bytes:
        said = self._panel.ask("get_series_info", series_id=str(key[0]))
        said = said if isinstance(said, dict) else {}
        seasons = said.get("seasons")
        made = {
            "seasons": [
                season
                for each in (seasons if isinstance(seasons, list) else [])
                if (season := self._rewriting.season(each))
            ],
            "info": self._rewriting.about_series(said.get("info")),
            "episodes": self._episodes(said.get("episodes")),
        }
        if not made["episodes"]:
            raise _NotListed(f"the provider has no episodes of series {key[0]}")
        return zlib.compress(json.dumps(made, ensure_ascii=False).encode(), 1)

    def _episodes(self, said: Any) -> dict[str, list[dict[str, Any]]]:
        """Return the episodes by season: they come as an object of lists, or a list of lists."""
        if isinstance(said, list):
            said = dict(enumerate(said))
        seasons: dict[str, list[dict[str, Any]]] = {}
        for name, listed in (said if isinstance(said, dict) else {}).items():
            if isinstance(listed, dict):
                listed = list(listed.values())
            for each in listed if isinstance(listed, list) else []:
                if episode := self._rewriting.episode(each, self._rewriting.number(name)):
                    seasons.setdefault(str(episode["season"]), []).append(episode)
        return seasons


def numbered(listed: list[bytes]) -> Iterator[bytes]:
    """Give the pieces of a JSON array of *listed*, each object with its ordinal as `num`."""
    pieces: list[bytes] = []
    size = 0
    for number, one in enumerate(listed, start=1):
        pieces.append(b'%c{"num":%d,%b' % (b"[" if number == 1 else b",", number, one[1:]))
        size += len(one)
        if size >= _PIECE:
            yield b"".join(pieces)
            pieces, size = [], 0
    yield b"".join(pieces) + (b"]" if listed else b"[]")


@dataclass(frozen=True, slots=True)
class _Packed:
    text: bytes
    category: str
    series: int
    modified: str


def _packed(one: dict[str, Any] | None) -> _Packed | None:
    if one is None:
        return None
    text = json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode()
    modified = one.get("last_modified", "")
    return _Packed(text, sys.intern(one["category_id"]), one.get("series_id", 0), modified)


def _listed(packed: list[_Packed]) -> _Listed:
    listed = _Listed()
    for one in packed:
        listed.by_category.setdefault(one.category, []).append(one.text)
        if one.series:
            listed.modified[one.series] = one.modified
    return listed
