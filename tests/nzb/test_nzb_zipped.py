"""ZIP: what is stored is found to the byte, everything else is refused in words."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import seven_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, ImportFailed, UnsupportedArchive
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.nesting import view
from gateway.nzb.zipped import read

NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4000))
FILES = {
    "film.mkv": NOISE[:100_001],
    "Subs/en/film.srt": b"1\n00:00:01,000 --> 00:00:02,000\nHello\n",
    "film.nfo": b"",
    "Größe — 日本.bin": NOISE[5:1029],
}


def volumes_of(data: bytes, size: int | None = None) -> list[Volume]:
    step = size or len(data) or 1
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return [Volume(f"a.{at}", len(piece), io.BytesIO(piece)) for at, piece in enumerate(pieces)]


def made(method: int = zipfile.ZIP_STORED, *, zip64: bool = False, stream: bool = False) -> bytes:
    """Return FILES in a ZIP; *stream* puts sizes behind the data."""
    target = io.BytesIO()
    if stream:
        target.seek = _cannot_seek  # type: ignore[method-assign]
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.mkdir("folder")
        for name, data in FILES.items():
            entry = zipfile.ZipInfo(name, (2020, 5, 17, 12, 30, 2))
            entry.compress_type = method
            with archive.open(entry, "w", force_zip64=zip64) as file:
                file.write(data)
    return target.getvalue()


def _cannot_seek(*_: int) -> int:
    raise OSError("a stream")


def contents(volumes: Sequence[Volume]) -> dict[str, bytes]:
    found = {}
    for inner in read(volumes, None):
        found[inner.name] = view(inner, volumes).read()
        assert inner.size == len(found[inner.name])
        assert inner.crc32 == zlib.crc32(found[inner.name])
    return found


# What is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 33_333, 50])
@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_stored_files_are_found_in_one_file_and_in_pieces(
    size: int | None, zip64: bool, stream: bool
) -> None:
    volumes = volumes_of(made(zip64=zip64, stream=stream), size)
    assert contents(volumes) == FILES
    assert read(volumes)[0].modified == 1_589_718_602


def test_what_lies_before_a_zip_does_not_matter() -> None:
    assert contents(volumes_of(b"MZ a program that unpacks itself" + made())) == FILES


def test_an_empty_zip_holds_nothing() -> None:
    target = io.BytesIO()
    zipfile.ZipFile(target, "w").close()
    assert read(volumes_of(target.getvalue())) == []


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize("options", [(), ("-v30k",)])
def test_what_7zip_stores_is_found(tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = tmp_path / "files"
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "link.mkv").symlink_to("film.mkv")
    seven_zip.run("a", "-tzip", "-mx0", "-snl", *options, "../a.zip", ".", cwd=folder)
    volumes = [
        Volume(path.name, path.stat().st_size, io.BytesIO(path.read_bytes()))
        for path in sorted(tmp_path.glob("a.zip*"))
    ]
    assert len(volumes) == (4 if options else 1)
    assert contents(volumes) == FILES


def test_a_file_may_have_no_name() -> None:
    assert contents(volumes_of(TWO.replace(b"a.mkv", b"\0.mkv"))) == {"": b"film", "b.mkv": b"more"}


def test_ten_thousand_files_are_found() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(10_000):
            archive.writestr(f"{number}.txt", b"%020d" % number)
    volumes = volumes_of(target.getvalue(), 50_000)
    inners = read(volumes)
    assert [inner.name for inner in inners] == [f"{number}.txt" for number in range(10_000)]
    for number in (0, 1, 4_711, 9_999):
        assert view(inners[number], volumes).read() == b"%020d" % number


# What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (zipfile.ZIP_DEFLATED, "Deflate"),
        (zipfile.ZIP_BZIP2, "BZip2"),
        (zipfile.ZIP_LZMA, "LZMA"),
    ],
)
def test_what_is_compressed_is_refused_by_the_name_of_its_method(method: int, name: str) -> None:
    with pytest.raises(UnsupportedArchive, match=rf'"film\.mkv" is .* \({name}\), .* "download"'):
        read(volumes_of(made(method)))


def test_a_compressed_file_is_left_out_beside_one_more_than_twice_as_large() -> None:
    for size, is_left_out in ((499, True), (500, False)):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("a.nfo", NOISE[:size], zipfile.ZIP_DEFLATED)
            archive.writestr("film.mkv", NOISE[:1000])
        volumes = volumes_of(target.getvalue())
        if is_left_out:
            assert contents(volumes) == {"film.mkv": NOISE[:1000]}
            continue
        with pytest.raises(UnsupportedArchive, match=r'"a\.nfo" is compressed'):
            read(volumes)


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize(("method", "name"), [("ZipCrypto", "ZipCrypto"), ("AES256", "WinZip AES")])
def test_what_is_encrypted_is_refused_in_words(tmp_path: Path, method: str, name: str) -> None:
    (tmp_path / "film.mkv").write_bytes(NOISE[:1000])
    seven_zip.run(
        "a", "-tzip", "-mx0", "-psecret", f"-mem={method}", "a.zip", "film.mkv", cwd=tmp_path
    )
    with pytest.raises(
        UnsupportedArchive, match=rf'"film\.mkv" is encrypted .*{name}.* "download"'
    ):
        read(volumes_of((tmp_path / "a.zip").read_bytes()), "secret")


def changed(data: bytes, old: bytes, new: bytes, *, last: bool = False) -> bytes:
    at = data.rindex(old) if last else data.index(old)
    return data[:at] + new + data[at + len(old) :]


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
SMALL = io.BytesIO()
with zipfile.ZipFile(SMALL, "w") as _archive:
    _archive.writestr("a.mkv", b"film")
    _archive.writestr("b.mkv", b"more")
TWO = SMALL.getvalue()
SECOND = TWO.index(LOCAL, 4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TWO[:-30], "its end may be missing"),
        (b"", "its end may be missing"),
        (NOISE[:5000], "its end may be missing"),
        (changed(TWO, b"film", b"fil"), "lies"),  # the header of b.mkv is a byte before
        (changed(TWO, b"a.mkv", b"aa.mkv"), "lies"),
        (
            changed(TWO, b"\4\0\0\0\4\0\0\0", b"\5\0\0\0\5\0\0\0"),
            '"a.mkv" has another header than the table',
        ),
        (
            changed(TWO, b"\4\0\0\0\4\0\0\0", b"\xff\0\0\0\4\0\0\0", last=True),
            '"b.mkv" has 4 bytes, stored as 255',
        ),
        (
            changed(TWO, b"\4\0\0\0\4\0\0\0", b"\xff\0\0\0\xff\0\0\0", last=True),
            '"b.mkv" has another header than the table',
        ),
        # Both entries at the one file: what makes a bomb of a small ZIP.
        (
            changed(TWO, SECOND.to_bytes(4, "little") + b"b.mkv", bytes(4) + b"b.mkv"),
            '"b.mkv" is within another file',
        ),
        (
            changed(TWO, SECOND.to_bytes(4, "little") + b"b.mkv", b"\xff\0\0\0b.mkv"),
            '"b.mkv" is behind its end',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_cut_or_lies_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImportFailed, match=words):
        read(volumes_of(data))


def test_files_that_overlap_under_headers_that_agree_are_refused() -> None:
    # b.mkv is the bytes of a.mkv, header and all: each entry is right, taken by itself.
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("b.mkv", b"more")
    table = inside.getvalue().index(CENTRAL)
    local, entry = inside.getvalue()[:table], inside.getvalue()[table:].split(END)[0]
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("a.mkv", local)
    whole = outside.getvalue()
    at = whole.index(local)
    end = whole.index(END)
    both = whole[:end] + entry[:42] + at.to_bytes(4, "little") + entry[46:] + whole[end:]
    tail = bytearray(both[-22:])
    tail[8:12] = b"\2\0\2\0"
    tail[12:16] = (end - whole.index(CENTRAL) + len(entry)).to_bytes(4, "little")
    assert zipfile.ZipFile(io.BytesIO(both[:-22] + tail)).read("b.mkv") == b"more"
    with pytest.raises(ImportFailed, match=r'"b\.mkv" is within another file'):
        read(volumes_of(both[:-22] + bytes(tail)))


def test_a_table_of_contents_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path, size = tmp_path / "a.zip", 3 << 30
    with path.open("wb") as file:
        file.seek(size - 22)  # a hole that takes no room
        file.write(TWO[-22:-10] + (2 << 30).to_bytes(4, "little") + bytes(6))
    with path.open("rb") as file, pytest.raises(UnsupportedArchive, match="2,147,483,648 bytes"):
        read([Volume("a.zip", size, file)])


@settings(max_examples=200)
@given(st.data())
def test_no_zip_does_harm(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([TWO, made(zip64=True)[-600:], made()[-900:]])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        match data.draw(st.sampled_from(["set", "cut", "insert", "drop"])):
            case "set":
                whole[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del whole[at:]
            case "insert":
                whole[at:at] = data.draw(st.binary(max_size=9))
            case "drop":
                del whole[at : at + data.draw(st.integers(1, 9))]
    volumes = volumes_of(bytes(whole), 100)
    inners: list[Inner] = []
    with contextlib.suppress(GatewayError):
        inners = read(volumes, data.draw(st.sampled_from([None, "secret"])))
    for inner in inners:
        assert len(view(inner, volumes).read()) == inner.size
