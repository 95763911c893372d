"""Archives in archives, every kind in every other: files come down to the first volumes."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import zlib
from collections.abc import Callable, Sequence

import pytest
from stored_archives import Named, cut, in_7z, in_rar4, in_rar5, in_zip

from gateway.errors import UnsupportedArchive
from gateway.nzb import rar, sevenzip, split, zipped
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.nesting import view, volume_of
from gateway.nzb.stretches import Level, check

FILM = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(800))
SUBTITLES = b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"
FILES = {"film.mkv": FILM, "Subs/en.srt": SUBTITLES}

Packer = Callable[..., Named]
Reader = Callable[[Sequence[Volume], str | None], list[Inner]]
KINDS: dict[str, tuple[Packer, int, Reader]] = {  # the maker, bytes a volume, the reader
    "7z": (in_7z, 9_000, sevenzip.read),
    "zip": (in_zip, 11_000, zipped.read),
    "rar5": (in_rar5, 8_000, rar.read),
    "rar4": (in_rar4, 7_000, rar.read),
}


def packed(kinds: Sequence[str], encrypted: str = "") -> list[Volume]:
    """Return the volumes of FILES packed as *kinds* say, the outermost first."""
    files = list(FILES.items())
    for kind in reversed(kinds):
        pack, size, _ = KINDS[kind]
        files = pack(files, size, "secret" if kind == encrypted else None)
    return volumes_of(files)


def volumes_of(files: Named) -> list[Volume]:
    return [Volume(name, len(data), io.BytesIO(data)) for name, data in files]


def found(kinds: Sequence[str], volumes: Sequence[Volume]) -> list[Inner]:
    """Return what lies innermost, by the volumes that lie outermost."""
    inners = KINDS[kinds[0]][2](volumes, "secret")
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
    inner = in_7z(list(FILES.items()), 9_000, "secret")
    volumes = volumes_of(in_rar5(inner, 8_000, "secret"))
    with pytest.raises(UnsupportedArchive, match=r'"film\.mkv" is encrypted, and .* "download"'):
        found(("rar5", "7z"), volumes)


def test_pieces_of_a_film_in_an_archive_are_joined() -> None:
    volumes = volumes_of(in_rar5(cut("film.mkv", FILM, 5_000), 8_000, "secret"))
    inners = rar.read(volumes, "secret")
    (film,) = split.read([volume_of(inner, volumes) for inner in inners])
    film = Level(inners).compose(film)
    assert (film.name, film.size) == ("film.mkv", len(FILM))
    assert view(film, volumes).read() == FILM
