"""From a grab to its replacement: added by an *arr, imported, gone from every provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from fake_arr import FakeArr, Fault

from gateway.demo import NewsServer, Post
from gateway.library import database as database_module
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.replacement import Step
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker

HOUR_S = 3600.0


def test_what_sonarr_grabbed_and_two_checks_find_gone_is_replaced_by_it_once(
    serve: Callable[..., FakeArr],
    client: Callable[..., Any],
    server: NewsServer,
    show: Post,
    add: Callable[..., str],
    find: Callable[[str], Item],
    ask: Callable[..., Any],
    processor: Processor,
    examiner: Examiner,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    outbox: ReplacementStore,
    clock: Any,
    wait_until: Callable[[Callable[[], object]], None],
    said: list[str],
) -> None:
    sonarr = serve("sonarr", auto_redownload=False)
    processor.start()
    nzo_id = add()
    sonarr.grab(nzo_id, 7001)
    wait_until(lambda: find(nzo_id).state is State.COMPLETED)
    # As Sonarr does after an import: the job is gone, the release stays.
    assert ask("history", name="delete", value=nzo_id, del_files=1)["status"] is True
    (release,) = library.releases("series")
    server.remove(show.message_ids)

    replacing = ReplacementWorker(outbox, [client(sonarr)], clock=clock)
    health = HealthWorker(
        examiner,
        library,
        records,
        agenda,
        scheduled=False,
        on_confirmed=replacing.wake,
        clock=clock,
    )

    def check() -> None:
        (known,) = records.of_releases([release.id])
        asked = health.check([known.file.id])
        wait_until(
            lambda: any(one.id == asked.id and one.is_finished for one in health.status().requests)
        )

    replacing.start()
    health.start()
    try:
        check()
        assert outbox.failed([release.id]) == {release.id: False}
        assert sonarr.asked == [], "one check alone has no consequences"
        clock.now += HOUR_S + 1
        check()
        wait_until(lambda: any("marked as failed; searches again" in line for line in said))
        check()
    finally:
        assert health.stop(20)
        assert replacing.stop(20)
    told = outbox.of_releases([release.id])[release.id]
    assert (told.step, told.nzo_id, told.title) == (Step.TOLD, nzo_id, "The Show S01E01")
    assert sonarr.blocklist == [f"Some.Release.{nzo_id}"]
    assert sonarr.searches() == [{"name": "EpisodeSearch", "episodeIds": [7001]}]
    assert [*library.releases("series")] == [release], "nothing is deleted"
    assert {one.method for one in sonarr.asked} == {"GET", "POST"}


def test_a_second_failure_of_a_release_is_no_second_replacement(
    fail: Callable[..., Release],
    judge: Callable[..., None],
    radarr: FakeArr,
    replacer: Callable[..., Any],
    attempt: Callable[..., Any],
    clock: Any,
) -> None:
    radarr.grab("one", 3)
    release = fail("Film", "one")
    attempt(replacer(radarr), release)
    judge(release, "healthy")
    clock.now += 30 * 24 * HOUR_S
    attempt(replacer(radarr), release)
    judge(release, "failed", clock.now)
    attempt(replacer(radarr), release)
    assert len(radarr.blocklist) == 1


def test_releases_of_an_older_program_get_the_ids_of_the_jobs_that_are_left(
    address: str,
) -> None:
    engine = sa.create_engine(address)
    with engine.begin() as tx:
        config = Config(attributes={"connection": tx})
        config.set_main_option("script_location", str(database_module._MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0009")
        for number in (1, 2):
            tx.execute(
                sa.text(
                    "INSERT INTO releases (id, category, name, created, nzb) "
                    "VALUES (:id, 'tv', :name, 1.0, '')"
                ),
                {"id": number, "name": f"Show {number}"},
            )
        tx.execute(
            sa.text(
                "INSERT INTO jobs (nzo_id, name, filename, category, state, priority, position, "
                "added, size, parts_total, release_id) "
                "VALUES ('SABnzbd_nzo_1', 'Show 1', 'f', 'tv', 'completed', 0, 1, 1.0, 1, 1, 1)"
            )
        )
    engine.dispose()
    database = Database(address)
    assert ReplacementStore(database).nzo_ids([1, 2]) == {1: "SABnzbd_nzo_1"}
    database.close()


@pytest.mark.parametrize("removed", [True, False])
def test_what_a_release_was_sent_for_counts_for_the_limits_though_it_is_removed(
    fail: Callable[..., Release],
    library: Library,
    radarr: FakeArr,
    replacer: Callable[..., Any],
    attempt: Callable[..., Any],
    outbox: ReplacementStore,
    clock: Any,
    removed: bool,
) -> None:
    for number in range(3):
        radarr.grab(f"nzo{number}", 3)
        release = fail(f"Film {number}", f"nzo{number}")
        attempt(replacer(radarr), release)
        if removed:
            library.remove_files(release)
    radarr.grab("nzo3", 3)
    waits = attempt(replacer(radarr), fail("Film 3", "nzo3"))
    assert (waits.step, waits.note[:25]) == (Step.WAITING, "3 replacements of it have")
    assert len(radarr.blocklist) == 3
    assert len(outbox.sent(clock.now - 1)) == 3


def test_a_clock_that_was_a_year_ahead_once_keeps_nothing_waiting_for_a_year(
    fail: Callable[..., Release],
    radarr: FakeArr,
    replacer: Callable[..., Any],
    attempt: Callable[..., Any],
    outbox: ReplacementStore,
    clock: Any,
) -> None:
    year = 365 * 24 * HOUR_S
    for number in range(5):
        radarr.grab(f"nzo{number}", 3)
    releases = [fail(f"Film {number}", f"nzo{number}") for number in range(3)]
    clock.now += year
    for release in releases:
        assert attempt(replacer(radarr), release).step is Step.TOLD
    teller = replacer(radarr)
    radarr.fault = lambda _: Fault(500)
    resting, taken = fail("Film 3", "nzo3"), fail("Film 4", "nzo4")
    assert attempt(teller, resting).step is Step.WAITING
    outbox.begin_anew(["radarr0"])
    assert outbox.claim(clock.now) is not None  # and whoever has taken it up is killed
    radarr.fault = lambda _: None
    clock.now -= year
    for release in (resting, taken):
        waits = attempt(teller, release)
        assert waits.step is Step.WAITING
        assert waits.not_before <= clock.now + 6 * HOUR_S
        assert waits.note == "3 replacements of it have been asked for within 6 hours"
    clock.now += 6 * HOUR_S
    steps = {attempt(teller, release).step for release in (resting, taken)}
    assert steps == {Step.TOLD}
