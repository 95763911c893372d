"""NZB documents, as found in the wild (newzBin's NZB 1.1, and what is made of it).

Tolerant where nothing is lost by it: any namespace or none, any order, missing dates and
groups, files without segments, markup that is broken somewhere (what can be read before and
behind counts). Strict where it matters: no entities and nothing from outside, bounded sizes,
and message-ids that cannot become a second NNTP command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, cast

from lxml import etree

from gateway.errors import InvalidNzb
from gateway.nzb.names import filename_password
from gateway.nzb.unwrapping import LIMIT, unwrap

_ID_BYTES = 250  # RFC 3977, 3.6: the most octets of a message-id
_UNSAFE_ID = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029<>]")
_PLAIN_ID = re.compile("[!-;=?-~]{1,250}")  # one that is usable as it stands: nearly all are
_ALTERNATES = 15  # of one part; more is an attack, and nobody would ask for them all
_SEGMENT_BYTES = 1 << 27  # an article has at most some 10 MB; more ("999999999") is no information
_TEXT_CHARS = 4096  # of an element; what is longer is none of ours
_FEED = 1 << 18
# Parts that the numbers claim for every one that is listed. A post that lacks more is dead, and
# one number of 2,000,000,000 must not fill the memory with the gaps below it.
_CLAIM = 10
_CLAIM_FREE = 100_000
_END = re.compile(rb"</(?:[^\s<>/:]+:)?nzb\s*>", re.IGNORECASE)


class Segment(NamedTuple):
    """One part of a posted file: its *number* from 1, and the ids that carry it.

    *bytes* is what the NZB says (encoded, some 3 % more than the part; 0 if it says nothing
    credible). *alternates* are further message-ids that the NZB lists for the same number.
    """

    number: int
    bytes: int
    message_id: str
    alternates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NzbFile:
    """One posted file. *segments* ascend by number, without gaps' own; *date* is in seconds."""

    subject: str
    poster: str
    date: int | None
    groups: tuple[str, ...]
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """Return the sum of what the NZB says of its segments: encoded, and only a hint."""
        return sum(segment.bytes for segment in self.segments)

    @property
    def parts(self) -> int:
        """Return how many parts there are, gaps included: the highest number."""
        return self.segments[-1].number if self.segments else 0

    @property
    def gaps(self) -> int:
        """Return how many parts below the highest number have no segment."""
        return self.parts - len(self.segments)

    def ids(self) -> list[bytes]:
        """Return the message-ids as a `PartTable` takes them: an entry a part, empty in a gap."""
        entries = [b""] * self.parts
        for number, _, message_id, alternates in self.segments:
            ids = "\t".join((message_id, *alternates)) if alternates else message_id
            entries[number - 1] = ids.encode()
        return entries

    def weights(self) -> list[int]:
        """Return the bytes a part, as a `PartTable` estimates by; the typical size in a gap."""
        known = sorted(segment.bytes for segment in self.segments if segment.bytes)
        weights = [known[len(known) // 2] if known else 1] * self.parts
        for segment in self.segments:
            if segment.bytes:
                weights[segment.number - 1] = segment.bytes
        return weights


@dataclass(frozen=True, slots=True)
class Nzb:
    """A parsed NZB: at least one file, each with at least one segment.

    *meta* is what the head says, by lower-case type ("title", "tag", ...), passwords left out.
    *passwords* come from the file's name and the head, the likeliest first. *refused* counts
    segments that had no usable message-id or number. *damage* says what is wrong with the markup
    of a document that could be read in part, "" if nothing is; *is_cut* that it stops before its
    end, so that nobody knows which files are not in it.
    """

    meta: Mapping[str, str]
    files: tuple[NzbFile, ...]
    passwords: tuple[str, ...] = field(default=(), repr=False)
    refused: int = 0
    damage: str = ""
    is_cut: bool = False

    @property
    def password(self) -> str | None:
        """Return the likeliest password, None if there is none."""
        return self.passwords[0] if self.passwords else None

    @property
    def size(self) -> int:
        """Return the sum of what the NZB says of all its segments: encoded, and only a hint."""
        return sum(file.size for file in self.files)

    @property
    def parts(self) -> int:
        """Return how many parts all files have together, gaps included."""
        return sum(file.parts for file in self.files)


def parse(document: bytes, *, filename: str = "", limit: int = LIMIT) -> Nzb:
    """Return what *document* says; it may be packed (gzip, bzip2, ZIP) and in any encoding.

    *filename*, the name that it came under, may carry a password. Raises NotXml when it is no
    XML at all, InvalidNzb when it is too large (*limit* bytes unpacked), when it is no NZB, or
    when there is nothing in it that could be fetched.
    """
    text = unwrap(document, limit=limit)
    # Entities have no place in an NZB. In UTF-8 the markup that makes one is these bytes.
    if b"<!ENTITY" in text:
        raise InvalidNzb("the NZB declares entities, which no NZB needs: refused")
    damage = ""
    try:
        reader = _read(text, recover=False)
    except etree.XMLSyntaxError as error:
        damage = (error.msg or "not well-formed").replace("\n", "")
        reader = _read(text, recover=True)
    if reader.root and reader.root != "nzb":
        said = f" that says {reader.said[:200]!r}" if reader.said else ""
        raise InvalidNzb(f"not an NZB but <{reader.root[:40]}>{said}")
    if not reader.files:
        if damage:
            raise InvalidNzb(f"the NZB is broken: {damage}")
        raise InvalidNzb(f"the NZB lists nothing to fetch ({reader.refused} segments unusable)")
    listed = sum(len(file.segments) for file in reader.files)
    claimed = sum(file.parts for file in reader.files)
    if claimed > _CLAIM * listed + _CLAIM_FREE:
        raise InvalidNzb(f"the NZB lists {listed:,} of {claimed:,} parts")
    named = filename_password(filename)
    passwords = dict.fromkeys(filter(None, (named, *reader.passwords)))
    is_cut = bool(damage) and _END.search(text) is None
    return Nzb(reader.meta, tuple(reader.files), tuple(passwords), reader.refused, damage, is_cut)


def _read(text: bytes, *, recover: bool) -> _Reader:
    reader = _Reader()
    parser = etree.XMLParser(
        target=cast("etree.ParserTarget", reader),
        encoding="utf-8",
        recover=recover,
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
    )
    for start in range(0, len(text), _FEED):
        parser.feed(text[start : start + _FEED])
    parser.close()
    return reader


class _Reader:
    """Collects files while lxml reads: the document never becomes a tree."""

    def __init__(self) -> None:
        self.root = ""
        self.said = ""  # an indexer's <error code="100" description="...">
        self.meta: dict[str, str] = {}
        self.passwords: list[str] = []
        self.files: list[NzbFile] = []
        self.refused = 0
        self._file: dict[str, str] | None = None  # the attributes of the <file> that is open
        self._groups: list[str] = []
        self._segments: dict[int, Segment] = {}
        self._open: Mapping[str, str] = {}  # the attributes of the innermost element
        self._text = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._open = attributes
        self._text = ""
        if not self.root:
            self.root = _local(tag)
            self.said = attributes.get("description", "")
        elif _local(tag) == "file":
            self._finish()
            self._file = {_local(name): value for name, value in attributes.items()}

    def data(self, text: str) -> None:
        # libxml2 hands long text over in pieces, and adding up megabytes of it would take ages.
        if not self._text:
            self._text = text
        elif len(self._text) < _TEXT_CHARS:
            self._text += text

    def end(self, tag: str) -> None:
        name = _local(tag)
        if name == "segment":
            self._segment(self._text, self._open)
        elif name == "group":
            group = self._text.strip()
            if group and self._file is not None:
                self._groups.append(group)
        elif name == "meta":
            self._meta(self._open.get("type", "").strip().lower(), self._text.strip())
        elif name == "file":
            self._finish()
        self._text = ""

    def comment(self, text: str) -> None:
        """Comments say nothing; text goes on behind one."""

    def close(self) -> None:
        self._finish()

    def _segment(self, text: str, attributes: Mapping[str, str]) -> None:
        message_id = text
        is_usable = _PLAIN_ID.fullmatch(text) is not None
        if not is_usable:
            message_id = text.strip()
            if message_id[:1] == "<":
                message_id = message_id.strip("<> \t\r\n")
            is_usable = _is_usable(message_id)
        number = _integer(attributes.get("number"))
        if self._file is None or number < 1 or not is_usable:
            self.refused += 1
            return
        size = _integer(attributes.get("bytes"))
        if not 0 < size < _SEGMENT_BYTES:
            size = 0
        first = self._segments.get(number)
        if first is None:
            self._segments[number] = Segment(number, size, message_id)
        elif (
            message_id != first.message_id
            and message_id not in first.alternates
            and len(first.alternates) < _ALTERNATES
        ):
            self._segments[number] = first._replace(
                bytes=first.bytes or size, alternates=(*first.alternates, message_id)
            )

    def _meta(self, kind: str, value: str) -> None:
        if not value or self._file is not None:
            return
        if kind == "password":
            self.passwords.append(value)
        elif kind:
            self.meta.setdefault(kind, value)

    def _finish(self) -> None:
        """Take the open file as it is: at its end, and where broken markup hides the end."""
        attributes, self._file = self._file, None
        segments, self._segments = self._segments, {}
        groups, self._groups = self._groups, []
        if attributes is None or not segments:
            return
        date = _integer(attributes.get("date"))
        self.files.append(
            NzbFile(
                attributes.get("subject", ""),
                attributes.get("poster", ""),
                date if date > 0 else None,
                tuple(dict.fromkeys(groups)),
                tuple(segments[number] for number in sorted(segments)),
            )
        )


@lru_cache(maxsize=64)
def _local(tag: str) -> str:
    """Return the name of an element or attribute without its namespace, whatever that is."""
    return tag.rpartition("}")[2].lower()


def _is_usable(message_id: str) -> bool:
    if not message_id or _UNSAFE_ID.search(message_id):
        return False
    return len(message_id if message_id.isascii() else message_id.encode()) <= _ID_BYTES


def _integer(text: str | None) -> int:
    """Return *text* as a number, -1 where it is none: longer ones are not worth a look."""
    try:
        return int(text) if text is not None and len(text) < 19 else -1
    except ValueError:
        return -1
