"""Stored RAR archives: every shape that is posted is mapped, byte for byte, from its headers."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from zlib import crc32

import pytest
import sabctools
from cryptography.hazmat.primitives.ciphers import Cipher as AesCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given, settings
from hypothesis import strategies as st
from rar_writer import MODIFIED, Entry, Options, rar4, rar5

from gateway.errors import ImportFailed, IncompletePost, UnsupportedArchive, WrongPassword
from gateway.nzb import rar, rar_keys
from gateway.nzb.archive import Inner, Stretch, Volume
from gateway.nzb.nesting import view, volume_of

NOISE = random.Random(7).randbytes(20_000)
FILM = Entry("film/film.mkv", NOISE[:9001])
ENTRIES = [
    FILM,
    Entry("film/empty.nfo"),
    Entry("film/subs/ünïcödé €.srt", NOISE[:77]),
    Entry("film/subs", is_directory=True),
    Entry("film/sixteen.bin", NOISE[:16]),
    Entry("film/extra.mkv", NOISE[1:3001]),
]
IN_VOLUMES = Options(volume_size=1500)
PASSWORD = "geheim"
SHAPES = [
    Options(size, password, headers, comment, old, shift=3)
    for size, (password, headers), comment, old in itertools.product(
        (None, 1500),
        ((None, False), (PASSWORD, False), (PASSWORD, True)),
        (b"", b"posted by nobody"),
        (False, True),
    )
]

Writer = Callable[..., list[tuple[str, bytes]]]
Named = Sequence[tuple[str, bytes]]
both_formats = pytest.mark.parametrize("write", [rar4, rar5], ids=["RAR 4", "RAR 5"])


class Counting(io.BytesIO):
    """A file that knows how many bytes of it were read, and the furthest of them."""

    read_bytes = 0
    furthest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        self.furthest = max(self.furthest, self.tell())
        return data


def volumes_of(named: Named) -> list[Volume]:
    return [Volume(name, len(data), Counting(data)) for name, data in named]


def counter(volume: Volume) -> Counting:
    assert isinstance(volume.file, Counting)
    return volume.file


def shuffled(named: Named) -> list[tuple[str, bytes]]:
    return random.Random(len(named)).sample(named, len(named))


def nameless(named: Named) -> list[tuple[str, bytes]]:
    """Return volumes under names that tell nothing, in an order that tells nothing."""
    source = random.Random(3)
    return shuffled([(source.randbytes(16).hex(), volume) for _, volume in named])


def plain(inner: Inner, named: Named) -> bytes:
    return b"".join(_plain(stretch, named) for stretch in inner.stretches)


def _plain(stretch: Stretch, named: Named) -> bytes:
    stored = b"".join(
        named[run.posted][1][run.offset : run.offset + run.length] for run in stretch.runs
    )
    assert len(stored) == sum(run.length for run in stretch.runs)
    if stretch.cipher is not None:
        key, iv = stretch.cipher
        stored = AesCipher(AES(key), CBC(iv)).decryptor().update(stored)
    return stored[stretch.skip : stretch.skip + stretch.length]


def contents(named: Named, password: str | None = None) -> dict[str, bytes]:
    """Return what `read` finds in *named*, by name."""
    found = rar.read(volumes_of(named), password)
    assert all(inner.size == len(plain(inner, named)) for inner in found)
    assert len({inner.name for inner in found}) == len(found)
    return {inner.name: plain(inner, named) for inner in found}


EXPECTED = {entry.name: entry.data for entry in ENTRIES if not entry.is_directory}


# Shapes --------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_every_file_of_every_shape_is_mapped(write: Writer, options: Options) -> None:
    named = shuffled(write(ENTRIES, options))
    assert contents(named, options.password) == EXPECTED


@both_formats
@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_times_and_checksums_of_whole_files_are_told(write: Writer, options: Options) -> None:
    found = rar.read(volumes_of(write(ENTRIES, options)), options.password)
    # RAR 5 states a MAC in the place of the checksum, if others could read it.
    hidden = write is rar5 and options.password and not options.encrypt_headers
    for inner in found:
        assert inner.modified == MODIFIED
        wanted = crc32(EXPECTED[inner.name])
        assert inner.crc32 == (None if hidden and inner.size else wanted)


@both_formats
@pytest.mark.parametrize("locked", [False, True])
def test_an_archive_that_extracts_itself_is_mapped(write: Writer, locked: bool) -> None:
    options = Options(password=PASSWORD if locked else None, encrypt_headers=locked)
    [(_, archive)] = write(ENTRIES, options)
    program = b"MZ" + bytes(70_000)
    assert contents([("film.exe", program + archive)], options.password) == EXPECTED


@both_formats
def test_a_file_of_unknown_size_is_as_large_as_what_is_stored(write: Writer) -> None:
    piped = replace(FILM, size_is_unknown=True)
    assert contents(write([piped], IN_VOLUMES)) == {FILM.name: FILM.data}


@given(
    st.lists(st.integers(0, 900), min_size=1, max_size=6),
    st.integers(430, 900),
    st.sampled_from([(None, False), (PASSWORD, False), (PASSWORD, True)]),
    st.booleans(),
)
@settings(max_examples=60)
@both_formats
def test_files_and_volumes_of_any_size_are_mapped(
    write: Writer, sizes: list[int], volume_size: int, lock: tuple[str | None, bool], named: bool
) -> None:
    entries = [Entry(f"{n}.bin", NOISE[n : n + size]) for n, size in enumerate(sizes)]
    volumes = write(entries, Options(volume_size, *lock, shift=1))
    volumes = shuffled(volumes) if named else nameless(volumes)
    assert contents(volumes, lock[0]) == {entry.name: entry.data for entry in entries}


@both_formats
def test_ten_thousand_entries_are_mapped(write: Writer) -> None:
    entries = [Entry(f"{number}.txt", b"%d" % number) for number in range(10_000)]
    found = contents(write(entries, Options(volume_size=100_000)))
    assert found == {entry.name: entry.data for entry in entries}


@both_formats
@pytest.mark.parametrize("around", [rar4, rar5], ids=["in RAR 4", "in RAR 5"])
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_an_archive_in_an_archive_is_mapped(
    write: Writer, around: Writer, password: str | None
) -> None:
    """The volumes of the outer one are so small that headers of the inner one lie in two."""
    options = Options(900, password, password is not None, shift=1)
    inside = [Entry(name, volume) for name, volume in write(ENTRIES, options)]
    outer = volumes_of(nameless(around(inside, replace(options, volume_size=370))))
    inner = [volume_of(found, outer) for found in rar.read(outer, password)]
    found = rar.read(inner, password)
    assert {one.name: view(one, inner).read() for one in found} == EXPECTED


# Which volumes, in which order ---------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("options", [one for one in SHAPES if one.volume_size], ids=str)
def test_volumes_are_ordered_by_their_headers_when_names_say_nothing(
    write: Writer, options: Options
) -> None:
    assert contents(nameless(write(ENTRIES, options)), options.password) == EXPECTED


@both_formats
def test_volumes_are_ordered_by_their_headers_when_names_lie(write: Writer) -> None:
    named = write(ENTRIES, IN_VOLUMES)
    names = [name for name, _ in named]
    lying = [*zip([*names[1:], names[0]], (volume for _, volume in named), strict=True)]
    assert contents(lying) == EXPECTED


@pytest.mark.parametrize(("write", "one", "other"), [(rar4, 2, -2), (rar5, 2, -2), (rar5, 2, 3)])
def test_names_that_were_swapped_do_not_swap_the_volumes(
    write: Writer, one: int, other: int
) -> None:
    """In RAR 4 two volumes in the middle of one file are told apart by their names alone."""
    named = write(ENTRIES, IN_VOLUMES)
    named[one], named[other] = (named[other][0], named[one][1]), (named[one][0], named[other][1])
    assert contents(named) == EXPECTED


@both_formats
def test_volumes_that_all_have_one_name_are_told_apart(write: Writer) -> None:
    assert contents([("film.rar", one) for _, one in write(ENTRIES, IN_VOLUMES)]) == EXPECTED


@pytest.mark.parametrize("old_names", [False, True])
def test_volumes_without_a_number_are_ordered_by_name(old_names: bool) -> None:
    options = replace(IN_VOLUMES, numbered=False, old_names=old_names)
    assert contents(shuffled(rar4(ENTRIES, options))) == EXPECTED


def test_volumes_without_a_number_and_with_strange_names_are_ordered_as_people_count() -> None:
    named = rar4([FILM], replace(IN_VOLUMES, numbered=False))
    strange = [(f"film-{number}-of-7", volume) for number, (_, volume) in enumerate(named, 8)]
    assert contents(shuffled(strange)) == {FILM.name: FILM.data}


def test_more_than_a_hundred_volumes_of_the_old_naming_are_ordered() -> None:
    film = Entry("film.mkv", NOISE)
    named = rar4([film], Options(volume_size=230, old_names=True, numbered=False))
    assert named[-1][0].endswith((".s00", ".s40", ".s41", ".s42")) or len(named) > 101
    assert contents(shuffled(named)) == {film.name: film.data}


@both_formats
@pytest.mark.parametrize("disguise", [shuffled, nameless])
def test_sets_of_one_post_are_kept_apart(
    write: Writer, disguise: Callable[[Named], list[tuple[str, bytes]]]
) -> None:
    other = Entry("other/other.mkv", NOISE[5000:13_000])
    sub = Entry("subs.idx", NOISE[100:300])
    posted = [
        write(ENTRIES, IN_VOLUMES, "film"),
        write([other], IN_VOLUMES, "other"),
        write([sub], Options(), "subs"),
    ]
    named = disguise([volume for volumes in posted for volume in volumes])
    assert contents(named) == {**EXPECTED, other.name: other.data, sub.name: sub.data}
    found = rar.sets(volumes_of(named), None)
    together = [{named[index][1] for index in one} for one in found]
    assert all({volume for _, volume in volumes} in together for volumes in posted)
    assert len(together) == len(posted)


@both_formats
def test_sets_whose_volumes_have_the_same_names_are_kept_apart(write: Writer) -> None:
    other = Entry("other.mkv", NOISE[5000:13_000])
    named = shuffled([*write(ENTRIES, IN_VOLUMES), *write([other], IN_VOLUMES)])
    assert contents(named) == {**EXPECTED, other.name: other.data}


@both_formats
def test_sets_that_hold_a_file_of_the_same_name_are_kept_apart(write: Writer) -> None:
    again = replace(FILM, data=bytes(reversed(FILM.data)))
    named = shuffled([*write([FILM], IN_VOLUMES, "a"), *write([again], IN_VOLUMES, "b")])
    found = rar.read(volumes_of(named), None)
    assert {plain(inner, named) for inner in found} == {FILM.data, again.data}


@both_formats
@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_volume_that_was_posted_twice_counts_once(write: Writer, number: int) -> None:
    named = write(ENTRIES, IN_VOLUMES)
    copy = named[number]
    assert contents(shuffled([*named, copy])) == EXPECTED
    assert contents(shuffled([*named, ("repost", copy[1])])) == EXPECTED
    assert contents(nameless([*named, copy])) == EXPECTED


def test_recovery_volumes_are_none() -> None:
    named = [*rar5(ENTRIES, IN_VOLUMES), ("archive.part1.rev", b"Rar!\x1aRev" + NOISE[:900])]
    assert contents(named) == EXPECTED
    assert rar.sets(volumes_of(named), None) == [[*range(len(named) - 1)]]


# What is missing -----------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("disguise", [shuffled, nameless])
@pytest.mark.parametrize(
    ("lacking", "said"),
    [((0,), "volume 1 of"), ((4,), "volume 5 of"), ((0, 1, 5), "volumes 1, 2, 6 of")],
)
def test_it_is_said_which_volume_is_missing(
    write: Writer,
    old_names: bool,
    disguise: Callable[[Named], list[tuple[str, bytes]]],
    lacking: tuple[int, ...],
    said: str,
) -> None:
    named = write(ENTRIES, replace(IN_VOLUMES, old_names=old_names))
    there = [one for number, one in enumerate(named) if number not in lacking]
    with pytest.raises(IncompletePost, match=said):
        rar.read(volumes_of(disguise(there)), None)


@both_formats
@pytest.mark.parametrize("disguise", [shuffled, nameless])
@pytest.mark.parametrize("there", [1, 2, 8])
def test_a_missing_end_is_noticed(
    write: Writer, disguise: Callable[[Named], list[tuple[str, bytes]]], there: int
) -> None:
    named = disguise(write(ENTRIES, IN_VOLUMES)[:there])
    with pytest.raises(IncompletePost, match=f"volume {there + 1} of .*only {there} "):
        rar.read(volumes_of(named), None)


@both_formats
def test_a_volume_that_is_cut_short_is_noticed(write: Writer) -> None:
    named = write(ENTRIES, IN_VOLUMES)
    name, volume = named[2]
    with pytest.raises(IncompletePost, match=r'part0?3.*" is cut short: it has 800 bytes'):
        rar.read(volumes_of([*named[:2], (name, volume[:800]), *named[3:]]), None)


# Passwords -----------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("headers", [False, True])
@pytest.mark.parametrize("size", [None, 1500])
def test_without_a_password_it_is_said_that_none_is_known(
    write: Writer, headers: bool, size: int | None
) -> None:
    named = write(ENTRIES, Options(size, PASSWORD, headers))
    for none in (None, ""):
        with pytest.raises(WrongPassword, match="no password is known"):
            rar.read(volumes_of(named), none)


@pytest.mark.parametrize(("write", "headers"), [(rar4, True), (rar5, False), (rar5, True)])
@pytest.mark.parametrize("size", [None, 1500])
def test_a_wrong_password_is_refused_where_the_archive_can_tell(
    write: Writer, headers: bool, size: int | None
) -> None:
    named = write(ENTRIES, Options(size, PASSWORD, headers))
    with pytest.raises(WrongPassword, match="the known password does not open") as refusal:
        rar.read(volumes_of(named), "falsch")
    assert "falsch" not in str(refusal.value)


def test_a_wrong_password_for_data_of_rar_4_shows_in_the_checksum_alone() -> None:
    named = rar4(ENTRIES, Options(password=PASSWORD))
    film = rar.read(volumes_of(named), "falsch")[0]
    assert crc32(plain(film, named)) != film.crc32


@both_formats
@pytest.mark.parametrize("headers", [False, True])
def test_a_key_is_derived_once_for_all_volumes_and_files(
    write: Writer, headers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    derived: list[object] = []
    for module, name in ((sabctools, "rarfile_rar3_s2k"), (hashlib, "pbkdf2_hmac")):
        monkeypatch.setattr(module, name, _counted(getattr(module, name), derived))
    named = nameless(write(ENTRIES, Options(1500, PASSWORD, headers)))
    derived.clear()
    contents(named, PASSWORD)
    assert len(derived) == (1 if write is rar4 else 2)  # RAR 5: the key, and what checks it


def _counted(derive: Callable[..., object], calls: list[object]) -> Callable[..., object]:
    def counted(*args: object) -> object:
        calls.append(args)
        return derive(*args)

    return counted


def test_an_archive_cannot_ask_for_hours_of_key_derivation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = rar_keys.RarKeys(PASSWORD)
    for shift in (27, 40, 255):
        with pytest.raises(UnsupportedArchive, match="rounds of key derivation"):
            keys.rar5(bytes(16), shift)
    monkeypatch.setattr(rar_keys, "_MOST_ROUNDS", 300_000)
    for number in range(4):
        keys.rar3(bytes([number] * 8))
    with pytest.raises(UnsupportedArchive, match="rounds of key derivation"):
        keys.rar3(bytes([4] * 8))
    named = rar5([FILM], Options(password=PASSWORD, shift=18))
    with pytest.raises(UnsupportedArchive, match="rounds of key derivation"):
        rar.read(volumes_of(named), PASSWORD)


def test_a_password_of_any_characters_is_no_error() -> None:
    named = rar5(ENTRIES, Options(password=PASSWORD))
    for password in ("\ud800", "x" * 1000, "\U0001f600" * 100, "\0"):
        with pytest.raises(WrongPassword):
            rar.read(volumes_of(named), password)


# What cannot be shown ------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("size", [None, 1500])
def test_a_compressed_film_is_refused_with_its_method(write: Writer, size: int | None) -> None:
    named = write([*ENTRIES[1:], replace(FILM, method=3)], Options(size))
    with pytest.raises(UnsupportedArchive, match=r'film.mkv" is compressed .*m3.*"download"'):
        rar.read(volumes_of(named), None)


@both_formats
def test_a_compressed_note_beside_a_stored_film_is_left_out(write: Writer) -> None:
    note = Entry("note.nfo", NOISE[:2000], method=5)
    assert contents(write([note, *ENTRIES], IN_VOLUMES)) == EXPECTED


@both_formats
def test_an_unknown_method_is_refused(write: Writer) -> None:
    named = write([replace(FILM, method=7)], Options())
    with pytest.raises(UnsupportedArchive, match="an unknown method"):
        rar.read(volumes_of(named), None)


def test_links_and_older_versions_are_left_out() -> None:
    link = Entry("link.mkv", target="film/film.mkv")
    old = Entry("film/film.mkv", NOISE[:4000], old_version=True)
    assert contents(rar5([link, old, *ENTRIES], IN_VOLUMES)) == EXPECTED
    assert contents(rar4([old, *ENTRIES], IN_VOLUMES)) == EXPECTED


@both_formats
def test_sizes_that_lie_are_noticed(write: Writer) -> None:
    for size in (9000, 9002, 5_000_000_000):
        named = write([replace(FILM, size=size)], IN_VOLUMES)
        with pytest.raises(ImportFailed, match=rf"states {size:,} bytes.* 9,001 are there"):
            rar.read(volumes_of(named), None)


@both_formats
def test_an_absurd_number_of_entries_is_refused(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rar, "_MOST_BLOCKS", 200)
    entries = [Entry(f"{number}.txt") for number in range(200)]
    for size in (None, 1500):
        with pytest.raises(ImportFailed, match="more entries than can be"):
            rar.read(volumes_of(write(entries, Options(size))), None)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (b"", ImportFailed, "is no RAR volume"),
        (NOISE, ImportFailed, "is no RAR volume"),
        (b"RE~^" + NOISE, UnsupportedArchive, "RAR 1.4"),
        (b"Rar!\x1a\x07\x00", ImportFailed, "no main header"),
        (b"Rar!\x1a\x07\x01\x00", ImportFailed, "no main header"),
        (b"Rar!\x1a\x07\x00" + NOISE, ImportFailed, "no main header"),
    ],
)
def test_what_is_no_archive_is_refused(data: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        rar.read(volumes_of([("a.rar", data)]), None)


def test_rar_5_without_its_end_is_refused() -> None:
    [(name, archive)] = rar5(ENTRIES, Options())
    for cut in (1, 8, 60):
        with pytest.raises(ImportFailed):
            rar.read(volumes_of([(name, archive[:-cut])]), None)


# What it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, PASSWORD])
@both_formats
def test_of_a_volume_in_the_middle_of_a_file_only_the_beginning_is_read(
    write: Writer, password: str | None
) -> None:
    film = Entry("film.mkv", NOISE * 10)
    options = Options(10_000, password, password is not None)
    volumes = volumes_of(write([film], options))
    rar.read(volumes, password)
    assert len(volumes) > 20
    assert max(counter(volume).furthest for volume in volumes[:-1]) < 400
    assert max(counter(volume).read_bytes for volume in volumes) < 800


@both_formats
def test_headers_alone_are_read_when_names_say_nothing(write: Writer) -> None:
    volumes = volumes_of(nameless(write([Entry("film.mkv", NOISE * 10)], Options(10_000))))
    rar.read(volumes, None)
    assert max(counter(volume).read_bytes for volume in volumes) < 800


def test_the_ends_that_will_be_read_are_told_before() -> None:
    volumes = volumes_of(nameless(rar4([Entry("film.mkv", NOISE)], IN_VOLUMES)))
    told: list[list[tuple[int, int]]] = []

    def ahead(places: list[tuple[int, int]]) -> None:
        assert not any(counter(volumes[index]).furthest > place for index, place in places)
        told.append(places)

    rar.read(volumes, None, ahead=ahead)
    [places] = told
    assert len(places) == len(volumes) - 2  # the first says that it is, the last is read anyway
    assert all(volumes[index].size - place < 30 for index, place in places)
    rar.read(volumes_of(rar4(ENTRIES, IN_VOLUMES)), None, ahead=told.append)
    rar.read(volumes_of(nameless(rar5(ENTRIES, IN_VOLUMES))), None, ahead=told.append)
    assert len(told) == 1
