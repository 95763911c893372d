"""Holes that readers meet: written down at once, checked before whatever nobody has asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from gateway.demo import Fault, NewsServer, Post, make_bulk_post
from gateway.errors import StorageError
from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway.library.entries import Release
from gateway.library.health import FileHealth, Health, Hole
from gateway_queue.health_worker import HealthWorker
from gateway_queue.met_holes import MetHoles

Publish = Callable[..., Release]
Start = Callable[[], HealthWorker]
WaitUntil = Callable[[Callable[[], object]], None]


class Clock:
    now: float


def film(seed: int = 0) -> Post:
    return make_bulk_post("film.mkv", 20_000, part_size=1000, seed=seed)


@pytest.fixture
def known(library: Library, records: CheckRecords) -> Callable[[str], FileHealth]:
    """Look up what is known about the one file of a release."""

    def known(name: str = "Film") -> FileHealth:
        release = library.release("movies", name)
        assert release is not None
        (found,) = records.of_releases([release.id])
        return found

    return known


@pytest.fixture
def soon() -> list[str]:
    """The files that are to be checked soon."""
    return []


@pytest.fixture
def holes(
    library: Library, records: CheckRecords, clock: Callable[[], float], soon: list[str]
) -> Iterator[MetHoles]:
    holes = MetHoles(library, records, soon.append, clock=clock)
    yield holes
    assert holes.stop(20)


def test_a_hole_that_a_reader_meets_is_written_down_at_once_and_the_file_is_checked_soon(
    publish: Publish,
    holes: MetHoles,
    soon: list[str],
    known: Callable[..., FileHealth],
    clock: Clock,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    publish(film())
    file = known().file
    holes.start()
    holes.found(file.id, 0, 12)
    wait_until(lambda: said)
    now = known()
    assert (now.health, now.verdict, now.decided_at) == (
        Health.DEGRADED,
        Health.DEGRADED,
        clock.now,
    )
    assert (now.missing, now.holes, now.checked_at) == (1, (Hole(0, 12, 12),), 0)
    words = (
        "1 missing (segment 13; at 60.0-65.0 % of the file), as a reader has found: "
        "not checked since"
    )
    assert now.in_words() == words
    assert said == [f"WARNING [Health] DEGRADED 'movies/Film/film.mkv': {words}"]
    assert holes.stop(20)
    assert soon == [file.id]


def test_what_is_met_again_and_again_is_written_once(
    publish: Publish, holes: MetHoles, soon: list[str], known: Callable[..., FileHealth]
) -> None:
    publish(film())
    file = known().file
    for _ in range(1000):
        for part in (3, 4):
            holes.found(file.id, 0, part)
    holes.start()
    assert holes.stop(20)
    assert known().holes == (Hole(0, 3, 4),)
    assert soon == [file.id]


def test_a_hole_that_is_known_is_no_reason_to_check_again(
    publish: Publish,
    holes: MetHoles,
    soon: list[str],
    known: Callable[..., FileHealth],
    records: CheckRecords,
) -> None:
    publish(film())
    records.add_holes(known().file.id, [(0, 3), (0, 4)], 5.0)
    before = known()
    holes.found(before.file.id, 0, 4)
    holes.found("of no file", 0, 0)
    holes.start()
    assert holes.stop(20)
    assert known() == before
    assert soon == []


def test_after_a_check_the_same_hole_is_news_again(
    publish: Publish,
    holes: MetHoles,
    soon: list[str],
    server: NewsServer,
    known: Callable[..., FileHealth],
    start_worker: Start,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    post = film()
    server.add(post)
    publish(post)
    holes.start()
    holes.found(known().file.id, 0, 4)
    wait_until(lambda: len(said) == 1)
    start_worker().wake()
    wait_until(lambda: any("HEALTHY" in line for line in said))
    assert known().health is Health.HEALTHY
    holes.checked(known().file.id)
    holes.found(known().file.id, 0, 4)
    wait_until(lambda: known().health is Health.DEGRADED)
    assert known().missing == 1


def test_readers_do_not_wait_for_a_database_that_does(
    publish: Publish,
    library: Library,
    records: CheckRecords,
    known: Callable[..., FileHealth],
    monkeypatch: pytest.MonkeyPatch,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    publish(film())
    file_id = known().file.id
    held, begun = threading.Event(), threading.Event()

    def refuse(*_: object, **__: object) -> None:
        begun.set()
        assert held.wait(20)
        raise StorageError("the disk is full")

    monkeypatch.setattr(records, "add_holes", refuse)
    holes = MetHoles(library, records, lambda _file_id: None)
    holes.start()
    holes.found(file_id, 0, 0)
    assert begun.wait(20)
    for part in range(100_000):
        holes.found(file_id, 0, part)
    held.set()
    wait_until(lambda: said)
    monkeypatch.undo()
    assert said == ["ERROR [Health] cannot write down what a reader has met: the disk is full"]
    assert not known().holes
    assert holes.stop(20)


@pytest.mark.parametrize("stall_s", [30.0])
def test_what_a_reader_meets_while_the_file_is_checked_is_not_wiped_out_by_that_check(
    publish: Publish,
    server: NewsServer,
    known: Callable[..., FileHealth],
    records: CheckRecords,
    start_worker: Start,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    post = film()
    server.add(post)
    publish(post)
    server.fail(Fault.SILENCE, post.message_ids[19], times=1)
    start_worker()  # the file is due
    server.wait_for(lambda counts: counts.stalled)
    records.add_holes(known().file.id, [(0, 2)], 5.0)
    server.release()
    wait_until(lambda: any("HEALTHY" in line for line in said))
    told = [line for line in said if "film.mkv" in line]
    assert "DEGRADED" in told[0]
    assert "HEALTHY" in told[1], "it was not checked again"


@pytest.mark.parametrize(("scheduled", "stall_s"), [(False, 30.0)])
def test_a_file_with_a_hole_is_checked_before_the_others_and_by_itself(
    publish: Publish,
    server: NewsServer,
    known: Callable[..., FileHealth],
    records: CheckRecords,
    start_worker: Start,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    posts = [film(seed) for seed in range(3)]
    server.add(*posts)
    for number, post in enumerate(posts):
        publish(post, f"Film {number}")
    files = [known(f"Film {number}").file.id for number in range(3)]
    last = max(range(3), key=lambda number: files[number])
    first = min(range(3), key=lambda number: files[number])
    server.fail(Fault.SILENCE, posts[first].message_ids[0], times=1)
    worker = start_worker()
    worker.check(None)
    server.wait_for(lambda counts: counts.stalled)
    records.add_holes(files[last], [(0, 3)], 5.0)
    worker.check_soon(files[last])
    server.release()
    wait_until(lambda: sum("HEALTHY" in line for line in said) >= 3)
    told = [line for line in said if "HEALTHY" in line]
    assert f"Film {last}" in told[0]
