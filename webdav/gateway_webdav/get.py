"""GET and HEAD, in place of wsgidav's, whose ranges and conditions are wrong in places.

What needs no byte of the file (HEAD, 304, 412, 416) opens nothing. A body's first bytes are read
before its status is sent, so that what keeps them from coming becomes a clean answer; what
fails later is raised, and the server cuts the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from wsgiref.types import StartResponse

from gateway.errors import FileChanged, GatewayError
from gateway.http.ranges import Entity, decide
from gateway.http.scope import scope_of
from gateway.http.wsgi import Chunk, Environ, plain, refusal, status_line
from gateway.nzb.media_types import DEFAULT
from gateway_webdav.tree import Reader

# An article of the usual 716,800 bytes leaves in one piece, and a slow client holds no more.
CHUNK = 768 << 10


class BodyEndedEarly(GatewayError):
    """The file gave fewer bytes than it has; a short body would pass for a whole one."""


def answer_get(resource: Any, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    """Answer a GET or HEAD of *resource*, a file of any wsgidav provider.

    Raises FileChanged where it is to be looked up again; nothing has been answered then.
    """
    decision = decide(_entity(resource), environ["REQUEST_METHOD"], environ)
    start, stop = decision.start, decision.stop
    if not decision.has_body or start == stop:
        start_response(status_line(decision.status), decision.headers)
        return []
    scope = scope_of(environ)
    try:
        reader = scope.own(_reader(resource, start, stop))
        scope.stream(reader.suspend)
        first = _read(reader, stop - start)
    except FileChanged:
        raise
    except GatewayError as exc:
        status, sentence, headers = refusal(exc)
        return plain(start_response, status, sentence, headers)
    start_response(status_line(decision.status), decision.headers)
    return _body(reader, first, stop - start)


def _body(reader: Reader, first: memoryview, left: int) -> Iterator[Chunk]:
    yield first
    left -= len(first)
    del first  # a paused viewer must not hold an article that it has had
    while left:
        view = _read(reader, left)
        left -= len(view)
        yield view


def _read(reader: Reader, left: int) -> memoryview:
    view = reader.read_view(min(left, CHUNK))
    if not view:
        raise BodyEndedEarly(f"the file ended {left} bytes early")
    return view


def _entity(resource: Any) -> Entity:
    modified = resource.get_last_modified()
    return Entity(
        resource.get_content_length(),
        resource.get_content_type() or DEFAULT,
        resource.get_etag() if resource.support_etag() else None,
        None if modified is None else datetime.fromtimestamp(modified, UTC),
    )


def _reader(resource: Any, start: int, stop: int) -> Reader:
    open_range = getattr(resource, "open_range", None)
    if open_range is not None:
        reader: Reader = open_range(start, stop)
        return reader
    content = resource.get_content()
    try:
        content.seek(start)
    except BaseException:
        content.close()
        raise
    return _Content(content)


class _Content:
    """Reads what another provider's `get_content` gives."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def read_view(self, limit: int, /) -> memoryview:
        return memoryview(self._content.read(limit))

    def suspend(self) -> None:
        """Nothing: another provider's content cannot be told."""

    def close(self) -> None:
        self._content.close()
