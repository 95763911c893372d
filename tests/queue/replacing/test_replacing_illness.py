"""A provider that is ill has nobody told anything; a release that is gone beside it, one *arr once.

The whole way: imported from a news server that asks for a login, checked by schedule and by hand,
and an *arr that would be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fake_arr import FakeArr

from gateway.demo import Fault, NewsServer, Post, make_post
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.health import FileHealth, Health
from gateway.library.replacement import Step
from gateway.usenet.client import Account, UsenetClient
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0

WaitUntil = Callable[[Callable[[], object]], None]
Pass = Callable[[float], None]
Season = dict[str, Post]


@pytest.fixture
def providers() -> Iterator[list[NewsServer]]:
    with NewsServer(users={"bob": "secret"}) as server:
        yield [server]


@pytest.fixture
def usenet(server: NewsServer, clock: Any) -> Iterator[UsenetClient]:
    """A client whose pauses end when the test's clock is moved, and by themselves."""
    began = clock.now
    account = Account("main", server.host, server.port, username="bob", password="secret")
    with UsenetClient([account], clock=lambda: time.monotonic() + clock.now - began) as client:
        yield client


@pytest.fixture
def episodes() -> int:
    """How many releases there are. To be overridden by a parameter."""
    return 8


@pytest.fixture
def season(
    server: NewsServer,
    sonarr: FakeArr,
    film: bytes,
    episodes: int,
    add: Callable[..., str],
    find: Callable[[str], Item],
    processor: Processor,
    wait_until: WaitUntil,
) -> Season:
    """Have a season grabbed and imported, an episode a release; return their posts by job."""
    sonarr.auto_redownload = False
    sonarr.add_series(9, "The Season", {1: episodes})
    processor.start()
    season = {}
    for number in range(1, episodes + 1):
        name = f"The.Season.S01E{number:02}.1080p"
        post = make_post(f"{name}.mkv", film[:20_000] + bytes([number]), part_size=5_000)
        server.add(post)
        nzo_id = add(post.nzb, f"{name}.nzb")
        sonarr.grab(nzo_id, 9000 + number)
        season[nzo_id] = post
    wait_until(lambda: all(find(one).state is State.COMPLETED for one in season))
    return season


@pytest.fixture
def health(
    season: Season,
    sonarr: FakeArr,
    client: Callable[..., Any],
    examiner: Examiner,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    outbox: ReplacementStore,
    clock: Any,
) -> Iterator[HealthWorker]:
    """Checks that run, and beside them whoever tells the *arr, wired as the gateway does."""

    def brake() -> str:
        braked = worker.braked()
        return "" if braked is None else braked.reason

    replacing = ReplacementWorker(outbox, [client(sonarr)], brake=brake, clock=clock)
    worker: HealthWorker = HealthWorker(
        examiner, library, records, agenda, on_confirmed=replacing.wake, clock=clock
    )
    with ExitStack() as stack:
        stack.callback(replacing.stop, 20)
        stack.callback(worker.stop, 20)
        worker.start()
        replacing.start()
        yield worker


@pytest.fixture
def everything(library: Library, records: CheckRecords) -> Callable[[], list[FileHealth]]:
    """Look up what is known of all files."""
    return lambda: records.of_releases([one.id for one in library.releases("series")])


@pytest.fixture
def pass_time(health: HealthWorker, agenda: CheckAgenda, clock: Any, wait_until: WaitUntil) -> Pass:
    """Let so many seconds go by, and wait until nothing is left to check at that time."""

    def rests() -> bool:
        status = health.status()
        if status.running is not None or not all(one.is_finished for one in status.requests):
            return False
        braked = health.braked()
        return not agenda.overdue(clock.now) if braked is None else clock.now < braked.until

    def pass_time(seconds: float) -> None:
        clock.now += seconds
        health.wake()
        wait_until(rests)

    return pass_time


def verdicts(files: list[FileHealth]) -> set[Health]:
    return {one.health for one in files}


def is_condemned(files: list[FileHealth]) -> bool:
    return any(one.confirmed_at is not None for one in files)


# With three files, fewer go badly than pull the brake: the second check alone holds it back then.
@pytest.mark.parametrize("episodes", [3, 8])
@pytest.mark.parametrize("fault", ["lacks everything for a minute", "refuses logins for an hour"])
def test_a_provider_that_is_ill_has_nobody_told_and_the_library_is_healthy_again(
    server: NewsServer,
    sonarr: FakeArr,
    season: Season,
    health: HealthWorker,
    everything: Callable[[], list[FileHealth]],
    pass_time: Pass,
    wait_until: WaitUntil,
    said: list[str],
    fault: str,
) -> None:
    pass_time(30 * DAY_S)
    assert verdicts(everything()) == {Health.HEALTHY}
    if fault == "lacks everything for a minute":
        step_s, steps = MINUTE_S / 4, 4
        server.fail(Fault.MISSING)
    else:
        step_s, steps = HOUR_S / 6, 6
        server.fail(Fault.REFUSE_LOGIN)
        server.drop_connections()
    pass_time(30 * DAY_S)
    assert Health.HEALTHY not in verdicts(everything()) or health.braked() is not None
    for _ in range(steps):
        health.check([one.file.id for one in everything()])  # by hand, as somebody who worries
        pass_time(step_s)
        assert not is_condemned(everything())
    server.heal()
    for _ in range(8):
        pass_time(HOUR_S)
        assert not is_condemned(everything())
    pass_time(DAY_S)
    assert verdicts(everything()) == {Health.HEALTHY}
    assert health.braked() is None
    assert not any("for certain" in line for line in said)
    assert sonarr.asked == []

    # And it was not deaf: what is gone is told from then on, beside what is healthy.
    gone = next(iter(season))
    server.remove(season[gone].message_ids)
    pass_time(60 * DAY_S)
    pass_time(2 * HOUR_S)
    wait_until(lambda: any("marked as failed; searches again" in line for line in said))
    assert sonarr.blocklist == [f"Some.Release.{gone}"]


def test_a_release_that_is_gone_beside_healthy_ones_is_marked_and_searched_for_once(
    server: NewsServer,
    sonarr: FakeArr,
    season: Season,
    health: HealthWorker,
    library: Library,
    outbox: ReplacementStore,
    everything: Callable[[], list[FileHealth]],
    pass_time: Pass,
    wait_until: WaitUntil,
    said: list[str],
) -> None:
    pass_time(DAY_S)
    gone = list(season)[2]
    server.remove(season[gone].message_ids)
    pass_time(2 * DAY_S)
    assert not is_condemned(everything())
    assert sonarr.asked == [], "one check alone has no consequences"
    pass_time(2 * HOUR_S)
    wait_until(lambda: any("marked as failed; searches again" in line for line in said))
    for _ in range(3):
        pass_time(30 * DAY_S)  # found gone again, each time
    server.fail(Fault.MISSING)
    pass_time(30 * DAY_S)
    server.heal()
    for _ in range(4):
        pass_time(HOUR_S)
    files = everything()
    assert [one.health for one in files].count(Health.FAILED) == 1
    assert [one.health for one in files].count(Health.HEALTHY) == len(files) - 1
    marks, searches = sonarr.sent("POST", "/api/v3/history/failed"), sonarr.searches()
    assert (len(marks), searches) == (1, [{"name": "EpisodeSearch", "episodeIds": [9003]}])
    assert sonarr.blocklist == [f"Some.Release.{gone}"]
    told = outbox.of_releases([one.id for one in library.releases("series")])
    assert [(one.nzo_id, one.step) for one in told.values()] == [(gone, Step.TOLD)]
