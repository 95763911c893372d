"""Encrypted files: the right bytes from any offset, at the price of plain ones."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as AesCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ArticleMissing
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.extents import PartTable, Run
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.streams import Streams

if TYPE_CHECKING:
    from tests.streams.conftest import Opener, ReadAlike, Shelf

CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(320))


@st.composite
def layouts(draw: st.DrawFn, shelf: Shelf) -> tuple[CipheredLayout, bytes]:
    """A file of several stretches over several posts, some encrypted, and its bytes."""
    tables: list[PartTable] = []
    stretches, expected = [], b""

    def post(data: bytes) -> None:
        size = len(data)
        if draw(st.booleans()):
            part_size = draw(st.integers(5, 300))
            sizes = [min(part_size, size - at) for at in range(0, size, part_size)]
            tables.append(PartTable.regular(shelf.post(data, sizes), size, part_size))
        else:
            cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=12)))
            sizes = [end - begin for begin, end in zip([0, *cuts], [*cuts, size], strict=True)]
            weights = draw(st.lists(st.integers(0, 900), min_size=len(sizes), max_size=len(sizes)))
            tables.append(PartTable.estimated(shelf.post(data, sizes), size, weights))

    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, 300))
        plain = CONTENT[begin : begin + draw(st.integers(1, 900))]
        cipher = None
        stored = plain
        if draw(st.booleans()):
            cipher = Cipher(draw(st.sampled_from([b"k" * 16, b"l" * 32])), CONTENT[begin:][:16])
            encryptor = AesCipher(AES(cipher.key), CBC(cipher.iv)).encryptor()
            stored = encryptor.update(plain + b"\1" * (-len(plain) % 16))
        runs = []
        cut = draw(st.integers(0, len(stored)))
        for piece in (stored[:cut], stored[cut:]):  # as volumes cut it
            before = draw(st.integers(0, 40))
            post(bytes(before) + piece + b"behind")
            runs.append(Run(len(tables) - 1, before, len(piece)))
        skip = draw(st.integers(0, len(plain)))
        length = draw(st.integers(0, len(plain) - skip))
        stretches.append(Stretch(tuple(runs), length, skip, cipher))
        expected += plain[skip : skip + length]
    return CipheredLayout(stretches, tables), expected


@settings(max_examples=100)
@given(data=st.data())
def test_any_split_into_reads_gives_the_same_bytes(
    make_shelf: Callable[[], Shelf], read_alike: ReadAlike, data: st.DataObject
) -> None:
    shelf = make_shelf()
    layout, expected = data.draw(layouts(shelf))
    assert layout.size == len(expected)
    stop = data.draw(st.none() | st.integers(-1, len(expected) + 10))
    streams = Streams(
        shelf,
        readahead_budget=data.draw(st.sampled_from([0, 500, 10**6])),
        article_cache=data.draw(st.sampled_from([0, 700, 10**6])),
        read_timeout_s=20,
        connections=lambda: 4,
    )
    reference = io.BytesIO(expected[: None if stop is None else max(0, stop)])
    with streams.open(layout, stop=stop) as stream:
        read_alike(stream, reference, len(expected), data)
        # The carrier went past nothing that the range does not take.
        assert {number for number, _ in layout.touched()} >= {
            int(mid.split(".")[0]) - 1 for mid in shelf.asked
        }
    assert streams.budget.used == 0


def test_a_cold_seek_costs_one_article_and_at_its_beginning_the_one_before(
    shelf: Shelf, make_streams: Opener
) -> None:
    layout = shelf.encrypted(CONTENT, 1000)
    with make_streams(shelf).open(layout) as stream:
        for offset in (4_100, 9_999, 2_222, 7_999, 17):
            del shelf.parcels[:]
            stream.seek(offset)
            assert stream.read(1) == CONTENT[offset : offset + 1]
            assert len(shelf.parcels) == 1
        del shelf.parcels[:]
        stream.seek(6_000)  # its block begins with the article, what it is chained to ends before
        assert stream.read(1) == CONTENT[6_000:6_001]
        assert shelf.asked == ["1.5@test", "1.6@test"]


def test_a_closed_range_fetches_no_article_behind_it(shelf: Shelf, make_streams: Opener) -> None:
    layout = shelf.encrypted(CONTENT, 1000)
    with make_streams(shelf).open(layout, stop=4_990) as stream:
        stream.seek(2_000)
        assert stream.readall() == CONTENT[2_000:4_990]
    assert sorted(shelf.asked) == [f"1.{number}@test" for number in range(1, 5)]


def test_reading_on_fetches_ahead_as_for_a_plain_file(shelf: Shelf, make_streams: Opener) -> None:
    asked = []
    for layout in (shelf.plain(CONTENT, 1000), shelf.encrypted(CONTENT, 1000)):
        with make_streams(shelf).open(layout) as stream:
            for _ in range(5):
                stream.read_view(1000)
            asked.append([mid.partition(".")[2] for mid in shelf.asked])
            assert stream.info().readahead > 0
            stream.suspend()
            assert stream.info().readahead == 0
            assert stream.read(100)
        del shelf.parcels[:]
    assert asked[1] == asked[0]


def test_many_encrypted_pieces_in_a_row_do_not_stop_the_reading_ahead(
    shelf: Shelf, make_streams: Opener
) -> None:
    # As the volumes of an archive in an encrypted archive: a header between the pieces.
    whole = shelf.encrypted(CONTENT, 1000)
    table = whole.carrier._tables[0]
    cipher = whole.section(0).cipher
    pieces = [
        Stretch((Run(0, 0, table.size),), 900, begin + 37, cipher)
        for begin in range(0, len(CONTENT) - 1000, 1000)
    ]
    expected = b"".join(
        CONTENT[begin + 37 : begin + 937] for begin in range(0, len(CONTENT) - 1000, 1000)
    )
    layout = CipheredLayout(pieces, [table])
    with make_streams(shelf).open(layout) as stream:
        got = b""
        while view := stream.read_view(500):
            got += view
            if len(got) > 3_000:
                assert stream.info().readahead > 0 or stream.tell() > len(expected) - 3_000
    assert got == expected


def test_an_error_is_not_an_end_and_reading_goes_on_after_it(
    shelf: Shelf, make_streams: Opener
) -> None:
    layout = shelf.encrypted(CONTENT, 1000)
    shelf.errors["1.3@test"] = ArticleMissing("segment 4 of 11: 430 from all 3 providers")
    with make_streams(shelf).open(layout) as stream:
        stream.seek(500)
        for read in (lambda: stream.read(9_000), lambda: stream.readinto(bytearray(9_000))):
            with pytest.raises(ArticleMissing):
                read()
            assert stream.tell() == 500
        assert stream.read(2400) == CONTENT[500:2900]
        with pytest.raises(ArticleMissing):
            stream.read(500)
        del shelf.errors["1.3@test"]
        assert stream.readall() == CONTENT[2900:]


def test_the_padding_never_leaves(shelf: Shelf, make_streams: Opener) -> None:
    layout = shelf.encrypted(CONTENT[:1001], 300)
    with make_streams(shelf).open(layout) as stream:
        assert stream.size == stream.seek(0, io.SEEK_END) == 1001
        stream.seek(995)
        assert stream.read(100) == CONTENT[995:1001]
        stream.seek(1005)
        assert not stream.read_view(10)
    # Nor where something follows that is encrypted by itself.
    table, cipher = layout.carrier._tables[0], layout.section(0).cipher
    twice = CipheredLayout([Stretch((Run(0, 0, table.size),), 1001, 0, cipher)] * 2, [table])
    with make_streams(shelf).open(twice) as stream:
        assert stream.read() == 2 * CONTENT[:1001]


def test_an_operator_sees_the_file_and_not_its_ciphertext(
    shelf: Shelf, make_streams: Opener
) -> None:
    streams = make_streams(shelf)
    with streams.open(shelf.encrypted(CONTENT[:1001], 300, skip=700), name="a.mkv") as stream:
        stream.read(10)
        (info,) = streams.active()
        assert (info.name, info.position, info.size) == ("a.mkv", 10, 1001)
        assert info.reservation == stream.reservation
    assert streams.active() == []


def test_a_reader_that_waits_hears_of_the_close_at_once(shelf: Shelf, make_streams: Opener) -> None:
    layout = shelf.encrypted(CONTENT, 1000)
    streams = make_streams(shelf)
    stream = streams.open(layout)
    shelf.held = True
    errors: list[BaseException] = []

    def read() -> None:
        with pytest.raises(ValueError, match="closed") as caught:
            stream.read(1)
        errors.append(caught.value)

    reader = threading.Thread(target=read)
    reader.start()
    shelf.wait_for(lambda: bool(shelf.parcels))
    streams.close()
    reader.join(20)
    assert errors
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read_view(1)


def test_what_does_not_lie_within_its_posts_is_refused() -> None:
    table = PartTable.regular([b"1@test"], 100, 100)
    cipher = Cipher(bytes(16), bytes(16))
    for stretch in (
        Stretch((Run(0, 8, 96),), 90, 0, cipher),
        Stretch((Run(0, 0, 96),), 90, 7, cipher),
        Stretch((Run(0, 0, 50),), 51),
    ):
        with pytest.raises(ValueError, match="not within"):
            CipheredLayout([stretch], [table])
    with pytest.raises(ValueError, match="outside of 0 bytes"):
        CipheredLayout([], []).section(0)
