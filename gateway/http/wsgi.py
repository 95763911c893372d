"""WSGI as spoken in this house (PEP 3333), and the short answers that every door gives.

One departure: a body's chunks may be memoryviews, which saves a copy of every byte streamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TypeAlias
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway.errors import GatewayError

Chunk: TypeAlias = bytes | memoryview
Environ: TypeAlias = WSGIEnvironment
Headers: TypeAlias = list[tuple[str, str]]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[Chunk]]

# When a client that was told 503 should come back: a provider slot is rarely held for less.
RETRY_AFTER_S = 5


# The doors behind which a path holds user name and password.
_SECRET_PATHS = ("/movie/", "/series/")


def shown_path(path: str) -> str:
    """Return *path* as a log may show it: without the passwords that some doors have there."""
    for door in _SECRET_PATHS:
        if path.startswith(door):
            return f"{door}…/{path.rpartition('/')[2]}" if path.count("/") == 4 else f"{door}…"
    return path


def status_line(status: int) -> str:
    """Return what stands behind the protocol in an answer's first line."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Status"


def plain(
    start_response: StartResponse, status: int, text: str, headers: Iterable[tuple[str, str]] = ()
) -> list[Chunk]:
    """Answer with one line of plain text."""
    body = f"{text}\n".encode() if text else b""
    start_response(
        status_line(status),
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ],
    )
    return [body]


def refusal(error: GatewayError) -> tuple[int, str, Headers]:
    """Return status, sentence and headers that tell a client of *error*."""
    retry = [("Retry-After", str(RETRY_AFTER_S))] if error.http_status == 503 else []
    return error.http_status, str(error), retry
