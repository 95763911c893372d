"""RAR volumes with anything in them: a file, or an error that the gateway knows by name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import pytest
import rarfile
from hypothesis import given, settings
from hypothesis import strategies as st
from rar_writer import Entry, Options, rar4, rar5

from gateway.errors import GatewayError
from gateway.nzb import rar, rar_keys
from gateway.nzb.archive import Volume

NOISE = bytes((number * number + 7 * number) % 253 for number in range(3000))
ENTRIES = [
    Entry("film/film.mkv", NOISE),
    Entry("film/empty.nfo"),
    Entry("film/ünïcödé €.srt", NOISE[:77]),
    Entry("film", is_directory=True),
    Entry("film/link", target="film.mkv"),
]
SHAPES = [
    (write, Options(size, password, headers, shift=3))
    for write in (rar4, rar5)
    for size in (None, 800)
    for password, headers in ((None, False), ("geheim", False), ("geheim", True))
]


class _Equal(int):
    """A checksum that equals every other."""

    def __and__(self, other: int) -> _Equal:
        return self

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


@contextmanager
def any_checksum() -> Iterator[None]:
    """Let damaged headers pass for whole ones, so that what they say is believed."""
    with patch.object(rarfile, "crc32", lambda *_: _Equal()):
        yield


@cache
def written(shape: int) -> tuple[tuple[str, bytes], ...]:
    write, options = SHAPES[shape]
    return tuple(write(ENTRIES, options))


@st.composite
def damaged(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Draw volumes of one archive with bytes changed, cut out, put in, and volumes mixed up."""
    named = [(name, bytearray(volume)) for name, volume in written(draw(SHAPE))]
    for _ in range(draw(st.integers(1, 4))):
        _, volume = draw(st.sampled_from(named))
        # Headers lie behind the signature and at the end; what is between them is data.
        place = draw(st.integers(20, 160) | st.integers(-120, 20)) % max(1, len(volume))
        match draw(st.integers(0, 4)):
            case 0:
                volume[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                volume[place : place + 8] = draw(st.sampled_from([b"\xff" * 8, bytes(8)]))
            case 2:
                del volume[place : place + draw(st.integers(1, 40))]
            case 3:
                volume[place:place] = draw(st.binary(max_size=12))
            case 4:
                del volume[place:]
    if draw(st.booleans()):
        named = draw(st.permutations(named))
    if draw(st.booleans()):
        named = [(draw(st.sampled_from([name, "a.rar", "a", ""])), one) for name, one in named]
    return [(name, bytes(volume)) for name, volume in named[: draw(st.integers(1, 9))]]


SHAPE = st.integers(0, len(SHAPES) - 1)


def read(named: list[tuple[str, bytes]]) -> None:
    """Read *named*; what comes of it lies within the volumes, or is an error of the gateway."""
    volumes = [Volume(name, len(data), io.BytesIO(data)) for name, data in named]
    with patch.object(rar_keys, "_MOST_ROUNDS", 1 << 18):
        try:
            found = rar.read(volumes, "geheim")
        except GatewayError:
            return
    for inner in found:
        assert sum(stretch.length for stretch in inner.stretches) == inner.size
        for stretch in inner.stretches:
            stored = sum(run.length for run in stretch.runs)
            assert stretch.length <= stored < stretch.length + 16
            for run in stretch.runs:
                assert run.length > 0
                assert 0 <= run.offset <= run.offset + run.length <= volumes[run.posted].size


@given(damaged())
@settings(max_examples=200)
def test_damaged_volumes_give_errors_of_the_gateway_alone(named: list[tuple[str, bytes]]) -> None:
    read(named)


@given(damaged())
@settings(max_examples=400)
def test_headers_that_lie_give_errors_of_the_gateway_alone(named: list[tuple[str, bytes]]) -> None:
    with any_checksum():
        read(named)


@given(st.sampled_from([b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00", b"MZ", b""]), st.binary())
def test_noise_gives_errors_of_the_gateway_alone(begin: bytes, noise: bytes) -> None:
    with any_checksum():
        read([("a.rar", begin + noise)])


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_a_first_volume_cut_anywhere_gives_errors_of_the_gateway_alone(shape: int) -> None:
    (name, first), *others = written(shape)
    for length in [*range(0, 400, 9), *range(len(first) - 90, len(first), 4)]:
        read([(name, first[:length]), *others])
