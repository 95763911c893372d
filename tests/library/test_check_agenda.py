"""Which file is checked next, in libraries of any size, and what an upgrade makes of old ones."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gateway.library import database as database_module
from gateway.library import schema
from gateway.library.check_agenda import Braked, CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.check_times import HOUR_S, MOST_S
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.health import Findings, Health, Hole

Publish = Callable[..., Release]

DAY = 86_400.0
HEALTHY = Findings(100)
FAILED = Findings(100, 100, 0, (Hole(0, 0, 99),))


@pytest.fixture
def agenda(database: Database) -> CheckAgenda:
    return CheckAgenda(database)


@pytest.fixture
def records(database: Database) -> CheckRecords:
    return CheckRecords(database)


def plans(database: Database, run: Callable[[], object]) -> list[list[str]]:
    """Run something, and return how SQLite answers each SELECT of it."""
    seen: list[tuple[str, tuple[object, ...]]] = []

    def keep(_c: object, _u: object, text: str, values: tuple[object, ...], *_: object) -> None:
        seen.append((text, values))

    sa.event.listen(database.engine, "before_cursor_execute", keep)
    run()
    sa.event.remove(database.engine, "before_cursor_execute", keep)
    found = []
    with database.read() as tx:
        for text, values in seen:
            if text.startswith("SELECT"):
                plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
                found.append([row[3] for row in plan])
    return found


THE_FILE = [
    "SEARCH files USING INDEX sqlite_autoindex_files_1 (id=?)",
    "SEARCH releases USING INTEGER PRIMARY KEY (rowid=?)",
    "SEARCH disk_files USING INDEX sqlite_autoindex_disk_files_1 (file_id=?) LEFT-JOIN",
]


def test_the_next_file_is_found_in_an_index_and_sorted_by_nothing_else(
    database: Database, agenda: CheckAgenda, publish: Publish
) -> None:
    publish()
    assert plans(database, lambda: agenda.first_due(5.0)) == [
        ["SEARCH checks USING INDEX ix_checks_due_at (due_at<?)", *THE_FILE]
    ]
    assert plans(database, lambda: agenda.least_recent(5.0)) == [
        ["SEARCH checks USING INDEX ix_checks_checked_at (checked_at<?)", *THE_FILE]
    ]
    assert plans(database, lambda: agenda.due(5.0, 24)) == [
        ["SEARCH checks USING COVERING INDEX ix_checks_due_at (due_at<?)"]
    ]
    assert plans(database, lambda: agenda.old(5.0, 24)) == [
        ["SEARCH checks USING COVERING INDEX ix_checks_checked_at (checked_at<?)"]
    ]
    assert plans(database, lambda: agenda.overdue(5.0)) == [
        ["SEARCH checks USING COVERING INDEX ix_checks_due_at (due_at<?)"]
    ]
    assert plans(database, agenda.next_due) == [
        ["SEARCH checks USING COVERING INDEX ix_checks_due_at"]
    ]
    for plan in plans(database, lambda: agenda.witnesses(3)):
        assert plan == ["SEARCH checks USING INDEX ix_checks_verdict (verdict=?)", *THE_FILE]


@pytest.fixture
def crowd(database: Database) -> int:
    """A hundred thousand files, of which every tenth is due at 1,000 seconds or before."""
    count = 100_000
    with database.begin() as tx:
        tx.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) "
            "INSERT INTO releases (id, category, name, created, nzb) "
            "SELECT i + 1, 'movies', 'Film ' || i, 1.0, x'' FROM n"
        )
        tx.exec_driver_sql(
            "INSERT INTO files (id, release_id, folder, name, size, modified, etag, runs) "
            "SELECT printf('%032x', id), id, '', 'film.mkv', 10, 1.0, 'e', x'01' FROM releases"
        )
        tx.exec_driver_sql(
            "INSERT INTO checks (file_id, due_at) SELECT printf('%032x', id), "
            "CASE WHEN id % 10 THEN 1e9 + id ELSE 1000.0 * id / 100000 END FROM releases"
        )
    return count


def test_a_check_in_a_library_of_a_hundred_thousand_files_costs_what_it_costs_in_a_small_one(
    crowd: int, agenda: CheckAgenda, records: CheckRecords, database: Database
) -> None:
    assert agenda.overdue(1000.0) == crowd / 10
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def check() -> None:
        known = agenda.first_due(1000.0)
        assert known is not None
        assert records.record(known, HEALTHY, 2000.0) is not None

    def watch(connection: object, *_: object) -> None:
        connection.set_progress_handler(count, 100)  # type: ignore[attr-defined]

    sa.event.listen(database.engine, "checkout", watch)
    for _ in range(10):
        check()
    sa.event.remove(database.engine, "checkout", watch)
    # SQLite takes a few hundred steps for each; to look at all files it would take a million.
    assert 0 < steps * 100 / 10 < 5_000
    assert agenda.overdue(1000.0) == crowd / 10 - 10


def test_what_is_due_too_late_because_the_clock_was_ahead_is_pulled_in_and_spread(
    agenda: CheckAgenda, records: CheckRecords, publish: Publish
) -> None:
    ids = [publish(name=str(number)).id for number in range(20)]
    for number, known in enumerate(records.of_releases(ids)):
        records.record(known, HEALTHY, 4e9 + number * DAY)
    assert agenda.pull_in(1e9) == 20
    due = [known.due_at for known in records.of_releases(ids)]
    assert all(1e9 <= at <= 1e9 + MOST_S for at in due)
    assert len(set(due)) == 20
    assert agenda.pull_in(1e9) == 0


def test_the_brake_takes_back_what_failed_since_the_provider_is_ill_and_nothing_else(
    agenda: CheckAgenda, records: CheckRecords, publish: Publish
) -> None:
    ids = [publish(name=name).id for name in ("long ago", "twice", "just now")]

    def fail(number: int, at: float) -> None:
        (known,) = records.of_releases([ids[number]])
        assert records.record(known, FAILED, at) is not None

    for number, at in ((0, 1e6), (0, 1.1e6), (1, 2e6), (1, 2e6 + HOUR_S), (2, 2e6 + HOUR_S)):
        fail(number, at)
    agenda.brake(Braked(2.1e6, 2.2e6, "ill"), ill_since=2e6 + 1)
    told = [(one.failed_at, one.confirmed_at) for one in records.of_releases(ids)]
    assert told == [(1e6, 1.1e6), (2e6, None), (None, None)]
    assert agenda.braked() == Braked(2.1e6, 2.2e6, "ill")
    agenda.release()
    assert agenda.braked() is None


def test_the_files_of_each_verdict_are_counted(
    agenda: CheckAgenda, records: CheckRecords, publish: Publish
) -> None:
    ids = [publish(name=str(number)).id for number in range(4)]
    for known, findings in zip(records.of_releases(ids), (HEALTHY, HEALTHY, FAILED), strict=False):
        records.record(known, findings, 5.0)
    assert agenda.verdicts() == {
        Health.HEALTHY: 2,
        Health.DEGRADED: 0,
        Health.FAILED: 1,
        Health.UNKNOWN: 1,
    }
    assert [known.verdict for known in agenda.witnesses(9)] == [Health.HEALTHY] * 2


# Upgrading --------------------------------------------------------------------------------------


def migrate(url: str, revision: str, fill: Callable[[sa.Connection], None]) -> None:
    """Make a database as an older version of the program left it."""
    engine = sa.create_engine(url)
    with engine.begin() as tx:
        config = Config(attributes={"connection": tx})
        config.set_main_option("script_location", str(database_module._MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)
        fill(tx)
    engine.dispose()


def test_an_upgrade_makes_no_library_due_at_once(url: str) -> None:
    now = time.time()
    count = 2_000

    def fill(tx: sa.Connection) -> None:
        for number in range(count):
            release = {
                "id": number + 1,
                "category": "movies",
                "name": f"Film {number}",
                "created": now - 400 * DAY,
                "nzb": b"",
            }
            tx.execute(sa.insert(schema.releases), release)
            tx.exec_driver_sql(
                "INSERT INTO files (id, release_id, folder, name, size, modified, etag, runs) "
                "VALUES (?, ?, '', 'film.mkv', 10, 1.0, 'e', x'01')",
                (f"{number:032x}", number + 1),
            )
            # A third was never checked, a third a year ago, a third yesterday.
            checked_at = (0.0, now - 365 * DAY, now - DAY)[number % 3]
            tx.exec_driver_sql(
                "INSERT INTO checks (file_id, checked_at) VALUES (?, ?)",
                (f"{number:032x}", checked_at),
            )

    migrate(url, "0008", fill)
    database = Database(url)
    agenda = CheckAgenda(database)
    late = time.time()
    assert agenda.overdue(late) < 20
    # and spread evenly: each of thirty days gets about its share of what was overdue
    spread = 2 * count / 3
    for days in range(1, 29):
        assert abs(agenda.overdue(now + days * DAY) - spread * days / 30) < spread / 10
    assert agenda.overdue(now + 31 * DAY) == count
    with database.read() as tx:
        assert not sa.inspect(tx).has_table("check_rounds")
    database.close()
