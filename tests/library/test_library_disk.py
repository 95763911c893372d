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


def test_what_is_removed_goes_from_the_disk_and_nothing_beside_it(
    database: Database, library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "movies" / "Film"
    paths = [folder / "film.mkv", folder / "Subs" / "en" / "film.srt", folder / "Subs" / "x.txt"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234567")
    other = tmp_path / "movies" / "Other.mkv"
    other.touch()
    files = tuple(
        NewFile(path.name, 7, folder=sub, disk=path)
        for path, sub in zip(paths, ("", "Subs/en", "Subs"), strict=True)
    )
    with database.begin() as tx:
        release = library.publish(tx, NewRelease("movies", "Film", 1.0, b"<nzb/>", (), files))

    assert library.remove_files(release, "Subs").files == 2
    assert list(folder.rglob("*")) == [paths[0]]
    paths[0].unlink()
    assert library.remove_files(release).files == 1
    assert library.release("movies", "Film") is None

    folder.mkdir(exist_ok=True)
    (folder / "mine.txt").touch()
    paths[0].touch()
    with database.begin() as tx:
        release = library.publish(tx, NewRelease("movies", "Film", 1.0, b"<nzb/>", (), files[:1]))
    library.remove_files(release)
    assert sorted(path.name for path in (tmp_path / "movies").rglob("*.*")) == [
        "Other.mkv",
        "mine.txt",
    ]


def test_what_lies_in_a_folder_is_known_to_be_of_a_release(
    database: Database, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "Film" / "a" / "film.mkv"
    new = NewRelease("movies", "Film", 1.0, b"<nzb/>", (), (NewFile("f", 1, disk=path),))
    with database.begin() as tx:
        library.publish(tx, new)
    assert library.holds(tmp_path / "Film")
    assert not library.holds(tmp_path / "Fil")
    assert not library.holds(tmp_path / "Film0")
