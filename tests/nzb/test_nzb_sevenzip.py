"""7z: what is stored is found to the byte, everything else is refused in words."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import py7zr
import pytest
import seven_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from py7zr.properties import FILTER_BZIP2, FILTER_COPY, FILTER_CRYPTO_AES256_SHA256, FILTER_LZMA2

from gateway.errors import (
    GatewayError,
    ImportFailed,
    IncompletePost,
    UnsupportedArchive,
    WrongPassword,
)
from gateway.nzb import sevenzip, sevenzip_keys
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.nesting import view
from gateway.nzb.sevenzip import read

COPY = {"id": FILTER_COPY}
AES = {"id": FILTER_CRYPTO_AES256_SHA256}
NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4000))
FILES = {
    "film.mkv": NOISE[:100_001],
    "Subs/en/film.srt": b"1\n00:00:01,000 --> 00:00:02,000\nHello\n",
    "film.nfo": b"",
    "Größe — 日本.bin": NOISE[5:1029],
}


class Counting(io.BytesIO):
    """Counts what is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads += len(data)
        return data


def volumes_of(data: bytes, size: int | None = None) -> list[Volume]:
    pieces = [data[at : at + (size or len(data))] for at in range(0, len(data), size or len(data))]
    return [
        Volume(f"a.7z.{number:03}", len(piece), Counting(piece))
        for number, piece in enumerate(pieces, 1)
    ]


def made(
    filters: Sequence[dict[str, int]], password: str | None = None, *, header: bool = False
) -> bytes:
    """Return FILES in an archive, by py7zr."""
    target = io.BytesIO()
    with py7zr.SevenZipFile(
        target, "w", filters=list(filters), password=password, header_encryption=header
    ) as archive:
        for name, data in FILES.items():
            archive.writestr(data, name)
    return target.getvalue()


def contents(volumes: Sequence[Volume], password: str | None = None) -> dict[str, bytes]:
    inners = read(volumes, password)
    for inner in inners:
        data = view(inner, volumes).read()
        assert inner.size == len(data)
        assert inner.crc32 == zlib.crc32(data)
    return {inner.name: view(inner, volumes).read() for inner in inners}


@pytest.fixture
def cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(password: bytes, *_: object) -> bytes:
        return hashlib.sha256(password).digest()

    monkeypatch.setattr(sevenzip_keys, "calculate_key", key)


# What is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 100, 33_333])
def test_stored_files_are_found_in_one_file_and_in_pieces(size: int | None) -> None:
    volumes = volumes_of(made([COPY]), size)
    assert contents(volumes) == FILES
    assert repr(read(volumes)[0].stretches[0]).count("Run(") == len(
        {run.posted for run in read(volumes)[0].stretches[0].runs}
    )


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("size", [None, 997])
def test_encrypted_data_and_headers_open_with_the_password(header: bool, size: int | None) -> None:
    data = made([COPY, AES], "sécret 密", header=header)
    assert contents(volumes_of(data, size), "sécret 密") == FILES
    for wrong, words in ((None, "no password was given"), ("secret", "none of the known")):
        with pytest.raises(WrongPassword, match=words):
            read(volumes_of(data, size), wrong)
    assert "cret" not in repr(read(volumes_of(data, size), "sécret 密"))


def test_no_more_is_read_than_the_beginning_and_the_header() -> None:
    data = made([COPY])
    (volume,) = volumes_of(data)
    read([volume])
    assert isinstance(volume.file, Counting)
    assert volume.file.reads < len(data) - sum(map(len, FILES.values())) + 10


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize(
    ("options", "password"),
    [
        ((), None),
        (("-v30k",), None),
        (("-psecret",), "secret"),
        (("-psecret", "-mhe", "-v30k"), "secret"),
        (("-mhc=off",), None),
    ],
)
def test_what_7zip_stores_is_found(
    tmp_path: Path, options: tuple[str, ...], password: str | None
) -> None:
    folder = tmp_path / "files"
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "film.mkv").touch()
    (folder / "empty folder").mkdir()
    (folder / "link.mkv").symlink_to("film.mkv")
    modified = (folder / "film.mkv").stat().st_mtime
    seven_zip.run("a", "-mx0", "-snl", *options, "../a.7z", ".", cwd=folder)
    volumes = [
        Volume(path.name, path.stat().st_size, io.BytesIO(path.read_bytes()))
        for path in sorted(tmp_path.glob("a.7z*"))
    ]
    assert len(volumes) == (4 if "-v30k" in options else 1)
    assert contents(volumes, password) == FILES
    (film,) = [inner for inner in read(volumes, password) if inner.name == "film.mkv"]
    assert film.modified == pytest.approx(modified, abs=0.01)
    if password:
        with pytest.raises(WrongPassword, match="none of the known passwords"):
            read(volumes, "wrong")


def test_ten_thousand_files_are_found_with_no_more_runs_than_they_take() -> None:
    target = io.BytesIO()
    with py7zr.SevenZipFile(target, "w", filters=[COPY, AES], password="secret") as archive:
        for number in range(10_000):
            archive.writestr(b"%020d" % number, f"{number}.txt")
    volumes = volumes_of(target.getvalue(), 50_000)
    inners = read(volumes, "secret")
    assert [inner.name for inner in inners] == [f"{number}.txt" for number in range(10_000)]
    assert max(len(inner.stretches[0].runs) for inner in inners) == 2
    for number in (0, 1, 4_711, 9_999):
        assert view(inners[number], volumes).read() == b"%020d" % number


# What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([{"id": FILTER_LZMA2, "preset": 1}], "LZMA2"),
        ([{"id": FILTER_BZIP2}], "BZip2"),
        ([{"id": py7zr.FILTER_X86}, {"id": FILTER_LZMA2, "preset": 1}], "LZMA2 and BCJ"),
        ([{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 16}], "PPMd"),
        ([{"id": py7zr.FILTER_DEFLATE}], "Deflate"),
        ([{"id": py7zr.FILTER_ZSTD, "level": 3}], "Zstandard"),
    ],
)
def test_what_is_compressed_is_refused_by_the_name_of_its_method(
    filters: list[dict[str, int]], names: str
) -> None:
    with pytest.raises(UnsupportedArchive, match=rf'compressed \({names}\) .* "download"'):
        read(volumes_of(made(filters)))
    with pytest.raises(UnsupportedArchive, match=rf"compressed \({names}\)"):
        read(volumes_of(made([*filters, AES], "secret")), "secret")


@pytest.mark.system(seven_zip.NAMES)
@pytest.mark.parametrize("method", [("-m0=LZMA2",), ("-m0=BCJ2", "-m1=LZMA", "-mb0:1")])
def test_a_compressed_file_is_left_out_beside_one_more_than_twice_as_large(
    tmp_path: Path, method: tuple[str, ...]
) -> None:
    for name, size in (("a.nfo", 499), ("film.mkv", 1000), ("z.nfo", 499)):
        (tmp_path / name).write_bytes(NOISE[:size])
    for name, options in (("a.nfo", method), ("film.mkv", ("-mx0",)), ("z.nfo", method)):
        seven_zip.run("a", "-ms=off", *options, "a.7z", name, cwd=tmp_path)
    archive = volumes_of((tmp_path / "a.7z").read_bytes())
    assert contents(archive) == {"film.mkv": NOISE[:1000]}
    (tmp_path / "z.nfo").write_bytes(NOISE[:500])
    seven_zip.run("a", "-ms=off", *method, "a.7z", "z.nfo", cwd=tmp_path)
    with pytest.raises(UnsupportedArchive, match="compressed"):
        read(volumes_of((tmp_path / "a.7z").read_bytes()))


@pytest.mark.system(seven_zip.NAMES)
def test_what_7zip_makes_of_programs_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(NOISE)
    seven_zip.run("a", "-m0=BCJ2", "-m1=LZMA", "-mb0:1", "a.7z", "a.bin", cwd=tmp_path)
    with pytest.raises(UnsupportedArchive, match=r"compressed \(.*BCJ2"):
        read(volumes_of((tmp_path / "a.7z").read_bytes()))


def test_a_missing_last_piece_shows() -> None:
    data = made([COPY])
    with pytest.raises(IncompletePost, match=rf"has {len(data):,} bytes, .* 100,000: the last"):
        read(volumes_of(data[:100_000], 40_000))
    with pytest.raises(IncompletePost, match="ends within its first 32 bytes"):
        read(volumes_of(data[:20]))
    with pytest.raises(ImportFailed, match="no 7z archive"):
        read([])


def framed(header: bytes, data: bytes = b"") -> bytes:
    """Return *data* and a *header* as an archive whose CRCs are right."""
    start = struct.pack("<QQI", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + data + header


def number(value: int) -> bytes:
    return b"\xff" + struct.pack("<Q", value)


def stored(
    length: int,
    *sizes: int,
    coder: bytes = b"\x01\0",
    position: int = 0,
    named: int | None = None,
) -> bytes:
    """Return a header: one stream of *length* bytes holds files of *sizes*."""
    count = len(sizes) if named is None else named
    packed = b"\x06" + number(position) + b"\x01\x09" + number(length) + b"\0"
    folder = b"\x07\x0b\x01\0\x01" + coder + b"\x0c" + number(sum(sizes)) + b"\0"
    files = b"\x08\x0d" + number(len(sizes)) + b"\x09" + b"".join(map(number, sizes[:-1])) + b"\0"
    names = b"\0" + "".join(f"{place}\0" for place in range(count)).encode("utf-16-le")
    entries = b"\x05" + number(count) + b"\x11" + number(len(names)) + names + b"\0"
    return b"\x01\x04" + packed + folder + files + b"\0" + entries + b"\0"


def aes(cycles: int, rest: bytes = b"") -> bytes:
    properties = bytes([0x40 | cycles, 0x0F]) + bytes(16) + rest
    return b"\x24\x06\xf1\x07\x01" + bytes([len(properties)]) + properties


def test_headers_of_tests_are_read() -> None:
    assert contents_of(framed(stored(10, 3, 7), NOISE[:10])) == [NOISE[:3], NOISE[3:10]]
    assert read(volumes_of(framed(b""))) == []


def contents_of(data: bytes) -> list[bytes]:
    volumes = volumes_of(data)
    return [view(inner, volumes).read() for inner in read(volumes)]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (stored(11, 3, 7), "sizes that cannot be"),
        (stored(9, 3, 7), "sizes that cannot be"),
        (stored(10, 3, 7, position=31), "a stream of 10 bytes at 63 of 72"),
        (stored(10, 3, 7, position=1 << 63), "a stream of"),
        (stored(32, 3, 7, coder=aes(5)), "sizes that cannot be"),
        (stored(17, 10, coder=aes(5)), "sizes that cannot be"),
        (stored(16, 10, coder=aes(5, b"x")), "parameters of 19 bytes"),
        (stored(10, 3, 7)[:-20], "cannot be read"),
        (b"\x02\0", "it is no header"),
        (b"\x01\x05\0\0\x07", "property"),
        (b"\x01\x05\x01\x11\x05\0a\0\0\0\x11\x05\0a\0\0\0\0\0", "comes twice"),
        (stored(10, 3, 7, named=3), "names more files than it has"),
        (stored(10, 3, 7, named=1), "more files than it names"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_that_lie_are_refused(header: bytes, words: str) -> None:
    with pytest.raises(ImportFailed, match=words):
        read(volumes_of(framed(header, bytes(40))), "secret")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (stored(16, 10, coder=aes(25)), "33,554,432 rounds"),
        (stored(16, 10, coder=aes(0x3E)), "rounds"),
        (stored(10, 10, coder=b"\x02\x04\x99"), r"compressed \(method 0499\)"),
        (b"\x01\x05" + number(8_000_000) + bytes(9_000_000), "8,000,000 entries"),
        (b"\x01\x04\x07\x0b" + number(1_000_000) + bytes(2_000_000), "1,000,000 entries"),
        (bytes((16 << 20) + 1), "16,777,217 bytes: too many"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_take_minutes_or_gigabytes_is_not_begun(header: bytes, words: str) -> None:
    with pytest.raises(UnsupportedArchive, match=words):
        read(volumes_of(framed(header, bytes(40))), "secret")


@pytest.mark.usefixtures("cheap_keys")
def test_a_key_for_every_file_is_too_many() -> None:
    keys = sevenzip_keys.Keys("secret")
    keys.cipher(bytes([0xC0 | 23, 0x00]) + b"sa")
    keys.cipher(bytes([0xC0 | 23, 0x00]) + b"sb")  # the same salt "s" takes no new key
    with pytest.raises(UnsupportedArchive, match="rounds of SHA-256"):
        [keys.cipher(bytes([0xC0 | 24, 0x00, salt]) + b"i") for salt in range(100)]


def packed_header(plain: bytes, claimed: int | None = None) -> bytes:
    """Return *plain* as a header packed by LZMA, which may claim another size."""
    import lzma

    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    packed = lzma.compress(plain, lzma.FORMAT_RAW, filters=filters)
    coder = b"\x23\x03\x01\x01\x05" + b"\x5d" + struct.pack("<I", 1 << 16)
    size = len(plain) if claimed is None else claimed
    header = (
        b"\x17\x06\0\x01\x09"
        + number(len(packed))
        + b"\0\x07\x0b\x01\0\x01"
        + coder
        + b"\x0c"
        + number(size)
        + b"\0\0"
    )
    return framed(header, packed)


def test_packed_headers_are_unpacked_within_bounds() -> None:
    assert read(volumes_of(packed_header(b"\x01\0"))) == []
    with pytest.raises(UnsupportedArchive, match="once unpacked: too many"):
        read(volumes_of(packed_header(bytes(20 << 20))))
    with pytest.raises(ImportFailed, match="cannot be read"):
        read(volumes_of(packed_header(b"\x01\0", claimed=1000)))


# Whatever the bytes ----------------------------------------------------------------------------

PLAIN_HEADERS = [stored(10, 3, 7), stored(1, 1), stored(16, 4, 6, coder=aes(1))]


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "cut", "insert", "drop"])):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=9))
            case "drop":
                del data[at : at + draw(st.integers(1, 9))]
    return bytes(data)


def survives(data: bytes, password: str | None) -> None:
    volumes = volumes_of(data, 1000) if data else []
    inners: list[Inner] = []
    with contextlib.suppress(GatewayError):
        inners = sevenzip.read(volumes, password)
    for inner in inners:
        assert len(view(inner, volumes).read()) == inner.size


@pytest.mark.usefixtures("cheap_keys")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_header_does_harm(data: st.DataObject) -> None:
    header = data.draw(mutated(data.draw(st.sampled_from(PLAIN_HEADERS))))
    survives(framed(header, NOISE[:16]), data.draw(st.sampled_from([None, "secret"])))


ARCHIVES = [made([COPY])[-400:], made([COPY, AES], "secret", header=True)]


@pytest.mark.usefixtures("cheap_keys")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_archive_does_harm(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(ARCHIVES))
    survives(data.draw(mutated(whole)), data.draw(st.sampled_from([None, "secret"])))


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_no_packed_header_does_harm(plain: bytes) -> None:
    survives(packed_header(b"\x01" + plain), None)
