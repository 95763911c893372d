"""Posts: what is posted comes back, and what is wrong on purpose is wrong as asked."""

from __future__ import annotations

import hashlib
import random

import pytest
import sabctools
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.demo import Article, Checksum, make_bulk_post, make_post, make_posts

NAMESPACE = {"n": "http://www.newzbin.com/DTD/2003/nzb"}


def decode(article: Article) -> sabctools.NNTPResponse:
    wire = b"222 0 <x>\r\n" + b"".join(article.body) + b".\r\n"
    decoder = sabctools.Decoder(len(wire))
    memoryview(decoder)[: len(wire)] = wire
    decoder.process(len(wire))
    return next(decoder)


@given(st.binary(max_size=3000), st.integers(1, 1200), st.booleans())
def test_what_is_posted_comes_back(data: bytes, part_size: int, stuff_dots: bool) -> None:
    post = make_post("a b.bin", data, part_size=part_size, stuff_dots=stuff_dots)
    at = 0
    for article in post.articles.values():
        part = decode(article)
        assert part.file_name == "a b.bin"
        assert part.file_size == len(data)
        assert (part.part_begin, part.part_end) == (at, at + part.bytes_decoded)
        assert part.crc == part.crc_expected
        assert bytes(part.data or b"") == data[at : part.part_end]
        at = part.part_end
    assert at == len(data)


def test_the_same_arguments_give_the_same_post(contents: bytes) -> None:
    first, second = (make_post("film.mkv", contents, seed=3) for _ in range(2))
    assert first == second
    assert first.articles.keys().isdisjoint(make_post("film.mkv", contents, seed=4).articles)


def test_posts_of_different_files_share_no_message_id(contents: bytes) -> None:
    posts = [make_post("a", contents), make_post("b", contents), make_post("a", contents[::-1])]
    assert len({key for post in posts for key in post.articles}) == 3


def test_the_nzb_lists_every_article_with_its_size(contents: bytes) -> None:
    post = make_posts(
        {"film.mkv": contents, '<film> & "co".nfo': b"hello"},
        part_size=100_000,
        groups=("alt.binaries.a", "alt.binaries.b"),
        meta={"password": "s&cret"},
    )
    root = etree.fromstring(post.nzb)
    segments = root.findall(".//n:segment", NAMESPACE)
    assert [each.text for each in segments] == list(post.message_ids)
    assert [int(each.get("bytes", "")) for each in segments] == [
        each.size for each in post.articles.values()
    ]
    assert [each.get("number") for each in segments] == ["1", "2", "3", "1"]
    subjects = [each.get("subject") for each in root.findall("n:file", NAMESPACE)]
    assert subjects == [
        '[1/2] - "film.mkv" yEnc (1/3)',
        '[2/2] - "<film> & "co".nfo" yEnc (1/1)',
    ]
    assert root.findtext("n:head/n:meta[@type='password']", None, NAMESPACE) == "s&cret"
    assert {each.text for each in root.findall(".//n:group", NAMESPACE)} == {
        "alt.binaries.a",
        "alt.binaries.b",
    }


def test_an_article_says_who_posted_what_and_where(contents: bytes) -> None:
    post = make_post("film.mkv", contents, part_size=150_000, poster="me <me@x.example>")
    article = post.articles[post.message_ids[1]]
    fields = dict(line.split(": ", 1) for line in article.head.decode().splitlines())
    body = b"".join(article.body)
    assert fields["From"] == "me <me@x.example>"
    assert fields["Subject"] == '[1/1] - "film.mkv" yEnc (2/2)'
    assert fields["Message-ID"] == f"<{article.message_id}>"
    assert fields["Newsgroups"] == "alt.binaries.test"
    assert int(fields["Bytes"]) == len(body)
    assert int(fields["Lines"]) == body.count(b"\r\n") == len(body.splitlines())


def test_no_line_of_a_body_begins_with_a_single_dot(contents: bytes) -> None:
    escaped, stuffed = (
        b"\r\n" + b"".join(next(iter(post.articles.values())).body)
        for post in (make_post("a", contents), make_post("a", contents, stuff_dots=True))
    )
    assert b"\r\n." not in escaped
    assert b"\r\n=n" in escaped
    assert b"\r\n.." in stuffed
    assert len(stuffed) == len(escaped)


def test_message_ids_follow_the_wish() -> None:
    post = make_post("a", b"xyz", part_size=1, message_id="p{part}of{total}$f{file}@ngPost")
    assert post.message_ids == ("p1of3$f1@ngPost", "p2of3$f1@ngPost", "p3of3$f1@ngPost")
    with pytest.raises(ValueError, match="not unique"):
        make_post("a", b"xyz", part_size=1, message_id="same@x")


def test_parts_can_have_irregular_sizes(contents: bytes) -> None:
    post = make_post("a", contents, part_sizes=(70_000, 30_000, 1))
    sizes = [decode(each).bytes_decoded for each in post.articles.values()]
    assert sizes[:6] == [70_000, 30_000, 1, 70_000, 30_000, 1]
    assert sum(sizes) == len(contents)
    with pytest.raises(ValueError, match="at least one byte"):
        make_post("a", contents, part_sizes=(5, 0))


def test_a_part_can_have_no_checksum_or_a_wrong_one(contents: bytes) -> None:
    for part_size in (1000, 10**6):
        absent = make_post("a", contents, part_size=part_size, checksum=Checksum.ABSENT)
        wrong = make_post("a", contents, part_size=part_size, checksum=Checksum.WRONG)
        part = decode(next(iter(absent.articles.values())))
        assert (part.crc, part.crc_expected) == (None, None)
        part = decode(next(iter(wrong.articles.values())))
        assert part.crc is None
        assert part.crc_expected is not None


def test_a_part_can_state_wrong_offsets(contents: bytes) -> None:
    post = make_post("a", contents, part_size=1000, shift=7)
    part = decode(post.articles[post.message_ids[1]])
    assert (part.part_begin, part.part_end) == (1007, 2007)


def test_an_obfuscated_post_tells_nothing_of_the_name(contents: bytes) -> None:
    post = make_post("film.mkv", contents, obfuscate=True)
    assert b"film" not in post.nzb
    assert "film" not in (decode(next(iter(post.articles.values()))).file_name or "")
    assert post.files[0].name == "film.mkv"


def test_a_bulk_post_is_whole_and_no_two_parts_are_alike() -> None:
    post = make_bulk_post("bulk.bin", 1_234_567, part_size=100_000, seed=5)
    file = post.files[0]
    parts = [decode(each) for each in post.articles.values()]
    assert b"".join(bytes(each.data or b"") for each in parts) == file.data
    assert all(each.crc == each.crc_expected for each in parts)
    assert len({bytes(each.data or b"") for each in parts}) == len(parts) == 13
    assert file.size == 1_234_567
    assert file.sha256() == hashlib.sha256(file.data).hexdigest()
    assert post == make_bulk_post("bulk.bin", 1_234_567, part_size=100_000, seed=5)


def test_a_bulk_post_takes_the_memory_of_two_parts() -> None:
    post = make_bulk_post("bulk.bin", 500_000_000, part_size=750_000)
    pieces = {id(piece): len(piece) for each in post.articles.values() for piece in each.body}
    assert sum(pieces.values()) < 2_000_000
    assert len(post.articles) == 667


def test_a_post_can_lack_articles_that_its_nzb_lists() -> None:
    post = make_post("a", random.Random(1).randbytes(30), part_size=10)
    lost = post.message_ids[1]
    assert lost not in post.without(lost).articles
    assert post.without(lost).nzb == post.nzb
