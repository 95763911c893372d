"""What an import leaves for Sonarr and Radarr: links that can be renamed and removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gateway.library import database as database_module
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import LinkKind, NewRelease, Release
from gateway.library.links import LinkEntry, LinkRefused, Links, remove_links
from gateway.library.schema import left_links, releases
from gateway.library.schema import links as rows

Publish = Callable[..., Release]
MakeRelease = Callable[..., NewRelease]
Linked = Callable[..., Release]


@pytest.fixture
def links(database: Database) -> Links:
    return Links(database)


@pytest.fixture
def linked(publish: Publish, make_release: MakeRelease) -> Linked:
    """Publish a release of files with these paths, and links for them."""

    def linked(*paths: str, kind: LinkKind = LinkKind.SYMLINK, **more: str) -> Release:
        return publish(replace(make_release(*paths, **more), links=kind))

    return linked


def tree(links: Links, category: str = "movies", folder: str = "") -> dict[str, Any]:
    """Return what lies in *folder* as nested dicts, the ids of files in place of links."""
    return {
        entry.name: entry.file_id or tree(links, category, entry.path)
        for entry in links.members(category, folder)
    }


def entry(links: Links, path: str, category: str = "movies") -> LinkEntry:
    found = links.find(category, path)
    assert found is not None, path
    return found


def test_a_release_has_a_folder_with_a_link_for_each_file(
    links: Links, linked: Linked, library: Library
) -> None:
    linked("film.mkv", "Subs/en/film.srt", "Subs/film.idx")
    ids = {
        path: found.id
        for path in ("film.mkv", "Subs/en/film.srt", "Subs/film.idx")
        if (found := library.file("movies", "Film", path)) is not None
    }
    assert tree(links) == {
        "Film": {
            "Subs": {
                "en": {"film.srt.rclonelink": ids["Subs/en/film.srt"]},
                "film.idx.rclonelink": ids["Subs/film.idx"],
            },
            "film.mkv.rclonelink": ids["film.mkv"],
        }
    }
    assert links.categories() == ["movies"]
    assert entry(links, "Film/Subs/en/film.srt.rclonelink").file_id == ids["Subs/en/film.srt"]
    for nothing in ("Film/x", "x", "/Film", "Film/", "film", "Film/film.mkv.rclonelink/x"):
        assert links.find("movies", nothing) is None
    assert links.find("tv", "Film") is None


def test_a_category_without_links_leaves_no_folder(links: Links, linked: Linked) -> None:
    linked("film.mkv", kind=LinkKind.NONE)
    assert links.categories() == []


def test_only_what_players_play_has_a_strm_file(links: Links, linked: Linked) -> None:
    linked("film.mkv", "film.srt", "song.mp3", "film.mp4", kind=LinkKind.STRM)
    assert list(tree(links)["Film"]) == ["film (2).strm", "film.strm", "song.strm"]


def test_names_too_long_for_the_ending_are_cut_and_stay_apart(links: Links, linked: Linked) -> None:
    long = ["ü" * 120 + f"{number}" * 10 + ".mkv" for number in range(3)]
    linked(*long)
    names = list(tree(links)["Film"])
    assert len(names) == 3
    assert all(len(name.encode()) <= 255 for name in names)
    assert all(name.endswith(".mkv.rclonelink") for name in names)


def test_removing_a_link_or_a_folder_leaves_the_release(
    links: Links, linked: Linked, library: Library, database: Database
) -> None:
    release = linked("film.mkv", "Subs/a.srt", "Subs/deep/b.srt", "Subs0/c.srt", "Subs.x/d.srt")
    links.remove(entry(links, "Film/film.mkv.rclonelink"))
    assert list(tree(links)["Film"]) == ["Subs", "Subs.x", "Subs0"]
    links.remove(entry(links, "Film/Subs"))
    left = {"Subs.x": ["d.srt.rclonelink"], "Subs0": ["c.srt.rclonelink"]}
    for seen_by in (links, Links(database)):  # the second after a restart
        assert {name: list(inside) for name, inside in tree(seen_by)["Film"].items()} == left
    links.remove(entry(links, "Film"))
    assert tree(links) == {}
    assert library.release("movies", "Film") == release
    assert library.entries(release).folders == ("Subs", "Subs.x", "Subs0")


def test_the_folders_of_other_jobs_stay(links: Links, linked: Linked) -> None:
    for name in ("Film", "Film 2", "Film.2", "Film0"):
        linked("film.mkv", name=name)
    links.remove(entry(links, "Film"))
    assert list(tree(links)) == ["Film 2", "Film.2", "Film0"]
    assert all(len(inside) == 1 for inside in tree(links).values())


def test_history_takes_the_folder_and_leaves_the_release(
    links: Links, linked: Linked, library: Library, database: Database
) -> None:
    kept, gone = linked("a.mkv", name="Kept"), linked("b.mkv", "Subs/b.srt", name="Gone")
    with database.begin() as tx:
        remove_links(tx, sa.select(releases.c.id).where(releases.c.id == gone.id), 2.0)
    assert list(tree(links)) == ["Kept"]
    assert library.release("movies", "Gone") == gone
    assert library.release("movies", "Kept") == kept


def test_a_release_takes_its_links_with_it(
    links: Links, linked: Linked, library: Library, database: Database
) -> None:
    library.remove_files(linked("film.mkv", "Subs/a.srt"))
    with database.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(rows)) == 0
    linked("film.mkv")
    assert list(tree(links)) == ["Film"]


def test_a_link_can_be_renamed_within_its_job(links: Links, linked: Linked) -> None:
    linked("film.mkv", "Subs/a.srt", "Subs/deep/b.srt")
    film = entry(links, "Film/film.mkv.rclonelink")
    links.rename(film, "Film/Subs/other.mkv.rclonelink")
    assert entry(links, "Film/Subs/other.mkv.rclonelink").file_id == film.file_id
    links.rename(entry(links, "Film/Subs"), "Film/Sübs")
    assert list(tree(links)["Film"]) == ["Sübs"]
    assert list(tree(links)["Film"]["Sübs"]) == [
        "a.srt.rclonelink",
        "deep",
        "other.mkv.rclonelink",
    ]
    assert list(tree(links)["Film"]["Sübs"]["deep"]) == ["b.srt.rclonelink"]


def test_a_link_renamed_to_another_takes_its_place(links: Links, linked: Linked) -> None:
    linked("a.mkv", "b.mkv")
    first = entry(links, "Film/a.mkv.rclonelink")
    links.rename(first, "Film/b.mkv.rclonelink")
    assert tree(links) == {"Film": {"b.mkv.rclonelink": first.file_id}}


@pytest.mark.parametrize(
    ("path", "onto"),
    [
        ("Film", "Other"),  # the history knows it by its name
        ("Film/a.mkv.rclonelink", "Other/a.mkv.rclonelink"),
        ("Film/a.mkv.rclonelink", "a.mkv.rclonelink"),
        ("Film/a.mkv.rclonelink", "Film/a.mkv"),
        ("Film/a.mkv.rclonelink", "Film/a:b.rclonelink"),
        ("Film/Subs", "Subs"),
    ],
)
def test_what_would_lead_astray_is_refused(
    links: Links, linked: Linked, path: str, onto: str
) -> None:
    linked("a.mkv", "Subs/a.srt")
    linked("a.mkv", name="Other")
    before = tree(links)
    with pytest.raises(LinkRefused):
        links.rename(entry(links, path), onto)
    assert tree(links) == before


def test_pages_of_a_great_many_jobs_come_in_order(
    links: Links, linked: Linked, database: Database
) -> None:
    release = linked("film.mkv")
    with database.begin() as tx:
        tx.execute(
            sa.insert(rows),
            [
                {
                    "release_id": release.id,
                    "category": "movies",
                    "folder": "",
                    "name": f"job {number:05}",
                    "made": 1.0,
                }
                for number in range(2_500)
            ],
        )
    names = [found.name for found in links.members("movies")]
    assert names == ["Film", *(f"job {number:05}" for number in range(2_500))]


@pytest.mark.parametrize("question", ["members", "find", "release", "file"])
def test_an_index_answers(database: Database, question: str) -> None:
    where = {
        "members": "category = 'a' AND folder = 'b' AND name > 'c' ORDER BY name LIMIT 10",
        "find": "category = 'a' AND folder = 'b' AND name = 'c'",
        "release": "release_id = 1",
        "file": "file_id = 'x'",
    }[question]
    with database.read() as tx:
        plan = tx.execute(sa.text(f"EXPLAIN QUERY PLAN SELECT * FROM links WHERE {where}")).all()
    assert [row for row in plan if "USING" not in row[3]] == []


def test_what_was_imported_before_there_were_links_gets_them(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'library.sqlite'}")
    config = Config()
    config.set_main_option("script_location", str(database_module._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as tx:
        config.attributes["connection"] = tx
        command.upgrade(config, "0003")
    engine.dispose()
    with sqlite3.connect(tmp_path / "library.sqlite") as raw:
        for number, name in enumerate(("In the history", "Forgotten"), start=1):
            raw.execute(
                "INSERT INTO releases (id, category, name, created, nzb) "
                "VALUES (?, 'tv', ?, 1, '')",
                (number, name),
            )
            raw.execute(
                "INSERT INTO files VALUES (?, ?, '', 'film.mkv', 1, 1, '', '')",
                (f"file-{number}", number),
            )
        raw.execute(
            "INSERT INTO jobs (nzo_id, name, filename, category, state, priority, position, added, "
            "size, parts_total, release_id) VALUES ('a', 'a', 'a', 'tv', 'completed', 0, 1, 1, 1, "
            "1, 1)"
        )
    raw.close()
    database = Database(f"sqlite:///{tmp_path / 'library.sqlite'}")
    try:
        found = tree(Links(database), "tv")
        assert found == {"In the history": {"film.mkv.rclonelink": "file-1"}}
    finally:
        database.close()


# When the last link of a release was taken away -------------------------------------------------


def gone(database: Database, release: Release) -> tuple[int, float | None] | None:
    query = sa.select(left_links.c.made, left_links.c.gone_at).where(
        left_links.c.release_id == release.id
    )
    with database.read() as tx:
        row = tx.execute(query).one_or_none()
    return None if row is None else (row.made, row.gone_at)


def test_it_is_known_when_the_last_link_was_taken_away(
    database: Database, linked: Linked, library: Library
) -> None:
    now = [10.0]
    links = Links(database, clock=lambda: now[0])
    film, other = linked("a.mkv", "Subs/b.srt", name="Film"), linked("c.mkv", name="Other")
    links.remove(entry(links, "Film/a.mkv.rclonelink"))
    assert gone(database, film) == (2, None)
    now[0] = 11.0
    links.remove(entry(links, "Film/Subs/b.srt.rclonelink"))
    now[0] = 12.0
    links.remove(entry(links, "Film"))
    assert gone(database, film) == (2, 11.0)
    with database.begin() as tx:
        remove_links(tx, sa.select(releases.c.id).where(releases.c.id == other.id), 13.0)
    assert gone(database, other) == (1, 13.0)
    library.remove_files(film)
    assert gone(database, film) is None


def test_a_release_without_links_has_none_to_lose(database: Database, linked: Linked) -> None:
    assert gone(database, linked("film.mkv", kind=LinkKind.NONE)) is None
    assert gone(database, linked("film.txt", name="Text", kind=LinkKind.STRM)) is None
