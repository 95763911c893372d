"""What is turned away at the door: requests under a name that is not ours, and paths that lead out.

The Host header: a web page elsewhere can make a browser talk to 127.0.0.1 under a name of its own
(DNS rebinding), and then read the answers; it cannot make it send another Host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes
from wsgiref.types import StartResponse

from gateway.http.wsgi import App, Chunk, Environ, plain

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/?#\[\]@,]+))(?::\d{0,5})?")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class HostGuard:
    """Passes requests to *app* whose Host is loopback, *host*, or among *allowed* (`*`: all).

    *allowed* may name a domain with all below it: `*.example.com`. When *host* is a wildcard
    (0.0.0.0, ::), any address is ours, and only names are looked at.
    """

    def __init__(self, app: App, host: str, allowed: Iterable[str] = ()) -> None:
        self._app = app
        names = [name.strip().lower() for name in allowed]
        self._any = "*" in names
        self._domains = tuple(name[1:] for name in names if name.startswith("*."))
        self._names = {_bare(name) for name in names} | {_bare(host.lower()), "localhost"}
        self._any_address = _is_wildcard(host)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        host = environ.get("HTTP_HOST")
        if host is None:
            # Only HTTP/1.0 may leave it out, and no browser does (RFC 9112, 3.2).
            if environ.get("SERVER_PROTOCOL") != "HTTP/1.0":
                return plain(start_response, 400, "the Host header is missing")
        elif not self._any and not self._is_ours(host):
            return plain(
                start_response,
                403,
                "this gateway does not answer to that name: add it to GATEWAY_ALLOWED_HOSTS",
            )
        return self._app(environ, start_response)

    def _is_ours(self, header: str) -> bool:
        match = _HOST.fullmatch(header)
        if match is None:
            return False
        name = (match["v6"] or match["name"]).lower().rstrip(".")
        if name in self._names or name.endswith(self._domains or ("\0",)):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._any_address


class PathGuard:
    """Refuses, before anything looks at it, a path that is malformed or leaves its tree: 400."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        raw = environ.get("REQUEST_URI", "").partition("?")[0]
        if not raw:
            path = environ.get("PATH_INFO", "").encode("latin-1")
        elif _BAD_PERCENT.search(raw):
            return plain(start_response, 400, "the path holds a % that escapes nothing")
        else:
            path = unquote_to_bytes(raw)
        try:
            text = path.decode()
        except UnicodeDecodeError:
            return plain(start_response, 400, "the path is not UTF-8")
        if any(character < " " or character == "\x7f" for character in text):
            return plain(start_response, 400, "the path holds a control character")
        if any(segment in {".", ".."} for segment in text.split("/")):
            return plain(start_response, 400, "the path holds a . or .. segment")
        return self._app(environ, start_response)


def _bare(host: str) -> str:
    match = _HOST.fullmatch(host)
    name = (match["v6"] or match["name"]) if match else host
    return name.rstrip(".")


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
