"""What is inside a post: archives, archives in archives, pieces, passwords; and names by par2."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import rar_writer
from rar_writer import Entry, Options
from stored_archives import Named, cut, in_7z, in_rar4, in_rar5, in_zip

from gateway.demo import Fault, NewsServer, Post, make_posts
from gateway.library.catalogue import Library
from gateway.streams.streams import Streams
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor

Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]
Import = Callable[..., Item]
Read = Callable[..., dict[str, bytes]]

NAME = "Some.Film.2026.1080p"
PART = 10_000
VOLUME = 90_000
FILM = b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(400_000)
SUBTITLES = b"1\n00:00:01,000 --> 00:00:02,000\nHello\n" * 20
INNER: Named = [("Some.Film.mkv", FILM), ("Subs/Some.Film.en.srt", SUBTITLES)]
SHOWN = dict(INNER)
SECRET = "a secret"


@pytest.fixture
def import_(queue: Queue, processor: Processor, find: Find, wait_until: WaitUntil) -> Import:
    """Add an NZB, and return its item when the first attempt on it is over."""
    processor.start()

    def run(nzb: bytes, filename: str = f"{NAME}.nzb", password: str | None = None) -> Item:
        nzo_id = queue.add(nzb, filename=filename, category="movies", password=password)
        over = {State.COMPLETED, State.FAILED, State.PAUSED}
        wait_until(lambda: find(nzo_id).state in over or find(nzo_id).attempts)
        return find(nzo_id)

    return run


@pytest.fixture
def read(library: Library, streams: Streams) -> Read:
    """Read all files of a release as a viewer would, by their paths."""

    def read() -> dict[str, bytes]:
        found = library.release("movies", NAME)
        assert found is not None
        contents: dict[str, bytes] = {}

        def walk(folder: str) -> None:
            listed = library.entries(found, folder)
            for entry in listed.files:
                with streams.open(library.layout(entry.id)) as stream:
                    contents[entry.path] = stream.read()
            for name in listed.folders:
                walk(f"{folder}/{name}" if folder else name)

        walk("")
        return contents

    return read


def disguised(files: Named, seed: int = 7, *, shuffled: bool = True) -> dict[str, bytes]:
    """Return *files* under names that say nothing, in no order."""
    rng = random.Random(seed)
    contents = [data for _, data in files]
    if shuffled:
        rng.shuffle(contents)
    return {f"{rng.getrandbits(128):032x}": data for data in contents}


def posted(files: Named | Mapping[str, bytes], **options: object) -> Post:
    return make_posts(dict(files), **{"part_size": PART, **options})  # type: ignore[arg-type]


SHAPES: dict[str, Named | Mapping[str, bytes]] = {
    "RAR 4 in one file": rar_writer.rar4([Entry(*one) for one in INNER]),
    "RAR 5 in one file": rar_writer.rar5([Entry(*one) for one in INNER]),
    "RAR 4 with old names": in_rar4(INNER, VOLUME),
    "RAR 4 with new names": rar_writer.rar4([Entry(*one) for one in INNER], Options(VOLUME)),
    "RAR 5": in_rar5(INNER, VOLUME),
    "RAR 4 under useless names": disguised(in_rar4(INNER, VOLUME)),
    "RAR 5 under useless names": disguised(in_rar5(INNER, VOLUME)),
    "RAR 5 under numbers": [
        (f"film.{n:03}", data) for n, (_, data) in enumerate(in_rar5(INNER, VOLUME), 1)
    ],
    "7z": in_7z(INNER, 1 << 30),
    "7z without a number": [("film.7z", in_7z(INNER, 1 << 30)[0][1])],
    "7z in pieces": in_7z(INNER, VOLUME),
    "7z in pieces under useless names": disguised(in_7z(INNER, VOLUME), shuffled=False),
    "ZIP": in_zip(INNER, VOLUME),
    "RAR in RAR": in_rar5(in_rar4(INNER, 60_000), VOLUME),
    "RAR in 7z": in_7z(in_rar5(INNER, 60_000), VOLUME),
    "7z in ZIP in RAR": in_rar5(in_zip(in_7z(INNER, VOLUME), VOLUME), VOLUME),
    "RAR cut in pieces": cut(
        "a.rar", rar_writer.rar5([Entry(*one) for one in INNER])[0][1], VOLUME
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_stored_in_an_archive_is_shown(
    shape: str, server: NewsServer, import_: Import, read: Read
) -> None:
    post = posted(SHAPES[shape])
    server.add(post)

    item = import_(post.nzb)

    assert item.failure == ""
    assert item.size == len(FILM) + len(SUBTITLES)
    assert read() == SHOWN


ENCRYPTED: dict[str, Named] = {
    "RAR 4, data": in_rar4(INNER, VOLUME, SECRET),
    "RAR 4, headers": rar_writer.rar4(
        [Entry(*one) for one in INNER], Options(VOLUME, SECRET, encrypt_headers=True)
    ),
    "RAR 5, data": rar_writer.rar5([Entry(*one) for one in INNER], Options(VOLUME, SECRET)),
    "RAR 5, headers": in_rar5(INNER, VOLUME, SECRET),
    "7z, headers": in_7z(INNER, VOLUME, SECRET),
    "RAR 4 in encrypted 7z": in_7z(in_rar4(INNER, VOLUME), VOLUME, SECRET),
    "encrypted RAR 4 in RAR 5": in_rar5(in_rar4(INNER, VOLUME, SECRET), VOLUME),
}


@pytest.mark.parametrize("shape", ENCRYPTED)
def test_what_is_encrypted_is_shown_by_whichever_password_is_right(
    shape: str, server: NewsServer, import_: Import, read: Read
) -> None:
    post = posted(ENCRYPTED[shape], meta={"password": SECRET})
    server.add(post)

    item = import_(post.nzb, f"{NAME}{{{{not this one}}}}.nzb", password="nor this")

    assert item.failure == ""
    assert read() == SHOWN


@pytest.mark.parametrize("shape", ENCRYPTED)
@pytest.mark.parametrize("password", [None, "another"])
def test_without_the_right_password_nothing_is_published(
    shape: str,
    password: str | None,
    server: NewsServer,
    import_: Import,
    library: Library,
) -> None:
    post = posted(ENCRYPTED[shape])
    server.add(post)

    item = import_(post.nzb, password=password)

    assert item.state is State.FAILED
    assert re.search("encrypted.*password|password.*open", item.failure)
    assert SECRET not in item.failure
    assert list(library.releases("movies")) == []


def test_a_password_in_the_name_of_the_nzb_counts(
    server: NewsServer, import_: Import, read: Read
) -> None:
    post = posted(ENCRYPTED["RAR 4, data"])
    server.add(post)

    assert import_(post.nzb, f"{NAME} password={SECRET}.nzb").failure == ""
    assert read() == SHOWN


def test_an_encrypted_film_that_begins_as_no_film_is_shown_where_the_password_is_proven(
    server: NewsServer, import_: Import, read: Read
) -> None:
    files = [("A.Film.mkv", bytes(FILM[4:]))]
    post = posted(rar_writer.rar5([Entry(*one) for one in files], Options(VOLUME, SECRET)))
    server.add(post)

    assert import_(post.nzb, password=SECRET).failure == ""
    assert read() == dict(files)


@pytest.mark.parametrize("useless", [False, True])
def test_sets_of_one_post_are_kept_apart(
    useless: bool, server: NewsServer, import_: Import, read: Read
) -> None:
    episodes = {f"Some.Show.S01E0{n}.mkv": FILM[: 200_000 + n] for n in range(1, 5)}
    first, second, third, fourth = ([one] for one in episodes.items())
    volumes = [
        *rar_writer.rar5([Entry(*first[0])], Options(VOLUME), "one"),
        *rar_writer.rar4([Entry(*second[0])], Options(VOLUME, old_names=True), "two"),
        *rar_writer.rar5([Entry(*third[0])], Options(VOLUME), "three"),
        *((f"four.{name}", data) for name, data in in_7z(fourth, 1 << 30)),
    ]
    files = disguised(volumes) if useless else dict(volumes)
    post = posted({**files, "Some.Show.txt": b"a show"})
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == {**episodes, "Some.Show.txt": b"a show"}


def test_pieces_of_plain_files_are_joined(server: NewsServer, import_: Import, read: Read) -> None:
    other = bytes(reversed(FILM))
    pieces = cut("Some.Film.mkv", FILM, VOLUME) + cut("Some.Film", other, VOLUME)
    random.Random(1).shuffle(pieces)
    post = posted({**dict(pieces), "Some.Film.2019": b"of a year"})
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == {"Some.Film.mkv": FILM, "Some.Film": other, "Some.Film.2019": b"of a year"}


def test_a_missing_volume_is_named(server: NewsServer, import_: Import, library: Library) -> None:
    for volumes, words in (
        (in_rar5(INNER, VOLUME), 'volume 3 of the RAR archive "archive" is missing'),
        (in_7z(INNER, VOLUME), '1 of 5 pieces are not in the post: "archive.7z.003"'),
        (cut("a.mkv", FILM, VOLUME), '1 of 5 pieces are not in the post: "a.mkv.003"'),
    ):
        post = posted(volumes[:2] + volumes[3:])
        server.add(post)

        item = import_(post.nzb)

        assert item.state is State.FAILED
        assert words in item.failure
    assert list(library.releases("movies")) == []


def test_of_volumes_that_do_not_say_it_the_end_of_a_7z_is_missed(
    server: NewsServer, import_: Import
) -> None:
    post = posted(in_7z(INNER, VOLUME)[:-1])
    server.add(post)

    item = import_(post.nzb)

    assert item.state is State.FAILED
    assert "the last of them are missing" in item.failure


def test_pieces_that_are_posted_twice_are_joined_once(
    server: NewsServer, import_: Import, read: Read
) -> None:
    pieces = in_7z(INNER, VOLUME)
    upper = [(name.upper(), data) for name, data in pieces[1:3]]
    post = posted(pieces + upper)
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == SHOWN


def test_volumes_that_are_posted_twice_are_shown_once(
    server: NewsServer, import_: Import, read: Read
) -> None:
    volumes = in_rar5(INNER, VOLUME)
    post = posted({**dict(volumes), **disguised(volumes[:2])})
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == SHOWN


def test_a_small_archive_that_cannot_be_opened_is_shown_beside_the_rest(
    server: NewsServer, import_: Import, read: Read, said: list[str]
) -> None:
    subtitles = [Entry("subs.idx", bytes(9_000), method=3)]
    ((_, packed),) = rar_writer.rar4(subtitles)
    post = posted({**dict(in_rar5(INNER, VOLUME)), "Some.Film.Subs.rar": packed})
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == {**SHOWN, "Some.Film.Subs.rar": packed}
    assert any('"Some.Film.Subs.rar" is shown as it is' in line for line in said)


def test_a_disguised_film_takes_the_name_of_its_job_and_its_subtitles_with_it(
    server: NewsServer, import_: Import, read: Read
) -> None:
    disguise = "8b5cf0e1a2d94b7c8b5cf0e1a2d94b7c"
    files = [
        (f"folder/{disguise}.mkv", FILM),
        (f"folder/{disguise}.en.srt", SUBTITLES),
        ("folder/Other.srt", SUBTITLES),
    ]
    post = posted(in_rar5(files, VOLUME))
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == {
        f"folder/{NAME}.mkv": FILM,
        f"folder/{NAME}.en.srt": SUBTITLES,
        "folder/Other.srt": SUBTITLES,
    }


def test_a_film_without_an_extension_gets_the_one_of_its_contents(
    server: NewsServer, import_: Import, read: Read
) -> None:
    post = posted(in_rar5([("8b5cf0e1a2d94b7c", FILM)], VOLUME))
    server.add(post)

    assert import_(post.nzb).failure == ""
    assert read() == {f"{NAME}.mkv": FILM}


def test_what_is_encrypted_in_something_encrypted_is_refused(
    server: NewsServer, import_: Import
) -> None:
    post = posted(in_7z(in_rar4(INNER, VOLUME, SECRET), VOLUME, SECRET))
    server.add(post)

    item = import_(post.nzb, password=SECRET)

    assert item.state is State.FAILED
    assert 'storage "download"' in item.failure


@pytest.mark.system("par2")
@pytest.mark.parametrize("part_size", [10_000, 50_000])
@pytest.mark.parametrize("disguise", ["of all but the par2 files", "of everything"])
def test_names_that_par2_alone_knows_are_the_right_ones(
    part_size: int, disguise: str, tmp_path: Path, server: NewsServer, import_: Import, read: Read
) -> None:
    files = {
        **{f"Some.Show.S01E0{n}.mkv": bytes([n]) + FILM[n:] for n in range(1, 4)},
        **dict(cut("Some.Extra.7z", in_7z(INNER, 1 << 30)[0][1], 150_000)),
        "Some.Show.txt": b"a show",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = ["par2", "create", "-q", "-q", "-s20000", "-r5", "Some.Show.par2", *files]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    par2s = [(path.name, path.read_bytes()) for path in sorted(tmp_path.glob("*.par2"))]
    shown = [*files.items()]
    if disguise == "of everything":
        post = posted(disguised(shown + par2s), part_size=part_size)
    else:
        post = posted({**disguised(shown), **dict(par2s)}, part_size=part_size)
    server.add(post)

    assert import_(post.nzb).failure == ""
    bodies = server.counts.commands["BODY"]
    pieces = [name for name in files if ".7z." in name]
    assert read() == {**{k: v for k, v in files.items() if k not in pieces}, **SHOWN}
    # Of the volumes with recovery data no more than the first article is fetched.
    assert bodies <= len(post.files) + (2 * len(files) if part_size < 16_384 else 0) + 6


@pytest.mark.system("par2")
def test_par2_files_that_cannot_be_had_or_read_merely_tell_no_names(
    tmp_path: Path, server: NewsServer, import_: Import, read: Read
) -> None:
    (tmp_path / "Some.Film.mkv").write_bytes(FILM)
    command = ["par2", "create", "-q", "-q", "-s20000", "-r5", "Film.par2", "Some.Film.mkv"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    index = (tmp_path / "Film.par2").read_bytes()
    post = posted({"Some.Film.mkv": FILM, "A.par2": index, "B.par2": index, "C.par2": b"none"})
    server.add(post.without(*post.files[1].message_ids))
    server.fail(Fault.DAMAGED, post.files[2].message_ids[0])

    assert import_(post.nzb).failure == ""
    assert read() == {"Some.Film.mkv": FILM}
