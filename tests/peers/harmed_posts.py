"""What servers and posters do to articles: kinds of harm, done to a share of a post (`HARMS`)."""

from __future__ import annotations

import random
import re
import socket
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import sabctools

from gateway.demo import NewsServer, Post
from gateway.demo.article import Article
from gateway.demo.faults import damage

_CRC = re.compile(rb" (p?crc32)=([0-9a-f]{8})")

Harm = Callable[[NewsServer, Post, Sequence[str], random.Random], None]


def harm(server: NewsServer, post: Post, kind: str, percent: int, seed: str) -> list[str]:
    """Do so much harm of this *kind* to the *post* that *server* has; return whose it was."""
    rng = random.Random(seed)
    count = -(-len(post.message_ids) * percent // 100)
    chosen = rng.sample(post.message_ids, count)
    if chosen:
        HARMS[kind](server, post, chosen, rng)
    return chosen


def _missing(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    server.remove(ids)


def _flipped(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    for mid in ids:
        server.add(_flip(post.articles[mid]))


def _wrong_crc(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    for mid in ids:
        server.add(_stating(post.articles[mid], b" \\1=0badf00d"))


def _no_crc(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    for mid in ids:
        server.add(_stating(_flip(post.articles[mid]), b""))


def _posted_so(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    for mid in ids:
        flipped = _flip(post.articles[mid])
        server.add(_stating(flipped, b" \\1=%08x" % zlib.crc32(_data(flipped))))


def _swapped(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    for mid in ids:
        other = rng.choice([one for one in post.message_ids if one != mid])
        server.add(replace(post.articles[mid], body=post.articles[other].body))


def _same_place(server: NewsServer, post: Post, ids: Sequence[str], rng: random.Random) -> None:
    """The article of another file that has the same number: its offsets fit as a rule."""
    for mid in ids:
        part = next(f.message_ids.index(mid) for f in post.files if mid in f.message_ids)
        others = [f.message_ids[part] for f in post.files if len(f.message_ids) > part]
        other = rng.choice([one for one in others if one != mid] or [post.message_ids[0]])
        server.add(replace(post.articles[mid], body=post.articles[other].body))


def _flip(article: Article) -> Article:
    return replace(article, body=damage(article.body))


def _stating(article: Article, crc: bytes) -> Article:
    return replace(article, body=(*article.body[:-1], _CRC.sub(crc, article.body[-1])))


def _data(article: Article) -> bytes:
    wire = b"".join((b"222 0 <>\r\n", *article.body, b".\r\n"))
    decoder = sabctools.Decoder(2 * len(wire))
    here, there = socket.socketpair()
    with here, there:
        here.sendall(wire)
        decoder.process(there.recv_into(decoder))
    (response,) = decoder
    assert response.data is not None
    return bytes(response.data)


HARMS: dict[str, Harm] = {
    "missing": _missing,
    "flipped": _flipped,
    "wrong CRC": _wrong_crc,
    "flipped without CRC": _no_crc,
    "posted damaged": _posted_so,
    "swapped": _swapped,
    "swapped with the same place": _same_place,
}
