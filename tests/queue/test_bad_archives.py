"""Archives that are cut short, lie, loop or explode: none is published, each says why."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable

import pytest
import rar_writer
from rar_writer import Entry, Options
from stored_archives import Named, cut, in_7z, in_rar4, in_rar5, in_zip

from gateway.demo import NewsServer, make_posts
from gateway.library.catalogue import Library
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor

Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]
Import = Callable[..., Item]

PART = 10_000
WHOLE = 1 << 30
FILM = b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(200_000)
INNER: Named = [("Some.Film.mkv", FILM), ("Some.Film.srt", b"subtitles" * 50)]
GOOD = in_rar5(INNER, 60_000)


@pytest.fixture
def import_(
    server: NewsServer, queue: Queue, processor: Processor, find: Find, wait_until: WaitUntil
) -> Import:
    """Post files, add the NZB, and return the item when the first attempt on it is over."""
    processor.start()

    def run(files: Named, part_size: int = PART) -> Item:
        post = make_posts(dict(files), part_size=part_size)
        server.add(post)
        nzo_id = queue.add(post.nzb, filename="Some.Film.2026.nzb", category="movies")
        over = {State.COMPLETED, State.FAILED, State.PAUSED}
        wait_until(lambda: find(nzo_id).state in over or find(nzo_id).attempts)
        return find(nzo_id)

    return run


def shortened(files: Named, by: int) -> Named:
    """Return *files*, the last of them without its last bytes."""
    return [*files[:-1], (files[-1][0], files[-1][1][:-by])]


def deflated(*sizes: int) -> Named:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, size in enumerate(sizes):
            archive.writestr(f"film{number}.mkv", bytes(size))
    return [("film.zip", target.getvalue())]


def overlapping() -> Named:
    """Return a ZIP whose hundred files are all the same bytes (as of David Fifield's bombs)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("film.mkv", FILM)
        (entry,) = archive.filelist
        for number in range(100):
            other = replace_name(entry, f"film{number}.mkv")
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
    return [("film.zip", target.getvalue())]


def replace_name(entry: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    other = zipfile.ZipInfo(name, entry.date_time)
    other.header_offset, other.CRC = entry.header_offset, entry.CRC
    other.compress_size, other.file_size = entry.compress_size, entry.file_size
    return other


def zip_that_says(size: int) -> Named:
    ((name, data),) = in_zip(INNER[:1], WHOLE)
    at = data.index(b"PK\1\2") + 20
    return [(name, data[:at] + struct.pack("<II", size, size) + data[at + 8 :])]


def deep(levels: int) -> Named:
    files = INNER
    for _ in range(levels):
        files = in_zip(files, WHOLE)
        files = [("film.zip", files[0][1])]
    return files


def looping() -> Named:
    """Return volumes of RAR 4 that go on in one another for ever: 1, 2, 3, 2, 3."""
    names = [name for name, _ in in_rar4([INNER[0]], 30_000)]
    volumes = [data for _, data in in_rar4([INNER[0]], 30_000)]
    order = [0, 1, 2, 1, 2, 1, 2]
    return [(names[place], volumes[number]) for place, number in enumerate(order)]


def lying(size: int, *, rar: int) -> Named:
    write = rar_writer.rar4 if rar == 4 else rar_writer.rar5
    return write([Entry("Some.Film.mkv", FILM, size=size)], Options(60_000))


BAD: dict[str, tuple[Named, str]] = {
    "RAR 4 cut short": (shortened(in_rar4(INNER, WHOLE), 9_000), "cut short|end|has .* bytes"),
    "RAR 5 cut short": (shortened(in_rar5(INNER, WHOLE), 9_000), "cut short|end|has .* bytes"),
    "a volume of RAR 5 cut short": (
        [GOOD[0], (GOOD[1][0], GOOD[1][1][:-20_000]), *GOOD[2:]],
        "cut short|end|bytes",
    ),
    "7z cut short": (shortened(in_7z(INNER, WHOLE), 9), "the last of them are missing"),
    "ZIP cut short": (shortened(in_zip(INNER, WHOLE), 30), "its end may be missing"),
    "a 7z of one piece of three": (in_7z(INNER, 70_000)[:1], "the last of them are missing"),
    "nothing but the beginning of a 7z": (
        [("a.7z", in_7z(INNER, WHOLE)[0][1][:20])],
        "ends within",
    ),
    "RAR 4 of a lying size": (lying(9_999_999, rar=4), "states 9,999,999 bytes"),
    "RAR 5 of a lying size": (lying(1 << 40, rar=5), "states 1,099,511,627,776 bytes"),
    "RAR 5 of no size": (lying(5, rar=5), "states 5 bytes"),
    "ZIP of a lying size": (zip_that_says(1 << 30), "the ZIP lies"),
    "ZIP of a smaller size": (zip_that_says(1), "the ZIP lies"),
    "looping volumes": (looping(), "do not fit|missing|damaged|two|same"),
    "one volume under every name": (
        [(f"a.part{number}.rar", GOOD[1][1]) for number in range(1, 6)],
        "missing|do not fit",
    ),
    "compressed RAR": (
        rar_writer.rar5([Entry("Some.Film.mkv", FILM, method=3)]),
        r'compressed .*m3.* storage "download"',
    ),
    "a ZIP of a gigabyte of zeros": (deflated(1 << 27), r'Deflate.* storage "download"'),
    "a ZIP whose files are one another": (overlapping(), "is within another file"),
    "six archives in one another": (deep(6), "more than 5 archives lie in one another"),
    "an archive of nothing": (in_zip([], WHOLE), "hold no files"),
    "a page that is called a RAR": ([("film.rar", b"<html>" * 9_000)], "is no RAR volume"),
    "a page that is called a 7z": ([("film.7z", b"<html>" * 9_000)], "no 7z archive"),
    "a page that is called a ZIP": ([("film.zip", b"<html>" * 9_000)], "cannot be read"),
    "pieces that are there twice": (
        [*cut("film.mkv", FILM, 60_000), ("FILM.mkv.002", FILM[:50_000])],
        "are the same piece",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_archive_fails_its_item_and_says_why(
    bad: str, import_: Import, library: Library
) -> None:
    files, words = BAD[bad]

    item = import_(files)

    assert item.state is State.FAILED, item
    assert re.search(words, item.failure), item.failure
    assert len(item.failure) < 600
    assert list(library.releases("movies")) == []
    # And the next one is imported.
    assert import_(GOOD).state is State.COMPLETED


@pytest.mark.parametrize("packed", [in_rar4, in_rar5, in_7z, in_zip])
def test_ten_thousand_entries_are_shown(
    packed: Callable[[Named, int], Named], import_: Import, library: Library
) -> None:
    entries = [(f"{number // 100}/{number}.mp3", b"%d" % number) for number in range(10_000)]

    item = import_(packed(entries, WHOLE), part_size=100_000)

    assert item.failure == ""
    release = library.release("movies", "Some.Film.2026")
    assert release is not None
    assert len(library.entries(release, "99").files) == 100


def test_whatever_is_damaged_fails_for_good_or_is_shown_and_never_surprises(
    import_: Import, said: list[str]
) -> None:
    rng = random.Random(5)
    shapes = [
        in_rar4(INNER, 60_000),
        GOOD,
        in_7z(INNER, WHOLE),
        in_zip(INNER, WHOLE),
        in_rar5(in_7z(INNER, WHOLE), 60_000),
    ]
    for number in range(60):
        files = list(shapes[number % len(shapes)])
        place = rng.randrange(len(files))
        name, data = files[place]
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 3, 20])):
            # Where headers are: at the beginning and at the end.
            at = rng.choice([rng.randrange(200), -1 - rng.randrange(300)])
            damaged[at % len(damaged)] = rng.randrange(256)
        files[place] = (name, bytes(damaged))

        item = import_(files)

        assert item.state in (State.COMPLETED, State.FAILED), (number, item.note)
    assert not any("fault of the gateway" in line for line in said)
