"""Disks that go away under a download: it waits, loses nothing, and shows nothing half done."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import NewsServer, make_post
from gateway.errors import StorageFull
from gateway_queue.download import downloads as downloads_module
from gateway_queue.download.disk import PartialFiles
from gateway_queue.download.downloads import Downloads
from gateway_queue.download.journal import Journal
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore

Add = Callable[..., str]
Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]


@pytest.fixture
def later(
    clock: Any, processor: Processor, find: Find, wait_until: WaitUntil
) -> Callable[..., str]:
    """Let an hour pass, wait until an item was tried again, and return what it says."""

    def later(nzo_id: str) -> str:
        clock.now += 3_600
        processor.wake()
        wait_until(lambda: find(nzo_id).not_before > clock.now)
        return find(nzo_id).note

    return later


@pytest.fixture
def complete_again(
    clock: Any, processor: Processor, find: Find, wait_until: WaitUntil
) -> Callable[[str], None]:
    def complete_again(nzo_id: str) -> None:
        clock.now += 60
        processor.wake()
        wait_until(lambda: find(nzo_id).state in {State.COMPLETED, State.FAILED})
        assert (find(nzo_id).state, find(nzo_id).failure) == (State.COMPLETED, "")

    return complete_again


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_disk_that_goes_away_under_a_download_is_waited_for_however_long_that_takes(
    server: NewsServer,
    add: Add,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    later: Callable[[str], str],
    complete_again: Callable[[str], None],
    incomplete: Path,
    complete: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    away = incomplete.with_name("away")
    write, calls = PartialFiles.write, 0

    def written(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            incomplete.rename(away)
        write(*arguments)

    monkeypatch.setattr(PartialFiles, "write", written)
    nzo_id = add(post)
    processor.start()
    wait_until(lambda: find(nzo_id).note)
    for _ in range(40):
        assert find(nzo_id).note.endswith(
            ": No such file or directory: is the disk mounted, and may the gateway write there?"
        )
        assert later(nzo_id)
    assert (find(nzo_id).state, find(nzo_id).attempts) == (State.QUEUED, 0)
    assert not incomplete.exists()
    assert not files_in(complete)

    away.rename(incomplete)
    complete_again(nzo_id)
    assert files_in(complete) == {"films/Job/Some.Film.mkv": film}
    again = sum(server.counts.bodies.values()) - len(server.counts.bodies)
    assert again <= 2 * 10, "but what was in flight, nothing is fetched again"


def test_nothing_appears_below_a_mount_point_whose_disk_is_away(
    server: NewsServer,
    add: Add,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    later: Callable[[str], str],
    complete_again: Callable[[str], None],
    complete: Path,
    other_disk: Path,
    film: bytes,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    mounted = complete.rename(complete.with_name("mounted"))
    complete.symlink_to(other_disk)
    nzo_id = add(post)
    processor.start()
    wait_until(lambda: find(nzo_id).note)
    assert "are on two file systems" in find(nzo_id).note
    assert later(nzo_id).endswith("can only be moved within one: is the disk mounted?")
    assert not list(other_disk.iterdir())

    complete.unlink()
    mounted.rename(complete)
    complete_again(nzo_id)
    assert files_in(complete) == {"films/Job/Some.Film.mkv": film}
    assert max(server.counts.bodies.values()) == 1


@pytest.fixture
def landed(
    server: NewsServer,
    add: Add,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    complete: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Return an item that lies in its place, and could not be published."""
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)

    def refuse(*_: Any, **__: Any) -> Item:
        raise StorageFull("the disk of the library is full")

    with monkeypatch.context() as patched:
        patched.setattr(JobStore, "finish", refuse)
        nzo_id = add(post)
        processor.start()
        wait_until(lambda: find(nzo_id).note)
    assert files_in(complete) == {"films/Job/Some.Film.mkv": film}
    return nzo_id


def test_what_has_landed_is_waited_for_when_its_disk_goes_away(
    landed: str,
    find: Find,
    later: Callable[[str], str],
    complete_again: Callable[[str], None],
    complete: Path,
    film: bytes,
) -> None:
    mounted = complete.rename(complete.with_name("mounted"))
    assert later(landed) == (
        f'"{complete}/films/Job" is not there, and has been: is the disk of "{complete}" mounted?'
    )
    assert find(landed).attempts == 0

    mounted.rename(complete)
    complete_again(landed)
    assert files_in(complete) == {"films/Job/Some.Film.mkv": film}


def test_a_removal_that_is_killed_takes_no_folder_that_was_only_tried(
    downloads: Downloads, incomplete: Path, complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, taken = incomplete / "SABnzbd_nzo_abcdefghijkl", complete / "films" / "Job"
    for folder in (item / "unpacked", taken):
        folder.mkdir(parents=True)
        (folder / "film.mkv").write_bytes(b"film")
    journal = Journal(item / "journal", "the post", lambda *_: True)
    journal.reach("landing", str(taken))
    journal.close()

    def killed(_: Path) -> None:
        shutil.rmtree(item / "unpacked")

    with monkeypatch.context() as patched:
        patched.setattr(downloads_module, "remove", killed)
        downloads.discard(item.name)
    downloads.sweep([])

    assert not list(incomplete.iterdir())
    assert files_in(complete) == {"films/Job/film.mkv": b"film"}


def test_what_somebody_took_away_before_it_was_published_fails_and_says_so(
    landed: str,
    processor: Processor,
    clock: Any,
    find: Find,
    wait_until: WaitUntil,
    complete: Path,
) -> None:
    (complete / "films" / "Job").rename(complete / "mine")
    clock.now += 60
    processor.wake()
    wait_until(lambda: find(landed).state is State.FAILED)
    assert find(landed).failure == (
        f'what was downloaded has gone from "{complete}/films/Job" before it was published'
    )
    assert [path.name for path in (complete / "mine").iterdir()] == ["Some.Film.mkv"]
