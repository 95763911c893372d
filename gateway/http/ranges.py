"""Ranges and conditions (RFC 9110, 13 and 14): what a GET or HEAD of an entity is answered with.

Pure: headers in, a decision out. The rules, in the order in which they are asked (13.2.2):

    If-Match, or else If-Unmodified-Since, does not hold     412
    If-None-Match, or else If-Modified-Since, does not hold  304 (412 for other methods)
    Range, for GET, when If-Range holds or is absent         206 or 416
    otherwise                                                200

One range is answered. Of several, the first that can be. What is not a range is ignored: garbage,
other units, a last byte before the first. A file of no bytes has no ranges: it is sent as 200,
because clients that always ask for `0-` would take a 416 for a failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from werkzeug.http import http_date, parse_date, parse_etags

from gateway.http.wsgi import Headers

_RANGES = re.compile(r"bytes=(?P<set>.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")
_BEYOND = 1 << 63  # past the end of every file


@dataclass(frozen=True, slots=True)
class Entity:
    """What there is to send: *length* bytes, their strong *etag* (unquoted), type and date."""

    length: int
    content_type: str
    etag: str | None = None
    last_modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: its *status* and *headers*, and the bytes [start, stop) that its body holds.

    An answer to HEAD states the length of the body it does not have; `has_body` says so.
    """

    status: int
    headers: Headers
    start: int = 0
    stop: int = 0
    has_body: bool = False


def decide(entity: Entity, method: str, environ: Mapping[str, object]) -> Decision:
    """Return the answer to *method* (GET or HEAD) with the request headers in *environ*."""
    failed = _failed_condition(entity, method, environ)
    if failed == 304:
        return Decision(304, _validators(entity))
    if failed:
        return Decision(failed, [("Content-Length", "0"), *_validators(entity)])
    start, stop, status = 0, entity.length, 200
    headers: Headers = []
    asked = _header(environ, "HTTP_RANGE")
    if asked is not None and method == "GET" and entity.length and _if_range(entity, environ):
        ranges = parse_ranges(asked, entity.length)
        if ranges == ():
            missed = ("Content-Range", f"bytes */{entity.length}")
            return Decision(416, [("Content-Length", "0"), missed, *_validators(entity)])
        if ranges:
            (start, stop), status = ranges[0], 206
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{entity.length}"))
    headers += [
        ("Content-Length", str(stop - start)),
        ("Content-Type", entity.content_type),
        ("X-Content-Type-Options", "nosniff"),
        *_validators(entity),
    ]
    return Decision(status, headers, start, stop, has_body=method == "GET")


def parse_ranges(header: str, length: int) -> tuple[tuple[int, int], ...] | None:
    """Return the ranges of *header* that *length* bytes can satisfy, as [start, stop) pairs.

    None: the header is to be ignored. Empty: it is valid, and no range lies in the entity.
    """
    match = _RANGES.fullmatch(header.strip())
    if match is None:
        return None
    found: list[tuple[int, int]] = []
    specs = [spec.strip(" \t") for spec in match["set"].split(",")]
    specs = [spec for spec in specs if spec]  # a list may have empty elements (5.6.1)
    if not specs:
        return None
    for text in specs:
        spec = _SPEC.fullmatch(text)
        if spec is None:
            return None
        if spec["suffix"] is not None:
            start, stop = max(0, length - _number(spec["suffix"])), length
        else:
            start, stop = _number(spec["first"]), length
            if spec["last"]:
                last = _number(spec["last"])
                if last < start:
                    return None
                stop = min(last + 1, length)
        if start < stop:
            found.append((start, stop))
    return tuple(found)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < 19 else _BEYOND


def _failed_condition(entity: Entity, method: str, environ: Mapping[str, object]) -> int:
    """Return the status that a condition asks for, 0 when all hold."""
    modified, etag = entity.last_modified, entity.etag
    if_match = _header(environ, "HTTP_IF_MATCH")
    if if_match is not None:
        tags = parse_etags(if_match)
        if not (tags.star_tag or (etag is not None and tags.is_strong(etag))):
            return 412
    elif _is_later(modified, _header(environ, "HTTP_IF_UNMODIFIED_SINCE")) is True:
        return 412
    reading = method in {"GET", "HEAD"}
    if_none_match = _header(environ, "HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        tags = parse_etags(if_none_match)
        if tags.star_tag or (etag is not None and tags.contains_weak(etag)):
            return 304 if reading else 412
    elif reading and _is_later(modified, _header(environ, "HTTP_IF_MODIFIED_SINCE")) is False:
        return 304
    return 0


def _if_range(entity: Entity, environ: Mapping[str, object]) -> bool:
    """Say whether the entity is still the one that the client has a part of (13.1.5)."""
    value = _header(environ, "HTTP_IF_RANGE")
    if value is None:
        return True
    value = value.strip()
    if value.startswith('"'):
        return entity.etag is not None and value == f'"{entity.etag}"'
    if value.startswith("W/"):
        return False  # a weak tag never vouches for bytes
    date, modified = parse_date(value), entity.last_modified
    return date is not None and modified is not None and _seconds(modified) == _seconds(date)


def _validators(entity: Entity) -> Headers:
    headers = [("Accept-Ranges", "bytes")]
    if entity.etag is not None:
        headers.append(("ETag", f'"{entity.etag}"'))
    if entity.last_modified is not None:
        headers.append(("Last-Modified", http_date(entity.last_modified)))
    return headers


def _header(environ: Mapping[str, object], name: str) -> str | None:
    value = environ.get(name)
    return value if isinstance(value, str) else None


def _is_later(modified: datetime | None, header: str | None) -> bool | None:
    """Say whether *modified* is later than the date in *header*; None: one of them is no date."""
    date = parse_date(header)
    if modified is None or date is None:
        return None
    return _seconds(modified) > _seconds(date)


def _seconds(date: datetime) -> int:
    return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
