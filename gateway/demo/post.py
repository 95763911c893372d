"""Posts: files cut into parts, the articles that carry them, and the NZB that lists these.

The same arguments give the same post, byte for byte: a test can name what it expects, and a
process that serves a post needs only the arguments of the one that asks for it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import chain, cycle, repeat
from typing import TypedDict, Unpack
from xml.sax.saxutils import escape

from gateway.demo.article import Article, Checksum, Encoded, Place, article, encode, frame

PART_SIZE = 750_000
"""Bytes of data in one article: what is usual today."""

_QUOTE = {'"': "&quot;"}
_UNIQUE = 128  # bytes at the start of a bulk part that no other part has


class Options(TypedDict, total=False):
    """How a post is made; every key may be left out."""

    part_size: int
    """Bytes of data in every part but the last."""
    part_sizes: Iterable[int]
    """In place of part_size, for an irregular post: sizes taken in turn, over and over."""
    groups: tuple[str, ...]
    group: str
    poster: str
    date: datetime
    seed: int
    """Other seeds give other message-ids (and other contents to a bulk post)."""
    message_id: str
    """A format with the fields random, file, part and total; no angle brackets."""
    obfuscate: bool
    """Subject and yEnc name are random letters, and tell nothing of the file's name."""
    subject: str
    """A format with the fields file, files, name, part and total."""
    meta: Mapping[str, str]
    """What the NZB's head says: title, password, category."""
    checksum: Checksum
    shift: int
    """How far the offsets that =ypart states are from the right ones."""
    stuff_dots: bool
    """Double a dot at the start of a line in place of escaping it."""


@dataclass(frozen=True)
class _Style:
    part_size: int = PART_SIZE
    part_sizes: Iterable[int] = ()
    groups: tuple[str, ...] = ()
    group: str = "alt.binaries.test"
    poster: str = "Demo Poster <poster@demo.example>"
    date: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    seed: int = 0
    message_id: str = "{random}@demo.example"
    obfuscate: bool = False
    subject: str = '[{file}/{files}] - "{name}" yEnc ({part}/{total})'
    meta: Mapping[str, str] = field(default_factory=dict)
    checksum: Checksum = Checksum.RIGHT
    shift: int = 0
    stuff_dots: bool = False

    @property
    def newsgroups(self) -> tuple[str, ...]:
        return self.groups or (self.group,)

    def cuts(self, size: int) -> list[tuple[int, int]]:
        """Return begin and end of every part of *size* bytes; an empty file is one empty part."""
        sizes = tuple(self.part_sizes)
        if min(sizes, default=self.part_size) <= 0:
            raise ValueError("a part holds at least one byte")
        bounds, begin = [], 0
        for length in cycle(sizes) if sizes else repeat(self.part_size):
            end = min(begin + length, size)
            bounds.append((begin, end))
            begin = end
            if begin >= size:
                return bounds
        raise AssertionError("unreachable: the sizes repeat without end")


@dataclass(frozen=True)
class PostedFile:
    """One file of a post. *contents* are its bytes, in pieces; *articles* in order of parts."""

    name: str
    subject: str
    size: int
    articles: tuple[Article, ...]
    contents: tuple[bytes, ...] = field(repr=False)

    @property
    def message_ids(self) -> tuple[str, ...]:
        return tuple(each.message_id for each in self.articles)

    @property
    def data(self) -> bytes:
        return b"".join(self.contents)

    def sha256(self) -> str:
        """Return the SHA-256 of the contents in hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.contents:
            digest.update(piece)
        return digest.hexdigest()


@dataclass(frozen=True)
class Post:
    """What one NZB names. *articles* is keyed by message-id, *nzb* is the document."""

    files: tuple[PostedFile, ...]
    articles: dict[str, Article] = field(repr=False)
    nzb: bytes = field(repr=False)

    @property
    def message_ids(self) -> tuple[str, ...]:
        return tuple(self.articles)

    def without(self, *message_ids: str) -> Post:
        """Return the post with these articles never having arrived; the NZB still lists them."""
        kept = {key: value for key, value in self.articles.items() if key not in message_ids}
        return Post(self.files, kept, self.nzb)


def make_post(name: str, data: bytes, **options: Unpack[Options]) -> Post:
    """Return the post of one file. See Options for how it can be made."""
    return make_posts({name: data}, **options)


def make_posts(files: Mapping[str, bytes], **options: Unpack[Options]) -> Post:
    """Return several files, names and contents, as one post with one NZB, in the given order."""
    style = _Style(**options)
    contents = {
        name: [data[begin:end] for begin, end in style.cuts(len(data))]
        for name, data in files.items()
    }
    return _post(
        style,
        {
            name: [(encode(part, stuff_dots=style.stuff_dots), (part,)) for part in parts]
            for name, parts in contents.items()
        },
    )


def make_bulk_post(name: str, size: int, **options: Unpack[Options]) -> Post:
    """Return a post of *size* made-up bytes that takes the memory of about two of its parts.

    All parts share one payload but for their first 128 bytes, so that contents in the wrong
    order have the wrong digest. Made at some 100,000 articles a second.
    """
    style = _Style(**options)
    rng = random.Random(f"{style.seed}/{name}/{size}")
    shared: dict[int, tuple[bytes, Encoded]] = {}
    parts: list[tuple[Encoded, tuple[bytes, ...]]] = []
    for begin, end in style.cuts(size):
        unique = rng.randbytes(min(_UNIQUE, end - begin))
        rest = end - begin - len(unique)
        if rest not in shared:
            data = rng.randbytes(rest)
            shared[rest] = (data, encode(data))
        data, encoded = shared[rest]
        parts.append((encode(unique) + encoded, (unique, data)))
    return _post(style, {name: parts})


def _post(style: _Style, files: Mapping[str, list[tuple[Encoded, tuple[bytes, ...]]]]) -> Post:
    described = [
        (name, sum(each.length for each, _ in parts), [each.crc for each, _ in parts[:1]])
        for name, parts in files.items()
    ]
    rng = random.Random(f"{style.seed}/{described}")
    date = format_datetime(style.date)
    posted: list[PostedFile] = []
    for number, (name, parts) in enumerate(files.items(), 1):
        size = sum(payload.length for payload, _ in parts)
        shown = f"{rng.getrandbits(128):032x}" if style.obfuscate else name
        names = {"file": number, "files": len(files), "name": shown, "total": len(parts)}
        articles: list[Article] = []
        begin = 0
        for part, (payload, _) in enumerate(parts, 1):
            place = Place(part, len(parts), begin, begin + payload.length, size)
            articles.append(
                article(
                    frame(payload, place, shown, checksum=style.checksum, shift=style.shift),
                    message_id=style.message_id.format(
                        random=f"{rng.getrandbits(96):024x}",
                        file=number,
                        part=part,
                        total=len(parts),
                    ),
                    subject=style.subject.format(part=part, **names),
                    poster=style.poster,
                    groups=style.newsgroups,
                    date=date,
                )
            )
            begin = place.end
        posted.append(
            PostedFile(
                name,
                style.subject.format(part=1, **names),
                size,
                tuple(articles),
                tuple(chain.from_iterable(contents for _, contents in parts)),
            )
        )
    everything = {each.message_id: each for file in posted for each in file.articles}
    if len(everything) < sum(len(file.articles) for file in posted):
        raise ValueError(f"message-ids by {style.message_id!r} are not unique in this post")
    return Post(tuple(posted), everything, "".join(_document(style, posted)).encode())


def _document(style: _Style, files: Iterable[PostedFile]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield '<!DOCTYPE nzb PUBLIC "-//newzBin//DTD NZB 1.1//EN" '
    yield '"http://www.newzbin.com/DTD/nzb/nzb-1.1.dtd">\n'
    yield '<nzb xmlns="http://www.newzbin.com/DTD/2003/nzb">\n'
    if style.meta:
        yield " <head>\n"
        for kind, value in style.meta.items():
            yield f'  <meta type="{escape(kind, _QUOTE)}">{escape(value)}</meta>\n'
        yield " </head>\n"
    date = int(style.date.timestamp())
    for file in files:
        yield f' <file poster="{escape(style.poster, _QUOTE)}" date="{date}"'
        yield f' subject="{escape(file.subject, _QUOTE)}">\n  <groups>\n'
        for group in style.newsgroups:
            yield f"   <group>{escape(group)}</group>\n"
        yield "  </groups>\n  <segments>\n"
        for number, each in enumerate(file.articles, 1):
            yield f'   <segment bytes="{each.size}" number="{number}">'
            yield f"{escape(each.message_id)}</segment>\n"
        yield "  </segments>\n </file>\n"
    yield "</nzb>\n"
