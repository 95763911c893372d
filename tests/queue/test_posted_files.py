"""Posted files as readers of archives see them: what they look at is fetched once, or at once."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from gateway.demo import Fault, NewsServer, Post, make_posts
from gateway.errors import ArticleDamaged, IncompletePost, UnsupportedArchive
from gateway.nzb import document
from gateway.nzb.extents import Part
from gateway.streams.source import Pending
from gateway.streams.streams import Streams
from gateway.usenet.articles import Body, Verdict
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue import posted_files
from gateway_queue.inspection import Inspection
from gateway_queue.item import LetGo
from gateway_queue.posted_files import Posted, Shelf
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Verifier

PART = 100_000
DATA = {f"a{n}.bin": random.Random(n).randbytes(1_000_000 + n) for n in range(3)}


class Watched:
    """A source that tells in which order articles were asked for and waited for."""

    def __init__(self, streams: Streams) -> None:
        self._source = streams.source
        self.told: list[str] = []

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Pending:
        self.told.append("asked")
        fetch = self._source.request(part, reservation=reservation, demand=demand)
        return _Watched(fetch, self.told)

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        raise AssertionError("nobody waits for a single article")

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        return self._source.exists(parts, timeout_s=timeout_s, given_up=given_up)


class _Watched:
    def __init__(self, fetch: Pending, told: list[str]) -> None:
        self._fetch = fetch
        self._told = told
        self.promote, self.cancel = fetch.promote, fetch.cancel
        self.add_done_callback = lambda fn: fetch.add_done_callback(lambda _: fn(self))

    @property
    def done(self) -> bool:
        return self._fetch.done

    def result(self, timeout_s: float) -> Body:
        self._told.append("waited for")
        return self._fetch.result(timeout_s)


@pytest.fixture
def ticket() -> Ticket:
    return Ticket()


@pytest.fixture
def source(streams: Streams) -> Watched:
    return Watched(streams)


@pytest.fixture
def shelf_of(
    server: NewsServer, source: Watched, ticket: Ticket, patience_s: float
) -> Iterator[Callable[[Post], Shelf]]:
    """Open a post, and forget what that took."""

    def shelf(post: Post) -> Shelf:
        files = document.parse(post.nzb).files
        verifier = Verifier(source, providers=1, timeout_s=patience_s)
        inspection = Inspection(source, verifier, files, ticket, patience_s=patience_s)
        openings, _ = inspection.openings()
        both = [*zip(files, openings, strict=True)]
        tables = inspection.tables(both)
        posted = [Posted(*one, table) for one, table in zip(both, tables, strict=True)]
        source.told.clear()
        return Shelf(inspection, posted)

    with scope(Reservation(Workload.QUEUE)):
        yield shelf


@pytest.mark.parametrize("sizes", [(), (70_000, 130_000, 20_000)])
def test_a_posted_file_reads_as_a_file_does(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], sizes: tuple[int, ...]
) -> None:
    post = make_posts(DATA, part_size=PART, part_sizes=sizes)
    server.add(post)
    shelf = shelf_of(post)
    for index, data in enumerate(DATA.values()):
        file, real = shelf.file(index), io.BytesIO(data)
        rng = random.Random(index)
        for _ in range(60):
            offset, whence = rng.choice(
                [(rng.randrange(len(data)), 0), (-rng.randrange(len(data)), 2), (0, 1)]
            )
            assert file.seek(offset, whence) == real.seek(offset, whence)
            length = rng.choice([0, 1, 7, 64, 5_000, 150_000])
            assert file.read(length) == real.read(length)
            assert file.tell() == real.tell()
        assert file.seek(len(data) + 9) == len(data) + 9
        assert file.read(1) == b""
        with pytest.raises(OSError, match="cannot be -1"):
            file.seek(-1)


def test_the_first_64_kib_are_never_fetched_again(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], source: Watched
) -> None:
    post = make_posts(DATA, part_size=PART)
    server.add(post)
    shelf = shelf_of(post)

    for index, data in enumerate(DATA.values()):
        assert shelf.file(index).read(1 << 16) == data[: 1 << 16]

    assert source.told == []


def test_what_readers_will_look_at_is_fetched_at_once_and_kept(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], source: Watched
) -> None:
    post = make_posts(DATA, part_size=PART)
    server.add(post)
    shelf = shelf_of(post)
    places = [(index, len(data) - 30) for index, data in enumerate(DATA.values())]

    shelf.prefetch([*places, *places, (0, 5), (1, 1 << 40)])

    assert source.told == ["asked"] * 3 + ["waited for"] * 3
    for index, data in enumerate(DATA.values()):
        file = shelf.file(index)
        file.seek(-30, io.SEEK_END)
        assert file.read(1) == data[-30:-29]
    shelf.prefetch(places)
    assert len(source.told) == 6


def test_a_reader_that_looks_around_in_an_article_fetches_it_once(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], source: Watched
) -> None:
    post = make_posts(DATA, part_size=PART)
    server.add(post)
    file = shelf_of(post).file(0)

    for offset in (399_000, 300_000, 350_000, 300_001):
        file.seek(offset)
        assert file.read(10) == DATA["a0.bin"][offset : offset + 10]

    assert source.told.count("asked") == 1


def test_what_is_kept_is_bounded(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posted_files, "_KEPT", 3 << 16)
    post = make_posts(DATA, part_size=PART)
    server.add(post)
    shelf = shelf_of(post)

    shelf.prefetch([(0, offset) for offset in range(PART, 1_000_000, PART)])

    assert shelf.kept <= 3 << 16
    file = shelf.file(0)
    assert file.read() == DATA["a0.bin"]


def test_no_more_than_so_many_articles_are_looked_at(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posted_files, "MOST_ARTICLES", 5)
    post = make_posts(DATA, part_size=PART)
    server.add(post)
    with pytest.raises(UnsupportedArchive, match="more than 5 articles"):
        shelf_of(post).file(0).read()


def test_a_missing_article_and_a_damaged_one_name_their_file(
    server: NewsServer, shelf_of: Callable[[Post], Shelf]
) -> None:
    post = make_posts(DATA, part_size=PART)
    # One that the sample of its file does not have.
    server.add(post.without(post.files[0].message_ids[5]))
    server.fail(Fault.DAMAGED, post.files[1].message_ids[4])
    shelf = shelf_of(post)
    with pytest.raises(IncompletePost, match=r'"a0\.bin": segment 6 of 10'):
        shelf.file(0).read()
    with pytest.raises(ArticleDamaged, match=r'"a1\.bin": segment 5 of 11'):
        shelf.file(1).read()


@pytest.mark.parametrize("stall_s", [20.0])
def test_who_looks_at_a_silent_provider_lets_go_when_told_to(
    server: NewsServer, shelf_of: Callable[[Post], Shelf], source: Watched, ticket: Ticket
) -> None:
    post = make_posts(DATA, part_size=PART)
    server.add(post)
    shelf = shelf_of(post)
    server.fail(Fault.SILENCE, post.files[0].message_ids[5])
    request = source.request

    def asked(part: Part, **options: bool) -> Pending:
        fetch = request(part, **options)  # type: ignore[arg-type]
        ticket.cancel()
        return fetch

    source.request = asked  # type: ignore[method-assign, assignment]
    file = shelf.file(0)
    file.seek(5 * PART)
    with pytest.raises(LetGo):
        file.read(1)
