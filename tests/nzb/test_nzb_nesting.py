"""Stretches of stretches: put together, they show what going level by level shows."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as AesCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ImportFailed, UnsupportedArchive
from gateway.nzb.archive import Cipher, Inner, Stretch, Volume
from gateway.nzb.extents import Run
from gateway.nzb.nesting import DEPTH, row_of, view, volume_of
from gateway.nzb.stretches import Level, check, merged, narrowed, take

NOISE = bytes((number * number + 3 * number) % 251 for number in range(2000))
SECRET = Cipher(b"0123456789abcdef" * 2, bytes(range(16)))


def volume(data: bytes, name: str = "v") -> Volume:
    return Volume(name, len(data), io.BytesIO(data))


def encrypted(plain: bytes, cipher: Cipher = SECRET) -> bytes:
    encryptor = AesCipher(AES(cipher.key), CBC(cipher.iv)).encryptor()
    return encryptor.update(plain + bytes(-len(plain) % 16))


def shown(inner: Inner, volumes: Sequence[Volume]) -> bytes:
    return view(inner, volumes).read()


@st.composite
def levels(draw: st.DrawFn, sizes: Sequence[int], *, ciphers: bool) -> list[Inner]:
    """Draw files that lie in volumes of *sizes*: what is encrypted shows noise, but the same."""
    inners = []
    for _ in range(draw(st.integers(1, 3))):
        stretches = []
        for _ in range(draw(st.integers(0, 3))):
            runs = []
            for _ in range(draw(st.integers(1, 4))):
                posted = draw(st.integers(0, len(sizes) - 1))
                begin = draw(st.integers(0, sizes[posted]))
                runs.append(Run(posted, begin, draw(st.integers(0, sizes[posted] - begin))))
            stored = sum(run.length for run in runs)
            cipher = SECRET if ciphers and draw(st.booleans()) else None
            if cipher and stored % 16:
                whole, rest = stored // 16 * 16, []
                for run in runs:
                    length = min(run.length, whole)
                    rest.append(Run(run.posted, run.offset, length))
                    whole -= length
                runs, stored = rest, stored // 16 * 16
            skip = draw(st.integers(0, stored))
            stretches.append(
                Stretch(tuple(runs), draw(st.integers(0, stored - skip)), skip, cipher)
            )
        size = sum(stretch.length for stretch in stretches)
        inners.append(Inner("inner", size, tuple(stretches)))
    return inners


@settings(max_examples=300)
@given(st.data(), st.booleans())
def test_any_composition_shows_the_same_bytes_as_one_level_after_the_other(
    data: st.DataObject, outside: bool
) -> None:
    volumes = [volume(NOISE[at : at + size]) for at, size in ((0, 400), (400, 1), (401, 700))]
    outer = data.draw(levels([one.size for one in volumes], ciphers=outside))
    sizes = [inner.size for inner in outer]
    middle = [volume_of(inner, volumes) for inner in outer]
    for inner in data.draw(levels(sizes, ciphers=not outside)):
        composed = Level(outer).compose(inner)
        check(composed.stretches, inner.size)
        assert shown(composed, volumes) == shown(inner, middle)


@given(st.data())
def test_a_part_of_a_stretch_takes_no_more_than_a_block_before_it(data: st.DataObject) -> None:
    ciphertext = encrypted(NOISE)
    cut = data.draw(st.integers(0, len(ciphertext)))
    volumes = [volume(ciphertext[:cut]), volume(ciphertext[cut:])]
    whole = Stretch((Run(0, 0, cut), Run(1, 0, len(ciphertext) - cut)), 1900, 50, SECRET)
    begin = data.draw(st.integers(0, 1900))
    length = data.draw(st.integers(0, 1900 - begin))
    part = take(whole, begin, length)
    assert narrowed(part) == part
    assert sum(run.length for run in part.runs) <= length + 46
    assert shown(Inner("", length, (part,)), volumes) == NOISE[50 + begin : 50 + begin + length]


def test_volumes_in_a_row_are_one_file() -> None:
    volumes = [volume(NOISE[:900]), volume(b""), volume(NOISE[900:])]
    row = row_of(volumes, "a.7z")
    assert (row.name, row.size) == ("a.7z", 2000)
    assert shown(row, volumes) == NOISE
    assert row_of([volume(b"")]) == Inner("", 0, ())


def test_what_is_not_encrypted_comes_down_to_runs() -> None:
    halves = (Stretch((Run(0, 10, 20),), 15, 5), Stretch((Run(0, 30, 8),), 8))
    assert merged(halves) == (Stretch((Run(0, 15, 23),), 23),)


def test_what_is_encrypted_twice_is_refused_in_words() -> None:
    outer = Inner("a.rar", 64, (Stretch((Run(0, 0, 64),), 64, 0, SECRET),))
    inner = Inner("film.mkv", 32, (Stretch((Run(0, 16, 32),), 32, 0, SECRET),))
    with pytest.raises(UnsupportedArchive, match=r'"film\.mkv" is encrypted, and .* "download"'):
        Level([outer]).compose(inner)


def test_what_the_volumes_do_not_have_is_refused() -> None:
    outer = Inner("a.rar", 64, (Stretch((Run(0, 0, 64),), 64),))
    beyond = Inner("film.mkv", 32, (Stretch((Run(0, 40, 32),), 32),))
    with pytest.raises(ImportFailed, match=r'"film\.mkv" is not within its archive'):
        Level([outer]).compose(beyond)
    lying = Inner("film.mkv", 33, (Stretch((Run(0, 0, 32),), 32),))
    with pytest.raises(ImportFailed, match="32 bytes do not make 33"):
        view(lying, [volume(NOISE)])
    short = Volume("a.rar", 64, io.BytesIO(NOISE[:50]))
    with pytest.raises(ImportFailed, match=r'"a\.rar" ends at byte 50 of 64'):
        view(outer, [short]).read()


def test_archives_lie_in_one_another_so_deep_and_no_deeper() -> None:
    nested = [volume(NOISE)]

    def less_by_one() -> Inner:
        size = nested[0].size - 1
        return Inner("d/a.7z", size, (Stretch((Run(0, 1, size),), size),))

    for _ in range(DEPTH):
        nested = [volume_of(less_by_one(), nested)]
    assert nested[0].file.read(10) == NOISE[DEPTH : DEPTH + 10]
    assert nested[0].name == "a.7z"
    with pytest.raises(UnsupportedArchive, match=f"more than {DEPTH} archives"):
        view(less_by_one(), nested)


@given(st.data())
def test_a_view_reads_and_seeks_like_a_file(data: st.DataObject) -> None:
    ciphertext = encrypted(NOISE)
    stretches = (
        Stretch((Run(1, 0, 100),), 90, 10),
        Stretch((Run(0, 0, 700), Run(0, 700, len(ciphertext) - 700)), 1500, 33, SECRET),
    )
    volumes = [volume(ciphertext), volume(NOISE)]
    mine = view(Inner("", 1590, stretches), volumes)
    other = io.BytesIO(NOISE[10:100] + NOISE[33:1533])
    for _ in range(data.draw(st.integers(1, 12))):
        whence = data.draw(st.sampled_from([io.SEEK_SET, io.SEEK_END]))
        offset = data.draw(st.integers(0, 1700)) * (-1 if whence else 1)
        if offset >= -1590:
            assert mine.seek(offset, whence) == other.seek(offset, whence)
        size = data.draw(st.integers(-1, 800))
        assert mine.read(size) == other.read(size)
        assert mine.tell() == other.tell()
