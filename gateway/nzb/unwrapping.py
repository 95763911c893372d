"""From what was handed in to the text of an NZB: unpacked, within a limit, and in UTF-8.

NZBs come gzipped, bzipped or in a ZIP, with and without a byte order mark, in encodings that
they state, or state wrongly. None of that is the XML parser's business.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable

from gateway.errors import InvalidNzb, NotXml

LIMIT = 200 * 1024 * 1024
"""The most bytes that a document may have once unpacked: two million segments."""

_LAYERS = 2  # an indexer gzips, a browser's user zips what it saved: more is an attack

_BOMS = (  # the longer first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
# Encodings of text in which ASCII is itself, so that the declaration can be read as it stands.
_TRUSTED = re.compile(r"iso8859|cp\d|koi8|gb|big5|euc|shift_jis|mac-|mac_|latin|tis-?620|johab")
# What XML 1.0 forbids as a character; one of them would cost the rest of the document.
_ILLEGAL = bytes(code for code in range(32) if code not in b"\t\n\r")


def unwrap(document: bytes, *, limit: int = LIMIT) -> bytes:
    """Return *document* unpacked from gzip, bzip2 or ZIP, as UTF-8 without a byte order mark.

    Raises InvalidNzb when it has more than *limit* bytes, is damaged, or is a ZIP of several
    NZBs; NotXml when what it holds does not begin as XML does.
    """
    for _ in range(_LAYERS):
        unpack = _unpacker(document)
        if unpack is None:
            break
        document = unpack(document, limit)
    if len(document) > limit:
        raise _too_large(limit)
    text = _to_utf8(document).lstrip()
    start = text[:1024]
    if not start.startswith(b"<"):
        shown = start[:40].decode("utf-8", "replace")
        raise NotXml(f"not an NZB: begins with {shown!r}" if start else "not an NZB: it is empty")
    return text


def ending_of(document: bytes) -> str:
    """Return the ending of the name of a file that holds *document* as it was handed in."""
    packed: dict[object, str] = {_gunzip: ".gz", _bunzip: ".bz2", _unzip: ".zip"}
    unpack = _unpacker(document)
    return ".nzb" if unpack is None else f".nzb{packed[unpack]}"


def _unpacker(document: bytes) -> Callable[[bytes, int], bytes] | None:
    if document.startswith(b"\x1f\x8b"):
        return _gunzip
    if document.startswith(b"BZh"):
        return _bunzip
    if document.startswith(b"PK\x03\x04"):
        return _unzip
    return None


def _gunzip(document: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(document)) as file:
            return _bounded(file.read(limit + 1), limit)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidNzb(f"damaged gzip file: {error}") from error


def _bunzip(document: bytes, limit: int) -> bytes:
    try:
        with bz2.BZ2File(io.BytesIO(document)) as file:
            return _bounded(file.read(limit + 1), limit)
    except (OSError, EOFError, ValueError) as error:
        raise InvalidNzb(f"damaged bzip2 file: {error}") from error


def _unzip(document: bytes, limit: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(document)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            nzbs = [member for member in members if member.filename.lower().endswith(".nzb")]
            chosen = nzbs or members
            if len(chosen) != 1:
                raise InvalidNzb(f"a ZIP with {len(nzbs)} NZBs: add each NZB by itself")
            with archive.open(chosen[0]) as file:
                return _bounded(file.read(limit + 1), limit)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InvalidNzb(f"damaged ZIP file: {error}") from error
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise InvalidNzb(f"a ZIP that cannot be opened: {error}") from error


def _bounded(document: bytes, limit: int) -> bytes:
    if len(document) > limit:
        raise _too_large(limit)
    return document


def _too_large(limit: int) -> InvalidNzb:
    return InvalidNzb(f"the NZB has more than {limit:,} bytes")


def _to_utf8(document: bytes) -> bytes:
    encoding = next((name for mark, name in _BOMS if document.startswith(mark)), None)
    if encoding is not None:
        text = document.decode(encoding, "replace").encode()
    elif document.isascii() or _is_utf8(document):
        # UTF-8 whatever it declares: hardly any text of another encoding is valid UTF-8.
        text = document
    else:
        text = document.decode(_declared(document) or "cp1252", "replace").encode()
    return text.translate(None, _ILLEGAL)


def _is_utf8(document: bytes) -> bool:
    try:
        document.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _declared(document: bytes) -> str | None:
    match = _DECLARED.match(document)
    if match is None:
        return None
    try:
        name = codecs.lookup(match.group(1).decode()).name
    except LookupError:
        return None
    return name if _TRUSTED.match(name) else None
