"""`nzb-gateway vod strm DIR`: the running gateway's catalogue as `.strm` files for Jellyfin."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlencode, urlsplit

from gateway.api_client import Refused, Unreachable
from gateway.errors import ConfigurationError
from gateway.http.addresses import place, reachable
from gateway.settings import Settings
from gateway.vod import strm
from gateway.vod.json_items import NotAList, items

_TIMEOUT_S = 180.0  # the gateway may have to ask the provider for all of it
_FAILURES = 3  # so many series in a row that cannot be had: then it is not the series


def write_strm(
    settings: Settings,
    folder: Path,
    *,
    user: str | None,
    url: str | None,
    prune: bool,
    out: TextIO,
    shown: Callable[[str], str],
) -> int:
    """Write the catalogue into *folder*; return the exit code: 1 if it could not be whole.

    *user* is whose login stands in the files, None: the only one there is. *url* is where players
    reach the gateway, None: where the settings have it listen. *shown* makes text of strangers
    fit for a terminal.
    """
    name, password = _login(settings, user)
    listing = _Listing(reachable(settings.host), settings.port, name, password)
    base = f"http://{listing.place}" if url is None else _checked(url)
    kept: list[str] = []
    with closing(listing):
        entries = list(_entries(listing, base, name, password, kept))
    target = strm.Folder(folder)
    report = target.write(entries, kept)
    if prune and report.stale and not entries:
        raise Refused(
            f"nothing was removed: the catalogue is empty, and {len(report.stale):,} files were "
            "written before. Remove them by hand if that is right"
        )
    if prune:
        gone = report.stale
        report.removed = target.prune(gone)
        report.stale = [path for path in gone if (folder / path).exists()]
    for line in strm.in_words(report):
        print(shown(line), file=out)
    if report.stale and not prune:
        print("add --prune to remove what is no longer in the catalogue", file=out)
    for path in kept:
        print(shown(f"could not be listed, left as it is: {path}"), file=out)
    return 1 if kept or report.foreign else 0


def _login(settings: Settings, user: str | None) -> tuple[str, str]:
    users = settings.vod.users
    if not users:
        raise ConfigurationError(
            "no VOD user is configured: set GATEWAY_VOD__USERS__<name>__PASSWORD"
        )
    if user is None and len(users) > 1:
        raise ConfigurationError(f"there are several VOD users: add --user, {', '.join(users)}")
    for name, one in users.items():
        if user is None or user.lower() == name.lower():
            return name, one.password.get_secret_value()
    raise ConfigurationError(f"--user={user} does not exist: write {', '.join(users)}")


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
        parts = urlsplit("")
    if not good or parts.query or parts.fragment or parts.username or not url.isprintable():
        raise ConfigurationError(
            f"--url={url} is no address of a gateway: write it like http://192.168.1.7:8080"
        )
    return url.rstrip("/")


def _entries(
    listing: _Listing, base: str, name: str, password: str, kept: list[str]
) -> Iterator[strm.Entry]:
    """Give the files to write; the folders of series that could not be had go into *kept*."""
    names = strm.Names()
    login = f"{quote(name, safe='')}/{quote(password, safe='')}"

    def address(kind: str, number: int, extension: str) -> str:
        return f"{base}/{kind}/{login}/{number}.{extension}"

    # By their numbers, so that names which occur twice stay with whom they were.
    movies = sorted(
        (int(one["stream_id"]), one["name"], one["container_extension"])
        for one in listing.each("get_vod_streams")
    )
    for number, title, extension in movies:
        yield strm.Entry(names.movie(title, number), address("movie", number, extension))
    failures = 0
    for series, title in sorted(
        (int(one["series_id"]), one["name"]) for one in listing.each("get_series")
    ):
        try:
            info = listing.one("get_series_info", series_id=str(series))
            failures = 0
        except Refused:
            failures += 1
            if failures == _FAILURES:
                raise
            kept.append(strm.series_folder(title))
            continue
        for episodes in info["episodes"].values():
            for one in episodes:
                number = int(one["id"])
                path = names.episode(title, one["season"], one["episode_num"], number)
                yield strm.Entry(path, address("series", number, one["container_extension"]))


class _Listing:
    """Asks player_api.php of the gateway at *host*:*port*, over one connection."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self.place = place(host, port)
        self._login = {"username": user, "password": password}
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def each(self, action: str) -> Iterator[dict[str, Any]]:
        """Give the objects of a list. Raises Unreachable and Refused."""
        response = self._ask(action, {})
        try:
            for key, item in items(iter(lambda: response.read(1 << 18), b"")):
                if key is not None:
                    raise self._refused(action, {key: item})
                yield item
        except (OSError, http.client.HTTPException, NotAList) as exc:
            raise Unreachable(f"the answer of {self.place} broke off: {exc}") from exc

    def one(self, action: str, **parameters: str) -> dict[str, Any]:
        """Return an object. Raises Unreachable and Refused."""
        response = self._ask(action, parameters)
        try:
            said = json.loads(response.read())
        except (OSError, http.client.HTTPException) as exc:
            raise Unreachable(f"the answer of {self.place} broke off: {exc}") from exc
        except ValueError as exc:
            raise Refused(f"{self.place} answered {action} with what is no JSON") from exc
        if not isinstance(said, dict) or "episodes" not in said:
            raise self._refused(action, said)
        return said

    def _ask(self, action: str, parameters: dict[str, str]) -> http.client.HTTPResponse:
        query = urlencode({**self._login, "action": action, **parameters})
        try:
            self._connection.request("GET", f"/player_api.php?{query}")
            response = self._connection.getresponse()
        except ConnectionRefusedError as exc:
            raise Unreachable(
                f"nothing listens on {self.place}: start the gateway with `nzb-gateway serve`, or "
                "set GATEWAY_HOST and GATEWAY_PORT to where it runs"
            ) from exc
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "strerror", None) or type(exc).__name__
            raise Unreachable(f"{self.place} cannot be asked: {reason}") from exc
        if response.status in {200, 503}:
            return response
        response.close()
        if response.status == 404:
            raise Refused(
                f"the gateway on {self.place} has no catalogue: restart it after the first "
                "GATEWAY_VOD__USERS__<name>__PASSWORD is set"
            )
        raise Refused(f"{self.place} answered {action} with HTTP status {response.status}")

    def _refused(self, action: str, said: Any) -> Refused:
        if isinstance(said, dict) and isinstance(said.get("error"), str):
            return Refused(f"the gateway on {self.place} refused {action}: {said['error']}")
        if isinstance(said, dict) and "user_info" in said:
            return Refused(
                f"the gateway on {self.place} refused the VOD user {self._login['username']!r}: "
                "its settings are others; restart it after a change of passwords"
            )
        return Refused(f"{self.place} answered {action} with something else than its catalogue")
