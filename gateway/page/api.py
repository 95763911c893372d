"""The gateway's own API: finds the endpoint, reads and writes its JSON (`Api`).

Whatever goes wrong is a JSON object with one sentence, `{"error": …}`, and never a trace.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse

from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

from gateway.errors import GatewayError
from gateway.http.wsgi import Environ, Headers, refusal, status_line
from gateway.page.endpoint import BadRequest, Call, Document, Endpoint, NotFound, Problem
from gateway.page.openapi import describe

log = logging.getLogger(__name__)

_BODY_BYTES = 64 << 10
_JSON = ("application/json", "application/merge-patch+json")
_PARAMETER = re.compile(r"\\\{(\w+)\\\}")
_KEY = "apikey"  # lets in, and is no endpoint's parameter


class _NotAllowed(GatewayError):
    http_status = 405


class _WrongType(GatewayError):
    http_status = 415


@dataclass(frozen=True, slots=True)
class _Route:
    endpoint: Endpoint
    pattern: re.Pattern[str]
    answer: TypeAdapter[Any]
    query: TypeAdapter[Any] | None
    body: TypeAdapter[Any] | None


class Api:
    """A WSGI application that answers *endpoints*, and `GET /openapi.json` which describes them.

    Who may ask is decided before it (`RequireApiKey`).
    """

    def __init__(self, endpoints: Iterable[Endpoint], *, version: str) -> None:
        given = list(endpoints)
        self._routes = [_route(endpoint) for endpoint in given]
        # A path written out is found before one with a parameter in its place.
        self._routes.sort(key=lambda route: route.endpoint.path.count("{"))
        self._description = describe(given, version)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        headers: Headers = []
        content_type = _JSON[0]
        try:
            status, body, content_type, headers = self._answer(environ)
        except GatewayError as exc:
            status, sentence, headers = refusal(exc)
            if isinstance(exc, _NotAllowed):
                headers = [("Allow", ", ".join(sorted(self._methods(_path(environ)))))]
            elif status >= 500:
                log.warning("%s: %s", _name(environ), exc)
            body = _problem(sentence)
        except HTTPException as exc:
            # Werkzeug's word for a body that is too large.
            status, body = exc.code or 400, _problem(exc.description or exc.name)
        except ConnectionError:
            raise  # the client is gone, and with it the rest of its request
        except Exception:
            log.exception("%s failed", _name(environ))
            status = 500
            body = _problem("the gateway failed to answer this request; its log says why")
        start_response(
            status_line(status),
            [
                ("Content-Type", content_type),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                *headers,
            ],
        )
        return [body]

    def _answer(self, environ: Environ) -> tuple[int, bytes, str, Headers]:
        """Return status, body, its type, and what else is to stand in the head."""
        path, method = _path(environ), environ["REQUEST_METHOD"]
        method = "GET" if method == "HEAD" else method
        if path == "/openapi.json" and method == "GET":
            server = {"url": environ.get("SCRIPT_NAME", "") or "/"}
            return 200, _encoded({**self._description, "servers": [server]}), _JSON[0], []
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is not None and route.endpoint.method == method:
                call = _read(route, match.groupdict(), environ)
                value = route.endpoint.handler(call)
                kind = route.endpoint.content_type
                if isinstance(value, Document):
                    return route.endpoint.status, value.content, kind, [_attachment(value.name)]
                return route.endpoint.status, route.answer.dump_json(value) + b"\n", kind, []
        allowed = self._methods(path)
        if not allowed:
            raise NotFound(f"nothing is at {path}: see openapi.json for what is")
        raise _NotAllowed(f"{environ['REQUEST_METHOD']} is not for {path}")

    def _methods(self, path: str) -> set[str]:
        found = {r.endpoint.method for r in self._routes if r.pattern.fullmatch(path)}
        if path == "/openapi.json":
            found.add("GET")
        return found | {"HEAD"} if "GET" in found else found


def _route(endpoint: Endpoint) -> _Route:
    pattern = _PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(endpoint.path))
    return _Route(
        endpoint,
        re.compile(pattern),
        TypeAdapter(endpoint.answer),
        None if endpoint.query is None else TypeAdapter(endpoint.query),
        None if endpoint.body is None else TypeAdapter(endpoint.body),
    )


def _read(route: _Route, parameters: Mapping[str, str], environ: Environ) -> Call:
    request = Request(environ)
    request.max_content_length = _BODY_BYTES
    query = body = None
    try:
        if route.query is not None:
            sent = {name: value for name, value in request.args.items() if name != _KEY}
            query = route.query.validate_python(sent)
        if route.body is not None:
            if request.mimetype not in _JSON:
                raise _WrongType("send the body as JSON: Content-Type: application/json")
            body = route.body.validate_json(request.get_data(cache=False), strict=True)
    except ValidationError as exc:
        raise BadRequest(_in_words(exc.errors(include_url=False))) from exc
    return Call(parameters, query, body)


def _in_words(errors: Sequence[Any]) -> str:
    """Return in one line what is wrong with a query or a body."""
    said = []
    for error in errors:
        place = ".".join(str(part) for part in error["loc"])
        words = str(error["msg"])
        words = words[:1].lower() + words[1:]
        said.append(f"{place}: {words}" if place else words)
    return "; ".join(said)


def _path(environ: Environ) -> str:
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode(errors="replace") or "/"


def _name(environ: Environ) -> str:
    # Without the query, which may hold a key.
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return f"{environ['REQUEST_METHOD']} {path!r}"


def _attachment(name: str) -> tuple[str, str]:
    # RFC 6266 and 8187; it stands in UTF-8 only, which every client has read for long.
    return "Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def _problem(sentence: str) -> bytes:
    return TypeAdapter(Problem).dump_json(Problem(sentence)) + b"\n"


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
