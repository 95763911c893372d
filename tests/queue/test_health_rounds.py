"""The thread that checks: rounds over the library, requests before them, and the brake."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.demo import Fault, NewsServer, Post, make_bulk_post, make_posts
from gateway.errors import NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway.library.entries import Release
from gateway.library.health import FileHealth, Health
from gateway_queue.brake import Brake
from gateway_queue.checks import HealthChecks
from gateway_queue.health_worker import HealthWorker

DAY = 86_400.0

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
def ended(records: CheckRecords) -> Callable[[int], Callable[[], bool]]:
    """Say whether the round of this number has ended."""

    def ended(number: int = 1) -> Callable[[], bool]:
        def holds() -> bool:
            latest = records.latest_round()
            return latest is not None and latest.id >= number and latest.ended is not None

        return holds

    return ended


Ended = Callable[..., Callable[[], bool]]
HealthOf = Callable[[str], FileHealth]


# Rounds -----------------------------------------------------------------------------------------


def test_a_round_checks_every_file_once_and_tells_the_log(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    health: HealthOf,
    ended: Ended,
    clock: Clock,
    said: list[str],
) -> None:
    posts = films(server, publish, 3)
    server.remove(posts[1].message_ids[1:2])
    start_worker()
    summary = "INFO [Health] round ended: 3 files, 2 healthy, 1 degraded, 0 failed, 0 unknown"
    wait_until(lambda: summary in said)
    assert ended()()
    assert [health(f"Film {number}").health for number in range(3)] == [
        Health.HEALTHY,
        Health.DEGRADED,
        Health.HEALTHY,
    ]
    assert health("Film 1").in_words() == "1 of 3 articles missing (segment 2)"
    assert health("Film 1").checked_at == clock.now
    assert server.counts.commands["STAT"] == 9
    assert (
        len([line for line in said if line.startswith("INFO [Health] HEALTHY 'movies/Film ")]) == 2
    )
    (degraded,) = [line for line in said if "DEGRADED" in line]
    assert degraded.startswith(
        "INFO [Health] DEGRADED 'movies/Film 1/film.mkv': 1 of 3 articles missing (segment 2), in "
    )


def test_the_next_round_begins_an_interval_after_the_previous_and_not_before(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    health: HealthOf,
    ended: Ended,
    clock: Clock,
) -> None:
    films(server, publish, 2)
    began = clock.now
    worker = start_worker()
    wait_until(ended())
    clock.now = began + 7 * DAY - 1
    worker.wake()
    # a request is handled after whatever the waking might have brought about
    request = worker.check([]).id
    wait_until(
        lambda: next(one for one in worker.status().requests if one.id == request).is_finished
    )
    latest = records.latest_round()
    assert latest is not None
    assert latest.id == 1
    clock.now = began + 7 * DAY
    worker.wake()
    wait_until(ended(2))
    assert health("Film 0").checked_at == health("Film 1").checked_at == began + 7 * DAY
    assert server.counts.commands["STAT"] == 12


def test_the_file_whose_check_is_longest_ago_comes_first(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    ended: Ended,
    clock: Clock,
) -> None:
    posts = films(server, publish, 3)
    by_article = {mid: number for number, post in enumerate(posts) for mid in post.message_ids}

    def order() -> list[int]:
        asked = server.counts.journal_of("STAT")
        return list(dict.fromkeys(by_article[one.argument] for one in asked[-9:]))

    worker = start_worker()
    wait_until(ended())
    first = order()
    clock.now += 3600
    request = worker.check(None)
    assert request.files == 3
    wait_until(lambda: worker.status().requests[0].is_finished)
    clock.now += 7 * DAY
    worker.wake()
    wait_until(ended(2))
    assert order() == first


@pytest.mark.parametrize("interval_s", [0.0])
def test_without_an_interval_only_what_is_asked_for_is_checked(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    health: HealthOf,
) -> None:
    films(server, publish, 2)
    worker = start_worker()
    worker.check([health("Film 1").file.id])
    wait_until(lambda: worker.status().requests[0].is_finished)
    assert health("Film 1").health is Health.HEALTHY
    assert health("Film 0").in_words() == "never checked"
    assert records.latest_round() is None


@pytest.mark.parametrize("stall_s", [30.0])
def test_a_check_cut_short_leaves_the_old_result_and_the_round_goes_on_after_a_restart(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    health: HealthOf,
    ended: Ended,
    clock: Clock,
) -> None:
    posts = films(server, publish, 3)
    worker = start_worker()
    wait_until(ended())
    before = [health(f"Film {number}") for number in range(3)]
    clock.now += 7 * DAY
    oldest = min(range(3), key=lambda number: before[number].file.id)
    server.fail(Fault.SILENCE, *posts[oldest].message_ids)
    worker.wake()
    server.wait_for(lambda counts: counts.stalled)
    assert worker.status().running is not None
    assert worker.stop(20), "it waited for the provider"
    assert health(f"Film {oldest}") == before[oldest]
    assert not ended(2)()
    server.heal()
    clock.now += DAY
    start_worker()
    wait_until(ended(2))
    checked = [health(f"Film {number}") for number in range(3)]
    assert all(one.checked_at == clock.now for one in checked)
    latest = records.latest_round()
    assert latest is not None
    assert latest.began == clock.now - DAY


def test_a_clock_that_is_set_back_has_no_file_checked_twice(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    ended: Ended,
    clock: Clock,
) -> None:
    films(server, publish, 2)
    server.fail(Fault.SILENCE, times=1)
    start_worker()
    server.wait_for(lambda counts: counts.stalled)
    clock.now -= DAY
    server.heal()
    wait_until(ended())
    assert server.counts.commands["STAT"] == 6


def test_a_file_removed_meanwhile_is_no_trouble(
    server: NewsServer,
    publish: Publish,
    library: Library,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    health: HealthOf,
) -> None:
    films(server, publish, 2)
    files = [health("Film 0").file, health("Film 1").file]
    library.remove(files[0].release)
    worker = start_worker()
    request = worker.check([file.id for file in files])
    wait_until(lambda: all(one.is_finished for one in worker.status().requests))
    assert worker.status().requests[0].id == request.id
    assert worker.status().requests[0].done == 2
    assert health("Film 1").health is Health.HEALTHY


# A provider that is ill -------------------------------------------------------------------------


@pytest.mark.parametrize("stall_s", [0.2])
def test_a_silent_provider_wipes_out_no_verdict(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    health: HealthOf,
    ended: Ended,
    clock: Clock,
) -> None:
    posts = films(server, publish, 2)
    server.remove(posts[1].message_ids[:2])
    worker = start_worker()
    wait_until(ended())
    first = clock.now
    clock.now += 7 * DAY
    server.fail(Fault.SILENCE)
    worker.wake()
    wait_until(ended(2))
    for name, verdict, missing in (("Film 0", Health.HEALTHY, 0), ("Film 1", Health.DEGRADED, 2)):
        known = health(name)
        assert known.health is Health.UNKNOWN
        assert known.in_words() == "3 of 3 articles unknown: the provider did not answer"
        assert (known.verdict, known.decided_at, known.missing) == (verdict, first, missing)
    server.heal()


@pytest.mark.parametrize("interval_s", [600.0, 7 * DAY])
def test_a_provider_that_lacks_everything_stops_the_round_and_the_next_one_goes_on(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    library: Library,
    ended: Ended,
    clock: Clock,
    interval_s: float,
    said: list[str],
) -> None:
    films(server, publish, 12)
    server.fail(Fault.MISSING)
    worker = start_worker()
    wait_until(lambda: any("round stopped" in line for line in said))
    reason = (
        "5 of 5 checks within an hour found articles missing or got no answer: "
        "a provider is ill, rather than the library"
    )
    latest = worker.status().round.latest
    assert latest is not None
    assert latest.reason == reason
    (line,) = [line for line in said if not line.startswith("INFO")]
    assert line.startswith(f"WARNING [Health] round stopped: {reason}. So far: 5 files, ")
    assert server.counts.commands["STAT"] == 15
    assert len(list(library.releases("movies"))) == 12
    server.heal()
    clock.now += interval_s
    worker.wake()
    wait_until(ended(2))
    latest = worker.status().round.latest
    assert latest is not None
    assert latest.reason == ""
    found = records.of_releases([release.id for release in library.releases("movies")])
    assert {known.health for known in found} == {Health.HEALTHY}


def test_files_that_were_broken_before_do_not_stop_every_round(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    records: CheckRecords,
    ended: Ended,
    clock: Clock,
) -> None:
    for post in films(server, publish, 6):
        server.remove(post.message_ids[:1])
    worker = start_worker()
    reasons = []
    for number in (1, 2, 3):
        wait_until(ended(number))
        latest = records.latest_round()
        assert latest is not None
        reasons.append(bool(latest.reason))
        clock.now += 7 * DAY
        worker.wake()
    assert reasons == [True, False, False]


def test_the_brake_counts_one_hour_and_lets_a_few_bad_checks_pass() -> None:
    brake = Brake()
    assert [brake.note(0.0, bad=True) for _ in range(4)] == [None] * 4
    # four of them are an hour old: one is left
    assert brake.note(3600.0, bad=True) is None
    assert [brake.note(3601.0, bad=False) for _ in range(20)] == [None] * 20
    assert [brake.note(3602.0, bad=True) for _ in range(4)] == [None] * 4  # 5 of 25
    assert brake.note(3603.0, bad=False) is None
    words = brake.note(3603.0, bad=True)
    assert words is not None
    assert words.startswith("6 of 27 checks within an hour")
    brake.reset()
    assert [brake.note(3604.0, bad=True) for _ in range(4)] == [None] * 4


# What people ask for ----------------------------------------------------------------------------


def test_what_somebody_asks_for_goes_before_a_round_under_way(
    server: NewsServer,
    publish: Publish,
    start_worker: Start,
    wait_until: WaitUntil,
    said: list[str],
    health: HealthOf,
    ended: Ended,
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
    wait_until(ended())
    assert {health(f"Film {number}").health for number in range(8)} == {Health.HEALTHY}


@pytest.mark.parametrize("interval_s", [0.0])
def test_a_release_goes_before_the_whole_library(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    start_worker: Start,
    wait_until: WaitUntil,
) -> None:
    films(server, publish, 4)
    worker = start_worker()
    checks = HealthChecks(library, records, worker)
    server.fail(Fault.SILENCE, times=1)
    whole = checks.start()
    server.wait_for(lambda counts: counts.stalled)
    one = checks.start(["Film 3"])
    server.heal()
    wait_until(lambda: all(request.is_finished for request in checks.status().requests))
    assert [request.id for request in checks.status().requests] == [one.id, whole.id]
    assert (one.files, whole.files) == (1, 4)


@pytest.mark.parametrize("interval_s", [0.0])
def test_releases_are_named_alone_or_with_their_category(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    start_worker: Start,
) -> None:
    post = make_posts({"a.mkv": bytes(1000), "b.mkv": bytes(2000)}, part_size=1000)
    publish(post, "Film 2020")
    publish(post, "Film 2020", "tv")
    publish(post, "Another")
    checks = HealthChecks(library, records, start_worker())
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


@pytest.mark.parametrize("interval_s", [0.0])
def test_the_results_of_the_whole_library_come_in_pages(
    server: NewsServer,
    publish: Publish,
    library: Library,
    records: CheckRecords,
    start_worker: Start,
) -> None:
    films(server, publish, 5)
    checks = HealthChecks(library, records, start_worker())
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
    start_worker: Start,
    wait_until: WaitUntil,
    ended: Ended,
    clock: Clock,
) -> None:
    post = film(articles=500)
    server.add(post)
    publish(post)
    server.fail(Fault.SILENCE, post.message_ids[300], times=1)
    worker = start_worker()
    checks = HealthChecks(library, records, worker)
    server.wait_for(lambda counts: counts.stalled)
    status = checks.status()
    assert status.running is not None
    assert (status.running.articles, status.running.done) == (500, 100)
    assert (status.running.file.name, status.running.asked) == ("film.mkv", False)
    assert status.round.latest is not None
    assert (status.round.latest.began, status.round.left) == (clock.now, 1)
    server.release()
    wait_until(ended())
    status = checks.status()
    assert status.running is None
    assert status.round.left == 0
