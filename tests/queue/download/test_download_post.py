"""Which files of a post are data, before all of it is here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import pytest

from gateway.demo import NewsServer, Post, make_posts
from gateway_queue.download.journal import Journal
from gateway_queue.download.post import PostFiles
from gateway_queue.download.under_way import Wanted

Begin = Callable[..., Any]
PAR2 = b"PAR2\0PKT" + bytes(60)
HIDDEN = [f"{random.Random(n).getrandbits(128):032x}" for n in range(3)]


@pytest.fixture
def posted(server: NewsServer, begin: Begin) -> Callable[[dict[str, bytes]], tuple[Any, PostFiles]]:
    """Post files, and return a download of them with what it knows of them."""

    def posted(contents: dict[str, bytes]) -> tuple[Any, PostFiles]:
        post: Post = make_posts(contents, part_size=100)
        server.add(post)
        fetching = begin(post)
        journal: Journal = fetching.journal
        return fetching, PostFiles(post.nzb, "post.nzb", journal, fetching.files)

    return posted


def given(ahead: Callable[[], Wanted | None]) -> list[int]:
    """Return of which files *ahead* gives parts at the moment, and how many of each."""
    parts: Iterator[Wanted] = takewhile(lambda one: one is not None, iter(ahead, None))
    return [one.number for one in parts]


def test_what_is_data_by_its_subject_is_wanted_ahead_and_par2_is_not(
    posted: Callable[..., tuple[Any, PostFiles]],
) -> None:
    contents = {".par2": PAR2, ".rar": bytes(250), ".vol0+1.par2": PAR2, ".nfo": b"b"}
    _, files = posted({f"Some.Film{ending}": data for ending, data in contents.items()})
    assert given(files.ahead()) == [1, 1, 1, 3]


def test_whether_it_is_data_is_told_by_the_first_part_where_the_subject_does_not(
    posted: Callable[..., tuple[Any, PostFiles]],
) -> None:
    fetching, files = posted(dict(zip(HIDDEN, (bytes(150), PAR2 * 2, bytes(250)), strict=True)))
    ahead = files.ahead()
    assert given(ahead) == []
    everything = fetching.wanted

    fetching.wanted = [one for one in everything if one == (0, 0)]
    fetching.fetch()
    assert given(ahead) == [0, 0]

    fetching.wanted = [one for one in everything if one.segment == 0]
    fetching.fetch()
    assert given(ahead) == [2, 2, 2]
    assert given(ahead) == []


def test_the_only_file_is_data_whatever_it_is_called(
    posted: Callable[..., tuple[Any, PostFiles]],
) -> None:
    _, files = posted({HIDDEN[0]: bytes(250), "a.vol0+1.par2": PAR2})
    assert given(files.ahead()) == [0, 0, 0]
