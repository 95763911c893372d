"""A folder as a page of links, for a person with a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any
from wsgiref.types import StartResponse

from gateway.http.wsgi import Chunk, Environ, status_line

_PIECE = 64 << 10
_STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;"
    "color-scheme:light dark}table{width:100%}td+td{text-align:right;white-space:nowrap}"
)


def answer_index(resource: Any, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    """Answer a GET or HEAD of *resource*, a folder of any wsgidav provider."""
    start_response(
        status_line(200),
        [
            ("Content-Type", "text/html; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
            ("Cache-Control", "no-store"),
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else _page(resource)


def _page(resource: Any) -> Iterator[bytes]:
    href = resource.get_href().rstrip("/")
    title = escape(resource.get_display_name() or "NZB Gateway")
    piece = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1><table>"
    )
    if resource.path not in {"", "/"}:
        above = href.rpartition("/")[0]
        piece += f'<tr><td><a href="{escape(above)}/">..</a><td>'
    members = getattr(resource, "iter_members", resource.get_member_list)
    for member in members():
        name = escape(member.get_display_name() + ("/" if member.is_collection else ""))
        size = "" if member.is_collection else f"{member.get_content_length():,}"
        piece += f'<tr><td><a href="{escape(member.get_href())}">{name}</a><td>{size}'
        if len(piece) >= _PIECE:
            yield piece.encode()
            piece = ""
    yield f"{piece}</table></html>\n".encode()
