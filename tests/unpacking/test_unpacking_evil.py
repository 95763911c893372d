"""Archives that mean harm: nothing is ever written, read or left outside of the target."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import py7zr
import pytest
import rar_writer
import seven_zip as seven_zip_program

from gateway.errors import GatewayError, ImportFailed
from gateway_queue.unpacking import seven_zip
from gateway_queue.unpacking.bounds import Bounds, Entry
from gateway_queue.unpacking.gathering import gather
from gateway_queue.unpacking.unpack import unpack
from gateway_queue.unpacking.workroom import workroom

ARCHIVES = Path(__file__).parent.parent / "peers" / "rarfile_archives"
NULLS = bytes(3 << 20)

pytestmark = pytest.mark.system(seven_zip_program.NAMES)


def zipped(*entries: tuple[str, int, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, data in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3  # Unix
            info.external_attr = mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


LINK, PIPE, FILE = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    "entries",
    [
        [("../secret", FILE, b"evil")],
        [("a/../../../secret", FILE, b"evil")],
        [("..\\..\\secret", FILE, b"evil")],
        [("/etc/evil", FILE, b"evil")],
        [("C:\\evil", FILE, b"evil")],
        [("up", LINK, b".."), ("up/../secret", FILE, b"evil")],
        [("up", LINK, b"../.."), ("up/secret", FILE, b"evil")],
        [("UP", LINK, b"../.."), ("up/secret", FILE, b"evil")],
        [("secret.txt", LINK, b"../../../../secret")],
        [("pipe", PIPE, b"")],
    ],
    ids=lambda entries: entries[-1][0],
)
def test_a_zip_that_leads_outside_is_refused_whole(
    post: Path, done: Path, entries: list[tuple[str, int, bytes]]
) -> None:
    (post / "film.zip").write_bytes(zipped(("film.mkv", FILE, b"film"), *entries))

    with pytest.raises(ImportFailed):
        unpack(post, done)

    assert [*done.iterdir()] == []


def test_an_absolute_link_becomes_nothing(post: Path, done: Path) -> None:
    entries = [("film.mkv", FILE, b"film"), ("passwd", LINK, b"/etc/passwd")]
    (post / "film.zip").write_bytes(zipped(*entries))

    try:
        unpack(post, done)
    except ImportFailed:
        assert [*done.iterdir()] == []
    else:  # some 7-Zips point it into the folder, where nothing is
        assert [path.name for path in done.iterdir()] == ["film.mkv"]


@pytest.mark.parametrize("name", ["../evil.mkv", "/tmp/evil.mkv"])
def test_a_7z_that_leads_outside_is_refused(post: Path, done: Path, name: str) -> None:
    with py7zr.SevenZipFile(post / "film.7z", "w") as archive:
        archive.writestr(b"evil" * 9, "x" * len(name))
    # py7zr writes no such name: the header is not compressed if asked not to be.
    with py7zr.SevenZipFile(post / "film.7z", "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(b"evil" * 9, "x" * len(name))
    data = (post / "film.7z").read_bytes()
    old, new = ("x" * len(name)).encode("utf-16-le"), name.encode("utf-16-le")
    assert old in data
    (post / "film.7z").write_bytes(checked(data.replace(old, new)))

    with pytest.raises(ImportFailed, match="outside of it"):
        unpack(post, done)


def checked(data: bytes) -> bytes:
    """Return a 7z whose header was changed, with checksums that are right again."""
    from zlib import crc32

    offset, length = (int.from_bytes(data[at : at + 8], "little") for at in (12, 20))
    header = data[32 + offset : 32 + offset + length]
    start = data[12:28] + crc32(header).to_bytes(4, "little")
    return data[:8] + crc32(start).to_bytes(4, "little") + start + data[32:]


@pytest.mark.parametrize("write", [rar_writer.rar4, rar_writer.rar5])
@pytest.mark.parametrize("name", ["../secret", "/etc/evil", "a/../../secret", "a\x01b"])
def test_a_rar_that_leads_outside_is_refused(
    post: Path, done: Path, name: str, write: Callable[..., list[tuple[str, bytes]]]
) -> None:
    for volume, data in write([rar_writer.Entry(name, b"evil")], rar_writer.Options()):
        (post / volume).write_bytes(data)

    with pytest.raises(ImportFailed):
        unpack(post, done)

    assert [*done.iterdir()] == []


@pytest.mark.system("unar", "bsdtar")
@pytest.mark.parametrize(
    "archive", ["rar5-evil-symlink-traversal", "rar3-symlink-unix", "rar5-symlink-unix"]
)
def test_links_in_a_rar_lead_nowhere(post: Path, done: Path, archive: str) -> None:
    shutil.copy(ARCHIVES / f"{archive}.rar", post)

    with pytest.raises(ImportFailed, match="outside of it"):
        unpack(post, done)

    assert [*done.iterdir()] == []


def test_a_tar_is_not_unpacked_at_all(post: Path, done: Path) -> None:
    with tarfile.open(post / "film.tar", "w") as archive:
        for name, kind in (("../secret", tarfile.REGTYPE), ("null", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)

    unpack(post, done)

    assert [path.name for path in done.iterdir()] == ["film.tar"]


# What programs may leave behind --------------------------------------------------------------


def test_links_within_become_files_and_rights_those_of_new_files(outside: Path) -> None:
    out = outside / "mine" / "done"
    (out / "a").mkdir(parents=True)
    (out / "a" / "film.mkv").write_bytes(b"film")
    (out / "a" / "film.mkv").chmod(0o4777)
    (out / "copy.mkv").symlink_to("a/film.mkv")
    (out / "folder").symlink_to("a")
    (out / "nothing").symlink_to("b")
    (out / "loop").symlink_to("loop")
    (out / "a").chmod(0)

    found = gather(out, "film.rar")

    assert [path.name for path in found] == ["film.mkv", "copy.mkv"]
    assert not [path for path in out.rglob("*") if path.is_symlink()]
    new = out / "new"
    new.touch()
    assert {path.stat().st_mode for path in found} == {new.stat().st_mode}


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("../../secret"),
        lambda path: path.symlink_to(path.parent / ".." / ".." / "secret"),
        lambda path: path.hardlink_to(path.parent.parent.parent / "secret"),
        lambda path: os.mkfifo(path),
        lambda path: (
            (path.parent / "way").symlink_to("../.."),
            path.symlink_to("way/secret"),
        ),
    ],
    ids=["absolute", "relative", "winding", "hard", "pipe", "through another"],
)
def test_what_leads_outside_or_is_no_file_is_refused(
    outside: Path, make: Callable[[Path], object]
) -> None:
    out = outside / "mine" / "done"
    out.mkdir()
    make(out / "evil")
    try:
        with pytest.raises(ImportFailed):
            gather(out, "film.rar")
    finally:
        shutil.rmtree(out)


# Bombs ---------------------------------------------------------------------------------------

SMALL = Bounds(most_files=50, ratio=20, ratio_from=1 << 20)


def test_a_bomb_is_refused_by_its_listing(post: Path, done: Path) -> None:
    (post / "film.zip").write_bytes(zipped(("film.mkv", FILE, NULLS)))

    with pytest.raises(ImportFailed, match=r"becomes 3,145,728 bytes of a post of \d,\d\d\d"):
        unpack(post, done, bounds=SMALL)


def test_a_bomb_in_a_bomb_is_refused(post: Path, done: Path) -> None:
    half = zipped(("half.mkv", FILE, NULLS[: 700 << 10]))
    bomb = zipped(("one.zip", FILE, half), ("two.zip", FILE, half))
    (post / "film.zip").write_bytes(bomb)

    with pytest.raises(ImportFailed, match="no more than"):
        unpack(post, done, bounds=SMALL)

    assert [*done.iterdir()] == []


def test_archives_that_lie_in_one_another_too_deep_are_refused(post: Path, done: Path) -> None:
    data = random.Random(3).randbytes(500)
    for _ in range(7):
        data = zipped(("deeper.zip", FILE, data))
    (post / "film.zip").write_bytes(data)

    with pytest.raises(ImportFailed, match="more than 5 archives lie in one another"):
        unpack(post, done)


def test_too_many_files_are_refused(post: Path, done: Path) -> None:
    (post / "film.zip").write_bytes(zipped(*((f"{n}.txt", FILE, b"text") for n in range(60))))

    with pytest.raises(ImportFailed, match="more than 50 files"):
        unpack(post, done, bounds=SMALL)


def test_an_archive_that_lists_less_than_it_writes_is_stopped(
    post: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (post / "film.zip").write_bytes(zipped(("film.mkv", FILE, NULLS)))
    monkeypatch.setattr(seven_zip, "listing", lambda *_: [Entry("film.mkv", 1000)])

    with pytest.raises(ImportFailed):
        unpack(post, done)

    assert [*done.iterdir()] == []


def test_many_small_files_beyond_the_listing_are_noticed(
    post: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ((f"{n}.bin", FILE, NULLS[: 64 << 10]) for n in range(60))
    (post / "film.zip").write_bytes(zipped(*files))
    monkeypatch.setattr(seven_zip, "listing", lambda *_: [Entry("0.bin", 64 << 10)])

    with pytest.raises(ImportFailed, match="more than it says"):
        unpack(post, done)


@pytest.mark.system("unar", "bsdtar")
def test_whatever_the_bytes_of_an_archive_it_ends_in_files_or_a_reason(
    post: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = random.Random(5)
    names = ["rar5-solid.rar", "rar3-solid.rar", "rar5-psw.rar", "rar5-symlink-unix.rar"]
    for name in names * 3:
        data = bytearray((ARCHIVES / name).read_bytes())
        for _ in range(seeds.randint(1, 4)):
            data[seeds.randrange(7, len(data))] = seeds.randrange(256)
        (post / "film.rar").write_bytes(data[: seeds.randrange(len(data) // 2, len(data) + 1)])
        try:
            unpack(post, done, passwords=["password"])
        except GatewayError:
            assert [*done.iterdir()] == []
        else:
            assert not [path for path in done.rglob("*") if path.is_symlink()]
        shutil.rmtree(done)


@pytest.mark.parametrize("folders", [101, 1_200, 10_000])
def test_folders_as_deep_as_no_program_goes_are_refused(
    post: Path, done: Path, folders: int
) -> None:
    (post / "film.zip").write_bytes(zipped(("a/" * folders + "film.mkv", FILE, b"film")))

    with pytest.raises(ImportFailed, match=rf"a path of {folders + 1:,} names"):
        unpack(post, done)

    assert [*done.iterdir()] == []


@pytest.mark.parametrize("write", [rar_writer.rar4, rar_writer.rar5])
def test_a_rar_of_folders_as_deep_is_refused(
    post: Path, done: Path, write: Callable[..., list[tuple[str, bytes]]]
) -> None:
    entry = rar_writer.Entry("a/" * 1_200 + "film.mkv", b"film")
    for volume, data in write([entry], rar_writer.Options()):
        (post / volume).write_bytes(data)

    with pytest.raises(ImportFailed, match=r"no more than 100 names and 2,000 bytes"):
        unpack(post, done)


def test_archives_whose_folders_add_up_to_more_than_a_path_are_refused(
    post: Path, done: Path
) -> None:
    data = b"film"
    for name in ("film.mkv", "film.zip"):
        data = zipped(("/".join(["d" * 190] * 8) + f"/{name}", FILE, data))
    (post / "film.zip").write_bytes(data)

    with pytest.raises(ImportFailed, match=r"bytes long together: no more than 2,000 are taken"):
        unpack(post, done)

    assert [*done.iterdir()] == []


def test_a_name_that_no_file_can_have_is_told_for_what_programs_unpack(
    post: Path, done: Path
) -> None:
    (post / "film.zip").write_bytes(zipped(("\u0416" * 150 + ".mkv", FILE, b"film")))

    with pytest.raises(ImportFailed, match=r"a name of 304 bytes, and a file can have one of 255"):
        unpack(post, done)


def test_a_workroom_goes_however_deep_its_folders_are(outside: Path) -> None:
    mine = outside / "mine"
    with workroom(mine) as room:
        handle = os.open(room, os.O_DIRECTORY)
        for _ in range(2_500):  # deeper than any path can say
            os.mkdir("a" * 8, dir_fd=handle)
            above, handle = handle, os.open("a" * 8, os.O_DIRECTORY, dir_fd=handle)
            os.close(above)
        os.close(os.open("film.mkv", os.O_CREAT, dir_fd=handle))
        os.close(handle)

    assert [*mine.iterdir()] == []


def test_a_workroom_goes_without_what_its_links_lead_to(outside: Path) -> None:
    mine = outside / "mine"
    outside.chmod(0o750)
    with workroom(mine) as room:
        (room / "locked").mkdir()
        (room / "locked" / "file").touch()
        (room / "locked").chmod(0)
        (room / "way out").symlink_to(outside, target_is_directory=True)

    assert [*mine.iterdir()] == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750
