"""Learned offsets reach the disk together, and never get in the way of a stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

import pytest

from gateway.errors import StorageFull
from gateway.library.offsets import LearnedOffsets
from gateway.nzb.extents import PartTable

TABLE = PartTable.regular([b"a@x"], 10, 10)


class Disk:
    """Remembers what is written to it, and in which thread."""

    def __init__(self, error: Exception | None = None) -> None:
        self.writes: list[list[int]] = []
        self.threads: list[threading.Thread] = []
        self.written = threading.Event()
        self._error = error

    def write(self, tables: Mapping[int, PartTable]) -> None:
        self.writes.append(sorted(tables))
        self.threads.append(threading.current_thread())
        self.written.set()
        if self._error is not None:
            raise self._error


def test_many_news_are_one_write_in_another_thread() -> None:
    disk = Disk()
    offsets = LearnedOffsets(disk.write, delay_s=0.05)
    for posted_id in (1, 2, 1, 2):
        offsets.note(posted_id, TABLE)
    assert disk.written.wait(10)
    assert disk.writes == [[1, 2]]
    assert disk.threads[0] is not threading.current_thread()
    disk.written.clear()
    offsets.note(3, TABLE)
    assert disk.written.wait(10)
    assert disk.writes == [[1, 2], [3]]
    offsets.close()


def test_what_waits_at_the_end_is_written_at_once() -> None:
    disk = Disk()
    offsets = LearnedOffsets(disk.write, delay_s=3600)
    offsets.note(1, TABLE)
    offsets.close()
    assert disk.writes == [[1]]
    offsets.note(2, TABLE)
    offsets.close()
    assert disk.writes == [[1]]
    assert not [thread for thread in threading.enumerate() if thread.name == "learned-offsets"]


def test_nothing_is_written_when_nothing_is_learned() -> None:
    disk = Disk()
    offsets = LearnedOffsets(disk.write)
    offsets.flush()
    offsets.close()
    assert disk.writes == []


def test_a_full_disk_is_logged_and_the_stream_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    offsets = LearnedOffsets(Disk(StorageFull("the disk is full")).write, delay_s=3600)
    offsets.note(1, TABLE)
    with caplog.at_level(logging.WARNING):
        offsets.flush()
    assert "the disk is full" in caplog.text
    offsets.close()
