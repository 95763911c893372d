"""What `remove_files` has promised is kept, whatever happens to the program on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewRelease, Release
from gateway.library.schema import disk_removals

KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.library.catalogue import Library
from gateway.library.database import Database

unlink = Path.unlink

def unlink_one_and_die(path, missing_ok=False):
    unlink(path, missing_ok)
    os.kill(os.getpid(), signal.SIGKILL)

library = Library(Database(sys.argv[1]))
Path.unlink = unlink_one_and_die
library.remove_files(library.release("movies", "Film"))
"""


def downloaded(database: Database, library: Library, folder: Path) -> Release:
    folder.mkdir(parents=True)
    names = ("a.mkv", "b.mkv", "c.mkv")
    for name in names:
        (folder / name).write_bytes(b"1234567")
    files = tuple(NewFile(name, 7, disk=folder / name) for name in names)
    with database.begin() as tx:
        return library.publish(tx, NewRelease("movies", "Film", 1.0, b"<nzb/>", (), files))


def to_go(database: Database) -> int:
    with database.read() as tx:
        return tx.scalar(sa.select(sa.func.count()).select_from(disk_removals)) or 0


def test_a_removal_that_was_killed_is_finished_at_the_next_start(
    database: Database, library: Library, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "movies" / "Film"
    downloaded(database, library, folder)
    killed = subprocess.run([sys.executable, "-c", KILLED, url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert library.release("movies", "Film") is None
    assert len(list(folder.iterdir())) == 2
    library.finish_removals()
    assert not folder.exists()
    assert to_go(database) == 0


def test_a_removal_leaves_nothing_to_do(
    database: Database, library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "movies" / "Film"
    release = downloaded(database, library, folder)
    assert library.remove_files(release).size == 21
    assert not folder.exists()
    assert to_go(database) == 0


def test_what_cannot_be_removed_is_told_and_tried_again(
    database: Database,
    library: Library,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "movies" / "Film"
    release = downloaded(database, library, folder)
    (folder / "b.mkv").unlink()
    (folder / "b.mkv").mkdir()
    (folder / "b.mkv" / "x").touch()
    library.remove_files(release)
    assert "a removed release stays on the disk" in caplog.text
    assert [path.name for path in folder.iterdir()] == ["b.mkv"]
    assert to_go(database) == 1
    (folder / "b.mkv" / "x").unlink()
    (folder / "b.mkv").rmdir()
    (folder / "b.mkv").touch()
    library.finish_removals()
    assert not folder.exists()
    assert to_go(database) == 0


def test_what_lies_on_a_disk_that_is_away_is_removed_when_that_is_back(
    database: Database,
    library: Library,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk, away = tmp_path / "disk", tmp_path / "away"
    folder = disk / "movies" / "Film"
    release = downloaded(database, library, folder)
    disk.rename(away)
    library.remove_files(release)
    library.finish_removals()
    assert f'may be on a disk that is away: "{disk}/movies" is not there' in caplog.text
    assert to_go(database) == 3

    away.rename(disk)
    library.finish_removals()
    assert [*disk.rglob("*")] == [disk / "movies"]
    assert to_go(database) == 0


def test_a_new_release_at_the_place_of_what_was_to_go_keeps_it(
    database: Database, library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "movies" / "Film"
    downloaded(database, library, folder)
    with database.begin() as tx:
        row = {"path": str(folder / "a.mkv"), "folder": ""}
        tx.execute(sa.insert(disk_removals), row)
    library.finish_removals()
    assert (folder / "a.mkv").exists()
    assert to_go(database) == 0
