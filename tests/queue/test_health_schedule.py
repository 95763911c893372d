"""The thread that checks: what is due, what people ask for before that, and the brake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise

import pytest

from gateway.demo import Fault, NewsServer, Post, make_bulk_post, make_posts
from gateway.errors import NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.check_agenda import Braked, CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.health import FileHealth, Health
from gateway.usenet.client import Account, UsenetClient
from gateway_queue.brake import Brake
from gateway_queue.checks import HealthChecks
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker

HOUR, DAY = 3_600.0, 86_400.0
MONTH = 30 * DAY

Publish = Callable[..., Release]
Start = Callable[[], HealthWorker]
WaitUntil = Callable[[Callable[[], object]], None]


class Clock:
    now: float


def film(articles: int = 3, seed: int = 0) -> Post:
    return make_bulk_post("film.mkv", articles * 1000, part_size=1000, seed=seed)


def films(server: NewsServer, publish: Publish, count: int) -> list[Post]:
    """Publish so many releases of one file each, served whole; named "Film 0" and so on."""
    posts = [film(seed=number) for number in range(count)]
    server.add(*posts)
    for number, post in enumerate(posts):
        publish(post, f"Film {number}")
    return posts


@pytest.fixture
def health(library: Library, records: CheckRecords) -> Callable[[str], FileHealth]:
    """Look up what is known about the one file of a release."""

    def health(name: str) -> FileHealth:
        release = library.release("movies", name)
        assert release is not None
        (known,) = records.of_releases([release.id])
        return known

    return health


@pytest.fixture
def rest(agenda: CheckAgenda, clock: Clock, wait_until: WaitUntil) -> Callable[..., None]:
    """Wake a worker, and wait until it rests: nothing is due any more, or it is braked."""

    def rest(worker: HealthWorker) -> None:
        def rests() -> bool:
            status = worker.status()
            if status.running is not None or not all(one.is_finished for one in status.requests):
                return False
            braked = worker.braked()
            if braked is not None:
                return clock.now < braked.until
            return not agenda.overdue(clock.now)

        worker.wake()
        wait_until(rests)

    return rest


@pytest.fixture
def everything(library: Library, records: CheckRecords) -> Callable[[], list[FileHealth]]:
    """Look up what is known of all files."""
    return lambda: records.of_releases([one.id for one in library.releases("movies")])


HealthOf = Callable[[str], FileHealth]
Rest = Callable[[HealthWorker], None]
Everything = Callable[[], list[FileHealth]]


# The schedule -----------------------------------------------------------------------------------


def test_what_is_due_is_checked_once_and_told_in_the_log(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
    said: list[str],
) -> None:
    posts = films(server, publish, 3)
    server.remove(posts[1].message_ids[1:2])
    rest(start_worker())
    assert [health(f"Film {number}").health for number in range(3)] == [
        Health.HEALTHY,
        Health.DEGRADED,
        Health.HEALTHY,
    ]
    words = "1 of 3 articles missing (segment 2; at 33.3-66.7 % of the file)"
    assert health("Film 1").in_words() == words
    assert health("Film 1").checked_at == clock.now
    assert server.counts.commands["STAT"] == 9
    assert len([line for line in said if "INFO [Health] HEALTHY 'movies/Film " in line]) == 2
    (degraded,) = [line for line in said if "DEGRADED" in line]
    assert degraded.startswith(f"INFO [Health] DEGRADED 'movies/Film 1/film.mkv': {words}, in ")


def test_a_file_is_checked_an_hour_after_it_was_published_and_again_when_its_age_has_doubled(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
) -> None:
    post = film()
    server.add(post)
    published = clock.now
    publish(post, created=published)
    worker = start_worker()
    assert health("Film").due_at == published + HOUR
    ages = []
    for _ in range(16):
        clock.now = health("Film").due_at - 1
        rest(worker)
        before = server.counts.commands["STAT"]
        clock.now += 1
        rest(worker)
        assert server.counts.commands["STAT"] == before + 3
        ages.append((clock.now - published) / HOUR)
    assert ages[0] == 1
    waits = [late - early for early, late in pairwise(ages)]
    assert all(wait >= 1 for wait in waits)
    assert all(0.8 * age <= wait <= age for age, wait in zip(ages, waits[:9], strict=False))
    assert all(0.8 * 720 <= wait <= 720 for wait in waits[-2:])


def test_the_most_overdue_comes_first(
    server: NewsServer, publish: Publish, start_worker: Start, rest: Rest, clock: Clock
) -> None:
    posts = [film(seed=number) for number in range(3)]
    server.add(*posts)
    for number, days in enumerate((2, 5, 3)):
        publish(posts[number], f"Film {number}", created=clock.now - days * DAY)
    by_article = {mid: number for number, post in enumerate(posts) for mid in post.message_ids}
    rest(start_worker())
    asked = [by_article[one.argument] for one in server.counts.journal_of("STAT")]
    assert list(dict.fromkeys(asked)) == [1, 2, 0]


@pytest.mark.parametrize("scheduled", [False])
def test_without_a_schedule_only_what_is_asked_for_is_checked_and_what_has_a_hole(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    health: HealthOf,
) -> None:
    films(server, publish, 3)
    records.add_holes(health("Film 2").file.id, [(0, 1)], 5.0)
    worker = start_worker()
    worker.check([health("Film 1").file.id])
    wait_until(lambda: worker.status().requests[0].is_finished)
    wait_until(lambda: health("Film 2").health is Health.HEALTHY)
    assert health("Film 1").health is Health.HEALTHY
    assert health("Film 0").in_words() == "never checked"
    assert worker.status().schedule.next_due is None


@pytest.mark.parametrize("stall_s", [30.0])
def test_a_check_cut_short_leaves_the_old_result_and_is_begun_anew_after_a_restart(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    agenda: CheckAgenda,
    clock: Clock,
) -> None:
    posts = films(server, publish, 3)
    worker = start_worker()
    rest(worker)
    before = [health(f"Film {number}") for number in range(3)]
    first = min(range(3), key=lambda number: before[number].due_at)
    server.fail(Fault.SILENCE, *posts[first].message_ids)
    clock.now += MONTH
    worker.wake()
    server.wait_for(lambda counts: counts.stalled)
    assert worker.status().running is not None
    assert worker.stop(20.0)
    assert [health(f"Film {number}") for number in range(3)] == before
    assert agenda.overdue(clock.now) == 3
    server.heal()
    clock.now += DAY
    rest(start_worker())
    assert {health(f"Film {number}").checked_at for number in range(3)} == {clock.now}


def test_a_clock_that_is_set_back_has_no_file_checked_twice(
    server: NewsServer, publish: Publish, start_worker: Start, rest: Rest, clock: Clock
) -> None:
    films(server, publish, 2)
    server.fail(Fault.SILENCE, times=1)
    worker = start_worker()
    server.wait_for(lambda counts: counts.stalled)
    clock.now -= DAY
    server.heal()
    rest(worker)
    assert server.counts.commands["STAT"] == 6


def test_a_clock_that_was_years_ahead_once_delays_no_check_for_years(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    everything: Everything,
    clock: Clock,
) -> None:
    films(server, publish, 5)
    clock.now += 3650 * DAY
    worker = start_worker()
    rest(worker)
    assert worker.stop(20.0)
    clock.now -= 3650 * DAY
    start_worker()
    due = [one.due_at for one in everything()]
    assert all(clock.now <= at <= clock.now + MONTH for at in due)
    assert len(set(due)) == 5


def test_a_file_removed_meanwhile_is_no_trouble(
    server: NewsServer,
    publish: Publish,
    library: Library,
    start_worker: Start,
    wait_until: WaitUntil,
    health: HealthOf,
) -> None:
    films(server, publish, 2)
    files = [health("Film 0").file, health("Film 1").file]
    library.remove_files(files[0].release)
    worker = start_worker()
    request = worker.check([file.id for file in files])
    wait_until(lambda: all(one.is_finished for one in worker.status().requests))
    assert worker.status().requests[0].id == request.id
    assert worker.status().requests[0].done == 2
    assert health("Film 1").health is Health.HEALTHY


# What is confirmed ------------------------------------------------------------------------------


def test_failed_is_confirmed_by_a_second_check_an_hour_later_and_not_before(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
    confirmed: list[float],
) -> None:
    films(server, publish, 2)
    publish(film(seed=9), "Gone")
    worker = start_worker()
    rest(worker)
    gone = health("Gone")
    assert (gone.health, gone.failed_at, gone.confirmed_at) == (Health.FAILED, clock.now, None)
    assert clock.now + HOUR <= gone.due_at <= clock.now + HOUR + 300
    clock.now += HOUR - 1
    worker.check([gone.file.id])
    rest(worker)
    assert health("Gone").confirmed_at is None
    assert confirmed == []
    clock.now = health("Gone").due_at
    rest(worker)
    assert health("Gone").confirmed_at == clock.now
    assert confirmed == [clock.now]
    # what is confirmed is confirmed once
    at, clock.now = clock.now, health("Gone").due_at
    rest(worker)
    assert health("Gone").confirmed_at == at
    assert confirmed == [at]


def test_a_check_by_hand_confirms_too_and_one_that_finds_the_file_healthy_clears_it(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
    confirmed: list[float],
) -> None:
    films(server, publish, 2)
    post = film(seed=9)
    publish(post, "Gone")
    worker = start_worker()
    rest(worker)
    clock.now += HOUR
    request = worker.check([health("Gone").file.id])
    wait_until(lambda: any(r.id == request.id and r.is_finished for r in worker.status().requests))
    assert health("Gone").confirmed_at == clock.now
    assert confirmed == [clock.now]
    server.add(post)
    clock.now += HOUR
    request = worker.check([health("Gone").file.id])
    wait_until(lambda: any(r.id == request.id and r.is_finished for r in worker.status().requests))
    back = health("Gone")
    assert (back.health, back.failed_at, back.confirmed_at) == (Health.HEALTHY, None, None)


@pytest.fixture
def guarded() -> Iterator[NewsServer]:
    """A news server that asks for a login."""
    with NewsServer(users={"bob": "secret"}) as server:
        yield server


@pytest.fixture
def run(
    guarded: NewsServer,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    clock: Callable[[], float],
    confirmed: list[float],
) -> Callable[[], AbstractContextManager[HealthWorker]]:
    """Run a gateway's checks on that server, from a start of it to its end."""

    @contextmanager
    def run() -> Iterator[HealthWorker]:
        account = Account("main", guarded.host, guarded.port, username="bob", password="secret")
        with UsenetClient([account]) as usenet:
            worker = HealthWorker(
                Examiner(usenet.source, providers=1),
                library,
                records,
                agenda,
                on_confirmed=lambda: confirmed.append(clock()),
                clock=clock,
            )
            worker.start()
            yield worker
            assert worker.stop(20.0)

    return run


Runs = Callable[[], AbstractContextManager[HealthWorker]]


def test_what_got_no_answer_is_tried_again_soon_and_then_ever_more_seldom(
    guarded: NewsServer,
    run: Runs,
    publish: Publish,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
) -> None:
    films(guarded, publish, 1)
    guarded.fail(Fault.REFUSE_LOGIN)
    pauses = []
    with run() as worker:
        for _ in range(8):
            rest(worker)
            pauses.append(health("Film 0").due_at - clock.now)
            assert health("Film 0").verdict is Health.UNKNOWN
            # so far apart that the brake is not pulled
            clock.now = max(health("Film 0").due_at, clock.now + 2 * HOUR)
    wanted = [300.0 * 3**times for times in range(6)] + [DAY, DAY]
    assert all(0.8 * most <= pause <= most for most, pause in zip(wanted, pauses, strict=True))
    guarded.heal()
    with run() as worker:
        rest(worker)
    assert health("Film 0").unanswered == 0
    assert health("Film 0").due_at > clock.now + 20 * DAY


def test_a_check_without_an_answer_between_two_that_failed_confirms_nothing_and_spoils_nothing(
    guarded: NewsServer,
    run: Runs,
    publish: Publish,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
    confirmed: list[float],
) -> None:
    films(guarded, publish, 2)
    publish(film(seed=9), "Gone")
    with run() as worker:
        rest(worker)
    failed_at = clock.now
    guarded.fail(Fault.REFUSE_LOGIN)
    clock.now = health("Gone").due_at
    with run() as worker:
        rest(worker)
    gone = health("Gone")
    assert (gone.health, gone.verdict) == (Health.UNKNOWN, Health.FAILED)
    assert (gone.failed_at, gone.confirmed_at) == (failed_at, None)
    assert confirmed == []
    guarded.heal()
    clock.now = gone.due_at
    with run() as worker:
        rest(worker)
    assert health("Gone").confirmed_at == clock.now
    assert confirmed == [clock.now]


def test_nothing_is_confirmed_while_what_is_known_to_be_healthy_is_not_there_either(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
    confirmed: list[float],
    said: list[str],
) -> None:
    films(server, publish, 3)
    publish(film(seed=9), "Gone")
    worker = start_worker()
    rest(worker)
    clock.now = health("Gone").due_at
    server.fail(Fault.MISSING)
    rest(worker)
    assert health("Gone").confirmed_at is None
    assert confirmed == []
    braked = worker.braked()
    assert braked is not None
    assert braked.reason.startswith("nothing is there of 3 files that were HEALTHY: a provider is")
    server.heal()
    clock.now = braked.until
    rest(worker)
    assert worker.braked() is None
    assert confirmed == [clock.now]


# A provider that is ill -------------------------------------------------------------------------


def test_a_provider_that_says_of_everything_that_it_is_missing_condemns_nothing(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    everything: Everything,
    clock: Clock,
    confirmed: list[float],
    said: list[str],
) -> None:
    films(server, publish, 12)
    server.fail(Fault.MISSING)
    worker = start_worker()
    rest(worker)
    reason = (
        "5 of 5 checks within an hour found articles missing or got no answer: "
        "a provider is ill, rather than the library"
    )
    schedule = worker.status().schedule
    assert schedule.braked is not None
    assert (schedule.braked.reason, schedule.braked.until) == (reason, clock.now + HOUR)
    assert [line for line in said if not line.startswith("INFO")] == [
        f"WARNING [Health] no file is checked by itself for an hour: {reason}"
    ]
    assert server.counts.commands["STAT"] == 15
    assert not any(one.failed_at or one.confirmed_at for one in everything())
    clock.now += 60
    server.heal()
    rest(worker)
    assert server.counts.commands["STAT"] == 15
    clock.now += HOUR - 60
    rest(worker)
    clock.now += 300
    rest(worker)
    assert {one.health for one in everything()} == {Health.HEALTHY}
    assert worker.braked() is None
    assert "INFO [Health] files are checked by themselves again" in said
    assert confirmed == []


def test_an_hour_after_the_brake_one_file_is_tried_before_the_others(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    rest: Rest,
    everything: Everything,
    clock: Clock,
    confirmed: list[float],
    said: list[str],
) -> None:
    films(server, publish, 30)
    worker = start_worker()
    rest(worker)
    clock.now += MONTH
    server.fail(Fault.MISSING)
    rest(worker)

    def failed() -> int:
        return len([line for line in said if "[Health] FAILED" in line])

    def at_least(times: int) -> Callable[[], bool]:
        return lambda: failed() >= times

    wait_until(at_least(5))
    assert failed() == 5
    for wanted in range(6, 11):
        clock.now += HOUR
        rest(worker)
        wait_until(at_least(wanted))
        assert failed() == wanted
        assert worker.braked() is not None
    assert not any(one.confirmed_at for one in everything())
    server.heal()
    clock.now += HOUR
    rest(worker)
    assert worker.braked() is None
    clock.now += HOUR
    rest(worker)
    assert {one.health for one in everything()} == {Health.HEALTHY}
    assert confirmed == []


def test_a_provider_that_refuses_logins_for_an_hour_leaves_all_verdicts_in_force(
    guarded: NewsServer,
    run: Runs,
    publish: Publish,
    rest: Rest,
    everything: Everything,
    clock: Clock,
    confirmed: list[float],
) -> None:
    posts = films(guarded, publish, 12)
    guarded.remove(posts[0].message_ids[:1])
    guarded.remove(posts[1].message_ids)
    with run() as worker:
        rest(worker)
    before = {one.file.id: (one.verdict, one.missing, one.failed_at) for one in everything()}
    clock.now += MONTH
    guarded.fail(Fault.REFUSE_LOGIN)
    with run() as worker:
        for _ in range(6):
            rest(worker)
            clock.now += HOUR / 6
        assert worker.braked() is not None
    after = everything()
    assert {one.file.id: (one.verdict, one.missing, one.failed_at) for one in after} == before
    assert Health.UNKNOWN in {one.health for one in after}
    assert confirmed == []
    guarded.heal()
    clock.now += 2 * DAY
    with run() as worker:
        rest(worker)
        assert worker.braked() is None
    after = everything()
    assert {one.file.id: (one.verdict, one.missing, one.failed_at) for one in after} == before
    assert Health.UNKNOWN not in {one.health for one in after}
    assert len(confirmed) == 1


def test_the_brake_stays_on_over_a_restart_and_checks_by_hand_go_on(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    rest: Rest,
    health: HealthOf,
    clock: Clock,
) -> None:
    films(server, publish, 8)
    server.fail(Fault.MISSING)
    worker = start_worker()
    rest(worker)
    assert worker.stop(20.0)
    braked = worker.braked()
    assert braked is not None
    worker = start_worker()
    assert worker.braked() == braked
    request = worker.check([health("Film 0").file.id])
    wait_until(lambda: any(r.id == request.id and r.is_finished for r in worker.status().requests))
    assert (health("Film 0").health, health("Film 0").failed_at) == (Health.FAILED, None)
    assert worker.braked() == braked


def test_a_hole_that_a_reader_meets_while_the_brake_is_on_is_looked_at_afterwards_first(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    records: CheckRecords,
    agenda: CheckAgenda,
    clock: Clock,
) -> None:
    films(server, publish, 2)
    agenda.brake(Braked(clock.now, clock.now + HOUR, "ill"), ill_since=clock.now)
    records.add_holes(health("Film 0").file.id, [(0, 1)], clock.now)
    worker = start_worker()
    worker.check_soon(health("Film 0").file.id)
    rest(worker)
    assert health("Film 0").in_words().endswith("not checked since")
    clock.now += HOUR
    rest(worker)
    assert health("Film 0").health is Health.HEALTHY


def test_a_probe_that_tells_nothing_neither_lets_go_of_the_brake_nor_is_tried_again_at_once(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    database: Database,
    agenda: CheckAgenda,
    clock: Clock,
    said: list[str],
) -> None:
    films(server, publish, 2)
    worker = start_worker()
    rest(worker)
    assert worker.stop(20.0)
    with database.begin() as tx:
        tx.exec_driver_sql("CREATE TABLE kept AS SELECT id, runs FROM files")
        tx.exec_driver_sql("UPDATE files SET runs = x'ff'")
    agenda.brake(Braked(clock.now, clock.now + HOUR, "ill"), ill_since=clock.now)
    said.clear()
    worker = start_worker()
    for _ in range(3):
        clock.now += HOUR
        rest(worker)
        braked = worker.braked()
        assert braked is not None
        assert braked.until == clock.now + HOUR
    assert len([line for line in said if "for another hour" in line]) == 3
    with database.begin() as tx:
        tx.exec_driver_sql(
            "UPDATE files SET runs = (SELECT runs FROM kept WHERE kept.id = files.id)"
        )
    clock.now += HOUR
    rest(worker)
    assert worker.braked() is None


def test_what_failed_shortly_before_the_brake_was_pulled_does_not_count(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    health: HealthOf,
    agenda: CheckAgenda,
    clock: Clock,
) -> None:
    films(server, publish, 1)
    publish(film(seed=8), "Long gone", created=clock.now - 3 * HOUR)
    worker = start_worker()
    rest(worker)
    clock.now = health("Long gone").due_at
    rest(worker)
    long_ago = health("Long gone")
    assert long_ago.confirmed_at == clock.now
    clock.now += 2 * HOUR
    for number in range(6):
        publish(film(seed=20 + number), f"Gone {number}")
    rest(worker)
    assert worker.braked() is not None
    assert [health(f"Gone {number}").failed_at for number in range(5)] == [None] * 5
    assert health("Long gone").confirmed_at == long_ago.confirmed_at


def test_files_that_were_broken_before_pull_the_brake_once(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    rest: Rest,
    clock: Clock,
) -> None:
    for post in films(server, publish, 6):
        server.remove(post.message_ids[:1])
    worker = start_worker()
    braked = []
    for _ in range(3):
        rest(worker)
        braked.append(worker.braked() is not None)
        clock.now += MONTH
    assert braked == [True, False, False]


def test_the_brake_counts_one_hour_and_lets_a_few_bad_checks_pass() -> None:
    brake = Brake()
    assert [brake.note(0.0, bad=True) for _ in range(4)] == [None] * 4
    # four of them are an hour old: one is left
    assert brake.note(3600.0, bad=True) is None
    assert [brake.note(3601.0, bad=False) for _ in range(20)] == [None] * 20
    assert [brake.note(3602.0, bad=True) for _ in range(4)] == [None] * 4  # 5 of 25
    assert brake.note(3603.0, bad=False) is None
    illness = brake.note(3603.0, bad=True)
    assert illness is not None
    assert illness.since == 3600.0
    assert illness.reason.startswith("6 of 27 checks within an hour")
    brake.reset()
    assert [brake.note(3604.0, bad=True) for _ in range(4)] == [None] * 4


# What people ask for ----------------------------------------------------------------------------


def test_what_somebody_asks_for_goes_before_what_is_due(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    said: list[str],
    rest: Rest,
    health: HealthOf,
) -> None:
    posts = films(server, publish, 8)
    urgent = max(range(8), key=lambda number: health(f"Film {number}").file.id)  # the last
    others = [mid for number in range(8) if number != urgent for mid in posts[number].message_ids]
    server.fail(Fault.SILENCE, *others, seconds=0.3)
    worker = start_worker()
    server.wait_for(lambda counts: counts.stalled)
    worker.check([health(f"Film {urgent}").file.id])
    wait_until(lambda: said)
    assert said[0].startswith(f"INFO [Health] HEALTHY 'movies/Film {urgent}/film.mkv': ")
    server.heal()
    rest(worker)
    assert {health(f"Film {number}").health for number in range(8)} == {Health.HEALTHY}


@pytest.mark.parametrize("scheduled", [False])
def test_a_release_goes_before_the_whole_library(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    start_worker: Start,
    wait_until: WaitUntil,
) -> None:
    films(server, publish, 4)
    worker = start_worker()
    checks = HealthChecks(library, records, agenda, worker)
    server.fail(Fault.SILENCE, times=1)
    whole = checks.start()
    server.wait_for(lambda counts: counts.stalled)
    one = checks.start(["Film 3"])
    server.heal()
    wait_until(lambda: all(request.is_finished for request in checks.status().requests))
    assert [request.id for request in checks.status().requests] == [one.id, whole.id]
    assert (one.files, whole.files) == (1, 4)


@pytest.mark.parametrize("scheduled", [False])
def test_releases_are_named_alone_or_with_their_category(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    start_worker: Start,
) -> None:
    post = make_posts({"a.mkv": bytes(1000), "b.mkv": bytes(2000)}, part_size=1000)
    publish(post, "Film 2020")
    publish(post, "Film 2020", "tv")
    publish(post, "Another")
    checks = HealthChecks(library, records, agenda, start_worker())
    names = {
        name: [(one.file.release.category, one.file.name) for one in checks.results([name]).files]
        for name in ("Film 2020", "tv/Film 2020")
    }
    assert names == {
        "Film 2020": [("movies", "a.mkv"), ("movies", "b.mkv"), ("tv", "a.mkv"), ("tv", "b.mkv")],
        "tv/Film 2020": [("tv", "a.mkv"), ("tv", "b.mkv")],
    }
    for wrong, offered in (
        ("film 2020", "'Film 2020'"),
        ("Flim 2020", "'Film 2020'"),
        ("movies/film", "'Film 2020'"),
        ("anothr", "'Another'"),
    ):
        with pytest.raises(NotInLibrary, match=f"is called '{wrong}': perhaps {offered}"):
            checks.start(["Film 2020", wrong])
    with pytest.raises(NotInLibrary, match=r"^no release is called 'xyz'$"):
        checks.start(["xyz"])
    assert checks.status().requests == ()


@pytest.mark.parametrize("scheduled", [False])
def test_the_results_of_the_whole_library_come_in_pages(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    start_worker: Start,
) -> None:
    films(server, publish, 5)
    checks = HealthChecks(library, records, agenda, start_worker())
    seen, after = [], 0
    while True:
        page = checks.results(after=after, limit=2)
        seen.append([one.file.release.name for one in page.files])
        if page.after is None:
            break
        after = page.after
    assert seen == [["Film 0", "Film 1"], ["Film 2", "Film 3"], ["Film 4"]]


def test_the_status_shows_what_is_being_checked_and_how_far_it_is(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    start_worker: Start,
    rest: Rest,
    clock: Clock,
) -> None:
    post = film(articles=500)
    server.add(post)
    publish(post)
    server.fail(Fault.SILENCE, post.message_ids[300], times=1)
    worker = start_worker()
    checks = HealthChecks(library, records, agenda, worker)
    server.wait_for(lambda counts: counts.stalled)
    status = checks.status()
    assert status.running is not None
    assert (status.running.articles, status.running.done) == (500, 100)
    assert (status.running.file.name, status.running.asked) == ("film.mkv", False)
    assert (status.schedule.is_on, status.schedule.overdue) == (True, 1)
    server.release()
    rest(worker)
    status = checks.status()
    assert (status.running, status.schedule.overdue) == (None, 0)
    assert status.schedule.next_due is not None
    assert status.schedule.next_due > clock.now
    assert status.schedule.verdicts[Health.HEALTHY] == 1
