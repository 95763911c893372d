"""par2 files: what they tell of the files that they protect, and what does not count."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nzb.par2 import MAGIC, read, recovery_blocks, set_id

SET = b"the id of a set!"
FILE = bytes(range(16))
DATA = b"what is in the film"
DESCRIBED = FILE + hashlib.md5(DATA).digest() * 2 + struct.pack("<Q", len(DATA))


def packet(kind: bytes, body: bytes, *, length: int | None = None, md5: bytes = b"") -> bytes:
    body += bytes(-len(body) % 4)
    rest = SET + kind.ljust(16, b"\0") + body
    size = 32 + len(rest) if length is None else length
    return MAGIC + struct.pack("<Q", size) + (md5 or hashlib.md5(rest).digest()) + rest


def described(name: bytes = b"Some.Film.mkv", **options: object) -> bytes:
    return packet(b"PAR 2.0\0FileDesc", DESCRIBED + name, **options)  # type: ignore[arg-type]


def names(data: bytes) -> list[str]:
    return [file.name for one in read([data]).values() for file in one.files.values()]


def test_a_set_tells_its_files_by_the_hash_of_their_first_16_kib() -> None:
    slices = b"".join(struct.pack("<16sI", bytes([n]) * 16, n) for n in range(3))
    data = (
        packet(b"PAR 2.0\0Main", struct.pack("<QI", 1000, 1) + FILE)
        + described()
        + packet(b"PAR 2.0\0IFSC", FILE + slices)
    )

    (one,) = read([data]).values()

    (file,) = one.files.values()
    assert set_id(data) == SET
    assert one.slice_size == 1000
    assert (file.name, file.size) == ("Some.Film.mkv", len(DATA))
    assert file.md5 == file.md5_16k == hashlib.md5(DATA).digest()
    assert [each.crc32 for each in file.slices] == [0, 1, 2]


@pytest.mark.system("par2")
def test_what_the_par2_program_makes_is_read(tmp_path: Path) -> None:
    files = {f"Film.part{n}.rar": random.Random(n).randbytes(40_000 + n) for n in range(1, 4)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    subprocess.run(
        ["par2", "create", "-q", "-q", "-s8000", "-r10", "film.par2", *files],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )
    made = sorted(tmp_path.glob("*.par2"), key=lambda path: path.stat().st_size)

    for path in (made[0], made[-1]):
        (one,) = read([path.read_bytes()]).values()
        found = {file.name: file for file in one.files.values()}
        assert one.slice_size == 8000
        assert found.keys() == files.keys()
        for name, data in files.items():
            assert found[name].size == len(data)
            assert found[name].md5 == hashlib.md5(data).digest()
            assert found[name].md5_16k == hashlib.md5(data[:16384]).digest()
            assert found[name].slices[0].crc32 == zlib.crc32(data[:8000])
            assert len(found[name].slices) == -(-len(data) // 8000)


def test_a_name_may_be_in_unicode_or_in_anything() -> None:
    assert names(described("Müller.mkv".encode())) == ["Müller.mkv"]
    assert names(described("Müller.mkv".encode("cp1252"))) == ["Müller.mkv"]
    wide = packet(b"PAR 2.0\0UniFileN", FILE + "Ωmega.mkv".encode("utf-16-le"))
    assert names(described() + wide) == ["Ωmega.mkv"]


@pytest.mark.parametrize(
    "damage",
    [
        described(length=1 << 63),
        described(length=0),
        described(length=63),
        described(length=66),
        described(md5=bytes(16)),
        described()[:-4],
        packet(b"PAR 2.0\0FileDesc", DESCRIBED[:-1]),
        packet(b"PAR 2.0\0Main", b""),
        packet(b"PAR 2.0\0IFSC", b""),
    ],
)
def test_what_is_damaged_or_lies_is_passed_over_and_the_rest_counts(damage: bytes) -> None:
    good = described(b"good.mkv")
    assert names(b"noise" + damage + b"noise" + good) == ["good.mkv"]


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_whatever_the_bytes_nothing_is_raised(noise: bytes, at: int, byte: int) -> None:
    data = bytearray(described() + described(b"other.mkv"))
    data[at % len(data)] = byte
    read([noise + bytes(data), bytes(data) + noise, noise])


def test_packets_that_lie_in_one_another_cost_no_more_than_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = 1 << 20
    head = MAGIC + struct.pack("<Q", size // 2) + bytes(16) + SET + b"PAR 2.0\0FileDesc"
    hashed = []

    def md5(data: memoryview, **_: object) -> object:
        hashed.append(len(data))
        return hashlib.sha256()

    monkeypatch.setattr("gateway.nzb.par2.hashlib.md5", md5)
    read([head * (size // len(head))])

    assert sum(hashed) < 5 * size


def test_no_more_files_are_taken_than_a_set_can_have() -> None:
    many = b"".join(
        packet(b"PAR 2.0\0FileDesc", struct.pack("<IIII", n, 0, 0, 0) + DESCRIBED[16:] + b"a")
        for n in range(33_000)
    )
    (one,) = read([many]).values()
    assert len(one.files) == 32_768


def test_recovery_blocks_are_counted_without_being_read() -> None:
    def block(exponent: int) -> bytes:
        return packet(b"PAR 2.0\0RecvSlic", struct.pack("<I", exponent) + b"data", md5=bytes(16))

    data = described() + block(7) + b"junk" + block(20_000) + block(7) + block(3)[:-1]

    assert recovery_blocks(data) == {SET: {7, 20_000}}
    assert recovery_blocks(b"") == {}
