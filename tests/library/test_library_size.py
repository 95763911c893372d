"""What the library costs: bytes a segment on the disk, and an index behind every question."""

from __future__ import annotations

import random
import string
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StorageError
from gateway.library import packing, schema
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.document import parse
from gateway.nzb.extents import PartTable, Run

SEGMENTS = 70_000  # 50 GB in articles of 716,800 bytes
PART = 716_800


def _nyuu(rng: random.Random) -> str:
    letters = "".join(rng.choices(string.ascii_letters + string.digits, k=24))
    return f"{letters}-{rng.randrange(1_700_000_000_000, 1_700_000_900_000)}@nyuu"


def _ngpost(rng: random.Random) -> str:
    return f"{uuid.UUID(int=rng.getrandbits(128)).hex}@ngPost"


def _powerpost(rng: random.Random) -> str:
    letters = "".join(rng.choices(string.ascii_letters + string.digits + "$&", k=22))
    return f"part{rng.randrange(SEGMENTS)}of{SEGMENTS}.{letters}@powerpost2000AA.local"


def _long(rng: random.Random) -> str:
    return f"{rng.getrandbits(256):064x}@news.usenet.example.com"


def document(make_id: Callable[[random.Random], str]) -> bytes:
    rng = random.Random(7)
    segments = "".join(
        f'  <segment bytes="{739_067 + rng.randrange(3000)}" number="{number}">'
        f"{make_id(rng)}</segment>\n"
        for number in range(1, SEGMENTS + 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<nzb xmlns="http://www.newzbin.com/DTD/2003/nzb">\n<file poster="a@b.c" '
        f'date="1700000000" subject="&quot;film.mkv&quot; yEnc (1/{SEGMENTS})">\n'
        f"<groups><group>alt.binaries.test</group></groups>\n<segments>\n{segments}"
        "</segments></file></nzb>"
    ).encode()


def make_table(ids: list[bytes], kind: str) -> PartTable:
    if kind == "regular":
        return PartTable.regular(ids, SEGMENTS * PART - 1, PART)
    rng = random.Random(8)
    table = PartTable.estimated(ids, SEGMENTS * PART, [rng.randrange(9, 99) for _ in ids])
    if kind == "learned":
        for index in range(SEGMENTS - 1):
            table.learn(index, index * PART, (index + 1) * PART)
    return table


@pytest.mark.parametrize("kind", ["regular", "estimated", "learned"])
@pytest.mark.parametrize("make_id", [_nyuu, _ngpost, _powerpost, _long])
def test_a_segment_takes_at_most_100_bytes_on_the_disk_in_all(
    database: Database,
    library: Library,
    tmp_path: Path,
    make_id: Callable[[random.Random], str],
    kind: str,
) -> None:
    nzb = document(make_id)
    table = make_table(parse(nzb).files[0].ids(), kind)
    file = NewFile("film.mkv", table.size, (Run(0, 0, table.size),))
    new = NewRelease("movies", "Film", 1.0, nzb, (NewPosted("film.mkv", table),), (file,))
    with database.begin() as tx:
        library.publish(tx, new)
    database.close()  # the last to leave folds the log into the file
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size / SEGMENTS <= 100


@given(st.lists(st.builds(Run, *[st.integers(0, 2**32 - 1)] + [st.integers(0, 2**63 - 1)] * 2)))
def test_runs_are_unpacked_as_they_were_packed(runs: list[Run]) -> None:
    whole = (Stretch(tuple(runs), sum(run.length for run in runs)),) if runs else ()
    packed = packing.pack_stretches(whole)
    assert packing.unpack_stretches(packed) == whole
    assert packed == b"\1" + b"".join(  # as libraries have them from before there were stretches
        struct.pack("<IQQ", run.posted, run.offset, run.length) for run in runs
    )


CIPHERS = st.builds(
    Cipher, st.sampled_from([b"k" * 16, b"l" * 32]), st.binary(min_size=16, max_size=16)
)
RUNS = st.builds(Run, *[st.integers(0, 2**32 - 1)] + [st.integers(0, 2**63 - 1)] * 2)


@given(
    st.lists(
        st.builds(
            Stretch,
            st.lists(RUNS, max_size=3).map(tuple),
            st.integers(0, 2**63),
            st.integers(1, 2**63),
            st.none() | CIPHERS,
        ),
        min_size=1,
    ),
    st.data(),
)
def test_stretches_are_unpacked_as_they_were_packed(
    stretches: list[Stretch], data: st.DataObject
) -> None:
    packed = packing.pack_stretches(stretches)
    assert packing.unpack_stretches(packed) == tuple(stretches)
    if stretches[0].runs:
        with pytest.raises(StorageError, match="are damaged"):
            packing.unpack_stretches(packed[: data.draw(st.integers(2, len(packed) - 1))][:22])
    with pytest.raises(StorageError, match="version b'\\\\x03'"):
        packing.unpack_stretches(b"\3" + packed[1:])


@given(st.integers(1, 50), st.integers(1, 200), st.booleans())
def test_tables_are_unpacked_as_they_were_packed(count: int, id_size: int, plain: bool) -> None:
    ids = [f"{number}".zfill(id_size).encode() for number in range(count)]
    table = (
        PartTable.regular(ids, count * 10, 10)
        if plain
        else PartTable.estimated(ids, count * 10, [3] * count)
    )
    assert packing.unpack_table(packing.pack_table(table)).pack() == table.pack()


# Query plans -----------------------------------------------------------------------------------


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """Collect how SQLite answers each SELECT that is made within the block."""
    found: list[str] = []

    def explain(
        connection: sa.Connection,
        cursor: object,
        statement: str,
        parameters: tuple[object, ...],
        *_: object,
    ) -> None:
        if statement.startswith("SELECT"):
            explained = connection.connection.cursor()
            explained.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found.extend(row[3] for row in explained.fetchall())
            explained.close()

    sa.event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", explain)


def test_every_question_of_the_library_is_answered_by_an_index(
    database: Database, library: Library, publish: Callable[..., Release]
) -> None:
    release = publish("film.mkv", "Subs/film.srt")
    (film,) = library.entries(release).files
    questions: dict[str, Callable[[], object]] = {
        "categories": library.categories,
        "releases": lambda: list(library.releases("movies")),
        "release": lambda: library.release("movies", "Film"),
        "entries": lambda: library.entries(release, "Subs"),
        "file": lambda: library.file("movies", "Film", "Subs/film.srt"),
        "file by id": lambda: library.file_by_id(film.id),
        "layout": lambda: library.layout(film.id),
        "nzb": lambda: library.nzb(release),
    }
    for question, ask in questions.items():
        with plans(database) as steps:
            ask()
        assert steps, question
        assert all(step.startswith("SEARCH ") for step in steps), (question, steps)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "SELECT 1 FROM jobs WHERE completed IS NULL ORDER BY priority DESC, position, added",
            "ix_jobs_queue",
        ),
        (
            """SELECT nzo_id FROM jobs WHERE completed IS NOT NULL AND archived IS 0
            ORDER BY completed DESC, added DESC, nzo_id""",
            "ix_jobs_history",
        ),
        ("SELECT nzo_id FROM jobs WHERE category = 'x' ORDER BY added", "ix_jobs_category"),
        (
            "SELECT max(position) FROM jobs WHERE priority = 0 AND completed IS NULL",
            "ix_jobs_queue",
        ),
        ("SELECT nzo_id FROM jobs WHERE release_id = 1", "ix_jobs_release_id"),
        ("SELECT nzo_id FROM jobs WHERE state IN ('a', 'b')", "ix_jobs_state"),
    ],
)
def test_the_queue_and_the_history_come_in_their_order_from_an_index(
    database: Database, query: str, index: str
) -> None:
    with database.read() as tx:
        steps = [row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert len(steps) == 1, steps  # no "USE TEMP B-TREE FOR ORDER BY"
    assert index in steps[0]


def test_reading_a_row_does_not_read_its_document(database: Database) -> None:
    for table in schema.metadata.sorted_tables:
        large = [column.name for column in table.columns if isinstance(column.type, sa.LargeBinary)]
        assert large in ([], [table.columns.keys()[-1]]), table.name
