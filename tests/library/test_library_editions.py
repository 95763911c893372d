"""Which ETag a film with holes has: another for each set of them, and never one again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from gateway.errors import FileChanged, NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.library.entries import FileEntry, NewFile, NewPosted, NewRelease, Release
from gateway.library.health import Findings, Hole
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.extents import PartTable, Run
from gateway.streams.holes import Edition, Holes
from gateway.streams.layout import Layout

Publish = Callable[..., Release]
PARTS, PART = 400, 1_000
NOW = 1_800_000_000.25
LAYOUT = Layout(
    [Run(0, 0, PARTS * PART)], [PartTable.regular([b"a@b"] * PARTS, PARTS * PART, PART)]
)


@dataclass
class House:
    """A library whose films in *folders* are filled; `start` is another start of the program."""

    database: Database
    now: float = NOW
    changed: list[str] = field(default_factory=list)
    reported: list[tuple[str, int, int]] = field(default_factory=list)

    def start(self, *folders: str) -> None:
        self.editions = Editions(
            self.database,
            folders,
            report=lambda *hole: self.reported.append(hole),
            changed=lambda file: self.changed.append(file.id),
            clock=lambda: self.now,
        )
        self.library = Library(self.database, self.editions)
        self.records = CheckRecords(self.database, self.editions)

    def publish(
        self, name: str = "film.mkv", category: str = "movies", cipher: Cipher | None = None
    ) -> FileEntry:
        ids = [f"{number}@{category}{name}".encode() for number in range(PARTS)]
        table = PartTable.regular(ids, PARTS * PART, PART)
        run = Run(0, 0, PARTS * PART)
        stretches = (Stretch((run,), PARTS * PART, 0, cipher),) if cipher else ()
        file = NewFile(
            name, PARTS * PART, () if cipher else (run,), modified=1.5, stretches=stretches
        )
        posted = (NewPosted(name, table),)
        new = NewRelease(category, f"A {name}", 1_700_000_000.5, b"<nzb/>", posted, (file,))
        with self.database.begin() as tx:
            release = self.library.publish(tx, new)
        (entry,) = self.library.entries(release).files
        return entry

    def again(self, file: FileEntry) -> FileEntry:
        found = self.library.file_by_id(file.id)
        assert found is not None
        return found

    def holes(self, file: FileEntry) -> Holes:
        return self.library.holes(file, self.library.layout(file.id))

    def check(self, file: FileEntry, *missing: int, at: float = 5.0) -> None:
        known = self.records.of_file(file.id)
        assert known is not None
        holes = tuple(Hole(0, part, part) for part in missing)
        self.records.record(known, Findings(PARTS, len(missing), 0, holes), at)


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    house = House(database)
    house.start("movies")
    yield house
    house.library.close()


def validators(file: FileEntry) -> tuple[str, float]:
    return file.etag, file.modified


# Where nothing is filled -------------------------------------------------------------------------


def test_where_holes_are_errors_the_etag_never_changes(house: House) -> None:
    file = house.publish(category="tv")
    holes = house.holes(file)
    assert not holes.fills
    assert holes.meet([(0, 7)], LAYOUT) is False
    house.check(file, 7, 8)
    house.check(file, at=6.0)
    assert house.again(file) == file
    assert house.reported == [(file.id, 0, 7)]
    assert not house.changed


@pytest.mark.parametrize("name", ["film.srt", "film.nfo", "film.avi"])
def test_what_is_no_film_keeps_its_etag(house: House, name: str) -> None:
    file = house.publish(name)
    assert not house.holes(file).fills
    house.check(file, 7)
    assert house.again(file) == file


def test_a_film_in_an_encrypted_archive_is_not_filled_and_keeps_its_etag(house: House) -> None:
    file = house.publish(cipher=Cipher(bytes(32), bytes(16)))
    assert not house.holes(file).fills
    house.check(file, 7)
    assert house.again(file) == file


# A hole appears, a hole heals --------------------------------------------------------------------


def test_a_hole_that_a_reader_meets_is_filled_and_gives_the_file_another_etag(house: House) -> None:
    file = house.publish()
    holes = house.holes(file)
    assert house.again(file) == file  # to read changes nothing
    assert holes.meet([(0, 7)], LAYOUT) is True
    now = house.again(file)
    assert now.etag != file.etag
    assert now.modified == 1_800_000_000
    assert house.changed == [file.id]
    assert house.reported == [(file.id, 0, 7)]
    assert house.holes(now).is_filled((0, 7))
    # Met again, it is no news.
    assert holes.meet([(0, 7)], LAYOUT) is True
    assert validators(house.again(file)) == validators(now)


def test_each_hole_gives_an_etag_and_a_date_of_its_own(house: House) -> None:
    file = house.publish()
    holes = house.holes(file)
    seen = [validators(file)]
    for part in range(0, 14, 2):
        holes.meet([(0, part)], LAYOUT)
        seen.append(validators(house.again(file)))
    assert len({etag for etag, _ in seen}) == len(seen)
    dates = [int(modified) for _, modified in seen]
    assert dates == sorted(set(dates))  # all within one second of the clock


def test_a_check_that_finds_holes_or_finds_them_healed_gives_another_etag(house: House) -> None:
    file = house.publish()
    house.check(file, 7)
    holed = house.again(file)
    assert holed.etag != file.etag
    assert house.holes(holed).is_filled((0, 7))
    house.check(file, 7, at=6.0)
    assert house.again(file) == holed  # the same as before
    house.check(file, at=7.0)
    healed = house.again(file)
    assert healed.etag not in {file.etag, holed.etag}
    assert healed.modified > holed.modified
    assert not house.holes(healed).is_filled((0, 7))
    assert house.changed == [file.id, file.id]


def test_what_a_reader_met_while_a_check_was_written_stays(house: House) -> None:
    file = house.publish()
    house.holes(file).meet([(0, 7)], LAYOUT)
    house.check(file, 30)
    assert house.holes(house.again(file)).is_filled((0, 7))
    # Once the records have it too, a check may find it healed.
    house.records.add_holes(file.id, [(0, 7)], 8.0)
    etag = house.again(file).etag
    house.check(file, 30, at=9.0)
    now = house.again(file)
    assert now.etag != etag
    assert not house.holes(now).is_filled((0, 7))


def test_what_the_sink_writes_down_of_a_hole_that_is_filled_is_no_news(house: House) -> None:
    file = house.publish()
    house.holes(file).meet([(0, 7)], LAYOUT)
    now = house.again(file)
    house.records.add_holes(file.id, [(0, 7)], 8.0)
    assert house.again(file) == now


def test_a_film_beyond_the_limits_is_filled_nowhere_and_within_them_again(house: House) -> None:
    file = house.publish()
    house.check(file, *range(0, 40, 2))  # 20 of 400 articles: 5 %
    assert not house.holes(house.again(file)).is_filled((0, 2))
    house.check(file, 2, at=6.0)
    assert house.holes(house.again(file)).is_filled((0, 2))


# Who has read it ---------------------------------------------------------------------------------


def test_a_reader_under_an_older_etag_reads_on_with_what_it_has_begun(house: House) -> None:
    file = house.publish()
    early = house.holes(file)
    assert early.give((0, 3))
    early.meet([(0, 7)], LAYOUT)
    late = house.holes(house.again(file))
    assert early.meet([(0, 9)], LAYOUT) is True  # nobody else has begun under its ETag, nor can now
    assert early.meet([(0, 3)], LAYOUT) is False  # given already
    assert late.meet([(0, 11)], LAYOUT) is True
    third = house.holes(house.again(file))
    assert [third.is_filled((0, part)) for part in (3, 7, 9, 11)] == [True] * 4


def test_a_reader_goes_on_when_a_check_finds_the_holes_ahead_of_it(house: House) -> None:
    file = house.publish()
    holes = house.holes(file)
    house.check(file, 7, 9)
    assert holes.meet([(0, 7)], LAYOUT) is True


def test_whoever_looked_before_the_etag_changed_looks_again(house: House) -> None:
    file = house.publish()
    house.check(file, 7)
    with pytest.raises(FileChanged, match="ask again"):
        house.holes(file)


def test_after_a_restart_what_was_read_before_is_filled_where_that_is_known_only(
    house: House,
) -> None:
    file = house.publish()
    house.holes(file).give((0, 3))
    house.check(file, 7)
    read = house.again(file)
    house.holes(read)
    house.start("movies")
    holes = house.holes(read)
    assert holes.is_filled((0, 7))
    assert holes.meet([(0, 9)], LAYOUT) is False  # somebody may have had it
    now = house.again(file)
    assert now.etag != read.etag
    assert house.holes(now).is_filled((0, 9))
    assert house.holes(now).meet([(0, 11)], LAYOUT) is True


def test_what_nobody_has_read_is_filled_at_once_after_a_restart(house: House) -> None:
    file = house.publish()
    house.start("movies")
    assert house.holes(file).meet([(0, 9)], LAYOUT) is True


def test_two_programs_on_one_library_do_not_fill_what_the_other_may_have_given(
    house: House, database: Database
) -> None:
    file = house.publish()
    ours = house.holes(file)
    other = House(database)
    other.start("movies")
    theirs = other.holes(file)
    assert theirs.meet([(0, 7)], LAYOUT) is False
    assert ours.meet([(0, 9)], LAYOUT) is False
    assert ours.meet([(0, 7)], LAYOUT) is False
    now = house.again(file)
    assert [house.holes(now).is_filled((0, part)) for part in (7, 9)] == [True, True]
    other.library.close()


def test_of_a_removed_file_nothing_is_filled(house: House) -> None:
    file = house.publish()
    holes = house.holes(file)
    house.library.remove_files(file.release)
    assert holes.meet([(0, 7)], LAYOUT) is False
    with pytest.raises(NotInLibrary):
        house.holes(replace(file, etag="another"))


# The setting changes -----------------------------------------------------------------------------


def test_a_film_that_was_read_before_its_category_was_filled_is_not_taken_for_unread(
    house: House,
) -> None:
    house.start()
    whole, holed, text = house.publish(), house.publish("b.mkv"), house.publish("b.srt")
    house.check(holed, 7)
    house.check(text, 7)
    house.start("movies")
    assert house.again(whole) == whole
    assert house.again(text) == text
    assert house.holes(whole).meet([(0, 9)], LAYOUT) is False
    now = house.again(holed)
    assert now.etag != holed.etag
    assert house.holes(now).is_filled((0, 7))
    house.start("movies")  # nothing more happens to it
    assert house.again(holed) == now


def test_a_film_that_was_filled_gets_another_etag_when_its_category_is_not_any_more(
    house: House,
) -> None:
    whole, holed = house.publish(), house.publish("b.mkv")
    house.holes(whole)
    house.check(holed, 7)
    before = house.again(holed)
    house.start("tv")
    assert house.again(whole) == whole
    assert house.again(holed).etag != before.etag
    assert not house.holes(house.again(holed)).fills


def test_a_film_is_forgotten_with_its_release(house: House, database: Database) -> None:
    file = house.publish()
    house.check(file, 7)
    assert isinstance(house.holes(house.again(file)), Edition)
    house.library.remove_files(file.release)
    with database.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM editions").scalar_one() == 0


def test_what_is_remembered_of_a_film_does_not_keep_its_message_ids(house: House) -> None:
    file = house.publish()
    layout = house.library.layout(file.id)
    gone = weakref.ref(layout)
    holes = house.library.holes(file, layout)
    holes.meet([(0, 7)], LAYOUT)
    del layout
    gc.collect()
    assert gone() is None
    assert holes.is_filled((0, 7))
