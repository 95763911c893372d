"""Files that were downloaded stand in the library as all others do."""

from __future__ import annotations

from pathlib import Path

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewRelease
from gateway.streams.on_disk import DiskFile


def test_a_file_on_the_disk_is_found_where_it_was_published(
    database: Database, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "Film" / "fílm.mkv"
    new = NewRelease(
        "movies", "Film", 1.0, b"<nzb/>", (), (NewFile("film.mkv", 7, folder="a", disk=path),)
    )
    with database.begin() as tx:
        library.publish(tx, new)

    entry = library.file("movies", "Film", "a/film.mkv")
    assert entry is not None
    assert entry.size == 7
    assert library.layout(entry.id) == DiskFile(path, 7)
    assert library.file_by_id(entry.id) == entry
