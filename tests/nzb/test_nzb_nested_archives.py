"""Archives in archives, every kind in every other: files come down to the first volumes."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import zipfile
import zlib
from collections.abc import Callable, Sequence

import py7zr
import pytest
import rar_writer
from py7zr.properties import FILTER_COPY, FILTER_CRYPTO_AES256_SHA256

from gateway.errors import UnsupportedArchive
from gateway.nzb import rar, sevenzip, split, zipped
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.nesting import view, volume_of
from gateway.nzb.stretches import Level, check

FILM = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(800))
SUBTITLES = b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"
FILES = {"film.mkv": FILM, "Subs/en.srt": SUBTITLES}

Named = list[tuple[str, bytes]]


def pieces(name: str, data: bytes, size: int) -> Named:
    return [
        (f"{name}.{number:03}", data[at : at + size])
        for number, at in enumerate(range(0, len(data), size), 1)
    ]


def in_7z(files: Named, password: str | None = None) -> Named:
    filters = [{"id": FILTER_COPY}, {"id": FILTER_CRYPTO_AES256_SHA256}][: 2 if password else 1]
    target = io.BytesIO()
    with py7zr.SevenZipFile(
        target, "w", filters=filters, password=password, header_encryption=bool(password)
    ) as archive:
        for name, data in files:
            archive.writestr(data, name)
    return pieces("a.7z", target.getvalue(), 9_000)


def in_zip(files: Named, password: str | None = None) -> Named:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return pieces("a.zip", target.getvalue(), 11_000)


def in_rar5(files: Named, password: str | None = None) -> Named:
    options = rar_writer.Options(volume_size=8_000, password=password)
    return rar_writer.rar5([rar_writer.Entry(name, data) for name, data in files], options)


def in_rar4(files: Named, password: str | None = None) -> Named:
    options = rar_writer.Options(volume_size=7_000, password=password, old_names=True)
    return rar_writer.rar4([rar_writer.Entry(name, data) for name, data in files], options)


Packer = Callable[..., Named]
Reader = Callable[[Sequence[Volume], str | None], list[Inner]]
KINDS: dict[str, tuple[Packer, Reader]] = {
    "7z": (in_7z, sevenzip.read),
    "zip": (in_zip, zipped.read),
    "rar5": (in_rar5, rar.read),
    "rar4": (in_rar4, rar.read),
}


def packed(kinds: Sequence[str], encrypted: str = "") -> list[Volume]:
    """Return the volumes of FILES packed as *kinds* say, the outermost first."""
    files = list(FILES.items())
    for kind in reversed(kinds):
        password = "secret" if kind == encrypted else None
        files = KINDS[kind][0](files, password)
    return [Volume(name, len(data), io.BytesIO(data)) for name, data in files]


def found(kinds: Sequence[str], volumes: Sequence[Volume]) -> list[Inner]:
    """Return what lies innermost, by the volumes that lie outermost."""
    inners = KINDS[kinds[0]][1](volumes, "secret")
    if len(kinds) == 1:
        return inners
    deeper = found(kinds[1:], [volume_of(inner, volumes) for inner in inners])
    level = Level(inners)
    return [level.compose(inner) for inner in deeper]


def shown(kinds: Sequence[str], volumes: Sequence[Volume]) -> None:
    inners = found(kinds, volumes)
    assert sorted(inner.name for inner in inners) == sorted(FILES)
    rng = random.Random(" ".join(kinds))
    for inner in inners:
        data = FILES[inner.name]
        check(inner.stretches, len(data))
        assert inner.size == len(data)
        assert inner.crc32 in (None, zlib.crc32(data))
        file = view(inner, volumes)
        assert file.read() == data
        for _ in range(20):
            begin = rng.randrange(len(data))
            file.seek(begin)
            assert file.read(700) == data[begin : begin + 700]


@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, repeat=2)], ids=" holds ".join)
def test_any_archive_in_any_archive_is_shown(kinds: tuple[str, str]) -> None:
    volumes = packed(kinds)
    shown(kinds, volumes)
    assert all(one.cipher is None for inner in found(kinds, volumes) for one in inner.stretches)


@pytest.mark.parametrize("encrypted", ["7z", "rar5", "rar4"])
@pytest.mark.parametrize("other", ["7z", "zip", "rar5", "rar4"])
def test_one_of_the_two_may_be_encrypted(encrypted: str, other: str) -> None:
    if encrypted != other:
        for kinds in ((encrypted, other), (other, encrypted)):
            shown(kinds, packed(kinds, encrypted))


def test_what_lies_deeper_comes_down_as_far() -> None:
    kinds = ("rar5", "zip", "7z", "rar4")
    shown(kinds, packed(kinds))
    shown(kinds, packed(kinds, "rar5"))
    shown(kinds, packed(kinds, "7z"))


def test_both_encrypted_are_refused_in_words() -> None:
    inner = in_7z(list(FILES.items()), "secret")
    volumes = [Volume(name, len(data), io.BytesIO(data)) for name, data in in_rar5(inner, "secret")]
    with pytest.raises(UnsupportedArchive, match=r'"film\.mkv" is encrypted, and .* "download"'):
        found(("rar5", "7z"), volumes)


def test_pieces_of_a_film_in_an_archive_are_joined() -> None:
    volumes = [
        Volume(name, len(data), io.BytesIO(data))
        for name, data in in_rar5(pieces("film.mkv", FILM, 5_000), "secret")
    ]
    inners = rar.read(volumes, "secret")
    (film,) = split.read([volume_of(inner, volumes) for inner in inners])
    film = Level(inners).compose(film)
    assert (film.name, film.size) == ("film.mkv", len(FILM))
    assert view(film, volumes).read() == FILM
