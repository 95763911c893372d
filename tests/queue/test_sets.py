"""Which files of a post belong together, and what a password proves."""

from __future__ import annotations

import io
import random
import struct

import pytest
import rar_writer
from rar_writer import Entry, Options
from stored_archives import in_7z

from gateway.errors import WrongPassword
from gateway.nzb import rar, sevenzip
from gateway.nzb.archive import Inner, Volume
from gateway_queue import passwords
from gateway_queue.contents import kind_of
from gateway_queue.sets import Candidate, arrange

MKV = b"\x1a\x45\xdf\xa3" + bytes(60)
RAR = b"Rar!\x1a\x07\x01\x00"
NOISE = random.Random(1).randbytes(64)


def candidate(name: str, size: int = 100, head: bytes = b"", place: int | None = None) -> Candidate:
    return Candidate(name, kind_of([name], head), size, head, place)


def nameless(*pieces: tuple[int, bytes]) -> list[Candidate]:
    rng = random.Random(2)
    return [
        candidate(f"{rng.getrandbits(128):032x}", size, head, place)
        for place, (size, head) in enumerate(pieces, 1)
    ]


def arranged(files: list[Candidate]) -> tuple[list[tuple[str, tuple[int, ...]]], list[int]]:
    sets, plain = arrange(files)
    return [(one.kind.value, one.members) for one in sets], plain


@pytest.mark.parametrize(
    ("names", "sets", "plain"),
    [
        (["a.mkv", "a.nfo"], [], [0, 1]),
        (["a.rar", "a.r00", "b.part1.rar"], [("RAR", (0, 1, 2))], []),
        (["a.7z.001", "b.7z.001", "a.7z.002"], [("split file", (0, 2)), ("split file", (1,))], []),
        (["a.7z", "b.7z"], [("7z", (0,)), ("7z", (1,))], []),
        (["a.zip", "a.z02", "a.z01", "b.zip"], [("ZIP", (2, 1, 0)), ("ZIP", (3,))], []),
        (["a.mkv.001", "A.MKV.002", "a.mkv"], [("split file", (0, 1))], [2]),
        (["The.Show.101", "The.Show.102", "The.Show.103"], [], [0, 1, 2]),
        (["a.mkv.003"], [("split file", (0,))], []),
        (["a.bin.001", "a.bin.003"], [("split file", (0, 1))], []),
        (["Film.2019", "Film.2020"], [], [0, 1]),
        (["a b.001", "a b.002", "a b.2019"], [("split file", (0, 1))], [2]),
        (["a b.001"], [], [0]),
        (["a.par2", "a.mkv"], [], [1]),
    ],
)
def test_names_tell_what_belongs_together(
    names: list[str], sets: list[tuple[str, tuple[int, ...]]], plain: list[int]
) -> None:
    assert arranged([candidate(name) for name in names]) == (sets, plain)


def test_rar_volumes_under_numbers_are_volumes_and_no_pieces() -> None:
    files = [candidate(f"a.{n:03}", 100, RAR) for n in (1, 2, 3)]
    assert arranged(files) == ([("RAR", (0, 1, 2))], [])
    # But one RAR that was cut is pieces.
    files[1:] = [candidate(f"a.{n:03}", 100, NOISE) for n in (2, 3)]
    assert arranged(files) == ([("split file", (0, 1, 2))], [])


def test_pieces_without_names_are_put_together_by_their_sizes() -> None:
    files = nameless((100, MKV), (100, NOISE), (100, NOISE), (40, NOISE), (7, MKV), (100, NOISE))
    assert arranged(files) == ([("split file", (0, 1, 2, 3))], [4, 5])


@pytest.mark.parametrize(
    "pieces",
    [
        [(100, MKV), (40, NOISE)],  # subtitles, perhaps
        [(100, MKV), (100, MKV)],
        [(100, MKV), (101, NOISE)],
        [(100, NOISE), (100, NOISE)],
    ],
)
def test_what_may_be_several_files_stays_several(pieces: list[tuple[int, bytes]]) -> None:
    assert arranged(nameless(*pieces)) == ([], [0, 1])


def test_pieces_that_nobody_counts_are_not_guessed_at() -> None:
    files = nameless((100, MKV), (100, NOISE), (100, NOISE))
    uncounted = [candidate(one.name, one.size, one.head) for one in files]
    assert arranged(uncounted) == ([], [0, 1, 2])


def seven_zip_of(size: int) -> bytes:
    return b"7z\xbc\xaf\x27\x1c\0\4" + bytes(4) + struct.pack("<QQ", size - 32 - 10, 10) + bytes(40)


def test_a_7z_says_how_many_pieces_it_has() -> None:
    files = nameless((100, seven_zip_of(140)), (40, NOISE), (40, NOISE))
    assert arranged(files) == ([("split file", (0, 1))], [2])
    files = nameless((100, seven_zip_of(200)), (100, NOISE), (100, NOISE))
    assert arranged(files) == ([("split file", (0, 1))], [2])
    files = nameless((100, seven_zip_of(900)), (100, NOISE), (100, NOISE))
    assert arranged(files) == ([("7z", (0,))], [1, 2])


# Passwords -----------------------------------------------------------------------------------

FILM = MKV + random.Random(1).randbytes(90_000)


def read(made: list[tuple[str, bytes]], *known: str) -> list[Inner]:
    volumes = [Volume(name, len(data), io.BytesIO(data)) for name, data in made]

    def reader(password: str | None) -> list[Inner]:
        if made[0][1].startswith(b"Rar!"):
            return rar.read(volumes, password)
        return sevenzip.read(volumes, password)

    return passwords.read(reader, volumes, known)


def rar4(*entries: Entry) -> list[tuple[str, bytes]]:
    return rar_writer.rar4(entries, Options(password="right"))


@pytest.mark.parametrize(
    "entry",
    [
        Entry("film.mkv", FILM),  # begins as it should
        Entry("8c1e", FILM),  # begins as something does
        Entry("readme.txt", b"a small file has a CRC"),
        Entry("film.part1.rar", RAR + bytes(50_000)),
    ],
)
def test_a_password_that_rar_4_cannot_tell_is_held_against_its_files(entry: Entry) -> None:
    made = rar4(entry)
    right = read(made, "right")
    assert read(made, "wrong", "right", "worse") == right
    if entry.name != "8c1e":
        with pytest.raises(WrongPassword, match=r"\(2 are known\)"):
            read(made, "wrong", "worse")


def test_where_nothing_tells_the_first_password_will_do() -> None:
    made = rar4(Entry("image.bin", random.Random(2).randbytes(50_000)))
    assert read(made, "first", "second") == read(made, "first")


def test_a_password_that_is_proven_counts_more_than_what_a_film_looks_like() -> None:
    films = [("film.mkv", NOISE * 2000)]
    made = rar_writer.rar5([Entry(*film) for film in films], Options(password="right"))
    assert read(made, "wrong", "right") == read(made, "right")
    assert [one.name for one in read(in_7z(films, 1 << 30, "right"), "right")] == ["film.mkv"]


def test_without_any_password_the_reader_says_so() -> None:
    with pytest.raises(WrongPassword, match="no password is known"):
        read(rar4(Entry("film.mkv", FILM)))


def test_an_archive_that_is_not_encrypted_takes_any_password() -> None:
    assert read(rar_writer.rar4([Entry("film.mkv", FILM)]), "one", "two")[0].size == len(FILM)
