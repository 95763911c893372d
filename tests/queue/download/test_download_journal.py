"""What is on the disk is known after any end."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_queue.download.checkpoints import Checkpoints
from gateway_queue.download.disk import PartialFiles
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.meter import Meter

Open = Callable[..., Journal]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[PartialFiles]:
    files = PartialFiles(tmp_path / "parts")
    yield files
    files.close()


@pytest.fixture
def open_journal(tmp_path: Path, files: PartialFiles) -> Iterator[Open]:
    """Open the journal as a program does after the one before has ended in whatever way."""
    opened: list[Journal] = []

    def open_journal(nzb: str = "the post") -> Journal:
        opened.append(
            Journal(
                tmp_path / "journal",
                nzb,
                lambda number, span: files.checksum(number, span.begin, span.length) == span.crc,
            )
        )
        return opened[-1]

    yield open_journal
    for one in opened:
        one.close()


def write(journal: Journal, files: PartialFiles, part: int, data: bytes) -> None:
    files.write(0, part * 10, bytearray(data), 1_000)
    journal.written(0, part, Span(part * 10, len(data), zlib.crc32(data)))


def test_what_was_written_is_read_back_until_it_is_on_the_disk_for_certain(
    open_journal: Open, files: PartialFiles
) -> None:
    journal = open_journal()
    write(journal, files, 0, b"0123456789")
    journal.synced(journal.lines)
    write(journal, files, 1, b"abcdefghij")

    again = open_journal()
    assert set(again.posted(0).spans) == {0, 1}
    assert again.read_back == 10


def test_bytes_that_the_machine_lost_are_lost_for_good(
    open_journal: Open, files: PartialFiles
) -> None:
    journal = open_journal()
    write(journal, files, 0, b"0123456789")
    write(journal, files, 1, b"abcdefghij")
    files.write(0, 10, bytearray(10), 1_000)  # what a file system shows of pages never written

    again = open_journal()
    assert set(again.posted(0).spans) == {0}
    again.synced(again.lines)  # vouches for all lines, but not for what one of them takes back
    assert set(open_journal().posted(0).spans) == {0}

    write(again, files, 1, b"abcdefghij")
    assert set(open_journal().posted(0).spans) == {0, 1}


def test_nothing_is_vouched_for_before_it_is_on_the_disk(
    open_journal: Open, files: PartialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A program was killed: the kernel has these bytes, and may not have written them yet.
    write(open_journal(), files, 0, b"0123456789")
    journal = open_journal()
    assert journal.read_back == 10
    happened: list[str] = []
    fsync, synced = os.fsync, journal.synced

    def sync(fd: int) -> None:
        fsync(fd)
        happened.append(Path(f"/proc/self/fd/{fd}").readlink().name)

    def vouch(lines: int) -> None:
        happened.append(f"vouched for {lines}")
        synced(lines)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(journal, "synced", vouch)
    with Checkpoints(files, journal) as checkpoints:
        files.write(1, 0, bytearray(b"abc"), 3)
        journal.written(1, 0, Span(0, 3, zlib.crc32(b"abc")))
        checkpoints.note(1, 3)

    lines = journal.lines - 1
    assert happened == ["00000", "00001", "parts", f"vouched for {lines}", "journal"]
    assert open_journal().read_back == 0


@given(cut=st.integers(0, 200), flipped=st.integers(0, 200))
def test_a_damaged_end_hides_nothing_before_it_and_nothing_written_later(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal(path, "the post", lambda *_: True)
    for part in range(20):
        journal.written(0, part, Span(part, 1, part))
    journal.close()
    content = bytearray(path.read_bytes())
    at = len(content) - 1 - flipped
    content[at] ^= 0x40
    damaged = len(content) - min(cut, flipped)
    path.write_bytes(content[:damaged])
    whole = bytes(content[:at]).count(b"\n") - 1  # lines, without the head

    after = Journal(path, "the post", lambda *_: True)
    assert list(after.posted(0).spans) == list(range(whole))
    after.written(0, 99, Span(0, 1, 1))
    after.close()
    last = Journal(path, "the post", lambda *_: True)
    assert list(last.posted(0).spans) == [*range(whole), 99]
    last.close()


def test_the_journal_of_another_document_counts_for_nothing(
    open_journal: Open, files: PartialFiles
) -> None:
    write(open_journal("one"), files, 0, b"0123456789")
    assert not open_journal("another").files
    assert not open_journal("one").files


def test_steps_and_names_are_kept(open_journal: Open) -> None:
    journal = open_journal()
    journal.begun(7, 'a "name"\n', 1_000)
    journal.lacks(7, 3)
    journal.reach("verified")
    journal.reach("moved", "/a/b")

    again = open_journal()
    assert (again.posted(7).name, again.posted(7).size) == ('a "name"\n', 1_000)
    assert again.posted(7).absent == {3}
    assert again.reached == {"verified": True, "moved": "/a/b"}


def test_the_speed_is_that_of_the_last_ten_seconds() -> None:
    now = 100.0
    meter = Meter(lambda: now)
    meter.aim(0, 10_000, 0)
    assert meter.progress().left_s is None
    for _ in range(20):
        meter.add(100, 97)
        now += 1
    assert meter.progress().speed == pytest.approx(97, rel=0.12)
    assert meter.progress().left_s == pytest.approx(8_000 / 97, rel=0.12)
    now += 10
    assert meter.progress().speed == 0
    assert meter.progress().left_s is None
    meter.add(100, 97)
    assert meter.progress().speed > 0
