"""What was read of an NZB as it came is there for who works on it, and only for that document."""

from __future__ import annotations

import pytest

from gateway.demo import make_bulk_post
from gateway.errors import NotXml
from gateway_queue.just_read import JustRead


def nzb(name: str = "film.mkv", parts: int = 4) -> bytes:
    return make_bulk_post(name, parts * 1000, part_size=1000).nzb


def test_what_was_read_is_taken_once_as_it_is() -> None:
    just_read = JustRead()
    read = just_read.read(nzb(), filename="Film.nzb")
    assert just_read.take(nzb(), filename="Film.nzb") is read
    again = just_read.take(nzb(), filename="Film.nzb")
    assert again == read
    assert again is not read


def test_another_document_or_name_is_read_for_itself() -> None:
    just_read = JustRead()
    just_read.read(nzb(), filename="Film.nzb")
    assert just_read.take(nzb(), filename="Film{{secret}}.nzb").passwords == ("secret",)
    assert just_read.take(nzb("other.mkv", 5), filename="Film.nzb").parts == 5


def test_no_more_is_kept_than_so_many_documents_and_parts() -> None:
    just_read = JustRead(documents=2, parts=10)
    names = [f"{number}.nzb" for number in range(3)]
    read = {name: just_read.read(nzb(), filename=name) for name in names}
    large = just_read.read(nzb(parts=11), filename="large.nzb")
    assert just_read.take(nzb(parts=11), filename="large.nzb") is not large
    assert just_read.take(nzb(), filename="0.nzb") is not read["0.nzb"]
    assert just_read.take(nzb(), filename="1.nzb") is read["1.nzb"]
    just_read.read(nzb(parts=9), filename="9.nzb")
    assert just_read.take(nzb(), filename="2.nzb") is not read["2.nzb"]


def test_what_cannot_be_read_is_refused_each_time() -> None:
    just_read = JustRead()
    for way in (just_read.read, just_read.take):
        with pytest.raises(NotXml):
            way(b"no NZB", filename="Film.nzb")
