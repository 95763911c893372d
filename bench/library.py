"""`python -m bench.library`: what the library costs with a million files, and one of 50 GB.

Also what reading an NZB costs. The library lies in a temporary folder; filling it takes some
twenty seconds.
"""

from __future__ import annotations

import random
import string
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Results
from gateway.library import packing, schema
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.library.overview import Overview
from gateway.library.summaries import Wanted
from gateway.nzb.archive import Stretch
from gateway.nzb.document import parse
from gateway.nzb.extents import PartTable, Run

FILES_PER_RELEASE = 20
SEGMENTS = 70_000  # 50 GB in articles of 716,800 bytes
PART = 716_800
SAMPLES = 30


def main(files: int = 1_000_000) -> None:
    """Fill a library, ask it, and print what it took."""
    results = Results("library")
    _parsing(results)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.sqlite"
        database = Database(f"sqlite:///{path}")
        _fill(database, files)
        film = _large_file(results, database, path)
        odd = _odd_file(database)
        database.close()

        def open_library() -> None:
            database = Database(f"sqlite:///{path}")
            database.close()

        results.add("opening the database", "ms", _times(open_library))
        database = Database(f"sqlite:///{path}")
        library = Library(database)
        _questions(results, database, library, files // FILES_PER_RELEASE)
        # A new library each time: nothing of the layout is in memory, as after a start.
        results.add(
            f"cold layout of a file of {SEGMENTS:,} segments",
            "ms",
            _times(lambda: Library(database).layout(film)),
            aim=30,
            at_most=True,
        )
        results.add(
            "the same, half of its offsets learned one by one",
            "ms",
            _times(lambda: Library(database).layout(odd)),
            aim=30,
            at_most=True,
        )
        library.close()
        database.close()
    print(f"\nwritten to {results.write()}")


def _times(work: Callable[[], object], samples: int = SAMPLES) -> Iterator[float]:
    for _ in range(samples):
        began = time.perf_counter()
        work()
        yield (time.perf_counter() - began) * 1000


def _document(segments: int) -> bytes:
    rng = random.Random(1)
    letters = string.ascii_letters + string.digits
    body = "".join(
        f'  <segment bytes="{739_067 + rng.randrange(3000)}" number="{number}">'
        f"{''.join(rng.choices(letters, k=24))}-{rng.randrange(10**12, 10**13)}@nyuu</segment>\n"
        for number in range(1, segments + 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<nzb xmlns="http://www.newzbin.com/DTD/2003/nzb">'
        '\n<file poster="a@b.c" date="1700000000" '
        f'subject="&quot;film.mkv&quot; yEnc (1/{segments})">\n'
        "<groups><group>alt.binaries.test</group></groups>\n"
        f"<segments>\n{body}</segments></file></nzb>"
    ).encode()


def _parsing(results: Results) -> None:
    document = _document(100_000)
    results.add("reading an NZB of 100,000 segments", "ms", _times(lambda: parse(document), 9))
    tracemalloc.start()
    found = parse(document)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del found
    results.add("memory at most meanwhile", "MB", [peak / 1e6])
    results.add("memory that its values take", "MB", [kept / 1e6])


def _fill(database: Database, files: int) -> None:
    """Write the rows as `Library.publish` would, but without its checks: a hundred times faster."""
    nzb = packing.pack_document(b"<nzb/>")
    parts = PartTable.regular([b"part1of1.abcdefghijklmnop@example"], 1000, 1000).pack()
    runs = packing.pack_stretches([Stretch((Run(0, 0, 1000),), 1000)])
    releases, posted, entries = [], [], []
    for release_id in range(1, files // FILES_PER_RELEASE + 1):
        category = ("movies", "tv", "audio")[release_id % 3]
        name = f"Some.Release.Name.{release_id:06}.1080p.WEB.x264-GROUP"
        releases.append((release_id, category, name, 1e9, None, nzb))
        posted.append((release_id, release_id, 0, "file.rar", 1000, parts))
        for number in range(FILES_PER_RELEASE):
            file_id = f"{release_id:026x}{number:06x}"
            folder, file_name = "" if number else "Subs", f"{name}.{number:03}.mkv"
            entries.append((file_id, release_id, folder, file_name, 1000, 1e9, file_id, runs))
    with database.begin() as tx:
        for table, rows in (
            (schema.releases, releases),
            (schema.posted_files, posted),
            (schema.files, entries),
        ):
            marks = ", ".join("?" * len(table.columns))
            cursor = tx.connection.cursor()
            cursor.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)
            cursor.close()


def _large_file(results: Results, database: Database, path: Path) -> str:
    """Publish the file of 50 GB and return its id."""
    nzb = _document(SEGMENTS)
    table = PartTable.regular(parse(nzb).files[0].ids(), SEGMENTS * PART, PART)
    file = NewFile("film.mkv", table.size, (Run(0, 0, table.size),))
    new = NewRelease("movies", "Film", 1.0, nzb, (NewPosted("film.mkv", table),), (file,))
    library = Library(database)

    def publish() -> None:
        with database.begin() as tx:
            library.publish(tx, new)

    _checkpoint(database)
    before = path.stat().st_size
    results.add(f"publishing a file of {SEGMENTS:,} segments", "ms", _times(publish, 1))
    _checkpoint(database)
    grown = path.stat().st_size - before
    results.add("on the disk", "bytes a segment", [grown / SEGMENTS], aim=100, at_most=True)
    found = library.file("movies", "Film", "film.mkv")
    assert found is not None
    return found.id


def _odd_file(database: Database) -> str:
    """Publish a file of 50 GB whose parts differ, half of them known, and return its id."""
    rng = random.Random(3)
    ids = [f"{rng.getrandbits(128):032x}@ngPost".encode() for _ in range(SEGMENTS)]
    table = PartTable.estimated(ids, SEGMENTS * PART, [PART] * SEGMENTS)
    for index in rng.sample(range(SEGMENTS), SEGMENTS // 2):
        table.learn(index, index * PART, (index + 1) * PART)
    file = NewFile("odd.mkv", table.size, (Run(0, 0, table.size),))
    new = NewRelease("movies", "Odd", 1.0, b"", (NewPosted("odd.mkv", table),), (file,))
    library = Library(database)
    with database.begin() as tx:
        library.publish(tx, new)
    found = library.file("movies", "Odd", "odd.mkv")
    assert found is not None
    return found.id


def _checkpoint(database: Database) -> None:
    """Fold the log into the database, so that its size is what it takes."""
    connection = database.engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cursor.close()
    connection.close()


def _questions(results: Results, database: Database, library: Library, releases: int) -> None:
    rng = random.Random(2)
    listed = [release for release, _ in zip(library.releases("tv"), range(1000), strict=False)]

    def entries() -> None:
        library.entries(rng.choice(listed))

    def file() -> None:
        release = rng.choice(listed)
        assert library.file("tv", release.name, f"{release.name}.007.mkv") is not None

    what = f"of {releases * FILES_PER_RELEASE:,} files"
    results.add(f"listing one release {what}", "ms", _times(entries), aim=20, at_most=True)
    results.add("finding one file by its path", "ms", _times(file))
    results.add("listing the categories", "ms", _times(library.categories))
    results.add(
        "first of a category's releases", "ms", _times(lambda: next(library.releases("tv")))
    )
    results.add(
        f"all {releases // 3:,} of them", "ms", _times(lambda: [*library.releases("tv")], 3)
    )
    pages = Overview(database)
    every = "with what is known of their 20,000 files"
    results.add(
        f"a page of 1,000 releases {every}", "ms", _times(lambda: pages.page(Wanted(), limit=1000))
    )
    last = Wanted(pattern=f"*{releases:06}*")
    results.add("finding a release by a part of its name", "ms", _times(lambda: pages.page(last)))


if __name__ == "__main__":
    main()
