"""NZBs that are put into a folder are queued: whole, once, under their category."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import make_post
from gateway.errors import StorageError
from gateway_queue import drop_folder, dropped
from gateway_queue.drop_folder import DropFolder
from gateway_queue.intake import Queue
from gateway_queue.item import State
from gateway_queue.listing import Wanted
from gateway_queue.processor import Processor
from gateway_queue.sab_config import Setup
from gateway_queue.store import JobStore

NZB = make_post("Film.mkv", b"film" * 99).nzb
Names = Callable[[], list[tuple[str, str]]]


class Killed(BaseException):
    """The program dies at this moment."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def start(folder: Path, queue: Queue, setup: Setup, clock: Any) -> Callable[[], DropFolder]:
    """Begin anew, as the program does."""
    return lambda: DropFolder(folder, queue, setup.category, clock=clock)


@pytest.fixture
def watched(start: Callable[[], DropFolder]) -> DropFolder:
    return start()


@pytest.fixture
def queued(store: JobStore) -> Names:
    """Return category and name of what is queued, in the order in which it came."""
    return lambda: [(item.category, item.name) for item in store.queue().items]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.nzb", content)
    return packed.getvalue()


def test_a_file_is_queued_and_removed_once_it_stays_the_same(
    folder: Path, watched: DropFolder, queued: Names, store: JobStore
) -> None:
    (folder / "A.Film{{secret}}.nzb").write_bytes(NZB)
    watched.look()
    assert queued() == [], "it may still grow"
    watched.look()
    assert queued() == [("uncategorized", "A.Film")]
    assert names(folder) == []
    (item,) = store.queue().items
    assert store.document(item.id) == NZB


def test_its_folder_is_its_category_in_any_case(
    folder: Path, watched: DropFolder, queued: Names
) -> None:
    for name in ("Movies", "tv", "unheard-of", ".hidden"):
        (folder / name / "deeper").mkdir(parents=True)
        (folder / name / f"{name.strip('.')}.nzb").write_bytes(NZB)
        (folder / name / "deeper" / "ignored.nzb").write_bytes(NZB)
    (folder / "notes.txt").write_text("not for us")
    watched.look()
    watched.look()
    assert queued() == [("movies", "Movies"), ("tv", "tv"), ("uncategorized", "unheard-of")]
    assert names(folder) == ["hidden.nzb", *["ignored.nzb"] * 4, "notes.txt"]


def test_packed_ones_are_taken_and_each_of_a_zip(
    folder: Path, watched: DropFolder, queued: Names
) -> None:
    (folder / "a.nzb.gz").write_bytes(gzip.compress(NZB))
    (folder / "b.zip").write_bytes(zipped(One=NZB, Two=NZB, Three=NZB))
    (folder / "c.zip").write_bytes(zipped(inside=NZB))
    watched.look()
    watched.look()
    assert [name for _, name in queued()] == ["a", "One", "Two", "Three", "c"]
    assert names(folder) == []


@pytest.mark.parametrize("cut", [NZB[:200], NZB[:-5], gzip.compress(NZB)[:-30], b""])
def test_what_is_still_on_its_way_is_waited_for(
    folder: Path, watched: DropFolder, queued: Names, clock: Any, cut: bytes
) -> None:
    path = folder / ("a.nzb.gz" if cut.startswith(b"\x1f") else "a.nzb")
    path.write_bytes(cut)
    for _ in range(5):
        watched.look()
        clock.now += 10
    assert (queued(), names(folder)) == ([], [path.name])
    path.write_bytes(gzip.compress(NZB) if cut.startswith(b"\x1f") else NZB)
    watched.look()
    watched.look()
    assert queued() == [("uncategorized", "a")]


def test_what_is_no_nzb_after_a_minute_fails_in_the_history_and_is_set_aside(
    folder: Path,
    watched: DropFolder,
    store: JobStore,
    processor: Processor,
    clock: Any,
    wait_until: Callable[..., None],
    said: list[str],
) -> None:
    for _ in range(2):
        (folder / "page.nzb").write_bytes(b"Access denied")
        watched.look()
        clock.now += 61
        watched.look()
    assert names(folder) == ["page.nzb (2).failed", "page.nzb.failed"]
    assert "WARNING 'page.nzb' of the drop folder is no NZB: it is 'page.nzb.failed' now" in said
    processor.start()
    wait_until(lambda: len(store.history().items) == 2)
    assert {item.failure for item in store.history().items} == {
        "not an NZB: begins with 'Access denied'"
    }
    clock.now += 600
    watched.look()
    watched.look()
    assert len(store.history().items) == 2, "what was set aside is left alone"


@pytest.mark.parametrize(
    "name", [b"x" * 251 + b".nzb", "ä".encode() * 120 + b".nzb.gz", b"\xff\xfe broken.nzb"]
)
def test_a_name_of_any_length_and_encoding_is_taken(
    folder: Path, watched: DropFolder, queued: Names, name: bytes, clock: Any
) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(NZB)
    bad = Path(os.fsdecode(os.fsencode(folder) + b"/" + name.replace(b".nzb", b"2.nzb")[1:]))
    bad.write_bytes(b"Access denied")
    watched.look()
    watched.look()
    assert len(queued()) == 1
    clock.now += 61
    watched.look()
    assert len(queued()) == 2
    (aside,) = folder.iterdir()
    assert aside.name.endswith(".failed")


def test_a_fault_with_one_file_keeps_nobody_from_the_others(
    folder: Path,
    watched: DropFolder,
    queue: Queue,
    queued: Names,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*args: Any, **kwargs: Any) -> bool:
        if kwargs["filename"] == "a.nzb":
            raise ZeroDivisionError
        return take(*args, **kwargs)

    take = queue.take
    monkeypatch.setattr(queue, "take", fault)
    for name in ("a", "b"):
        (folder / f"{name}.nzb").write_bytes(NZB)
    watched.look()
    watched.look()
    assert queued() == [("uncategorized", "b")]


def test_links_pipes_and_folders_are_not_followed(
    folder: Path, watched: DropFolder, queued: Names, tmp_path: Path, said: list[str], clock: Any
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.nzb").write_bytes(NZB)
    (folder / "link.nzb").symlink_to(outside / "a.nzb")
    (folder / "movies").symlink_to(outside)
    os.mkfifo(folder / "pipe.nzb")
    (folder / "folder.nzb").mkdir()
    for _ in range(3):
        watched.look()
        clock.now += 61
    assert queued() == []
    assert (outside / "a.nzb").exists()
    assert said == [
        f"WARNING the drop folder: {folder}/link.nzb is a symbolic link: put the file itself there"
    ]


STEPS = ["rename", "add", "added", "second", "unlink"]


@pytest.mark.parametrize("step", STEPS)
def test_whenever_the_program_dies_each_nzb_is_queued_once(
    folder: Path,
    start: Callable[[], DropFolder],
    queue: Queue,
    queued: Names,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    (folder / "b.zip").write_bytes(zipped(One=NZB, Two=NZB))

    def die(*_: object, **__: object) -> None:
        raise Killed

    def die_after(*args: Any, **kwargs: Any) -> bool:
        take(*args, **kwargs)
        raise Killed

    def die_at_second(*args: Any, **kwargs: Any) -> bool:
        if kwargs["filename"] == "Two.nzb":
            raise Killed
        return take(*args, **kwargs)

    take = queue.take
    dying = start()
    dying.look()
    with monkeypatch.context() as patch:
        match step:
            case "rename":
                patch.setattr(dropped, "take", die)
            case "add":
                patch.setattr(queue, "take", die)
            case "added":
                patch.setattr(queue, "take", die_after)
            case "second":
                patch.setattr(queue, "take", die_at_second)
            case "unlink":
                patch.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            dying.look()
    again = start()
    again.look()
    again.look()
    assert queued() == [("uncategorized", "One"), ("uncategorized", "Two")]
    assert names(folder) == []


def test_a_database_that_refuses_is_asked_again(
    folder: Path,
    watched: DropFolder,
    queue: Queue,
    queued: Names,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    def full(*_: object, **__: object) -> bool:
        raise StorageError("the disk is full")

    (folder / "a.nzb").write_bytes(NZB)
    watched.look()
    with monkeypatch.context() as patch:
        patch.setattr(queue, "take", full)
        for _ in range(3):
            watched.look()
    assert queued() == []
    watched.look()
    assert queued() == [("uncategorized", "a")]
    assert sum("cannot be queued yet: the disk is full" in line for line in said) == 1


def test_a_folder_that_is_gone_for_a_while_is_told_once(
    folder: Path, watched: DropFolder, queued: Names, said: list[str]
) -> None:
    folder.rmdir()
    watched.look()
    watched.look()
    assert said == [f"WARNING the drop folder: {folder} cannot be read: No such file or directory"]
    folder.mkdir()
    (folder / "a.nzb").write_bytes(NZB)
    watched.look()
    watched.look()
    assert queued() == [("uncategorized", "a")]


def test_it_looks_by_itself_until_it_is_stopped(
    folder: Path,
    queue: Queue,
    setup: Setup,
    store: JobStore,
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drop_folder, "LOOK_EVERY_S", 0.01)
    watched = DropFolder(folder, queue, setup.category)
    watched.start()
    (folder / "a.nzb").write_bytes(NZB)
    wait_until(lambda: store.queue(Wanted()).items)
    watched.stop(10)
    assert [item.state for item in store.queue().items] == [State.QUEUED]
