"""A library in a file of its own, and releases to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.nzb.extents import PartTable, Run

MakeRelease = Callable[..., NewRelease]
Publish = Callable[..., Release]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'library.sqlite'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def library(database: Database) -> Iterator[Library]:
    library = Library(database)
    yield library
    library.close()


@pytest.fixture
def make_release() -> MakeRelease:
    """Give a maker of releases with one file for each path, each 25 bytes in 3 articles."""

    def make(*paths: str, name: str = "Film", category: str = "movies") -> NewRelease:
        posted, files = [], []
        for ordinal, path in enumerate(paths or ("film.mkv",)):
            ids = [f"{number}.{ordinal}@{name}".encode() for number in range(3)]
            posted.append(NewPosted(path, PartTable.regular(ids, 25, 10)))
            folder, _, file_name = path.rpartition("/")
            files.append(NewFile(file_name, 25, (Run(ordinal, 0, 25),), folder))
        return NewRelease(
            category, name, 1_700_000_000.5, b"<nzb/>", tuple(posted), tuple(files), "secret"
        )

    return make


@pytest.fixture
def publish(database: Database, library: Library, make_release: MakeRelease) -> Publish:
    """Give a publisher of what `make_release` makes, or of a release as it is."""

    def publish(*paths: str | NewRelease, **more: str) -> Release:
        first = paths[0] if paths else ""
        new = first if isinstance(first, NewRelease) else make_release(*paths, **more)
        with database.begin() as tx:
            return library.publish(tx, new)

    return publish
