"""The library as its keeper sees it: what is known of releases, page by page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import LinkKind, NewFile, NewRelease, Release
from gateway.library.health import Health
from gateway.library.links import Links
from gateway.library.overview import Overview
from gateway.library.schema import checks, files, last_reads
from gateway.library.summaries import LinkState, Order, Summary, Wanted

Publish = Callable[..., Release]
MakeRelease = Callable[..., NewRelease]


@pytest.fixture
def overview(database: Database) -> Overview:
    return Overview(database)


@pytest.fixture
def linked(publish: Publish, make_release: MakeRelease) -> Publish:
    def linked(*paths: str, **more: str) -> Release:
        return publish(replace(make_release(*paths, **more), links=LinkKind.SYMLINK))

    return linked


def judge(database: Database, release: Release, name: str, verdict: Health) -> None:
    of = sa.select(files.c.id).where(files.c.release_id == release.id, files.c.name == name)
    with database.begin() as tx:
        tx.execute(
            sa.update(checks)
            .where(checks.c.file_id == of.scalar_subquery())
            .values(verdict=verdict.value, checked_at=1.0, decided_at=1.0)
        )


def names(overview: Overview, wanted: Wanted | None = None) -> list[str]:
    return [one.name for one in overview.page(wanted or Wanted()).found]


def only(overview: Overview) -> Summary:
    (found,) = overview.page(Wanted()).found
    return found


@pytest.mark.parametrize("order", list(Order))
def test_pages_tell_every_release_once_in_their_order(
    overview: Overview, publish: Publish, make_release: MakeRelease, order: Order
) -> None:
    for number in range(7):
        category = "movies" if number % 2 else "tv"
        new = make_release(name=f"Film {number}", category=category)
        # Two of each moment, and none that a decimal number could tell exactly.
        publish(replace(new, created=0.1 * (number // 2)))
    found: list[Summary] = []
    after: str | None = None
    while True:
        page = overview.page(Wanted(order=order), after=after, limit=3)
        found += page.found
        after = page.after
        if after is None:
            break
    assert len({one.id for one in found}) == len(found) == 7
    if order is Order.NAME:
        assert found == sorted(found, key=lambda one: (one.category, one.name))
    else:
        assert found == sorted(found, key=lambda one: (-one.added, -one.id))


@pytest.mark.parametrize(("order", "after"), [(Order.NAME, "x"), (Order.ADDED, "movies/x")])
def test_a_place_of_another_order_is_refused(overview: Overview, order: Order, after: str) -> None:
    with pytest.raises(ValueError, match="goes on after"):
        overview.page(Wanted(order=order), after=after)


def test_what_is_known_of_a_release_is_summed_up(
    database: Database, overview: Overview, linked: Publish, tmp_path: Path
) -> None:
    release = linked("film.mkv", "Subs/film.srt")
    one = only(overview)
    assert (one.files, one.size, one.on_disk, one.has_password) == (2, 50, 0, True)
    assert (one.health, one.links, one.links_left) == (Health.UNKNOWN, LinkState.WAITING, 2)
    assert (one.last_read, one.keys) == (None, ())
    judge(database, release, "film.mkv", Health.HEALTHY)
    assert only(overview).health is Health.UNKNOWN  # the other one was never checked
    judge(database, release, "film.srt", Health.DEGRADED)
    assert only(overview).health is Health.DEGRADED
    keys = overview.page(Wanted(), keys=True).found[0].keys
    assert [(len(key.id), key.disk) for key in keys] == [(32, None), (32, None)]
    with database.begin() as tx:
        tx.execute(sa.insert(last_reads), [{"file_id": key.id, "at": 5.0} for key in keys])
    assert only(overview).last_read == 5.0


def test_a_release_whose_links_are_all_gone_is_unlinked(
    database: Database, overview: Overview, linked: Publish, publish: Publish
) -> None:
    linked("a.mkv", name="Taken")
    linked("a.mkv", name="Waiting")
    publish("a.mkv", name="Never had any")
    links = Links(database, clock=lambda: 9.0)
    taken = links.find("movies", "Taken/a.mkv.rclonelink")
    assert taken is not None
    links.remove(taken)
    (found,) = overview.page(Wanted(unlinked=True)).found
    assert (found.name, found.links, found.links_gone_at) == ("Taken", LinkState.GONE, 9.0)
    states = {one.name: one.links for one in overview.page(Wanted()).found}
    assert states["Never had any"] is LinkState.NONE


def test_what_was_read_or_added_since_is_not_unread(
    database: Database, overview: Overview, publish: Publish, library: Library
) -> None:
    (old, *_), _ = library.entries(publish(name="Old")).files, publish(name="Unread")
    with database.begin() as tx:
        tx.execute(sa.insert(last_reads), {"file_id": old.id, "at": 1_800_000_000.0})
    assert names(overview, Wanted(unread_since=1_700_000_001.0)) == ["Unread"]
    assert names(overview, Wanted(unread_since=1_800_000_001.0)) == ["Old", "Unread"]
    assert names(overview, Wanted(unread_since=1_600_000_000.0)) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("film", ["100% Film", "Film_1", "film 2"]),
        ("*_1", ["Film_1"]),
        ("FILM?*", ["Film_1", "film 2"]),
        ("0%", ["100% Film"]),
        ("tv/", ["Series"]),
        ("movies/*2", ["film 2"]),
        ("\\", []),
    ],
)
def test_a_pattern_is_part_of_a_name_or_a_whole_one(
    overview: Overview, publish: Publish, pattern: str, found: list[str]
) -> None:
    for name in ("100% Film", "Film_1", "film 2"):
        publish(name=name)
    publish(name="Series", category="tv")
    assert names(overview, Wanted(pattern=pattern)) == found


def test_releases_are_found_by_their_health(
    database: Database, overview: Overview, publish: Publish
) -> None:
    for health in Health:
        judge(database, publish("film.mkv", name=health.value), "film.mkv", health)
    for health in Health:
        assert names(overview, Wanted(health=health)) == [health.value]


def test_all_that_is_known_of_a_release_is_told(
    database: Database, overview: Overview, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "film.mkv"
    new = NewRelease(
        "movies",
        "Film",
        1.0,
        b"<nzb/>" * 100,
        (),
        (NewFile("film.mkv", 7, folder="a", disk=path),),
        links=LinkKind.SYMLINK,
    )
    with database.begin() as tx:
        release = library.publish(tx, new)
    found = overview.details(release.id)
    assert found is not None
    assert found.links == ("movies/Film/a/film.mkv.rclonelink",)
    assert found.nzb_stored < 60
    (file,) = found.files
    assert (file.health.file.path, file.disk, file.last_read) == ("a/film.mkv", str(path), None)
    assert library.file_by_number(file.number) == file.health.file
    assert found.summary.on_disk == 1
    assert overview.details(release.id + 1) is None


def test_a_page_asks_as_often_however_many_releases_it_has(
    database: Database, overview: Overview, publish: Publish
) -> None:
    asked = 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    counts = []
    sa.event.listen(database.engine, "before_cursor_execute", count)
    for number in (1, 20):
        for one in range(number):
            publish("a.mkv", "b.mkv", name=f"Film {number} {one}")
        asked = 0
        overview.page(Wanted(), keys=True)
        counts.append(asked)
    sa.event.remove(database.engine, "before_cursor_execute", count)
    assert counts[0] == counts[1] <= 6
