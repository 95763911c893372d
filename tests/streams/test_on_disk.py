"""Files on the disk are streams like all others."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import NotOnDisk
from gateway.streams.on_disk import DiskFile, DiskStream
from gateway.streams.streams import Stream, Streams
from gateway.usenet.workload import Reservation, Workload

if TYPE_CHECKING:
    from tests.streams.conftest import Opener, Shelf

CONTENT = bytes(range(251)) * 40
ReadAlike = Callable[[Stream, io.BytesIO, int, st.DataObject], None]


@pytest.fixture
def film(tmp_path: Path) -> DiskFile:
    path = tmp_path / "film.mkv"
    path.write_bytes(CONTENT)
    return DiskFile(path, len(CONTENT))


@pytest.fixture
def streams(make_streams: Opener, shelf: Shelf) -> Streams:
    return make_streams(shelf)


@settings(max_examples=50)
@given(data=st.data())
def test_any_split_into_reads_gives_the_same_bytes(
    make_shelf: Callable[[], Shelf],
    tmp_path_factory: pytest.TempPathFactory,
    read_alike: ReadAlike,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("disk") / "film.mkv"
    path.write_bytes(CONTENT)
    stop = data.draw(st.none() | st.integers(-1, len(CONTENT) + 10))
    streams = Streams(
        make_shelf(),
        readahead_budget=0,
        article_cache=0,
        read_timeout_s=20,
        connections=lambda: 4,
    )
    reference = io.BytesIO(CONTENT[: None if stop is None else max(0, stop)])
    with streams.open(DiskFile(path, len(CONTENT)), stop=stop) as stream:
        read_alike(stream, reference, len(CONTENT), data)


def test_an_operator_sees_it_while_it_is_open(streams: Streams, film: DiskFile) -> None:
    with streams.open(film, name="Film/film.mkv") as stream:
        stream.read(100)
        (seen,) = streams.active()
        assert (seen.name, seen.position, seen.size) == ("Film/film.mkv", 100, len(CONTENT))
    assert not streams.active()


def test_every_descriptor_is_given_back(streams: Streams, film: DiskFile) -> None:
    def held() -> list[str]:
        entries = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return [entry for entry in entries if os.path.realpath(entry) == str(film.path)]

    for _ in range(3):
        stream = streams.open(film)
        stream.read(1)
        assert held()
        stream.suspend()
        stream.close()
        stream.close()
        with pytest.raises(ValueError, match="is closed"):
            stream.read(1)
    assert not held()


def test_the_end_of_the_program_closes_it(streams: Streams, film: DiskFile) -> None:
    stream = streams.open(film)
    streams.close()
    with pytest.raises(ValueError, match="is closed"):
        stream.read(1)


@pytest.mark.parametrize("size", [None, 100, len(CONTENT) + 1])
def test_a_file_that_is_gone_or_changed_is_not_served_as_what_it_was(
    streams: Streams, film: DiskFile, size: int | None
) -> None:
    if size is None:
        film.path.unlink()
    else:
        os.truncate(film.path, size)
    with pytest.raises(NotOnDisk, match=r"film\.mkv"):
        film.check()
    with pytest.raises(NotOnDisk, match=r"film\.mkv"):
        streams.open(film)
    assert not streams.active()


def test_a_stream_whose_file_could_not_be_opened_has_nothing_to_close(film: DiskFile) -> None:
    film.path.unlink()
    closed: list[DiskStream] = []
    stream = DiskStream.__new__(DiskStream)
    with pytest.raises(NotOnDisk):
        stream.__init__(film, Reservation(Workload.STREAM, 1), on_close=closed.append)  # type: ignore[misc]
    stream.close()  # as the collector does
    assert not closed


def test_a_file_that_shrinks_while_it_is_read_ends_with_an_error(
    streams: Streams, film: DiskFile
) -> None:
    with streams.open(film) as stream:
        os.truncate(film.path, 1000)
        assert stream.read(1000) == CONTENT[:1000]
        with pytest.raises(NotOnDisk, match="ends at 1,000 of 10,040"):
            stream.read(1)
