"""When a file was last read is known to the hour, and costs no reader anything."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.last_reads import INTERVAL_S, LastReads
from gateway.library.schema import last_reads

Publish = Callable[..., Release]


def known(database: Database) -> dict[str, float]:
    with database.read() as tx:
        return {row.file_id: row.at for row in tx.execute(sa.select(last_reads))}


@pytest.fixture
def film(library: Library, publish: Publish) -> str:
    (entry,) = library.entries(publish("film.mkv")).files
    return entry.id


def test_many_reads_within_an_hour_are_written_once(database: Database, film: str) -> None:
    now = [1_000_000.0]
    writes = 0

    def count(*_: object) -> None:
        nonlocal writes
        writes += 1

    reads = LastReads(database, clock=lambda: now[0], delay_s=3600)
    sa.event.listen(database.engine, "commit", count)
    for _ in range(100):
        reads.note(film)
        reads.flush()
        now[0] += 1
    assert (known(database), writes) == ({film: 1_000_000.0}, 1 + 1)  # and the look at it
    now[0] = 1_000_000.0 + INTERVAL_S
    reads.note(film)
    reads.close()
    assert known(database) == {film: now[0]}
    sa.event.remove(database.engine, "commit", count)


def test_it_is_written_by_another_thread(database: Database, film: str) -> None:
    threads: list[threading.Thread] = []
    written = threading.Event()

    def note(*_: object) -> None:
        threads.append(threading.current_thread())
        written.set()

    reads = LastReads(database, delay_s=0.01)
    sa.event.listen(database.engine, "commit", note)
    reads.note(film)
    assert written.wait(30)
    sa.event.remove(database.engine, "commit", note)
    assert threads[0] is not threading.current_thread()
    reads.close()
    assert film in known(database)


def test_a_file_that_is_gone_is_no_error(database: Database, library: Library, film: str) -> None:
    reads = LastReads(database, clock=lambda: 7.0, delay_s=3600)
    reads.note(film)
    reads.note("none")
    release = library.release("movies", "Film")
    assert release is not None
    library.remove_files(release)
    reads.close()
    assert known(database) == {}
