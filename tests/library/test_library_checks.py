"""What checks have found: kept by file, replaced by one rule, and found again in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gateway.errors import StorageError
from gateway.library import database as database_module
from gateway.library import schema
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.health import (
    FileHealth,
    Findings,
    Health,
    Hole,
    holes,
    pack_holes,
    unpack_holes,
)
from gateway.nzb.extents import PartTable, Run
from gateway.streams.layout import Layout

Publish = Callable[..., Release]

DAY = 86_400.0
HEALTHY = Findings(100)
DEGRADED = Findings(100, 3, 0, (Hole(0, 12, 13), Hole(1, 0, 0)))
FAILED = Findings(100, 100, 0, (Hole(0, 0, 99),))
SILENCE = Findings(100, 0, 100, (), "the provider did not answer")


@pytest.fixture
def records(database: Database) -> CheckRecords:
    return CheckRecords(database)


@pytest.fixture
def agenda(database: Database) -> CheckAgenda:
    return CheckAgenda(database)


def only(records: CheckRecords, release: Release) -> FileHealth:
    (known,) = records.of_releases([release.id])
    return known


# One file ---------------------------------------------------------------------------------------


def test_a_file_has_its_record_from_the_moment_it_is_published(
    records: CheckRecords, publish: Publish
) -> None:
    release = publish("a.mkv", "Subs/b.srt")
    found = records.of_releases([release.id])
    assert [one.file.path for one in found] == ["a.mkv", "Subs/b.srt"]
    assert {one.health for one in found} == {Health.UNKNOWN}
    assert {one.in_words() for one in found} == {"never checked"}
    assert records.of_file(found[0].file.id) == found[0]


def test_what_a_check_found_is_read_as_it_was_written(
    records: CheckRecords, publish: Publish
) -> None:
    release = publish()
    written = records.record(only(records, release), DEGRADED, 5.5)
    assert written == only(records, release)
    assert written is not None
    assert (written.health, written.checked_at, written.decided_at) == (Health.DEGRADED, 5.5, 5.5)
    assert (written.articles, written.missing, written.holes) == (100, 3, DEGRADED.holes)


def test_nothing_is_written_of_a_file_that_is_gone(
    records: CheckRecords, agenda: CheckAgenda, publish: Publish, library: Library
) -> None:
    release = publish()
    known = only(records, release)
    library.remove_files(release)
    assert records.record(known, HEALTHY, 1.0) is None
    assert records.of_file(known.file.id) is None
    assert agenda.least_recent(9e9) is None
    assert agenda.next_due() is None


def test_a_check_that_is_complete_replaces_whatever_was_known(
    records: CheckRecords, publish: Publish
) -> None:
    release = publish()
    seen = []
    for at, findings in enumerate((FAILED, DEGRADED, HEALTHY, FAILED), start=1):
        known = records.record(only(records, release), findings, at)
        assert known is not None
        seen.append((known.health, known.missing, len(known.holes), known.decided_at))
    assert seen == [
        (Health.FAILED, 100, 1, 1),
        (Health.DEGRADED, 3, 2, 2),
        (Health.HEALTHY, 0, 0, 3),
        (Health.FAILED, 100, 1, 4),
    ]


@pytest.mark.parametrize("before", [HEALTHY, DEGRADED, FAILED])
def test_a_check_that_got_no_answer_leaves_the_verdict_and_says_so(
    records: CheckRecords, publish: Publish, before: Findings
) -> None:
    release = publish()
    records.record(only(records, release), before, 1.0)
    known = records.record(only(records, release), SILENCE, 2.0)
    assert known is not None
    assert (known.health, known.checked_at) == (Health.UNKNOWN, 2.0)
    assert (known.verdict, known.decided_at) == (before.health, 1.0)
    assert (known.missing, known.holes) == (before.missing, before.holes)
    assert known.in_words() == "100 of 100 articles unknown: the provider did not answer"


def test_a_check_with_unknown_articles_counts_for_what_it_found_missing_beyond_the_known(
    records: CheckRecords, publish: Publish
) -> None:
    release = publish()
    partly = Findings(100, 3, 20, DEGRADED.holes, "not all 2 providers answered")
    known = records.record(only(records, release), partly, 1.0)
    assert known is not None
    assert known.health is Health.DEGRADED
    assert known.in_words() == (
        "3 of 100 articles missing (segments 13-14 of posted file 1, 1 of posted file 2), "
        "20 unknown: not all 2 providers answered"
    )
    # three again: more may be missing among the twenty, less is not
    known = records.record(only(records, release), partly, 2.0)
    assert known is not None
    assert (known.health, known.verdict, known.decided_at) == (
        Health.UNKNOWN,
        Health.DEGRADED,
        1.0,
    )


def test_words_are_short_and_count_as_an_nzb_does(records: CheckRecords, publish: Publish) -> None:
    release = publish()
    many = holes((0, index) for index in range(0, 2000, 2))
    said = []
    for at, findings in enumerate(
        [
            HEALTHY,
            Findings(1),
            FAILED,
            Findings(4120, 1, 0, holes([(0, 12)])),
            Findings(4120, 3, 0, holes([(0, 12), (0, 14), (0, 15)])),
            Findings(2002, 1000, 0, many),
            Findings(2000, 1000, 0, many),
            Findings(0, reason="a stored part table is damaged"),
        ],
        start=1,
    ):
        known = records.record(only(records, release), findings, at)
        assert known is not None
        said.append(known.in_words())
    assert said == [
        "100 articles present",
        "1 article present",
        "all 100 articles missing",
        "1 of 4,120 articles missing (segment 13)",
        "3 of 4,120 articles missing (segments 13, 15-16)",
        "1,000 of 2,002 articles missing (segments 1, 3, 5, 7, ...)",
        "1,000 of 2,000 articles missing",
        "a stored part table is damaged",
    ]


def test_holes_are_packed_and_read_again() -> None:
    missing = [(0, 12), (0, 14), (0, 15), (0, 16), (3, 0), (3, 1), (4, 2)]
    found = holes(missing)
    assert found == (Hole(0, 12, 12), Hole(0, 14, 16), Hole(3, 0, 1), Hole(4, 2, 2))
    assert pack_holes(found) == "0:12,14-16;3:0-1;4:2"
    assert unpack_holes(pack_holes(found)) == found
    assert unpack_holes(pack_holes(())) == ()


@pytest.mark.parametrize("column", ["holes = '0:x'", "verdict = 'splendid'"])
def test_a_record_that_cannot_be_read_is_an_error_that_names_the_file(
    records: CheckRecords, database: Database, publish: Publish, column: str
) -> None:
    release = publish("film.mkv")
    with database.begin() as tx:
        tx.execute(sa.text(f"UPDATE checks SET {column}"))
    with pytest.raises(StorageError, match=r"'film\.mkv' is damaged"):
        only(records, release)


def test_what_lies_on_the_disk_is_never_confirmed_to_have_failed(
    records: CheckRecords, publish: Publish, database: Database
) -> None:
    release = publish()
    with database.begin() as tx:
        tx.exec_driver_sql("INSERT INTO disk_files SELECT id, '/films/film.mkv' FROM files")
    for at in (3e9, 3.1e9, 3.2e9):
        known = records.record(only(records, release), Findings(1, 1, 0, (Hole(0, 0, 0),)), at)
        assert known is not None
        assert (known.health, known.confirmed_at) == (Health.FAILED, None)
        assert known.due_at > at + DAY / 2, "there is no hurry to look again"


# The order --------------------------------------------------------------------------------------


def test_files_come_in_the_order_of_their_last_check_those_without_one_first(
    records: CheckRecords, agenda: CheckAgenda, publish: Publish
) -> None:
    names = {name: publish(name=name) for name in ("one", "two", "three")}
    for name, at in (("one", 30.0), ("three", 10.0)):
        records.record(only(records, names[name]), HEALTHY, at)
    order = []
    at = 100.0
    while (known := agenda.least_recent(before=100.0)) is not None:
        order.append((known.file.release.name, agenda.count(before=100.0)))
        at += 1
        records.record(known, SILENCE, at)
    assert order == [("two", 3), ("three", 2), ("one", 1)]


def test_releases_come_in_pages(records: CheckRecords, publish: Publish) -> None:
    ids = [publish(name=str(number)).id for number in range(5)]
    assert records.page(after=0, limit=2) == ids[:2]
    assert records.page(after=ids[1], limit=9) == ids[2:]
    assert records.page(after=ids[-1], limit=2) == []


def test_many_releases_are_looked_up_at_once(records: CheckRecords, publish: Publish) -> None:
    ids = [publish(name=str(number)).id for number in range(3)]
    assert [one.file.release.id for one in records.of_releases([*ids, *range(9000, 11000)])] == ids


# Upgrading --------------------------------------------------------------------------------------


def make_old(url: str) -> None:
    """Make a database as the first version of the program left it, with one release."""
    engine = sa.create_engine(url)
    with engine.begin() as tx:
        config = Config(attributes={"connection": tx})
        config.set_main_option("script_location", str(database_module._MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0001")
        release = {"id": 1, "category": "movies", "name": "Film", "created": 1.0, "nzb": b""}
        tx.execute(sa.insert(schema.releases), release)
        tx.execute(
            sa.insert(schema.files),
            [
                {
                    "id": name,
                    "release_id": 1,
                    "folder": "",
                    "name": name,
                    "size": 0,
                    "modified": 1.0,
                    "etag": "e",
                    "runs": b"\x01",
                }
                for name in ("a.mkv", "b.mkv")
            ],
        )
    engine.dispose()


def test_the_files_of_an_old_library_are_there_to_be_checked(url: str, tmp_path: Path) -> None:
    make_old(url)
    with sqlite3.connect(tmp_path / "library.sqlite") as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    raw.close()
    assert "checks" not in tables
    database = Database(url)
    records = CheckRecords(database)
    assert [known.file.name for known in records.of_releases([1])] == ["a.mkv", "b.mkv"]
    database.close()


# What is to be checked --------------------------------------------------------------------------


def table(parts: int, size: int = 10) -> PartTable:
    return PartTable.regular([b"x"] * parts, parts * size, size)


@pytest.mark.parametrize(
    ("runs", "touched"),
    [
        ([Run(0, 0, 100)], [(0, range(10))]),
        ([Run(0, 15, 10)], [(0, range(1, 3))]),
        ([Run(0, 10, 10)], [(0, range(1, 2))]),
        ([Run(1, 0, 5), Run(0, 95, 5)], [(0, range(9, 10)), (1, range(1))]),
        ([Run(0, 0, 15), Run(0, 15, 10)], [(0, range(3))]),
        (
            [Run(0, 50, 5), Run(0, 0, 15), Run(0, 80, 20)],
            [(0, range(2)), (0, range(5, 6)), (0, range(8, 10))],
        ),
        ([Run(0, 0, 100), Run(0, 20, 10)], [(0, range(10))]),
        ([Run(0, 30, 0)], []),
        ([], []),
    ],
)
def test_every_part_that_holds_a_byte_of_the_file_is_named_once(
    runs: list[Run], touched: list[tuple[int, range]]
) -> None:
    assert Layout(runs, [table(10), table(10)]).touched() == touched


def test_all_parts_of_a_whole_post_are_named_whatever_their_sizes_are_guessed_to_be() -> None:
    irregular = PartTable.estimated([b"x"] * 7, 1000, [1, 500, 3, 1, 900, 2, 1])
    assert Layout([Run(0, 0, 1000)], [irregular]).touched() == [(0, range(7))]
