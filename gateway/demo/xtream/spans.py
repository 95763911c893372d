"""Which bytes of a film a request asks for, and the headers that say so (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate

from gateway.demo.xtream.content import Content
from gateway.demo.xtream.faults import Rule, Trouble

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TYPES = {"mkv": "video/x-matroska", "mp4": "video/mp4", "avi": "video/x-msvideo"}
_MODIFIED = formatdate(1_700_000_000, usegmt=True)

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Span:
    """What of a film is sent, as which status."""

    status: int
    start: int
    count: int


def span_of(
    content: Content, name: str, asked: Message, struck: Mapping[Trouble, Rule]
) -> tuple[Span, Headers]:
    """Return what to send of *content*, which is called *name*, to whoever *asked*.

    One range is served; several get the whole film, as most servers do.
    """
    item, _, extension = name.rpartition(".")
    etag = f'"{item}-{content.size:x}{"-2" if Trouble.CHANGE_ETAG in struck else ""}"'
    headers = [("Content-Type", _TYPES.get(extension, "video/mp2t")), ("Accept-Ranges", "bytes")]
    if Trouble.NO_ETAG not in struck:
        headers += [("ETag", etag), ("Last-Modified", _MODIFIED)]
    match = _RANGE.fullmatch(asked.get("Range", ""))
    if (
        match is None
        or match.groups() == ("", "")
        or Trouble.IGNORE_RANGE in struck
        or asked.get("If-Range", etag) not in {etag, _MODIFIED}
    ):
        return Span(200, 0, content.size), headers
    first, last = match.groups()
    if first:
        start = int(first)
        end = min(int(last) + 1, content.size) if last else content.size
    else:
        start, end = max(content.size - int(last), 0), content.size
    if rule := struck.get(Trouble.OTHER_RANGE):
        start += rule.after
    if start >= end:
        return Span(416, 0, 0), [("Content-Range", f"bytes */{content.size}")]
    headers.append(("Content-Range", f"bytes {start}-{end - 1}/{content.size}"))
    return Span(206, start, end - start), headers
