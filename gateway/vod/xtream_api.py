"""player_api.php: what Xtream players ask of a panel, answered for our own users.

They compare types: numbers that panels send as text are text here, and nothing is null. A wrong
login is status 200 with `auth` 0, as from any panel: players show it as what it is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

from gateway.errors import GatewayError
from gateway.http.clients import client_address, own_url
from gateway.http.scope import scope_of
from gateway.http.wsgi import Chunk, Environ, Headers, plain, refusal, status_line
from gateway.vod.catalogue import MOVIE, SERIES, Catalogue, numbered
from gateway.vod.users import VodUser, VodUsers

log = logging.getLogger(__name__)

_FORM_BYTES = 64 << 10
# What is not limited, players show as a date and a number all the same: some parse 32 bits.
_NEVER = "2145916800"
_UNLIMITED = 100
_FORMATS = ["ts", "mp4", "mkv"]

Values = Mapping[str, str]


class Door:
    """What the doors of Xtream players have in common: users, and who is one of them."""

    def __init__(self, users: VodUsers) -> None:
        self._users = users

    def login(self, environ: Environ) -> tuple[VodUser | None, Values]:
        """Return who asks, and what the query and the form say; the form's word counts.

        Raises HTTPException for a form that is none.
        """
        request = Request(environ)
        request.max_form_memory_size = request.max_content_length = _FORM_BYTES
        values = {**request.args.to_dict()}
        if request.method == "POST":
            values |= request.form.to_dict()
        user = self._users.login(values.get("username", ""), values.get("password", ""))
        if user is None and values.get("username"):
            log.warning(
                "refused the VOD login sent by %s for %s",
                client_address(environ),
                environ.get("SCRIPT_NAME", ""),
            )
        return user, values


class PlayerApi(Door):
    """The WSGI application behind /player_api.php.

    *watching* returns how many films a user watches now, *allowed* how many all may together.
    """

    def __init__(
        self,
        users: VodUsers,
        catalogue: Catalogue,
        watching: Callable[[VodUser], int],
        allowed: int = 0,
    ) -> None:
        super().__init__(users)
        self._catalogue = catalogue
        self._watching = watching
        self._allowed = allowed

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD", "POST"}:
            return plain(start_response, 405, "ask by GET or POST", [("Allow", "GET, HEAD, POST")])
        try:
            user, values = self.login(environ)
            if user is None:
                return _answer(start_response, {"user_info": {"auth": 0}})
            action = values.get("action", "")
            if action in {"get_vod_streams", "get_series"}:
                return self._list(action, values, environ, start_response)
            return _answer(start_response, self._said(action, user, values, environ))
        except GatewayError as exc:
            log.warning("player_api.php: %s", exc)
            status, sentence, headers = refusal(exc)
            return _answer(start_response, {"error": sentence}, status, headers)
        except HTTPException as exc:
            return _answer(start_response, {"error": exc.name}, exc.code or 400)

    def _list(
        self, action: str, values: Values, environ: Environ, start_response: StartResponse
    ) -> Iterable[Chunk]:
        kind = MOVIE if action == "get_vod_streams" else SERIES
        listed = self._catalogue.listed(kind, _category(values))
        scope_of(environ).stream()
        start_response(status_line(200), _headers())
        return numbered(listed)

    def _said(self, action: str, user: VodUser, values: Values, environ: Environ) -> Any:
        match action:
            case "get_vod_categories":
                return self._catalogue.categories(MOVIE)
            case "get_series_categories":
                return self._catalogue.categories(SERIES)
            case "get_vod_info":
                return self._catalogue.movie_info(_number(values.get("vod_id")))
            case "get_series_info":
                number = values.get("series_id") or values.get("series")
                return self._catalogue.series_info(_number(number))
            case "get_live_categories" | "get_live_streams":
                return []
            case "get_short_epg" | "get_simple_data_table":
                return {"epg_listings": []}
        return self._account(user, values, environ)

    def _account(self, user: VodUser, values: Values, environ: Environ) -> dict[str, Any]:
        scheme, host, port = _place(environ)
        try:
            watching = self._watching(user)
        except GatewayError as exc:
            log.warning("who watches cannot be counted: %s", exc)
            watching = 0
        now = time.time()
        return {
            "user_info": {
                "username": values["username"],
                "password": values["password"],
                "message": "",
                "auth": 1,
                "status": "Active",
                "exp_date": _NEVER,
                "is_trial": "0",
                "active_cons": str(watching),
                "created_at": "0",
                "max_connections": str(user.max_streams or self._allowed or _UNLIMITED),
                "allowed_output_formats": _FORMATS,
            },
            "server_info": {
                "url": host,
                "port": port if scheme == "http" else "80",
                "https_port": port if scheme == "https" else "443",
                "server_protocol": scheme,
                "rtmp_port": "0",
                "timezone": "UTC",
                "timestamp_now": int(now),
                "time_now": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)),
            },
        }


def _place(environ: Environ) -> tuple[str, str, str]:
    """Return by which scheme, host and port the client reached us."""
    url = urlsplit(own_url(environ))
    try:
        port = url.port
    except ValueError:  # above 65535: whoever sent it will not be reached there
        port = None
    return url.scheme, url.hostname or "", str(port or (443 if url.scheme == "https" else 80))


def _category(values: Values) -> str | None:
    """Return the category that is asked for; None: all, for which players write many things."""
    category = values.get("category_id", "")
    return category if category.isdigit() and category != "0" else None


def _number(value: str | None) -> int:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 11 else 0


def _headers() -> Headers:
    return [
        ("Content-Type", "application/json; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]


def _answer(
    start_response: StartResponse,
    said: Any,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    body = json.dumps(said, ensure_ascii=False).encode()
    start_response(status_line(status), [*_headers(), ("Content-Length", str(len(body))), *headers])
    return [body]
