"""get.php: all films and episodes as one M3U playlist. xmltv.php: a guide of no channels."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse

from werkzeug.exceptions import HTTPException

from gateway.errors import GatewayError
from gateway.http.clients import own_url
from gateway.http.scope import scope_of
from gateway.http.wsgi import Chunk, Environ, plain, refusal, status_line
from gateway.vod.catalogue import MOVIE, SERIES, Catalogue
from gateway.vod.panel import PanelFailed
from gateway.vod.users import VodUsers
from gateway.vod.xtream_api import Door, Values

log = logging.getLogger(__name__)

_PIECE = 32 << 10
# Series are asked for one after another: a player that hears nothing for long gives up.
_PAUSE_S = 1.0
# So many series in a row whose episodes cannot be had: then it is not the series.
_FAILURES = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]+")
_TYPES = {"m3u", "m3u_plus", ""}
_GUIDE = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE tv SYSTEM "xmltv.dtd">\n'
    b'<tv generator-info-name="NZB Gateway"></tv>\n'
)


class Playlist(Door):
    """The WSGI application behind /get.php. `type=m3u` leaves the attributes out."""

    def __init__(self, users: VodUsers, catalogue: Catalogue) -> None:
        super().__init__(users)
        self._catalogue = catalogue

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        try:
            user, values = self.login(environ)
            if user is None:
                return plain(start_response, 403, "user name or password is wrong")
            if values.get("type", "") not in _TYPES:
                return plain(start_response, 400, "type is m3u or m3u_plus")
            entries = self._entries()
            first = next(entries, None)  # the lists are had, or refused, before the answer begins
            if environ["REQUEST_METHOD"] != "HEAD":
                scope_of(environ).stream()
        except GatewayError as exc:
            log.warning("get.php: %s", exc)
            status, sentence, headers = refusal(exc)
            return plain(start_response, status, sentence, headers)
        except HTTPException as exc:
            return plain(start_response, exc.code or 400, exc.name)
        start_response(
            status_line(200),
            [
                ("Content-Type", "audio/x-mpegurl; charset=utf-8"),
                ("Content-Disposition", 'attachment; filename="playlist.m3u"'),
                ("Cache-Control", "no-store"),
            ],
        )
        return _lines(first, entries, _Links(environ, values), values.get("type") != "m3u")

    def _entries(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Give films and episodes as (kind, the object that lists it, name of its category)."""
        names = {kind: self._names(kind) for kind in (MOVIE, SERIES)}
        movies, series = self._catalogue.listed(MOVIE), self._catalogue.listed(SERIES)
        for text in movies:
            movie = json.loads(text)
            yield MOVIE, movie, names[MOVIE].get(movie["category_id"], "")
        failures = 0
        for text in series:
            one = json.loads(text)
            try:
                info = self._catalogue.series_info(one["series_id"])
                failures = 0
            except PanelFailed as exc:
                failures += 1
                if failures == _FAILURES:
                    raise  # cut, so that nobody takes it for the whole
                log.warning("a playlist lacks series %d: %s", one["series_id"], exc)
                continue
            for episodes in info["episodes"].values():
                for episode in episodes:
                    told = {
                        "stream_id": episode["id"],
                        "name": episode_name(one["name"], episode),
                        "stream_icon": one["cover"],
                        "container_extension": episode["container_extension"],
                    }
                    yield SERIES, told, names[SERIES].get(one["category_id"], "")

    def _names(self, kind: str) -> dict[str, str]:
        categories = self._catalogue.categories(kind)
        return {each["category_id"]: each["category_name"] for each in categories}


class Guide(Door):
    """The WSGI application behind /xmltv.php: nothing here has a programme."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        try:
            user, _ = self.login(environ)
        except HTTPException as exc:
            return plain(start_response, exc.code or 400, exc.name)
        if user is None:
            return plain(start_response, 403, "user name or password is wrong")
        start_response(
            status_line(200),
            [
                ("Content-Type", "application/xml; charset=utf-8"),
                ("Content-Length", str(len(_GUIDE))),
            ],
        )
        return [_GUIDE]


def episode_name(series: str, episode: dict[str, Any]) -> str:
    """Return "Series S01E02", and the episode's own title where it has one."""
    name = f"{series} S{episode['season']:02}E{episode['episode_num']:02}"
    title = episode["title"]
    if series.lower() in title.lower() or title == episode["id"]:
        return name
    return f"{name} {title}"


class _Links:
    """Makes addresses here, with the login of whoever asks."""

    def __init__(self, environ: Environ, values: Values) -> None:
        name, password = (quote(values[field], safe="") for field in ("username", "password"))
        self._login = f"{name}/{password}"
        self._base = own_url(environ)

    def to(self, kind: str, one: dict[str, Any]) -> str:
        address = f"{self._base}/{kind}/{self._login}/{one['stream_id']}"
        return f"{address}.{one['container_extension']}"


def _lines(
    first: tuple[str, dict[str, Any], str] | None,
    rest: Iterator[tuple[str, dict[str, Any], str]],
    links: _Links,
    with_attributes: bool,
) -> Iterator[bytes]:
    pieces = ["#EXTM3U\n"]
    size, due = 0, time.monotonic() + _PAUSE_S
    while first is not None:
        kind, one, category = first
        name = _CONTROL.sub(" ", one["name"]).strip()
        attributes = ""
        if with_attributes:
            attributes = (
                f' tvg-id="" tvg-name="{_quoted(name)}" tvg-logo="{_quoted(one["stream_icon"])}"'
                f' group-title="{_quoted(category)}"'
            )
        pieces.append(f"#EXTINF:-1{attributes},{name}\n{links.to(kind, one)}\n")
        size += len(pieces[-1])
        if size >= _PIECE or time.monotonic() > due:
            yield "".join(pieces).encode()
            pieces, size, due = [], 0, time.monotonic() + _PAUSE_S
        first = next(rest, None)
    yield "".join(pieces).encode()


def _quoted(text: str) -> str:
    """Return *text* fit to stand between quotes, which M3U cannot escape."""
    return _CONTROL.sub(" ", text).replace('"', "'").strip()
