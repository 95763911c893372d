"""The database: opened or refused in words, whole transactions, one writer at a time."""

from __future__ import annotations

import logging
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.errors import ConfigurationError, StorageError, StorageFull
from gateway.library import database as database_module
from gateway.library import schema
from gateway.library.database import Database
from gateway.library.packing import pack_document, unpack_document

JOB = {
    "name": "Film",
    "filename": "Film.nzb",
    "category": "movies",
    "state": "queued",
    "priority": 0,
    "position": 1,
    "added": 1.0,
    "size": 1,
    "parts_total": 1,
}


def add(database: Database, nzo_id: str, nzb: bytes = b"") -> None:
    with database.begin() as tx:
        tx.execute(sa.insert(schema.jobs), {"nzo_id": nzo_id, "nzb": nzb, **JOB})


def jobs(database: Database) -> list[str]:
    with database.read() as tx:
        return list(tx.scalars(sa.select(schema.jobs.c.nzo_id).order_by(schema.jobs.c.nzo_id)))


# Opening ---------------------------------------------------------------------------------------


def test_a_database_is_made_with_its_folder_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "library.sqlite"
    Database(f"sqlite:///{path}").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_committed_is_there_after_opening_again(url: str) -> None:
    for nzo_id in ("one", "two"):
        database = Database(url)
        add(database, nzo_id)
        database.close()
    database = Database(url)
    assert jobs(database) == ["one", "two"]
    database.close()


def test_the_migrations_lead_to_the_tables_that_the_program_knows(database: Database) -> None:
    with database.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
        indexes = {
            str(sql)
            for (sql,) in tx.execute(sa.text("SELECT sql FROM sqlite_master WHERE type = 'index'"))
            if sql
        }
    fresh = sa.create_engine("sqlite://")
    with fresh.begin() as tx:
        schema.metadata.create_all(tx)
        expected = {
            str(sql)
            for (sql,) in tx.execute(sa.text("SELECT sql FROM sqlite_master WHERE type = 'index'"))
            if sql
        }
    fresh.dispose()
    assert indexes == expected


def test_the_program_works_with_the_newest_of_its_migrations() -> None:
    scripts = ScriptDirectory(str(database_module._MIGRATIONS))
    assert scripts.get_heads() == [schema.REVISION]


def test_a_new_database_is_told_in_one_line_and_an_old_one_in_none(tmp_path: Path) -> None:
    # In a process of its own: alembic talks when it is first imported.
    code = (
        "import logging, sys; from gateway.library.database import Database;"
        "logging.basicConfig(level=logging.DEBUG); Database(sys.argv[1]).close()"
    )
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, f"sqlite:///{tmp_path}/library.sqlite"],
            check=True,
            capture_output=True,
            text=True,
        )
        told.append([line for line in done.stderr.splitlines() if line.startswith("INFO:")])
    assert told == [
        [f"INFO:gateway.library.database:migrating the database from nothing to {schema.REVISION}"],
        [],
    ]


def test_a_database_that_a_newer_program_wrote_is_refused_and_left_alone(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Database(url).close()
    caplog.set_level(logging.INFO)
    caplog.clear()
    with sqlite3.connect(tmp_path / "library.sqlite") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(ConfigurationError, match="has schema 9999, newer than this program's"):
        Database(url)
    assert caplog.messages == []  # nothing was migrated
    raw = sqlite3.connect(tmp_path / "library.sqlite")
    assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    raw.close()


def test_a_database_of_another_program_is_refused_and_left_alone(url: str, tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "library.sqlite")
    raw.execute("CREATE TABLE releases (title TEXT)")
    raw.close()
    with pytest.raises(ConfigurationError, match="belongs to another program"):
        Database(url)
    raw = sqlite3.connect(tmp_path / "library.sqlite")
    assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("releases",)]
    raw.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(url: str, tmp_path: Path) -> None:
    path = tmp_path / "library.sqlite"
    path.write_bytes(b"My diary. " * 1000)
    with pytest.raises(ConfigurationError, match="is not a database"):
        Database(url)
    assert path.read_bytes() == b"My diary. " * 1000


def test_a_damaged_database_is_refused_in_words(url: str, tmp_path: Path) -> None:
    Database(url).close()
    path = tmp_path / "library.sqlite"
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is damaged"):
        Database(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////dev/null/library.sqlite", "cannot be written"),
        ("sqlite:////proc/library.sqlite", "cannot be written"),
        ("sqlite:////tmp", "cannot be written .Is a directory"),
        ("sqlite://", "in memory would forget"),
        ("sqlite:///:memory:", "in memory would forget"),
        ("library.sqlite", "is no URL"),
        ("", "is no URL"),
        ("postgresql//bob:hunter2@db/library", "is no URL"),
        ("postgresql://bob:hunter2@db:port/library", "is no URL"),
        ("oracle9://x/y", "no driver"),
    ],
)
def test_an_address_that_will_not_do_is_one_clear_error(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)


def test_two_programs_may_open_a_new_database_at_the_same_time(url: str) -> None:
    opened: list[Database] = []
    together = threading.Barrier(4)

    def run() -> None:
        together.wait()
        opened.append(Database(url))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for database in opened:
        database.close()


# Transactions ----------------------------------------------------------------------------------


def test_a_transaction_is_written_whole_or_not_at_all(database: Database) -> None:
    def fail() -> None:
        with database.begin() as tx:
            tx.execute(sa.insert(schema.jobs), {"nzo_id": "one", **JOB})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert jobs(database) == []


def test_a_commit_is_on_the_disk_and_readers_do_not_wait(database: Database) -> None:
    with database.read() as tx:
        pragmas = {
            name: tx.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "synchronous": 2,
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_a_commit_that_need_not_last_does_not_wait_for_the_disk_and_the_next_one_does(
    database: Database,
) -> None:
    def synchronous(*, lasting: bool) -> int:
        with database.begin(lasting=lasting) as tx:
            tx.execute(sa.insert(schema.jobs), {"nzo_id": f"{lasting}", **JOB})
            found: int = tx.exec_driver_sql("PRAGMA synchronous").scalar_one()
            return found

    # 1, NORMAL: what is in the log is synced when it is folded into the database, and no sooner
    assert synchronous(lasting=False) == 1
    assert synchronous(lasting=True) == 2
    assert jobs(database) == ["False", "True"]


def test_a_killed_program_has_lost_nothing_that_it_had_committed(url: str) -> None:
    script = (
        "import os, signal, sys, sqlalchemy as sa\n"
        "from gateway.library.database import Database\n"
        "from gateway.library.schema import jobs\n"
        f"job = {JOB!r}\n"
        "database = Database(sys.argv[1])\n"
        "for nzo_id in ('one', 'two'):\n"
        "    with database.begin() as tx:\n"
        "        tx.execute(sa.insert(jobs), {'nzo_id': nzo_id, **job})\n"
        "        if nzo_id == 'two': os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, url], check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    database = Database(url)
    assert jobs(database) == ["one"]
    database.close()


def test_writers_in_many_threads_wait_for_each_other(database: Database) -> None:
    def run(number: int) -> None:
        for turn in range(10):
            with database.begin() as tx:
                # Read first, write then: without BEGIN IMMEDIATE, "database is locked".
                count = tx.scalar(sa.select(sa.func.count()).select_from(schema.jobs))
                row = {"nzo_id": f"{number}.{turn}", **JOB, "position": count}
                tx.execute(sa.insert(schema.jobs), row)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        positions = tx.scalars(sa.select(schema.jobs.c.position)).all()
    assert sorted(positions) == list(range(80))


def test_readers_see_one_state_while_a_writer_goes_on(database: Database) -> None:
    count = sa.select(sa.func.count()).select_from(schema.jobs)
    add(database, "one")
    with database.read() as tx:
        assert tx.scalar(count) == 1
        writer = threading.Thread(target=add, args=(database, "two"))
        writer.start()
        writer.join()
        assert tx.scalar(count) == 1
    assert jobs(database) == ["one", "two"]


def test_another_program_may_write_too(database: Database, url: str) -> None:
    other = Database(url)
    add(other, "one")
    add(database, "two")
    assert jobs(other) == jobs(database) == ["one", "two"]
    other.close()


def test_nesting_two_write_transactions_is_an_error_and_no_deadlock(database: Database) -> None:
    with database.begin(), pytest.raises(RuntimeError, match="already"), database.begin():
        pass
    add(database, "one")
    assert jobs(database) == ["one"]


# Trouble ---------------------------------------------------------------------------------------


def test_a_full_disk_is_an_error_of_its_own_and_undoes_the_transaction(database: Database) -> None:
    add(database, "one")

    def fill() -> None:
        with database.begin() as tx:
            pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}").close()
            tx.execute(sa.insert(schema.jobs), {"nzo_id": "two", **JOB, "nzb": b"x" * 100_000})

    with pytest.raises(StorageFull, match=r"the disk that holds the database .* is full") as caught:
        fill()
    assert caught.value.retryable
    assert caught.value.http_status == 507
    assert jobs(database) == ["one"]


def test_a_file_size_limit_of_the_system_fails_and_undoes_the_transaction(url: str) -> None:
    script = (
        "import resource, signal, sys, sqlalchemy as sa\n"
        "from gateway.errors import StorageError\n"
        "from gateway.library.database import Database\n"
        "from gateway.library.schema import jobs\n"
        f"job = {JOB!r}\n"
        "database = Database(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        "    with database.begin() as tx:\n"
        "        tx.execute(sa.insert(jobs), {'nzo_id': 'one', 'nzb': b'x' * (4 << 20), **job})\n"
        "except StorageError as error:\n"
        "    assert error.retryable\n"
        "    sys.exit(7)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, url], check=False, timeout=60)
    assert run.returncode == 7
    database = Database(url)
    assert jobs(database) == []
    database.close()


def test_an_error_of_the_database_is_one_of_ours_and_says_which(database: Database) -> None:
    with pytest.raises(StorageError, match="no such table"), database.read() as tx:
        tx.exec_driver_sql("SELECT * FROM nowhere")


def test_a_constraint_is_told_as_what_it_is(database: Database) -> None:
    add(database, "one")
    with pytest.raises(sa.exc.IntegrityError):
        add(database, "one")


def test_an_open_database_leaves_no_file_open_when_closed(url: str) -> None:
    database = Database(url)
    add(database, "one")
    database.close()
    held = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert not [path for path in held if path.name.startswith("library.sqlite")]


def test_a_library_of_before_keeps_its_documents_where_they_are_read_last(
    url: str,
) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as tx:
        config = Config(attributes={"connection": tx})
        config.set_main_option("script_location", str(database_module._MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0004")
        columns = ", ".join(JOB)
        tx.execute(
            sa.text(
                f"INSERT INTO jobs (nzo_id, nzb, {columns}) "
                f"VALUES ('one', :nzb, :{', :'.join(JOB)}), ('done', NULL, :{', :'.join(JOB)})"
            ),
            {"nzb": pack_document(b"<nzb/>"), **JOB},
        )
    engine.dispose()

    database = Database(url)
    with database.read() as tx:
        rows = tx.execute(
            sa.select(schema.jobs.c.nzb_bytes, schema.jobs.c.nzb).order_by(
                schema.jobs.c.nzo_id.desc()
            )
        ).all()
        last = sa.inspect(tx).get_columns("jobs")[-1]["name"]
    database.close()
    assert rows[0].nzb_bytes == len(b"<nzb/>")
    assert unpack_document(rows[0].nzb) == b"<nzb/>"
    assert tuple(rows[1]) == (None, None)
    assert last == schema.jobs.columns.keys()[-1] == "nzb"
