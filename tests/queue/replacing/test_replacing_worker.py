"""The thread that tells: what wakes it, what stops it, and what people are told of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from fake_arr import KEY, FakeArr, Fault

from gateway.errors import NotInLibrary
from gateway.library.by_name import named
from gateway.library.catalogue import Library
from gateway.library.entries import Release
from gateway.library.replacement import NotReplaceable, Step, TooMany
from gateway_queue.replacing.arr import ArrOverHttp
from gateway_queue.replacing.asking import ArrReplacements
from gateway_queue.replacing.limits import Limits
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker

Fail = Callable[..., Release]
Client = Callable[..., ArrOverHttp]
Start = Callable[..., ReplacementWorker]
WaitUntil = Callable[[Callable[[], object]], None]
HOUR_S = 3600.0


class Brake:
    """Why nothing is told, if it has any words; notes that the worker has looked."""

    def __init__(self) -> None:
        self.words = ""
        self.seen = threading.Event()

    def __call__(self) -> str:
        if threading.current_thread().name == "replacing":
            self.seen.set()
        return self.words


@pytest.fixture
def brake() -> Brake:
    return Brake()


@pytest.fixture
def make(outbox: ReplacementStore, client: Client, clock: Any, brake: Brake) -> Iterator[Start]:
    """Make a worker that tells these *arrs; all of them have to stop at the end."""
    workers: list[ReplacementWorker] = []

    def make(*arrs: FakeArr, limits: Limits | None = None) -> ReplacementWorker:
        worker = ReplacementWorker(
            outbox,
            [client(arr) for arr in arrs],
            limits=limits,
            brake=brake,
            clock=clock,
        )
        workers.append(worker)
        return worker

    yield make
    assert all(worker.stop(20) for worker in workers)


@pytest.fixture
def start(make: Start) -> Start:
    def start(*arrs: FakeArr, **more: Any) -> ReplacementWorker:
        worker = make(*arrs, **more)
        worker.start()
        return worker

    return start


@pytest.fixture
def asking(
    outbox: ReplacementStore, library: Library, clock: Any
) -> Callable[[ReplacementWorker], ArrReplacements]:
    return lambda worker: ArrReplacements(outbox, worker, partial(named, library), clock=clock)


def test_what_is_confirmed_at_the_start_and_later_is_told(
    radarr: FakeArr, start: Start, fail: Fail, outbox: ReplacementStore, wait_until: WaitUntil
) -> None:
    radarr.add_movie(4, "Another")
    radarr.grab("one", 3)
    radarr.grab("two", 4)
    first = fail("One", "one")
    worker = start(radarr)
    wait_until(lambda: step(outbox, first) is Step.TOLD)
    second = fail("Two", "two")
    worker.wake()
    wait_until(lambda: step(outbox, second) is Step.TOLD)
    assert radarr.blocklist == ["Some.Release.one", "Some.Release.two"]


def step(outbox: ReplacementStore, release: Release) -> Step | None:
    found = outbox.of_releases([release.id]).get(release.id)
    return None if found is None else found.step


def test_a_library_that_fails_as_a_whole_is_told_a_few_at_a_time_the_first_confirmed_first(
    radarr: FakeArr,
    start: Start,
    fail: Fail,
    clock: Any,
    said: list[str],
    wait_until: WaitUntil,
    outbox: ReplacementStore,
    asking: Callable[[ReplacementWorker], ArrReplacements],
) -> None:
    releases = []
    for number in range(100, 115):
        radarr.add_movie(number, f"Film {number}")
        radarr.grab(f"nzo{number}", number)
        at = clock.now - number  # the later ones were confirmed before
        releases.append(fail(f"Film {number}", f"nzo{number}", at=at))
    worker = start(radarr, limits=Limits(per_hour=4, per_day=6))

    def told() -> list[str]:
        return [one.split("'")[1] for one in said if "marked as failed" in one]

    wait_until(lambda: any("4 replacements" in line for line in said))
    assert told() == [f"Film {number}" for number in (114, 113, 112, 111)]
    worker.wake()
    standing = asking(worker).standings([releases[0].id])[releases[0].id]
    assert standing.words == (
        "no *arr is told yet: 4 replacements have been asked for within an hour"
    )
    clock.now += HOUR_S
    worker.wake()
    wait_until(lambda: any("6 replacements" in line for line in said))
    assert told()[4:] == ["Film 110", "Film 109"]
    clock.now += HOUR_S
    worker.wake()
    assert worker.stop(20)
    assert len(told()) == 6
    asked = {name for one in radarr.asked for name in one.query.get("downloadId", ())}
    assert asked == {f"nzo{number}" for number in range(109, 115)}, "of the others not a word"


def test_while_the_brake_is_on_nothing_is_told_and_that_is_said(
    radarr: FakeArr,
    start: Start,
    fail: Fail,
    put: Fail,
    brake: Brake,
    wait_until: WaitUntil,
    outbox: ReplacementStore,
    asking: Callable[[ReplacementWorker], ArrReplacements],
) -> None:
    radarr.grab("one", 3)
    release, other = fail("One", "one"), put("Other", "other")
    brake.words = "a provider is ill"
    worker = start(radarr)
    people = asking(worker)
    assert brake.seen.wait(10)
    assert people.standings([release.id])[release.id].words == (
        "no *arr is told yet: a provider is ill"
    )
    with pytest.raises(
        NotReplaceable, match=r"^nothing is replaced at present: a provider is ill$"
    ):
        people.tell(other.name)
    assert radarr.asked == []
    brake.words = ""
    worker.wake()
    wait_until(lambda: step(outbox, release) is Step.TOLD)


def test_without_an_arr_there_is_no_thread_and_it_is_said_what_to_set(
    make: Start, fail: Fail, asking: Callable[[ReplacementWorker], ArrReplacements]
) -> None:
    release = fail("One")
    before = set(threading.enumerate())
    worker = make()
    worker.start()
    assert not [one for one in set(threading.enumerate()) - before if one.name == "replacing"]
    people = asking(worker)
    words = "no Sonarr or Radarr is configured (GATEWAY_ARR__<name>__KIND, URL and API_KEY)"
    assert people.standings([release.id])[release.id].words == f"no *arr is told: {words}"
    with pytest.raises(NotReplaceable) as caught:
        people.tell("One")
    assert str(caught.value) == words


def test_it_is_said_of_every_failed_release_why_nobody_was_told(
    radarr: FakeArr,
    make: Start,
    put: Fail,
    fail: Fail,
    judge: Callable[..., None],
    asking: Callable[[ReplacementWorker], ArrReplacements],
) -> None:
    people = asking(make(radarr))
    once, well, confirmed, by_itself = (
        put("Once", "once"),
        put("Well", "well"),
        fail("Confirmed"),
        put("By itself"),
    )
    judge(once, "failed")
    judge(by_itself, "failed", 5.0)
    words = people.standings([once.id, well.id, confirmed.id, by_itself.id])
    assert {release: standing.words for release, standing in words.items()} == {
        once.id: "no *arr is told yet: a second check, an hour later, has to confirm it",
        confirmed.id: "no *arr is told yet: its turn comes",
        by_itself.id: ("no *arr is told: it is not known any more by which id it was downloaded"),
    }
    with pytest.raises(NotReplaceable, match="by which id it was downloaded"):
        people.tell("By itself")


def test_somebody_has_a_release_replaced_whatever_its_health_and_within_the_limits(
    radarr: FakeArr,
    start: Start,
    put: Fail,
    outbox: ReplacementStore,
    wait_until: WaitUntil,
    asking: Callable[[ReplacementWorker], ArrReplacements],
) -> None:
    radarr.grab("one", 3)
    release = put("One", "one")
    people = asking(start(radarr))
    for _ in range(3):
        asked = people.tell("One")
        assert asked.by_hand
        wait_until(lambda: step(outbox, release) is Step.TOLD)
        assert people.standings([release.id])[release.id].words.startswith("'radarr' was told: ")
    with pytest.raises(TooMany) as caught:
        people.tell("One")
    assert str(caught.value) == (
        "3 replacements of it have been asked for within 6 hours: ask again in 360 min"
    )
    assert len(radarr.blocklist) == 1
    with pytest.raises(NotInLibrary):
        people.tell("Nobody's")


def test_a_name_of_two_releases_is_refused_with_what_to_write(
    radarr: FakeArr,
    make: Start,
    put: Fail,
    asking: Callable[[ReplacementWorker], ArrReplacements],
) -> None:
    put("Same", "one")
    put("Same", "two", "tv")
    with pytest.raises(NotReplaceable) as caught:
        asking(make(radarr)).tell("Same")
    assert str(caught.value) == "several releases are called that: write 'movies/Same' or 'tv/Same'"


def test_too_many_of_all_are_refused_at_once_when_somebody_asks(
    radarr: FakeArr,
    start: Start,
    put: Fail,
    outbox: ReplacementStore,
    wait_until: WaitUntil,
    asking: Callable[[ReplacementWorker], ArrReplacements],
) -> None:
    radarr.grab("one", 3)
    release = put("One", "one")
    put("Two", "two")
    people = asking(start(radarr, limits=Limits(per_hour=1)))
    people.tell("One")
    wait_until(lambda: step(outbox, release) is Step.TOLD)
    with pytest.raises(TooMany, match="within an hour: ask again in 60 min"):
        people.tell("Two")


def test_a_silent_arr_holds_up_neither_who_wakes_nor_the_end(
    radarr: FakeArr, start: Start, fail: Fail, clock: Any
) -> None:
    heard = threading.Event()

    def silent(_: object) -> Fault:
        heard.set()
        return Fault(silent=True)

    radarr.fault = silent
    fail("One", "one")
    worker = start(radarr)
    assert heard.wait(20)
    worker.wake()  # as the one who checks does
    assert not worker.stop(0.0)
    radarr.closing.set()


def test_a_fault_of_ours_ends_nothing_for_good(
    radarr: FakeArr,
    start: Start,
    fail: Fail,
    outbox: ReplacementStore,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    radarr.grab("one", 3)
    release = fail("One", "one")
    gather = outbox.gather
    faults = [RuntimeError("a fault")]

    def gathered(now: float) -> int:
        if faults:
            raise faults.pop()
        return gather(now)

    monkeypatch.setattr(outbox, "gather", gathered)
    worker = start(radarr)
    wait_until(lambda: said)
    assert "a fault of the gateway: replacing pauses" in said[0]
    worker.wake()
    wait_until(lambda: step(outbox, release) is Step.TOLD)


def test_the_key_is_not_logged_by_anybody(
    radarr: FakeArr,
    start: Start,
    fail: Fail,
    outbox: ReplacementStore,
    wait_until: WaitUntil,
    said: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    radarr.grab("one", 3)
    radarr.grab("two", 3)
    radarr.fault = lambda asked: Fault(401) if "two" in str(asked.query) else None
    one, _ = fail("One", "one"), fail("Two", "two")
    start(radarr)
    # The last that is done about each of them.
    wait_until(lambda: any("refused us (401)" in line for line in said))
    assert step(outbox, one) is Step.TOLD
    assert KEY not in caplog.text
