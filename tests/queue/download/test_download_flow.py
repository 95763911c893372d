"""A category that has its releases downloaded: from the NZB to files on the disk, as posted."""

from __future__ import annotations

import errno
import os
import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import par2_maker
import pytest
import stored_archives

from gateway.demo import Fault, NewsServer, Post, make_post, make_posts
from gateway.errors import ConfigurationError, StorageFull
from gateway.library.catalogue import Library
from gateway.library.entries import Release
from gateway.streams.streams import Streams
from gateway.usenet.client import UsenetClient
from gateway_queue.download import job as job_module
from gateway_queue.download.downloads import Downloads
from gateway_queue.download.journal import Journal
from gateway_queue.download.landing import check_folders
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore

if TYPE_CHECKING:
    from tests.queue.download.conftest import Protected

Add = Callable[..., str]
Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]


@pytest.fixture
def ended(processor: Processor, find: Find, wait_until: WaitUntil) -> Callable[[str], Item]:
    """Have the workers work, and return an item when it is history."""

    def ended(nzo_id: str) -> Item:
        processor.start()
        wait_until(lambda: find(nzo_id).state in {State.COMPLETED, State.FAILED})
        return find(nzo_id)

    return ended


def on_disk(folder: Path) -> dict[str, bytes]:
    """Return all that lies in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def in_library(library: Library, streams: Streams, release: Release) -> dict[str, bytes]:
    """Return what players see of a release."""
    found = {}
    for entry in library.entries(release).files:
        with streams.open(library.layout(entry.id)) as stream:
            found[entry.path] = stream.read()
        assert len(found[entry.path]) == entry.size
    return found


def test_a_post_becomes_files_on_the_disk_and_the_same_in_the_library(
    server: NewsServer,
    add: Add,
    ended: Callable[[str], Item],
    library: Library,
    streams: Streams,
    incomplete: Path,
    complete: Path,
    film: bytes,
    said: list[str],
) -> None:
    contents = {"Some.Film.mkv": film, "Some.Film.srt": b"1\n" * 400}
    post = make_posts(contents, part_size=7_000)
    server.add(post)

    item = ended(add(post, "Some.Film.2026"))

    assert (item.state, item.failure) == (State.COMPLETED, "")
    assert on_disk(complete) == {f"films/Some.Film.2026/{name}": d for name, d in contents.items()}
    _until(lambda: not list(incomplete.iterdir()))
    (release,) = library.releases("films")
    assert in_library(library, streams, release) == contents
    assert item.size == sum(map(len, contents.values()))
    assert set(server.counts.bodies) == set(post.message_ids)
    assert max(server.counts.bodies.values()) == 1
    server.remove(post.message_ids)
    assert in_library(library, streams, release) == contents, "nothing is asked of a provider"


def test_other_categories_still_stream(
    server: NewsServer, add: Add, ended: Callable[[str], Item], film: bytes, complete: Path
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    assert ended(add(post, category="tv")).state is State.COMPLETED
    assert not on_disk(complete)
    assert len(server.counts.bodies) < 5


@pytest.mark.parametrize("percent", [0, 1, 3, 10])
@pytest.mark.parametrize("disguise", [False, True])
def test_what_is_missing_is_made_by_par2_with_no_more_volumes_than_it_takes(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
    complete: Path,
    percent: int,
    disguise: bool,
) -> None:
    one = protected(disguise=disguise)
    server.add(one.post)
    data = [mid for file in one.post.files[:2] for mid in file.message_ids]
    gone = random.Random(percent).sample(data, len(data) * percent // 100)
    server.remove(gone)

    item = ended(add(one.post))

    assert (item.state, item.failure) == (State.COMPLETED, "")
    assert on_disk(complete / "films" / "Job") == one.contents
    volumes = {mid for file in one.post.files[3:] for mid in file.message_ids}
    fetched = {mid for mid in volumes if server.counts.bodies[mid]}
    if not percent and not disguise:
        assert not fetched, "what is whole needs no recovery blocks"
    if percent == 1 and not disguise:
        assert len(fetched) < len(volumes) / 2


@pytest.mark.parametrize("fault", [Fault.DAMAGED, Fault.WRONG_ARTICLE])
def test_damaged_and_swapped_articles_are_made_whole_by_par2(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
    complete: Path,
    fault: Fault,
) -> None:
    one = protected()
    server.add(one.post)
    data = one.ids_of(".bin")
    options: dict[str, Any] = {"instead": data[8]} if fault is Fault.WRONG_ARTICLE else {}
    server.fail(fault, data[3], data[60], **options)

    assert ended(add(one.post)).failure == ""
    assert on_disk(complete / "films" / "Job") == one.contents


@pytest.mark.parametrize("disguise", [False, True])
def test_a_par2_file_that_is_not_whole_has_others_fetched_in_its_place(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
    complete: Path,
    disguise: bool,
) -> None:
    one = protected(disguise=disguise)
    server.add(one.post)
    smallest, next_one = sorted(one.post.files[2:], key=lambda file: file.size)[:2]
    server.remove([one.post.files[0].message_ids[7], *smallest.message_ids])
    server.remove(next_one.message_ids[1:])
    assert ended(add(one.post)).failure == ""
    assert on_disk(complete / "films" / "Job") == one.contents


def test_each_step_is_on_the_disk_before_it_counts_as_done(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
    incomplete: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = protected()
    server.add(one.post)
    server.remove(one.post.files[0].message_ids[7:8])
    folders = {"downloaded": "parts", "repaired": "post", "unpacked": "unpacked"}
    synced: set[int] = set()
    looked_at: dict[str, int] = {}
    fsync, reach = os.fsync, Journal.reach

    def sync(fd: int) -> None:
        fsync(fd)
        synced.add(os.fstat(fd).st_ino)

    def reached(journal: Journal, step: str, value: Any = True) -> None:
        if step in folders:
            files = [path for path in incomplete.glob(f"*/{folders[step]}/*") if path.is_file()]
            assert {path.name for path in files if path.stat().st_ino not in synced} == set()
            looked_at[step] = len(files)
        reach(journal, step, value)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Journal, "reach", reached)
    assert ended(add(one.post)).failure == ""
    assert looked_at == {"downloaded": 3, "repaired": 4, "unpacked": 2}


def test_a_post_that_says_wrong_things_of_itself_is_caught_by_par2(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
    complete: Path,
) -> None:
    one = protected()
    name = "Film.part1.bin"
    other = bytearray(one.contents[name])
    other[4_000:4_100] = bytes(100)
    # Its CRC-32 is right: it is another post's article, or one that was posted damaged.
    wrong = make_posts({name: bytes(other)}, part_size=3_000)
    server.add(one.post)
    article = wrong.articles[wrong.files[0].message_ids[1]]
    target = one.post.files[0].message_ids[1]
    server.add(type(article)(target, article.groups, article.head, article.body))

    assert ended(add(one.post)).failure == ""
    assert on_disk(complete / "films" / "Job") == one.contents


def test_more_than_par2_can_make_fails_with_the_numbers_and_leaves_nothing(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
    library: Library,
    incomplete: Path,
    complete: Path,
) -> None:
    one = protected()
    server.add(one.post)
    server.remove(one.ids_of("part1.bin")[5:70])

    item = ended(add(one.post))

    assert item.state is State.FAILED
    assert "missing" in item.failure or "recovery blocks are needed" in item.failure
    assert list(library.releases("films")) == []
    assert not on_disk(complete)
    _until(lambda: not list(incomplete.iterdir()))


def test_what_is_missing_without_par2_fails_by_a_sample(
    server: NewsServer,
    add: Add,
    ended: Callable[[str], Item],
    film: bytes,
    incomplete: Path,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.remove([post.message_ids[-1]])

    item = ended(add(post))

    assert item.failure == "1 of 5 articles checked (of 72) is missing from the provider"
    _until(lambda: not list(incomplete.iterdir()))


def test_a_hole_that_no_sample_finds_is_found_by_the_download(
    server: NewsServer, add: Add, ended: Callable[[str], Item], film: bytes, complete: Path
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.remove([post.message_ids[10]])
    assert ended(add(post)).failure == (
        '"Some.Film.mkv": 1 of 72 articles is missing from the provider'
    )
    assert not on_disk(complete)


def test_a_small_file_outside_of_the_par2_set_that_is_not_whole_fails_the_post(
    server: NewsServer,
    protected: Callable[..., Protected],
    add: Add,
    ended: Callable[[str], Item],
) -> None:
    one = protected()
    extra = make_post("extra.bin", bytes(range(250)) * 40, part_size=3_000)
    both = Post(
        one.post.files + extra.files,
        {**one.post.articles, **extra.articles},
        one.post.nzb.replace(b"</nzb>", extra.nzb.split(b'newzbin.com/DTD/2003/nzb">')[1]),
    )
    server.add(both)
    server.remove([extra.message_ids[2]])
    assert ended(add(both)).failure == ('"extra.bin": 1 of 4 articles is missing from the provider')


def test_two_downloads_of_one_name_lie_beside_each_other(
    server: NewsServer,
    queue: Queue,
    add: Add,
    processor: Processor,
    store: JobStore,
    wait_until: WaitUntil,
    complete: Path,
    library: Library,
    film: bytes,
) -> None:
    posts = [make_post("Some.Film.mkv", film[n:], part_size=7_000, seed=n) for n in range(2)]
    server.add(*posts)
    for post in posts:
        add(post, "Film")
    processor.start()
    wait_until(lambda: not store.queue().items)

    assert sorted(map(len, on_disk(complete).values())) == [len(film) - 1, len(film)]
    assert set(on_disk(complete)) == {"films/Film/Some.Film.mkv", "films/Film (2)/Some.Film.mkv"}
    assert [release.name for release in library.releases("films")] == ["Film", "Film (2)"]


def test_a_second_one_is_refused_where_the_category_wants_that_and_leaves_nothing(
    server: NewsServer,
    add: Add,
    ended: Callable[[str], Item],
    find: Find,
    wait_until: WaitUntil,
    complete: Path,
    incomplete: Path,
    film: bytes,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    assert ended(add(post, category="strict")).state is State.COMPLETED
    second = add(post, category="strict")
    wait_until(lambda: find(second).state is State.FAILED)
    assert "has a release called" in find(second).failure
    assert list(on_disk(complete)) == ["strict/Job/Some.Film.mkv"]


@pytest.mark.parametrize("deed", ["pause", "remove"])
def test_an_item_that_is_paused_keeps_what_it_has_and_one_that_is_deleted_does_not(
    server: NewsServer,
    queue: Queue,
    add: Add,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    incomplete: Path,
    complete: Path,
    film: bytes,
    deed: str,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.fail(Fault.SILENCE, post.message_ids[40])
    nzo_id = add(post)
    processor.start()
    server.wait_for(lambda counts: counts.stalled and len(counts.bodies) > 50)
    wait_until(lambda: find(nzo_id).state is State.DOWNLOADING)

    if deed == "remove":
        assert queue.remove(nzo_id)
        _until(lambda: not list(incomplete.iterdir()))
        return
    queue.pause([nzo_id])
    wait_until(lambda: find(nzo_id).state is State.PAUSED)
    _until(lambda: (far := queue.progress(nzo_id)) and 0 < far.done < far.total and not far.speed)
    server.heal()
    queue.resume([nzo_id])
    wait_until(lambda: find(nzo_id).state is State.COMPLETED)
    assert on_disk(complete) == {"films/Job/Some.Film.mkv": film}
    _until(lambda: queue.progress(nzo_id) is None)
    again = {mid for mid, count in server.counts.bodies.items() if count > 1}
    assert len(again) < 40, "but what was in flight, nothing is fetched again"


def test_a_disk_without_room_is_waited_for_however_long_that_takes(
    server: NewsServer,
    add: Add,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    complete: Path,
    film: bytes,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    free = 1_000
    monkeypatch.setattr(job_module, "free_bytes", lambda folder: free)
    nzo_id = add(post)
    processor.start()
    for hour in range(40):
        wait_until(lambda: find(nzo_id).not_before > clock.now)
        assert find(nzo_id).state is State.QUEUED
        assert "are free: make room" in find(nzo_id).note
        free = 1_000 if hour < 39 else 1 << 40
        clock.now += 3_600
        processor.wake()
    wait_until(lambda: find(nzo_id).state is State.COMPLETED)
    assert on_disk(complete) == {"films/Job/Some.Film.mkv": film}


def test_an_interrupted_step_is_done_anew(
    server: NewsServer,
    usenet: UsenetClient,
    add: Add,
    store: JobStore,
    processor: Processor,
    downloads: Downloads,
    find: Find,
    wait_until: WaitUntil,
    complete: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each step fails for now once, after it has done its work; so it is begun again.
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    failed: set[str] = set()

    def once(name: str) -> None:
        step = getattr(job_module.Job, name)

        def failing(self: Any, ticket: Any) -> None:
            step(self, ticket)
            if name not in failed:
                failed.add(name)
                raise StorageFull(f"{name} is to be done again")

        monkeypatch.setattr(job_module.Job, name, failing)

    steps = ["analyse", "verify", "download", "repair", "unpack"]
    for name in steps:
        once(name)
    nzo_id = add(post)
    processor.start()
    for name in steps:
        wait_until(lambda name=name: find(nzo_id).note.startswith(name))  # type: ignore[misc]
        store.recover()
        processor.wake()
    wait_until(lambda: find(nzo_id).state is State.COMPLETED)
    assert on_disk(complete) == {"films/Job/Some.Film.mkv": film}
    # But for what was under way when the first two steps failed: two on each connection.
    again = sum(server.counts.bodies.values()) - len(post.message_ids)
    assert again <= 2 * 2 * usenet.connections()


def test_what_an_item_has_left_that_ended_with_the_program_is_swept_away(
    downloads: Downloads, incomplete: Path, complete: Path, tmp_path: Path
) -> None:
    gone, kept = incomplete / "SABnzbd_nzo_aaaaaaaaaaaa", incomplete / "SABnzbd_nzo_bbbbbbbbbbbb"
    others = incomplete / "of somebody else"
    for folder in (gone, kept, others):
        folder.mkdir()
        (folder / "journal").touch()
    downloads.sweep({kept.name})
    assert {path.name for path in incomplete.iterdir()} == {kept.name, others.name}


def test_the_main_file_is_called_as_the_job_where_its_own_name_is_disguised(
    server: NewsServer, add: Add, ended: Callable[[str], Item], film: bytes, complete: Path
) -> None:
    name = "0123456789abcdef0123456789abcdef"
    post = make_posts({f"{name}.mkv": film, f"{name}.en.srt": b"1\n"}, part_size=7_000)
    server.add(post)
    ended(add(post, "Some.Film.2026"))
    assert set(on_disk(complete / "films" / "Some.Film.2026")) == {
        "Some.Film.2026.mkv",
        "Some.Film.2026.en.srt",
    }


def _until(holds: Callable[[], object]) -> None:
    """Wait for something that nobody tells of."""
    tick = threading.Event()
    for _ in range(2_000):
        if holds():
            return
        tick.wait(0.01)
    raise AssertionError("it did not happen within 20 s")


def test_nothing_that_a_poster_calls_a_file_leads_out_of_its_folder(
    server: NewsServer, add: Add, ended: Callable[[str], Item], film: bytes, complete: Path
) -> None:
    post = make_posts({"../../etc/passwd.mkv": film, ".hidden": b"x", "CON.txt": b"y"})
    server.add(post)
    assert ended(add(post, "..")).failure == ""
    files = on_disk(complete)
    assert len(files) == 3
    assert all(os.path.commonpath([complete / name, complete]) == str(complete) for name in files)


@pytest.mark.system("7zz|7z")
@pytest.mark.parametrize("password", [None, "secret"])
@pytest.mark.parametrize("missing", [0, 2])
def test_archives_are_unpacked_with_the_password_of_the_nzb(
    server: NewsServer,
    add: Add,
    ended: Callable[[str], Item],
    complete: Path,
    film: bytes,
    tmp_path: Path,
    password: str | None,
    missing: int,
) -> None:
    volumes = stored_archives.in_rar5([("Some.Film.mkv", film)], 120_000, password)
    for name, data in volumes:
        (tmp_path / name).write_bytes(data)
    names = [name for name, _ in volumes]
    par2s = par2_maker.create(tmp_path, "Film", names, "-s4000", "-r20", "-n3")
    files = {name: (tmp_path / name).read_bytes() for name in names}
    files |= {path.name: path.read_bytes() for path in par2s}
    meta = {"password": password} if password else {}
    post = make_posts(files, part_size=3_000, meta=meta)
    server.add(post)
    server.remove(post.files[1].message_ids[5 : 5 + missing])

    item = ended(add(post))

    assert (item.state, item.failure) == (State.COMPLETED, "")
    assert on_disk(complete) == {"films/Job/Some.Film.mkv": film}


@pytest.mark.system("7zz|7z")
def test_without_the_password_it_fails_and_says_so(
    server: NewsServer,
    add: Add,
    ended: Callable[[str], Item],
    complete: Path,
    incomplete: Path,
    film: bytes,
) -> None:
    files = dict(stored_archives.in_rar5([("Some.Film.mkv", film)], 120_000, "secret"))
    post = make_posts(files, part_size=7_000)
    server.add(post)
    item = ended(add(post))
    assert item.state is State.FAILED
    assert "password" in item.failure
    assert not on_disk(complete)
    _until(lambda: not list(incomplete.iterdir()))


def test_a_disk_that_fills_up_while_it_is_written_to_costs_what_was_in_flight(
    server: NewsServer,
    add: Add,
    store: JobStore,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    complete: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    pwrite, calls = os.pwrite, 0

    def full(fd: int, data: Any, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # A disk that is nearly full takes a part of what it is given.
        return pwrite(fd, data[: len(data) // 2 + 1], offset)

    monkeypatch.setattr(os, "pwrite", full)
    nzo_id = add(post)
    processor.start()
    wait_until(lambda: "is full" in find(nzo_id).note)
    assert find(nzo_id).attempts == 0
    store.recover()
    processor.wake()
    wait_until(lambda: find(nzo_id).state is State.COMPLETED)
    assert on_disk(complete) == {"films/Job/Some.Film.mkv": film}
    again = sum(server.counts.bodies.values()) - len(server.counts.bodies)
    assert again <= 2 * 10


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev,
    reason="there is one file system",
)
def test_folders_on_two_file_systems_are_refused_at_the_start(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as other,
        pytest.raises(ConfigurationError, match="are not on one file system"),
    ):
        check_folders(tmp_path / "incomplete", Path(other))
    assert not list(tmp_path.rglob(".probe"))
    check_folders(tmp_path / "incomplete", tmp_path / "complete")
    assert not list(tmp_path.rglob(".probe"))


def test_what_landed_and_was_never_published_goes_with_its_item(
    server: NewsServer,
    add: Add,
    queue: Queue,
    store: JobStore,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    incomplete: Path,
    complete: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)

    def refuse(*_: Any, **__: Any) -> Item:
        raise StorageFull("the disk of the library is full")

    monkeypatch.setattr(JobStore, "finish", refuse)
    nzo_id = add(post)
    processor.start()
    wait_until(lambda: find(nzo_id).note)
    assert set(on_disk(complete)) == {"films/Job/Some.Film.mkv"}

    assert queue.remove(nzo_id)
    assert not on_disk(complete)
    assert not list(incomplete.iterdir())
