"""What stands in a film for articles that cannot be had: how much, and which bytes.

Pure. How much is `LIMITS`; beyond it nothing is made up. Which bytes depends on the container
(`Container`), and else on nothing but the file's offsets and the part that is missing. So the
same hole is filled alike whoever reads it, in whatever pieces.

    MPEG-TS     null packets (ISO/IEC 13818-1, 2.4.3.3) on the file's own grid of packets, of 188
                bytes or of 192; a packet that is cut at an edge goes on, or begins, as a null
                packet does, so that a decoder sees stuffing in place of leftovers
    Matroska    an EBML Void element (RFC 8794, 11.3.2) for each part, as long as the part; a
                part of one byte has no room for it, and is a zero; where
                parts have no certain bounds, zeros
    MP4         zeros: a damaged sample, found by the tables that stand elsewhere in the file
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HEAD = 16 << 10
"""So many bytes from a file's beginning say what it is."""

_NULL_PACKET = b"\x47\x1f\xff\x10" + b"\xff" * 184
_SYNC = 0x47
_IN_SYNC = 5  # packets in a row, as FFmpeg's probe and players' demuxers want it
_VOID = 0xEC


class Gap(NamedTuple):
    """The bytes [begin, end) of a file: *articles* in a row that cannot be had."""

    begin: int
    end: int
    articles: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class PaddingLimits:
    """How much of a file may be made up: articles in a row, in all, and a share of its bytes."""

    in_a_row: int = 4
    in_all: int = 64
    percent: int = 2

    def refusal(self, gaps: Sequence[Gap], size: int) -> str:
        """Say in words which limit a file of *size* bytes with these *gaps* breaks, "" if none.

        A row that is too long is none of these: see `is_too_long`.
        """
        articles, lost = sum(gap.articles for gap in gaps), sum(map(len, gaps))
        if articles > self.in_all:
            return f"{articles:,} articles are missing, and at most {self.in_all} may be made up"
        if lost * 100 > size * self.percent:
            return (
                f"{lost:,} of {size:,} bytes are missing, and at most {self.percent} % may be "
                "made up"
            )
        return ""

    def is_too_long(self, gap: Gap) -> bool:
        """Say whether *gap* has too many articles in a row; those beside it may be made up."""
        return gap.articles > self.in_a_row

    def tolerated(self, gaps: Sequence[Gap], size: int) -> list[Gap]:
        """Return which of a file's *gaps*, all that it has, may be filled."""
        if self.refusal(gaps, size):
            return []
        return [gap for gap in gaps if not self.is_too_long(gap)]


LIMITS = PaddingLimits()
"""Those that hold: what is still watchable with them counts as playable, too."""


def rows(spans: Iterable[tuple[int, int]]) -> list[Gap]:
    """Return the gaps that missing articles make of which each takes [begin, end) of a file."""
    found: list[Gap] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1].end:
            last = found[-1]
            found[-1] = Gap(last.begin, max(end, last.end), last.articles + 1)
        else:
            found.append(Gap(begin, end, 1))
    return found


class Kind(enum.Enum):
    """The containers in which a hole costs a moment of the film, and not the film."""

    TS = "MPEG-TS"
    MATROSKA = "Matroska"
    MP4 = "MP4"


@dataclass(frozen=True, slots=True)
class Container:
    """What a film is. *packet* and *phase* are of MPEG-TS: packets begin at phase + n * packet."""

    kind: Kind
    packet: int = 188
    phase: int = 0

    def fill(self, begin: int, end: int, *, is_part: bool = True) -> bytes:
        """Return what stands for the bytes [begin, end) of the file.

        Where *is_part* is False, they need not be those of one part, and others may have filled
        a half of them before: then it depends on nothing but the offsets.
        """
        length = end - begin
        if self.kind is Kind.TS:
            pattern = bytes(self.packet - len(_NULL_PACKET)) + _NULL_PACKET
            first = (begin - self.phase) % self.packet
            return (pattern * (length // self.packet + 2))[first : first + length]
        if self.kind is Kind.MATROSKA and length >= 2 and is_part:
            return _void(length)
        return bytes(length)


_EXTENSIONS = {
    Kind.TS: "ts m2ts mts m2t tp trp",
    Kind.MATROSKA: "mkv mk3d webm",
    Kind.MP4: "mp4 m4v mov qt 3gp 3g2 f4v",
}
_BY_EXTENSION = {
    extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()
}
_OF_192 = frozenset({"m2ts", "mts"})


def is_film(name: str) -> bool:
    """Say whether a file called *name* can be one that holes are filled in."""
    return _extension(name) in _BY_EXTENSION


def container_of(name: str, head: bytes) -> Container | None:
    """Return what a file called *name* is that begins with *head*, `HEAD` bytes or all it has.

    The name decides whether it is a film at all, its bytes which kind, whatever the name says;
    where these cannot be had (*head* is empty) the name has to do. None: nothing may be made up.
    """
    extension = _extension(name)
    kind = _BY_EXTENSION.get(extension)
    if kind is None:
        return None
    if not head:
        return Container(kind, 192 if extension in _OF_192 else 188)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Container(Kind.MATROSKA)
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}:
        return Container(Kind.MP4)
    for packet in (188, 192):
        before = packet - 188  # the arrival time before each packet of a Blu-ray's
        for phase in range(packet):
            syncs = head[phase + before :: packet][:_IN_SYNC]
            if len(syncs) == _IN_SYNC and set(syncs) == {_SYNC}:
                return Container(Kind.TS, packet, phase)
    return None


def _extension(name: str) -> str:
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot else ""


def _void(length: int) -> bytes:
    """Return a Void element of *length* bytes, 2 or more, in all."""
    for width in range(1, 9):
        content = length - 1 - width
        # The size of all ones is kept for "unknown".
        if content < (1 << 7 * width) - 1:
            size = (1 << 7 * width | content).to_bytes(width, "big")
            return bytes((_VOID,)) + size + bytes(content)
    raise ValueError(f"no element has {length} bytes")
