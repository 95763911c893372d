"""The database under the library: opened, migrated, and used in transactions.

SQLite by default, in WAL mode: readers never wait for the writer. `synchronous=FULL`, since
whoever is told that an item was added must find it after a power cut. Writers begin with
BEGIN IMMEDIATE, so none can fail half-way for having read first (SQLITE_BUSY on upgrade), and
queue up on a lock of their own, since SQLite's waiting is by polling and not fair.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from gateway.errors import ConfigurationError, GatewayError, StorageError, StorageFull
from gateway.library import schema

log = logging.getLogger(__name__)

_BUSY_TIMEOUT_S = 30  # another process may hold the write lock: a backup, a second command
_alembic = threading.Lock()  # it keeps its context in globals: one migration at a time
_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.Text))

# SQLite's primary result codes (sqlite.org/rescode.html); extended ones carry them in the low byte.
_FULL = sqlite3.SQLITE_FULL
_UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its folder exists and is writable",
    sqlite3.SQLITE_READONLY: "is read-only: check the permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "may not be opened: check the permissions of the file and its folder",
    sqlite3.SQLITE_AUTH: "may not be opened: check the permissions of the file and its folder",
    sqlite3.SQLITE_NOTADB: "is not a database: move it away or set GATEWAY_DATABASE_URL",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup of it, or move it away",
}


class Database:
    """One database, migrated to this program's schema; shared by all threads."""

    def __init__(self, url: str) -> None:
        """Open the database at *url* ("sqlite:////data/library.sqlite") and migrate it.

        A file that does not exist is made, readable by its owner only. Raises
        ConfigurationError when the address, the folder or the file will not do, or when a newer
        version of the program has been at work there.
        """
        try:
            self.url: URL = make_url(url)
        except (exc.ArgumentError, ValueError) as error:
            shown = "" if "@" in url else f" {url!r}"  # it may hold a password
            raise ConfigurationError(
                f"the database address{shown} is no URL: GATEWAY_DATABASE_URL wants one such as "
                "sqlite:////data/library.sqlite"
            ) from error
        self._is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writer = threading.Lock()
        self._writing = threading.local()
        if self._is_sqlite:
            _make_file(self.url)
        try:
            self.engine: Engine = _engine(self.url)
        except (exc.NoSuchModuleError, ImportError) as error:
            raise ConfigurationError(
                f"no driver for {self.url.drivername!r} databases is installed ({error})"
            ) from error
        try:
            with self.begin() as tx:
                self._migrate(tx)
        except StorageError as error:
            self.engine.dispose()
            cause = _code(error.__cause__)
            if cause in _UNUSABLE:
                raise ConfigurationError(f"{self._name} {_UNUSABLE[cause]}") from error
            raise
        except BaseException:
            self.engine.dispose()
            raise

    def close(self) -> None:
        """Close every connection that is not in use; the others when they are given back."""
        self.engine.dispose()

    @contextmanager
    def begin(self, *, lasting: bool = True) -> Iterator[Connection]:
        """Give a connection within a write transaction: committed at the end of the block.

        An exception undoes all of it. One thread may not nest two. Unless it is to be *lasting*,
        SQLite does not wait for the disk: a power cut may undo it, as a whole, until something
        else is committed that is. Raises StorageFull when the disk is full, StorageError for
        whatever else the database refuses; errors that the statements themselves are to blame
        for (IntegrityError, ...) pass as they are.
        """
        if getattr(self._writing, "is_on", False):
            raise RuntimeError("this thread is in a write transaction already")
        with self._lock_writers(), self._translated(), self.engine.connect() as connection:
            connection = connection.execution_options(
                gateway_writes="FULL" if lasting else "NORMAL"
            )
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database throughout the block.

        Keep it short: a log that a reader still needs cannot be trimmed. Raises StorageError.
        """
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _lock_writers(self) -> Iterator[None]:
        if not self._is_sqlite:
            yield
            return
        with self._writer:
            self._writing.is_on = True
            try:
                yield
            finally:
                self._writing.is_on = False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (exc.OperationalError, exc.InternalError, exc.InterfaceError) as error:
            raise self._storage_error(error) from error.orig
        except exc.DatabaseError as error:
            # SQLite's driver files "not a database" and "malformed" under the plain class.
            if type(error) is not exc.DatabaseError:
                raise
            raise self._storage_error(error) from error.orig
        except exc.TimeoutError as error:
            raise StorageError(f"no connection to {self._name} came free") from error

    def _storage_error(self, error: exc.DBAPIError) -> GatewayError:
        if _code(error.orig) == _FULL:
            return StorageFull(f"the disk that holds {self._name} is full")
        return StorageError(f"{self._name} failed: {error.orig}")

    @property
    def _name(self) -> str:
        if self._is_sqlite:
            return f"the database {self.url.database!r}"
        return f"the database {self.url.render_as_string(hide_password=True)}"

    def _migrate(self, tx: Connection) -> None:
        inspector = sa.inspect(tx)
        known = inspector.has_table(_VERSION.name)
        current = tx.scalar(sa.select(_VERSION.c.version_num)) if known else None
        if current == schema.REVISION:
            return
        # Imported when there is something to migrate: it costs memory and a tenth of a second.
        # Quiet before that: it tells of its plugins when it is imported.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config(attributes={"connection": tx})
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        chain = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in chain:
            raise ConfigurationError(
                f"{self._name} has schema {current}, newer than this program's "
                f"{schema.REVISION}: run the version of nzb-gateway that wrote it, or a newer one"
            )
        if current is None and inspector.has_table(schema.releases.name):
            raise ConfigurationError(
                f"{self._name} belongs to another program: it has a table 'releases' of its own"
            )
        log.info("migrating the database from %s to %s", current or "nothing", schema.REVISION)
        with _alembic:
            command.upgrade(config, "head")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    # Each of a hundred worker threads may read for an instant at the same time.
    engine = sa.create_engine(
        url, pool_size=8, max_overflow=120, connect_args={"timeout": _BUSY_TIMEOUT_S}
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would begin transactions by itself, and only before some statements.
    connection.isolation_level = None
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    # Two programs that open a new database at once may each be refused the change to WAL at
    # once, without the usual waiting: SQLite sees a deadlock. It is changed once and for all.
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    synchronous = connection.get_execution_options().get("gateway_writes")
    if synchronous is None:
        connection.exec_driver_sql("BEGIN")
    else:
        # Not to be changed within a transaction.
        connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_file(url: URL) -> None:
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "a database in memory would forget every release: give GATEWAY_DATABASE_URL a file"
        )
    path = Path(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Passwords of archives lie in it: for its owner's eyes. SQLite's other files follow suit.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"the database {str(path)!r} cannot be written ({error.strerror}): check the folder "
            "that GATEWAY_DATA_DIR or GATEWAY_DATABASE_URL names"
        ) from error


def _code(error: Any) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
