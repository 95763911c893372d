"""Archives on the disk unpacked, with the programs that people have."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
import rar_writer
import rarfile
import seven_zip
import stored_archives

from gateway.errors import (
    ImportFailed,
    IncompletePost,
    StorageError,
    StorageFull,
    StorageGone,
    UnsupportedArchive,
    WrongPassword,
)
from gateway_queue.unpacking import programs, rar_archive
from gateway_queue.unpacking import seven_zip as seven_zip_module
from gateway_queue.unpacking.bounds import Bounds
from gateway_queue.unpacking.unpack import unpack

ARCHIVES = Path(__file__).parent.parent / "peers" / "rarfile_archives"
FILM = random.Random(1).randbytes(300_123)
TEXT = b"a line of a text that can be made smaller\n" * 4000
FILES = {"Some.Film.mkv": FILM, "Subs/Some.Film.srt": TEXT}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, data in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def seven(post: Path, archive: str, *options: str, files: dict[str, bytes] = FILES) -> None:
    """Make with 7-Zip the *archive* of *files* in *post*."""
    source = post.parent.parent.parent / "source"
    shutil.rmtree(source, ignore_errors=True)
    write(source, files.items())
    seven_zip.run(
        "a", *options, post / archive, *sorted(path.name for path in source.iterdir()), cwd=source
    )


def without_programs(monkeypatch: pytest.MonkeyPatch, *kept: str) -> None:
    find = programs.find

    def found(*names: str) -> Path | None:
        return find(*(name for name in names if name in kept))

    monkeypatch.setattr(programs, "find", found)


# What is unpacked ----------------------------------------------------------------------------


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize(
    ("archive", "options"),
    [
        ("film.7z", ["-mx=1"]),
        ("film.7z", ["-mx=5", "-ms=on", "-m0=ppmd"]),
        ("film.7z", ["-mx=0"]),
        ("film.7z", ["-mx=1", "-v70k"]),
        ("film.zip", ["-mx=5"]),
        ("film.zip", ["-mx=1", "-v70k"]),
        ("-film.7z", ["-mx=1"]),
        ("@film.zip", ["-mx=1"]),
        ("8f3ac1d0", ["-t7z", "-mx=1"]),
    ],
)
def test_what_7zip_packs_comes_out_as_it_was(
    post: Path, done: Path, archive: str, options: list[str]
) -> None:
    seven(post, archive, *options)
    if archive == "8f3ac1d0" and (post / "8f3ac1d0.7z").exists():
        (post / "8f3ac1d0.7z").rename(post / archive)
    (post / "film.nfo").write_bytes(b"beside it")
    before = contents(post)

    found = unpack(post, done)

    assert contents(done) == {**FILES, "film.nfo": b"beside it"}
    assert sorted(found) == sorted(path for path in done.rglob("*") if path.is_file())
    assert contents(post) == before


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize(
    ("archive", "password", "options"),
    [
        ("film.7z", "sec rét", ["-mx=1"]),
        ("film.7z", "sec rét", ["-mx=1", "-mhe=on"]),
        ("film.7z", "sec rét", ["-mx=1", "-mhe=on", "-v90k"]),
        ("film.zip", "sec rit", ["-mx=1", "-mem=AES256"]),
        ("film.zip", "sec rit", ["-mx=1", "-mem=ZipCrypto"]),
    ],
)
def test_passwords_are_tried_in_order_and_shown_to_nobody(
    post: Path,
    done: Path,
    archive: str,
    password: str,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seven(post, archive, f"-p{password}", *options)
    commands: list[list[str]] = []
    popen = subprocess.Popen

    def spied(command: list[str], **options: object) -> object:
        commands.append(command)
        return popen(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", spied)

    with pytest.raises(WrongPassword, match="no password is known"):
        unpack(post, done)
    with pytest.raises(WrongPassword, match="no known password opens it"):
        unpack(post, done, passwords=["wrong", "-wrong"])
    assert contents(done) == {}
    unpack(post, done, passwords=["wrong\0", "", "\ud800", "two\nlines", password, "another"])

    assert contents(done) == FILES
    assert commands
    assert not [part for command in commands for part in command if password in part]


RARS = sorted(
    path
    for path in ARCHIVES.glob("*.rar")
    if path.name not in ("rar5-evil-symlink-traversal.rar", "rar3-old.rar")
    and not path.name.startswith(("rar5-vols", "rar202", "rar15"))
    and "symlink" not in path.name
)


@pytest.mark.system("unar", "bsdtar")
@pytest.mark.parametrize("archive", RARS, ids=lambda path: path.stem)
def test_what_rar_packed_comes_out_as_it_was(post: Path, done: Path, archive: Path) -> None:
    shutil.copy(archive, post)
    reader = rarfile.RarFile(archive)
    reader.setpassword("password")
    listed = {
        one.filename: one
        for one in reader.infolist()
        if one.is_file() and not one.filename.endswith(";1")
    }

    unpack(post, done, passwords=["password"])

    unpacked = contents(done)
    assert {name.replace("_", "") for name in unpacked} >= {
        name.replace("_", "") for name in listed
    }
    for name, one in listed.items():
        assert len(unpacked[name]) == one.file_size
        if one.CRC and not one.needs_password():  # links have none
            assert zlib.crc32(unpacked[name]) == one.CRC


@pytest.mark.system("unar", "bsdtar")
@pytest.mark.parametrize("program", ["unar", "bsdtar"])
@pytest.mark.parametrize("names", ["rar3-old.r*", "rar5-vols.part*"])
def test_volumes_are_found_by_programs_whatever_they_are_called(
    post: Path, done: Path, names: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = rar_archive.listing
    monkeypatch.setattr(
        rar_archive, "listing", lambda *args: (listing(*args)[0], False)
    )  # as if compressed
    without_programs(monkeypatch, program)
    for number, path in enumerate(sorted(ARCHIVES.glob(names), reverse=True)):
        shutil.copy(path, post / f"{number}f8a3c.bin")

    unpack(post, done)

    assert {name: len(data) for name, data in contents(done).items()} == {
        "vols/bigfile.txt": 205_000,
        "vols/smallfile.txt": 2_050,
    }


@pytest.mark.parametrize("pack", [stored_archives.in_rar5, stored_archives.in_rar4])
@pytest.mark.parametrize("password", [None, "secret"])
def test_what_rar_only_stores_comes_out_without_any_program(
    post: Path,
    done: Path,
    pack: Callable[[stored_archives.Named, int, str | None], stored_archives.Named],
    password: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_programs(monkeypatch)
    write(post, pack([*FILES.items()], 90_000, password))

    if password:
        with pytest.raises(WrongPassword, match="no known password opens it"):
            unpack(post, done, passwords=["wrong"])
    unpack(post, done, passwords=["wrong", "secret"])

    assert contents(done) == FILES


def test_pieces_are_put_together(post: Path, done: Path) -> None:
    write(post, stored_archives.cut("Some.Film.mkv", FILM, 100_000))

    unpack(post, done)

    assert contents(done) == {"Some.Film.mkv": FILM}


@pytest.mark.system(seven_zip.NAMES)
def test_archives_in_archives_are_unpacked_too(post: Path, done: Path) -> None:
    inner = stored_archives.in_rar5([*FILES.items()], 90_000)
    middle = stored_archives.in_zip(inner, 1 << 30)
    seven(post, "outer.7z", "-mx=1", "-v99k", files={"a.zip": middle[0][1], "b.nfo": b"text"})

    unpack(post, done)

    assert contents(done) == {**FILES, "b.nfo": b"text"}


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize("write", [rar_writer.rar4, rar_writer.rar5])
def test_what_rar_stores_under_names_that_no_two_files_can_have_comes_out(
    post: Path, done: Path, write: Callable[..., list[tuple[str, bytes]]]
) -> None:
    names = ["a.mkv", "a.mkv", "A.MKV", "a.mkv/b.mkv", "\u00e9.mkv", "e\u0301.mkv"]
    entries = [rar_writer.Entry(name, name.encode()) for name in [*names, "\u0416" * 150 + ".mkv"]]
    for volume, data in write(entries, rar_writer.Options()):
        (post / volume).write_bytes(data)

    found = unpack(post, done)

    assert sorted(path.read_bytes() for path in found) == sorted(entry.data for entry in entries)
    assert sorted(path.relative_to(done).as_posix() for path in found) == sorted(
        [
            "a.mkv",
            "a (2).mkv",
            "A (3).MKV",
            "a.mkv (2)/b.mkv",
            "\u00e9.mkv",
            "e\u0301 (2).mkv",
            "\u0416" * 125 + ".mkv",
        ]
    )


def test_several_archives_of_one_post_may_have_files_of_one_name(post: Path, done: Path) -> None:
    seven(post, "one.7z", "-mx=1", files={"cd.iso": FILM, "a": b"file"})
    seven(post, "two.7z", "-mx=1", files={"CD.iso": TEXT, "a/b": b"in a folder"})

    unpack(post, done)

    assert contents(done) == {
        "CD.iso": TEXT,
        "cd (2).iso": FILM,
        "a": b"file",
        "a (2)/b": b"in a folder",
    }


@pytest.mark.system(seven_zip.NAMES)
def test_thousands_of_files_come_out(post: Path, done: Path) -> None:
    with zipfile.ZipFile(post / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3_000):
            archive.writestr(f"{number % 100}/{number}.txt", b"text")

    assert len(unpack(post, done)) == 3_000


def test_what_is_no_archive_appears_as_it_is_and_par2_does_not(post: Path, done: Path) -> None:
    plain = {"a:b.mkv": FILM, "book.epub": b"PK\x03\x04book", "film.tar": b"tar", "CON.txt": b"x"}
    write(post, [*plain.items(), ("film.par2", b"PAR2\0PKT")])

    unpack(post, done)

    assert contents(done) == {
        "a_b.mkv": FILM,
        "book.epub": b"PK\x03\x04book",
        "film.tar": b"tar",
        "_CON.txt": b"x",
    }
    assert (done / "a_b.mkv").stat().st_ino == (post / "a:b.mkv").stat().st_ino


# What is refused -----------------------------------------------------------------------------


@pytest.mark.system(seven_zip.NAMES)
def test_a_small_archive_that_cannot_be_opened_is_kept_as_it_is(post: Path, done: Path) -> None:
    write(post, [("film.mkv", FILM), ("subs.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100))])

    unpack(post, done)

    assert [*contents(done)] == ["film.mkv", "subs.7z"]


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize(("archive", "kept"), [("film.7z", 2), ("film.7z", 3), ("film.zip", 3)])
def test_missing_volumes_are_an_incomplete_post(
    post: Path, done: Path, archive: str, kept: int
) -> None:
    seven(post, archive, "-mx=0", "-v70k")
    volumes = sorted(post.iterdir())
    volumes[kept].unlink()

    with pytest.raises(IncompletePost):
        unpack(post, done)

    assert contents(done) == {}


@pytest.mark.system(seven_zip.NAMES)
def test_damage_is_said_to_be_damage(post: Path, done: Path) -> None:
    seven(post, "film.7z", "-mx=0")
    data = bytearray((post / "film.7z").read_bytes())
    data[200_000] ^= 1
    (post / "film.7z").write_bytes(data)

    with pytest.raises(ImportFailed, match="damaged"):
        unpack(post, done)

    assert contents(done) == {}


def test_damage_of_what_is_only_stored_is_noticed(post: Path, done: Path) -> None:
    ((name, data),) = stored_archives.in_rar5([*FILES.items()], 1 << 30)
    write(post, [(name, data[:200_000] + b"\0\0\0\0" + data[200_004:])])

    with pytest.raises(ImportFailed, match="CRC-32"):
        unpack(post, done)


def test_damage_of_what_is_encrypted_and_stored_is_noticed(post: Path, done: Path) -> None:
    # The archive states no CRC-32, which would tell of the file, but a MAC of it.
    entries = [rar_writer.Entry(*one) for one in FILES.items()]
    ((name, data),) = rar_writer.rar5(entries, rar_writer.Options(password="secret"))
    write(post, [(name, data)])
    unpack(post, done, passwords=["secret"])
    assert contents(done) == FILES
    shutil.rmtree(done)

    write(post, [(name, data[:200_000] + b"\0\0\0\0" + data[200_004:])])
    with pytest.raises(ImportFailed, match="damaged"):
        unpack(post, done, passwords=["secret"])


@pytest.mark.parametrize(
    ("archive", "package"), [("rar5-solid.rar", "unar"), ("rar5-psw.rar", "unrar")]
)
def test_what_nothing_here_unpacks_names_what_to_install(
    post: Path, done: Path, archive: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_programs(monkeypatch)
    shutil.copy(ARCHIVES / archive, post)

    with pytest.raises(UnsupportedArchive, match=f"install .*{package}"):
        unpack(post, done, passwords=["password"])


def test_without_7zip_the_package_is_named(
    post: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_programs(monkeypatch)
    write(post, stored_archives.in_7z([*FILES.items()], 1 << 30))

    with pytest.raises(ImportFailed, match="install 7zip"):
        unpack(post, done)


@pytest.mark.system("unar", "bsdtar")
def test_a_wrong_password_of_a_compressed_rar_is_told(post: Path, done: Path) -> None:
    shutil.copy(ARCHIVES / "rar5-psw.rar", post)

    with pytest.raises(WrongPassword, match="no password is known"):
        unpack(post, done)
    with pytest.raises(WrongPassword, match="no known password"):
        unpack(post, done, passwords=["wrong"])


@pytest.mark.system(seven_zip.NAMES)
def test_a_disk_without_room_is_said_before_anything_is_written(post: Path, done: Path) -> None:
    seven(post, "film.7z", "-mx=1")

    with pytest.raises(StorageFull, match="becomes 468,123 bytes, and 0 are free"):
        unpack(post, done, bounds=Bounds(reserve=1 << 60))


def test_a_disk_that_becomes_full_is_said_to_be_full(
    post: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(post, stored_archives.in_rar5([*FILES.items()], 90_000))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rar_archive, "_copy", full)

    with pytest.raises(StorageFull, match="is full"):
        unpack(post, done)

    assert contents(done) == {}


def test_a_disk_that_goes_away_under_a_program_is_no_verdict_on_its_archive(
    post: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = zipfile.ZipFile(post / "film.zip", "w")
    with pack:
        pack.writestr("film.mkv", b"film")
    away = done.with_name("away")

    def extract(*_: object) -> None:
        done.rename(away)
        raise UnsupportedArchive("7z cannot unpack it: Read-only file system")

    monkeypatch.setattr(seven_zip_module, "extract", extract)
    try:
        with pytest.raises(StorageGone, match="is the disk mounted, and may the gateway write"):
            unpack(post, done)
    finally:
        shutil.rmtree(away)


def test_nothing_is_unpacked_into_a_folder_that_has_something(post: Path, done: Path) -> None:
    write(done, [("film.mkv", b"another")])

    with pytest.raises(StorageError, match="is not empty"):
        unpack(post, done)

    assert contents(done) == {"film.mkv": b"another"}


@pytest.mark.system(seven_zip.NAMES)
def test_what_is_raised_while_a_program_works_ends_it(post: Path, done: Path) -> None:
    before = psutil.Process().children()
    seven(post, "film.7z", "-mx=1")

    class Cancelled(Exception):
        pass

    seen = itertools.count()

    def progress(part: float) -> None:
        assert 0 <= part <= 1
        if next(seen):
            raise Cancelled

    with pytest.raises(Cancelled):
        unpack(post, done, progress=progress)

    assert psutil.Process().children() == before
    assert [*done.iterdir()] == []
    unpack(post, done)
    assert contents(done) == FILES


def test_progress_grows_to_one(post: Path, done: Path) -> None:
    write(post, stored_archives.in_rar5([*FILES.items()], 90_000))
    seen: list[float] = []

    unpack(post, done, progress=seen.append)

    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("old_names", [True, False])
def test_rar_volumes_have_the_names_that_their_headers_promise(
    tmp_path: Path, old_names: bool
) -> None:
    entries = [rar_writer.Entry("film.mkv", bytes(40_000))]
    volumes = rar_writer.rar4(entries, rar_writer.Options(400, old_names=old_names))
    assert len(volumes) > 102  # beyond .r99
    write(tmp_path, volumes)

    names = rar_archive.link_names([tmp_path / name for name, _ in volumes])

    if old_names:
        assert names == [name for name, _ in volumes]
    else:
        assert names == [f"archive.part{n:05}.rar" for n in range(1, len(volumes) + 1)]
