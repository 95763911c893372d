"""The catalogue: what is published is found, and its bytes lead to articles."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.errors import NotInLibrary, StorageError
from gateway.library import schema
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import (
    FileEntry,
    Folder,
    NewFile,
    NewPosted,
    NewRelease,
    Release,
    Removed,
)
from gateway.library.layouts import Layouts
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.extents import PartTable, Run
from gateway.nzb.names import safe_name
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout

MakeRelease = Callable[..., NewRelease]
Publish = Callable[..., Release]


def rows(database: Database) -> list[int]:
    with database.read() as tx:
        return [
            tx.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in (schema.releases, schema.posted_files, schema.files)
        ]


# Publishing ------------------------------------------------------------------------------------


def test_a_release_is_found_as_it_was_published(library: Library, publish: Publish) -> None:
    release = publish("film.mkv", "Subs/en/film.srt", name="Film 2020")
    assert (release.category, release.name) == ("movies", "Film 2020")
    assert (release.created, release.password) == (1_700_000_000.5, "secret")
    assert "secret" not in repr(release)
    assert library.release("movies", "Film 2020") == release
    assert library.release_by_id(release.id) == release
    assert library.nzb(release) == b"<nzb/>"
    film = library.file("movies", "Film 2020", "film.mkv")
    assert film is not None
    assert (film.release, film.folder, film.name, film.size) == (release, "", "film.mkv", 25)
    assert film.modified == release.created
    assert library.file_by_id(film.id) == film
    subtitles = library.file("movies", "Film 2020", "Subs/en/film.srt")
    assert subtitles is not None
    assert subtitles.path == "Subs/en/film.srt"


def test_every_file_has_a_number_of_its_own_that_is_never_used_again(
    library: Library, publish: Publish
) -> None:
    first = publish("a.mkv", "b.mkv", name="First")
    numbered = dict(library.numbered_files())
    assert [entry.name for entry in numbered.values()] == ["a.mkv", "b.mkv"]
    assert all(library.file_by_number(number) == entry for number, entry in numbered.items())
    library.remove_files(first)
    publish("c.mkv", name="Second")
    ((number, entry),) = library.numbered_files()
    assert entry.path == "c.mkv"
    assert number > max(numbered)
    assert [library.file_by_number(old) for old in numbered] == [None, None]


def test_a_release_appears_whole_or_not_at_all(
    database: Database, library: Library, make_release: MakeRelease
) -> None:
    def publish_and_fail() -> None:
        with database.begin() as tx:
            release = library.publish(tx, make_release("a.mkv", "b.mkv"))
            other = threading.Thread(target=lambda: seen.append(list(library.releases("movies"))))
            other.start()
            other.join()
            assert release.name == "Film"
            raise KeyboardInterrupt

    seen: list[list[Release]] = []
    with pytest.raises(KeyboardInterrupt):
        publish_and_fail()
    assert seen == [[]]
    assert rows(database) == [0, 0, 0]


def test_a_name_that_is_taken_is_counted_up(library: Library, publish: Publish) -> None:
    names = [publish(name="Film.x264").name for _ in range(3)]
    assert names == ["Film.x264", "Film.x264 (2)", "Film.x264 (3)"]
    assert publish(name="Film.x264", category="tv").name == "Film.x264"
    assert [release.name for release in library.releases("movies")] == names


@pytest.mark.parametrize("name", ["..", "/etc/passwd", "a\0b", "x" * 4000, "é" * 4000, "CON", ""])
def test_every_published_name_is_safe(library: Library, publish: Publish, name: str) -> None:
    release = publish(f"../{name}/{name}", name=name, category=name)
    assert release.category == safe_name(name)
    assert release.name == safe_name(name)
    (category,) = library.categories()
    assert category == release.category
    below = library.entries(release)
    folder = ""
    while below.folders:
        (part,) = below.folders
        assert part == safe_name(part)
        folder = f"{folder}/{part}".lstrip("/")
        below = library.entries(release, folder)
    (file,) = below.files
    assert file.name == safe_name(file.name)
    assert library.file(category, release.name, file.path) == file


def test_files_of_one_name_are_told_apart(library: Library, publish: Publish) -> None:
    release = publish("a.mkv", "a.mkv", "a?.mkv", "a*.mkv", "a_.mkv", "b/a.mkv")
    assert [file.name for file in library.entries(release).files] == [
        "a (2).mkv",
        "a.mkv",
        "a_ (2).mkv",
        "a_ (3).mkv",
        "a_.mkv",
    ]


def test_ten_thousand_files_of_one_name_are_numbered(
    library: Library, publish: Publish, make_release: MakeRelease
) -> None:
    release = make_release()
    files = (*release.files, dataclasses.replace(release.files[0], name="film (7).mkv"))
    many = dataclasses.replace(release, files=files + release.files * 10_000)
    names = [file.name for file in library.entries(publish(many)).files]
    assert set(names) == {"film.mkv", *(f"film ({number}).mkv" for number in range(2, 10_003))}


def test_a_file_never_hides_a_folder(library: Library, publish: Publish) -> None:
    release = publish("extras", "extras/behind the scenes/one.mkv", "extras/behind the scenes")
    top = library.entries(release)
    assert (top.folders, [file.name for file in top.files]) == (("extras",), ["extras (2)"])
    extras = library.entries(release, "extras")
    assert extras.folders == ("behind the scenes",)
    assert [file.name for file in extras.files] == ["behind the scenes (2)"]


@pytest.mark.parametrize(
    "runs",
    [
        (Run(0, 0, 24),),
        (Run(0, 0, 20), Run(0, 20, 6)),
        (Run(0, 1, 25),),
        (Run(0, -1, 25),),
        (Run(0, 0, 30), Run(0, 0, -5)),
    ],
)
def test_runs_that_do_not_make_the_file_are_refused(
    database: Database, library: Library, make_release: MakeRelease, runs: tuple[Run, ...]
) -> None:
    good = make_release()
    bad = dataclasses.replace(good, files=(dataclasses.replace(good.files[0], runs=runs),))

    def publish() -> None:
        with database.begin() as tx:
            library.publish(tx, bad)

    with pytest.raises(ValueError, match=r"film\.mkv"):
        publish()
    assert rows(database) == [0, 0, 0]


# Listing ---------------------------------------------------------------------------------------


def test_categories_are_those_with_releases_in_order(library: Library, publish: Publish) -> None:
    assert library.categories() == []
    for category in ("tv", "movies", "audio", "tv", "Z"):
        publish(category=category)
    assert library.categories() == ["Z", "audio", "movies", "tv"]


def test_releases_of_a_category_come_in_pages_that_leave_none_out(
    database: Database, library: Library
) -> None:
    row = {"category": "movies", "created": 0.0, "nzb": b""}
    with database.begin() as tx:
        tx.execute(
            sa.insert(schema.releases), [{**row, "name": f"{number:05}"} for number in range(2500)]
        )
        tx.execute(sa.insert(schema.releases), {**row, "category": "tv", "name": "other"})
    listing = library.releases("movies")
    names = [next(listing).name]
    with database.begin() as tx:  # nothing is locked, nor repeated, by a listing under way
        tx.execute(sa.insert(schema.releases), {**row, "name": "00000.5"})
    names += [release.name for release in listing]
    assert names == [f"{number:05}" for number in range(2500)]
    assert list(library.releases("none")) == []


def test_a_folder_lists_its_files_and_folders_in_order(library: Library, publish: Publish) -> None:
    release = publish("b.mkv", "a.mkv", "Subs/en.srt", "Subs/more/de.srt", "Subsidies/x.pdf")
    publish("Subs/other.srt", name="Other")
    top = library.entries(release)
    assert top.folders == ("Subs", "Subsidies")
    assert [file.name for file in top.files] == ["a.mkv", "b.mkv"]
    assert all(file.release is release for file in top.files)
    below = library.entries(release, "Subs")
    assert (below.folders, [file.name for file in below.files]) == (("more",), ["en.srt"])
    assert library.entries(release, "Sub") == Folder((), ())


@pytest.mark.parametrize("path", ["", "/", "none.mkv", "Subs", "Subs/", "/film.mkv", "../film.mkv"])
def test_what_is_not_there_is_not_found(library: Library, publish: Publish, path: str) -> None:
    publish("film.mkv", "Subs/en.srt")
    assert library.file("movies", "Film", path) is None
    assert library.file("movies", "None", "film.mkv") is None
    assert library.file("tv", "Film", "film.mkv") is None
    assert library.release("movies", "None") is None
    assert library.file_by_id("0") is None


# Identity --------------------------------------------------------------------------------------


def test_ids_and_etags_stay_over_a_restart(url: str, database: Database, publish: Publish) -> None:
    publish("film.mkv")
    before = Library(database).file("movies", "Film", "film.mkv")
    database.close()
    again = Database(url)
    assert Library(again).file("movies", "Film", "film.mkv") == before
    again.close()


def test_the_same_release_published_again_has_other_ids_and_etags(
    library: Library, publish: Publish
) -> None:
    first = library.entries(publish()).files[0]
    library.remove_files(first.release)
    second = library.entries(publish()).files[0]
    assert second.release.name == first.release.name
    assert second.id != first.id
    assert second.etag != first.etag
    assert not set(second.etag) - set("0123456789abcdef")


def test_removing_a_release_removes_all_of_it_once(
    database: Database, library: Library, publish: Publish
) -> None:
    gone, kept = publish("a.mkv", "b/c.mkv"), publish(name="Other")
    (file, *_) = library.entries(gone).files
    with database.begin() as tx:
        job = {"nzo_id": "one", "state": "completed", "release_id": gone.id, "size": 0}
        more = {"name": "", "filename": "", "category": "", "priority": 0, "position": 0}
        tx.execute(sa.insert(schema.jobs), {**job, **more, "added": 0.0, "parts_total": 0})
    assert library.remove_files(gone) == Removed(2, 50)
    assert library.remove_files(gone) == Removed(0, 0)
    assert rows(database) == [1, 1, 1]
    assert list(library.releases("movies")) == [kept]
    assert library.file_by_id(file.id) is None
    with pytest.raises(NotInLibrary, match=file.id):
        library.layout(file.id)
    with pytest.raises(NotInLibrary, match="'Film'"):
        library.nzb(gone)
    with database.read() as tx:
        assert tx.execute(sa.select(schema.jobs.c.nzo_id, schema.jobs.c.release_id)).all() == [
            ("one", None)
        ]


# Streaming -------------------------------------------------------------------------------------


def archive(volumes: int, *, name: str = "Film") -> NewRelease:
    """Give a release of one film in *volumes* of 100 bytes, 80 of each being the film's."""
    posted = tuple(
        NewPosted(
            f"film.r{number:02}",
            PartTable.regular([f"{number}.{part}@x".encode() for part in range(4)], 100, 25),
        )
        for number in range(volumes)
    )
    runs = tuple(Run(number, 10, 80) for number in range(1, volumes))
    files = (
        NewFile("first.bin", 20, (Run(0, 5, 20),)),
        NewFile("film.mkv", 80 * (volumes - 1), runs, modified=5.0),
    )
    return NewRelease("movies", name, 1.0, b"", posted, files)


def plain(library: Library, file: FileEntry) -> Layout:
    layout = library.layout(file.id)
    assert isinstance(layout, Layout)
    return layout


def test_a_layout_leads_from_an_offset_to_an_article(library: Library, publish: Publish) -> None:
    release = publish(archive(3))
    film = library.file("movies", "Film", "film.mkv")
    assert film is not None
    assert film.modified == 5.0
    assert library.entries(release).files[0] == film
    layout = plain(library, film)
    assert layout.size == 160
    piece = layout.locate(100)
    assert piece.extent.part.message_ids == ("2.1@x",)
    assert (piece.extent.offset, piece.extent.length) == (0, 25)
    assert piece.position == 95


def test_an_archive_may_have_more_volumes_than_a_statement_takes_variables(
    library: Library, publish: Publish
) -> None:
    publish(archive(3000))
    film = library.file("movies", "Film", "film.mkv")
    assert film is not None
    layout = plain(library, film)
    assert layout.size == 80 * 2999
    assert layout.locate(layout.size - 1).extent.part.message_ids == ("2999.3@x",)


SECRET = Cipher(b"sixteen letters!" * 2, bytes(16))


def encrypted(**changes: Any) -> NewRelease:
    """Give a release of one film in three volumes of 100 bytes, of which 80 are ciphertext."""
    runs = tuple(Run(number, 10, 80) for number in range(1, 4))
    film = NewFile("film.mkv", 230, stretches=(Stretch(runs, 230, 0, SECRET),))
    return dataclasses.replace(archive(4), files=(dataclasses.replace(film, **changes),))


def test_an_encrypted_file_is_stored_with_its_key_and_found_again(
    url: str, database: Database, publish: Publish
) -> None:
    release = publish(encrypted())
    database.close()
    database = Database(url)
    library = Library(database)
    (film,) = library.entries(release).files
    layout = library.layout(film.id)
    assert isinstance(layout, CipheredLayout)
    assert layout.size == film.size == 230
    assert layout.section(0).cipher == SECRET
    # Posted files are numbered among those that it has bytes of, as those of plain files are.
    assert layout.touched() == [(number, range(4)) for number in range(3)]
    assert layout.article(1, 3).message_ids == ("2.3@x",)
    database.close()


def test_no_key_is_told() -> None:
    told = repr(encrypted())
    assert "AES-256-CBC" in told
    assert "sixteen" not in told


def test_only_the_runs_that_a_file_takes_are_kept(library: Library, publish: Publish) -> None:
    runs = tuple(Run(number, 0, 100) for number in range(1, 4))
    pieces = (Stretch(runs, 30, 130), Stretch(runs, 5, 250))
    (file,) = library.entries(publish(encrypted(size=35, stretches=pieces))).files
    assert plain(library, file).touched() == [(0, range(1, 3)), (1, range(2, 3))]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 231},
        {"size": 240, "stretches": (Stretch((Run(1, 10, 80), Run(2, 10, 79)), 150, 0, SECRET),)},
        {"size": 160, "stretches": (Stretch((Run(1, 10, 80), Run(2, 10, 80)), 160, 1, SECRET),)},
        {"size": 10, "stretches": (Stretch((Run(4, 10, 80),), 10, 0, SECRET),)},
        {"size": 10, "stretches": (Stretch((Run(-1, 10, 80),), 10, 0, SECRET),)},
        {"size": 10, "stretches": (Stretch((Run(1, 90, 16),), 10, 0, SECRET),)},
        {"size": -1, "stretches": (Stretch((Run(1, 0, 16),), -1, 0, SECRET),)},
    ],
)
def test_stretches_that_do_not_make_the_file_are_refused(
    publish: Publish, database: Database, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"film\.mkv"):
        publish(encrypted(**changes))
    assert rows(database) == [0, 0, 0]


def irregular() -> NewRelease:
    ids = [f"{number}@x".encode() for number in range(4)]
    table = PartTable.estimated(ids, 400, [1, 1, 1, 1])
    files = (NewFile("film.mkv", 400, (Run(0, 0, 400),)), NewFile("tail", 10, (Run(0, 390, 10),)))
    return NewRelease("movies", "Film", 1.0, b"", (NewPosted("film.mkv", table),), files)


def test_what_one_stream_learns_all_streams_know_and_a_restart_does(
    url: str, database: Database, publish: Publish
) -> None:
    publish(irregular())
    library = Library(database)
    film = library.file("movies", "Film", "film.mkv")
    tail = library.file("movies", "Film", "tail")
    assert film is not None
    assert tail is not None
    layout, other = plain(library, film), plain(library, tail)
    layout.learn(layout.locate(399), 350, 400)
    assert other.locate(0).exact
    assert other.locate(0).article == 50
    library.close()
    database.close()
    again = Database(url)
    reopened = Library(again)
    piece = plain(reopened, film).locate(399)
    assert piece.exact
    assert (piece.extent.part.begin, piece.extent.part.end) == (350, 400)
    reopened.close()
    again.close()


def test_offsets_that_are_stored_are_there_at_once(
    database: Database, library: Library, publish: Publish
) -> None:
    publish(irregular())
    (posted,) = irregular().posted
    posted.table.learn(0, 0, 123)
    with database.read() as tx:
        posted_id = tx.scalar(sa.select(schema.posted_files.c.id))
    assert posted_id is not None
    Layouts(database).store({posted_id: posted.table})
    film = Library(database).file("movies", "Film", "film.mkv")
    assert film is not None
    assert plain(Library(database), film).locate(122).exact


def test_a_post_never_gets_the_articles_of_one_that_was_removed(
    library: Library, publish: Publish
) -> None:
    old = publish(archive(2))
    first = library.file("movies", "Film", "first.bin")
    assert first is not None
    held = plain(library, first)  # keeps its table in memory, known by the id of its row
    library.remove_files(old)
    new = publish("other.mkv")
    layout = plain(library, library.entries(new).files[0])
    assert held.locate(0).extent.part.message_ids == ("0.0@x",)
    assert layout.locate(0).extent.part.message_ids == ("0.0@Film",)


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x78\x9cjunk", b"\x02" + b"\0" * 40])
def test_a_damaged_row_is_an_error_in_words(
    database: Database, library: Library, publish: Publish, damage: bytes
) -> None:
    release = publish()
    (film,) = library.entries(release).files
    with database.begin() as tx:
        tx.execute(sa.update(schema.posted_files).values(parts=damage))
        tx.execute(sa.update(schema.releases).values(nzb=damage))
    with pytest.raises(StorageError, match="a stored part table is damaged"):
        plain(library, film)
    with pytest.raises(StorageError, match="a stored NZB is damaged"):
        library.nzb(release)
    with database.begin() as tx:
        tx.execute(sa.update(schema.files).values(runs=damage))
    if damage != b"\x01":
        with pytest.raises(StorageError, match=r"stored runs of .* bytes are damaged"):
            plain(library, film)
