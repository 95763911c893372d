"""PROPFIND (RFC 4918, 9.1), in place of wsgidav's: answered as it is read, in constant memory.

wsgidav builds the whole answer first: 470 MB for 50,000 entries. Only a Depth of 0 or 1 is
answered; infinity, which a missing Depth means, is refused as the RFC provides for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from wsgiref.types import StartResponse
from xml.sax.saxutils import escape, quoteattr

from lxml import etree
from wsgidav.dav_error import DAVError, get_http_status_string

from gateway.http.wsgi import Chunk, Environ, plain, status_line
from gateway_webdav.resources import Markup

_BODY = 1 << 20
_PIECE = 64 << 10
_TYPE = ("Content-Type", "application/xml; charset=utf-8")
_HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
_TAIL = b"</D:multistatus>\n"
_FINITE = (
    b'<?xml version="1.0" encoding="utf-8"?>\n'
    b'<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>\n'
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class BadRequest(ValueError):
    """The request's body is no propfind."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which properties are asked for: *mode* is "allprop", "name", or "named" with *names*."""

    mode: str
    names: tuple[str, ...] = ()
    minimal: bool = False  # RFC 8144: leave out what is not there


def answer_propfind(
    resource: Any, environ: Environ, start_response: StartResponse
) -> Iterable[Chunk]:
    """Answer a PROPFIND of *resource*, of any wsgidav provider."""
    depth = environ.get("HTTP_DEPTH", "infinity").strip().lower()
    if depth not in {"0", "1", "1,noroot", "infinity"}:
        return plain(start_response, 400, "Depth must be 0 or 1")
    if depth == "infinity" and resource.is_collection:
        start_response(status_line(403), [_TYPE, ("Content-Length", str(len(_FINITE)))])
        return [_FINITE]
    body = environ["wsgi.input"].read(_BODY + 1)
    if len(body) > _BODY:
        return plain(start_response, 413, f"a PROPFIND may have {_BODY} bytes")
    minimal = "return=minimal" in environ.get("HTTP_PREFER", "").replace(" ", "").lower()
    try:
        wanted = parse(body, minimal=minimal)
    except BadRequest as exc:
        return plain(start_response, 400, str(exc))
    return _send(_pieces(_listed(resource, depth), wanted), start_response)


def parse(body: bytes, *, minimal: bool = False) -> Wanted:
    """Return what a PROPFIND with *body* asks for. Raises BadRequest."""
    if not body.strip():
        return Wanted("allprop", minimal=minimal)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise BadRequest(f"the body is not XML: {exc}") from exc
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadRequest("the body has a document type")
    if root.tag != "{DAV:}propfind":
        raise BadRequest("the body is no DAV: propfind")
    asked = [child for child in root if isinstance(child.tag, str)]
    modes = {"{DAV:}allprop": "allprop", "{DAV:}propname": "name", "{DAV:}prop": "named"}
    chosen = [child for child in asked if child.tag in modes]
    if len(chosen) != 1:
        raise BadRequest("a propfind asks for one of allprop, propname and prop")
    names = [child.tag for child in chosen[0] if isinstance(child.tag, str)]
    return Wanted(modes[str(chosen[0].tag)], tuple(dict.fromkeys(map(str, names))), minimal)


def _listed(resource: Any, depth: str) -> Iterator[Any]:
    if depth != "1,noroot":
        yield resource
    if depth.startswith("1") and resource.is_collection:
        members = getattr(resource, "iter_members", resource.get_member_list)
        yield from members()


def _pieces(resources: Iterator[Any], wanted: Wanted) -> Iterator[bytes]:
    piece = bytearray(_HEAD)
    for resource in resources:
        piece += _response(resource, wanted).encode()
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + _TAIL)


def _send(pieces: Iterator[bytes], start_response: StartResponse) -> Iterable[Chunk]:
    # The first piece before the status: what fails at once is told as a failure.
    first = next(pieces)
    second = next(pieces, None)
    if second is None:
        start_response(status_line(207), [_TYPE, ("Content-Length", str(len(first)))])
        return [first]
    start_response(status_line(207), [_TYPE])
    return chain((first, second), pieces)


def _response(resource: Any, wanted: Wanted) -> str:
    if wanted.mode == "named":
        properties = resource.get_properties("named", name_list=list(wanted.names))
    else:
        properties = resource.get_properties(wanted.mode)
    # What is there comes first: rclone looks at the first block's status only.
    blocks: dict[str, list[str]] = {"200 OK": []}
    for name, value in properties:
        status = "200 OK"
        if isinstance(value, DAVError):
            status, value = get_http_status_string(value), None
            if wanted.minimal and value is None:
                continue
        blocks.setdefault(status, []).append(property_xml(name, value))
    if len(blocks) > 1 and not blocks["200 OK"]:
        del blocks["200 OK"]
    stats = "".join(
        f"<D:propstat><D:prop>{''.join(found)}</D:prop>"
        f"<D:status>HTTP/1.1 {status}</D:status></D:propstat>"
        for status, found in blocks.items()
    )
    return f"<D:response><D:href>{escape(resource.get_href())}</D:href>{stats}</D:response>"


def property_xml(name: str, value: Any) -> str:
    """Return a property, its *name* in Clark notation, as an element where D is DAV:."""
    if isinstance(value, etree._Element):
        return etree.tostring(value, encoding="unicode", with_tail=False)
    if isinstance(value, Markup):
        text: str = value
    else:
        text = "" if value is None else escape(_NOT_XML.sub("\ufffd", str(value)))
    if name == "{DAV:}getetag" and text and not text.startswith(('"', "W/")):
        text = f'"{text}"'
    if name.startswith("{DAV:}"):
        tag, namespace = f"D:{name[6:]}", ""
    elif name.startswith("{"):
        uri, _, local = name[1:].partition("}")
        tag, namespace = f"p:{local}", f" xmlns:p={quoteattr(uri)}"
    else:
        tag, namespace = name, ""
    return f"<{tag}{namespace}>{text}</{tag}>" if text else f"<{tag}{namespace}/>"
