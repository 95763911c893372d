"""Films in archives, from articles on a news server to the bytes that a viewer gets."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from stored_archives import Named, in_7z, in_rar5, in_zip

from gateway.demo import NewsServer, Post, make_post
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.nzb import rar, sevenzip, zipped
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.extents import PartTable, Run
from gateway.nzb.nesting import volume_of
from gateway.nzb.stretches import Level
from gateway.streams.layout import Layout
from gateway.streams.streams import Streams
from gateway.usenet.client import Account, UsenetClient
from gateway_queue.health import Examiner
from gateway_queue.ticket import Ticket

PART = 20_000
FILM = random.Random(7).randbytes(900_017)
SIZE = 170_001

Read = Callable[[Sequence[Volume], str | None], list[Inner]]


PLAIN: Named = [("film.mkv", FILM), ("film.nfo", b"a film")]
SHAPES: dict[str, tuple[Named, list[Read]]] = {
    "7z": (in_7z(PLAIN, SIZE), [sevenzip.read]),
    "encrypted 7z": (in_7z(PLAIN, SIZE, "secret"), [sevenzip.read]),
    "ZIP": (in_zip(PLAIN, SIZE), [zipped.read]),
    "encrypted RAR": (in_rar5(PLAIN, SIZE, "secret"), [rar.read]),
    "RAR in encrypted 7z": (
        in_7z(in_rar5(PLAIN, SIZE), SIZE, "secret"),
        [sevenzip.read, rar.read],
    ),
    "encrypted RAR in ZIP": (
        in_zip(in_rar5(PLAIN, SIZE, "secret"), SIZE),
        [zipped.read, rar.read],
    ),
}


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer() as server:
        yield server


@pytest.fixture
def usenet(server: NewsServer) -> Iterator[UsenetClient]:
    with UsenetClient([Account("main", server.host, server.port, connections=8)]) as client:
        yield client


@pytest.fixture
def streams(usenet: UsenetClient) -> Iterator[Streams]:
    streams = Streams(
        usenet.source,
        readahead_budget=1 << 20,
        article_cache=0,
        read_timeout_s=20,
        connections=lambda: 8,
    )
    yield streams
    streams.close()
    assert streams.budget.used == 0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'library.sqlite'}")
    yield database
    database.close()


def table_of(post: Post) -> PartTable:
    ids = [mid.encode() for mid in post.files[0].message_ids]
    return PartTable.regular(ids, post.files[0].size, PART)


def unpack(volumes: Sequence[Volume], reads: Sequence[Read]) -> list[Inner]:
    inners = reads[0](volumes, "secret")
    if len(reads) == 1:
        return inners
    deeper = unpack([volume_of(inner, volumes) for inner in inners], reads[1:])
    level = Level(inners)
    return [level.compose(inner) for inner in deeper]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_film_in_an_archive_is_imported_by_its_headers_and_shown_to_the_byte(
    shape: str, server: NewsServer, usenet: UsenetClient, streams: Streams, database: Database
) -> None:
    named, reads = SHAPES[shape]
    posts = [make_post(name, data, part_size=PART) for name, data in named]
    for post in posts:
        server.add(post)
    articles = sum(len(post.message_ids) for post in posts)

    # Read by its headers: of each volume an article or two, of the last some more.
    tables = [table_of(post) for post in posts]
    volumes = [
        Volume(name, table.size, streams.open(Layout([Run(0, 0, table.size)], [table])))  # type: ignore[arg-type]
        for (name, _), table in zip(named, tables, strict=True)
    ]
    inners = unpack(volumes, reads)
    assert server.counts.commands["BODY"] <= articles // 2
    for volume in volumes:
        volume.file.close()

    # Published, and found again.
    library = Library(database)
    posted = tuple(NewPosted(name, table) for (name, _), table in zip(named, tables, strict=True))
    files = tuple(NewFile(one.name, one.size, stretches=one.stretches) for one in inners)
    with database.begin() as tx:
        library.publish(tx, NewRelease("movies", "Film", 1.0, b"", posted, files, "secret"))
    film = library.file("movies", "Film", "film.mkv")
    assert film is not None
    layout = library.layout(film.id)

    # Watched: whole, and from a hundred places at the price of an article, or of two.
    with streams.open(layout, name=film.path) as stream:
        assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(FILM).digest()
    rng = random.Random(shape)
    for _ in range(100):
        begin = rng.randrange(len(FILM))
        end = min(len(FILM), begin + rng.choice([1, 1000, 50_000]))
        before = server.counts.commands["BODY"]
        with streams.open(layout, stop=end) as stream:
            stream.seek(begin)
            assert stream.read() == FILM[begin:end]
        most = 2 if end - begin == 1 else 3 + -(-(end - begin) // PART)
        assert server.counts.commands["BODY"] - before <= most

    # Checked: every article that holds bytes of it, and what an operator then is told.
    def told(_done: int, _articles: int) -> None: ...

    findings = Examiner(usenet.source, providers=1).examine(layout, Ticket(), told)
    assert findings.missing == findings.unknown == 0
    assert len(FILM) // PART <= findings.articles <= articles
    library.close()
