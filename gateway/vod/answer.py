"""What a provider's answer is held against: status, range, size and validators (RFC 9110, 14).

Pure: a status and headers in, a decision out. No address stands in any message: it holds the
account's password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from werkzeug.http import parse_date, unquote_etag

from gateway.errors import AccountBusy, FilmChanged, GatewayError, NoSuchFilm, ProtocolError
from gateway.http.ranges import Entity
from gateway.nzb.media_types import DEFAULT, media_type

SKIP = 1 << 20
"""Of a film that comes whole in place of a range, as much is read and dropped."""
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d{1,18})-(?P<last>\d{1,18})/(?P<total>\d{1,18})")
_MISSED = re.compile(r"bytes \*/(?P<total>\d{1,18})")
# What providers say when an account has too many connections, or is blocked for a while.
_BUSY = frozenset({403, 423, 429, 456, 458, 503, 509})
_GONE = frozenset({404, 410})
_UNTOLD = frozenset({DEFAULT, "text/html", "text/plain", "application/force-download"})


class RangeMissed(GatewayError):
    """The film has *total* bytes, and none of them is in the range that was asked for."""

    http_status = 416

    def __init__(self, total: int) -> None:
        super().__init__(f"the range lies outside of the film's {total} bytes")
        self.total = total


class Response(Protocol):
    """A response, as far as it is looked at here."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom was asked for what, in words."""

    account: str
    film: str

    @property
    def who(self) -> str:
        return f"the VOD account {self.account!r}"


@dataclass(frozen=True, slots=True)
class Got:
    """The film, where the bytes that come end, and how many of them come before those wanted."""

    entity: Entity
    stop: int
    skip: int = 0


def accept(
    asked: Asked, response: Response, start: int, stop: int | None, resumed: Entity | None
) -> Got:
    """Return what *response* brings, if that is [start, stop) of the film (None: to its end).

    *resumed*: the film must be this one. Raises ProtocolError, AccountBusy, NoSuchFilm,
    RangeMissed, FilmChanged.
    """
    headers = response.headers
    if response.status == 416:
        missed = _MISSED.fullmatch(headers.get("Content-Range", "").strip())
        if missed is not None:
            raise RangeMissed(int(missed["total"]))
    _refuse(asked, response.status)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise ProtocolError(f"{asked.who} sends {asked.film} compressed, unasked")
    if response.status == 206:
        got = _part(asked, headers, start, stop)
    elif response.status == 200:
        got = _whole(asked, headers, start, stop)
    else:
        raise ProtocolError(f"{asked.who} answered {response.status} for {asked.film}")
    if resumed is not None and not _is_same(got.entity, resumed):
        raise FilmChanged(
            f"{asked.film} of {asked.who} is another one now: "
            f"{got.entity.length} bytes in place of {resumed.length}, or another ETag"
        )
    if got.skip > SKIP:
        raise ProtocolError(
            f"{asked.who} sent {asked.film} from its beginning when asked for byte {start}"
        )
    return got


def accept_head(asked: Asked, response: Response) -> Entity:
    """Return what *response* to HEAD says of the film. Raises as `accept` does."""
    _refuse(asked, response.status)
    size = _length(response.headers)
    if response.status != 200 or size is None:
        raise ProtocolError(f"{asked.who} does not say how long {asked.film} is")
    return _entity(response.headers, size)


def typed(entity: Entity, extension: str) -> Entity:
    """Return *entity* with a content type, that of its *extension* if the provider told none."""
    if entity.content_type:
        return entity
    return replace(entity, content_type=media_type(f".{extension}"))


def _part(asked: Asked, headers: Mapping[str, str], start: int, stop: int | None) -> Got:
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        raise ProtocolError(f"{asked.who} does not say which part of {asked.film} it sends")
    first, end, total = int(match["first"]), int(match["last"]) + 1, int(match["total"])
    wanted = total if stop is None else min(stop, total)
    if (first, end) != (start, wanted) or _length(headers) not in {None, end - first}:
        raise ProtocolError(
            f"{asked.who} sent bytes {first} to {end} of {total} of {asked.film} "
            f"when asked for {start} to {wanted}"
        )
    return Got(_entity(headers, total), end)


def _whole(asked: Asked, headers: Mapping[str, str], start: int, stop: int | None) -> Got:
    total = _length(headers)
    if total is None:
        raise ProtocolError(f"{asked.who} does not say how long {asked.film} is")
    if start and start >= total:
        raise RangeMissed(total)
    return Got(_entity(headers, total), total if stop is None else min(stop, total), start)


def _refuse(asked: Asked, status: int) -> None:
    if status in _GONE:
        raise NoSuchFilm(f"{asked.who} has no {asked.film} ({status})")
    if status in _BUSY:
        raise AccountBusy(
            f"{asked.who} was refused {asked.film} ({status}): it may be in use elsewhere, "
            "or allow fewer streams than its MAX_STREAMS says"
        )
    if status == 401:
        raise ProtocolError(f"{asked.who} was refused (401): check its USERNAME and PASSWORD")
    if status >= 400:
        raise ProtocolError(f"{asked.who} was refused {asked.film} ({status})")


def _is_same(entity: Entity, resumed: Entity) -> bool:
    if entity.length != resumed.length:
        return False
    return None in {entity.etag, resumed.etag} or entity.etag == resumed.etag


def _entity(headers: Mapping[str, str], total: int) -> Entity:
    etag, is_weak = unquote_etag(headers.get("ETag"))
    usable = bool(etag) and not is_weak and str(etag).isprintable() and '"' not in str(etag)
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not content_type.isprintable() or "/" not in content_type or content_type in _UNTOLD:
        content_type = ""
    modified = parse_date(headers.get("Last-Modified"))
    return Entity(total, content_type, etag if usable else None, modified)


def _length(headers: Mapping[str, str]) -> int | None:
    """Return what Content-Length says, None if it says nothing that can be."""
    said = headers.get("Content-Length", "").strip()
    return int(said) if said.isdecimal() and len(said) < 19 else None
