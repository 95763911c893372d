"""Articles as a server stores them: headers (RFC 5536) and a yEnc body (yEnc draft 1.3).

Everything is held ready for the wire: lines end with CRLF, no line begins with a single dot,
and only the status line and the terminating dot are missing. A body is a chain of pieces, so
that many articles can share one encoded payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import sabctools

LINE_LENGTH = 128


class Checksum(Enum):
    """What a part says about the CRC-32 of its data."""

    RIGHT = "right"
    ABSENT = "absent"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Article:
    """One article. *message_id* is without angle brackets; *head* and *body* are wire bytes."""

    message_id: str
    groups: tuple[str, ...]
    head: bytes
    body: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """The bytes of head, blank line and body: what an indexer counts."""
        return len(self.head) + 2 + sum(map(len, self.body))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A stretch of data in yEnc lines, each ended by CRLF, and what a trailer says of it."""

    pieces: tuple[bytes, ...]
    crc: int
    length: int
    lines: int

    def __add__(self, other: Encoded) -> Encoded:
        """Return the two stretches as one, without touching their bytes."""
        return Encoded(
            self.pieces + other.pieces,
            sabctools.crc32_combine(self.crc, other.crc, other.length),
            self.length + other.length,
            self.lines + other.lines,
        )


def encode(data: bytes, *, stuff_dots: bool = False) -> Encoded:
    """Return *data* in yEnc lines.

    A dot at the start of a line is escaped (=n), as most posters do; with *stuff_dots* it is
    doubled, which NNTP asks of a line that begins with a dot. Both mean the same byte.
    """
    if not data:
        return Encoded((), 0, 0, 0)
    text, crc = sabctools.yenc_encode(data)
    text += b"\r\n"
    if stuff_dots:
        text = (b"\r\n" + text).replace(b"\r\n=n", b"\r\n..")[2:]
    return Encoded((text,), crc, len(data), text.count(b"\r\n"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands: number *part* of *total*, [begin, end) of a file of *size* bytes."""

    part: int
    total: int
    begin: int
    end: int
    size: int


def frame(
    payload: Encoded,
    place: Place,
    name: str,
    *,
    checksum: Checksum = Checksum.RIGHT,
    shift: int = 0,
) -> Encoded:
    """Return *payload* between its =ybegin and =yend lines.

    A post of one part has neither =ypart nor part numbers, as the draft has it. *shift* moves
    the stated offsets of a multipart post: wrong on purpose. *crc* of the result is what the
    article states, and *length* stays that of the data.
    """
    crc = payload.crc ^ 0x5A5A5A5A if checksum is Checksum.WRONG else payload.crc
    multipart = place.total > 1
    begin = f"=ybegin line={LINE_LENGTH} size={place.size} name={name}\r\n"
    end = f"=yend size={payload.length}"
    if multipart:
        begin = (
            f"=ybegin part={place.part} total={place.total} line={LINE_LENGTH}"
            f" size={place.size} name={name}\r\n"
            f"=ypart begin={place.begin + 1 + shift} end={place.end + shift}\r\n"
        )
        end += f" part={place.part}"
    if checksum is not Checksum.ABSENT:
        end += f" {'pcrc32' if multipart else 'crc32'}={crc:08x}"
    pieces = (begin.encode(), *payload.pieces, f"{end}\r\n".encode())
    return Encoded(pieces, crc, payload.length, payload.lines + begin.count("\n") + 1)


def article(
    body: Encoded,
    *,
    message_id: str,
    subject: str,
    poster: str,
    groups: Sequence[str],
    date: str,
) -> Article:
    """Return the article that carries *body*; *date* is in the format of RFC 5322."""
    fields = (
        "Path: demo.example!not-for-mail",
        f"From: {poster}",
        f"Newsgroups: {','.join(groups)}",
        f"Subject: {subject}",
        f"Date: {date}",
        f"Message-ID: <{message_id}>",
        f"Bytes: {sum(map(len, body.pieces))}",
        f"Lines: {body.lines}",
    )
    head = "".join(f"{field}\r\n" for field in fields).encode()
    return Article(message_id, tuple(groups), head, body.pieces)
