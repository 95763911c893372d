"""A release of which a failure is confirmed: who is told, what, how often, and what is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_arr import KEY, VERSIONS, FakeArr, Fault

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import Release
from gateway.library.replacement import Replacement, Step
from gateway_queue.replacing.limits import Limits
from gateway_queue.replacing.replacer import PAUSES_S, Replacer
from gateway_queue.replacing.store import ReplacementStore

Fail = Callable[..., Release]
MakeReplacer = Callable[..., Replacer]
Attempt = Callable[[Replacer, Release], Replacement | None]
Serve = Callable[..., FakeArr]
HOUR_S = 3600.0
WITH_FILE = "; it has a file of it, and takes only what it counts as better"


def posts(arr: FakeArr) -> list[str]:
    return [one.path.removeprefix("/api/v3") for one in arr.sent("POST")]


# Who is told, and what ------------------------------------------------------------------------


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize(("kind", "version"), VERSIONS)
def test_the_grab_is_marked_as_failed_and_searched_for_again_once(
    serve: Serve,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
    kind: str,
    version: int,
    auto: bool,
) -> None:
    fake = serve(kind, version=version, auto_redownload=auto)
    fake.grab("nzo", 3 if kind == "radarr" else 7001)
    release = fail("Film", "nzo")
    teller = replacer(fake)
    told = attempt(teller, release)
    assert told is not None
    searched = "searches again by itself" if auto else "searches again"
    assert (told.step, told.answer) == (Step.TOLD, f"marked as failed; {searched}")
    assert told.title == ("The Film (1999)" if kind == "radarr" else "The Show S01E01")
    assert (told.asked, told.sent, told.ended) == (clock.now,) * 3
    assert len(fake.blocklist) == 1
    assert len(fake.searches()) == 1
    assert fake.own_searches == auto
    asked = len(fake.asked)
    clock.now += 30 * 86_400
    assert attempt(replacer(fake), release) == told
    assert len(fake.asked) == asked, "nobody is asked again, after a restart neither"


def test_only_the_arr_whose_history_knows_the_download_is_told(
    serve: Serve, fail: Fail, replacer: MakeReplacer, attempt: Attempt
) -> None:
    movies, anime, tv = serve("radarr"), serve("sonarr"), serve("sonarr")
    tv.grab("nzo", 7001)
    anime.grab("another", 7001)
    told = attempt(replacer(movies, anime, tv), fail("Film", "nzo"))
    assert told is not None
    assert (told.step, told.arr) == (Step.TOLD, "sonarr2")
    assert posts(movies) == posts(anime) == []
    assert [one.path for one in movies.asked + anime.asked] == ["/api/v3/history"] * 2


def test_what_no_arr_has_grabbed_is_told_to_nobody_and_asked_for_once(
    sonarr: FakeArr,
    radarr: FakeArr,
    outbox: ReplacementStore,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
) -> None:
    release = fail("Film", "nzo")
    told = attempt(replacer(sonarr, radarr), release)
    assert told is not None
    assert (told.step, told.answer) == (
        Step.NOBODY,
        "not grabbed through sonarr 'sonarr0', radarr 'radarr1'",
    )
    outbox.begin_anew(["sonarr0", "radarr1"])
    attempt(replacer(sonarr, radarr), release)
    assert (len(sonarr.asked), len(radarr.asked)) == (1, 1)
    assert posts(sonarr) == posts(radarr) == []
    # Somebody else is configured, whom nobody has asked.
    radarr.grab("nzo", 3)
    outbox.begin_anew(["radarr0"])
    told = attempt(replacer(radarr), release)
    assert told is not None
    assert told.step is Step.TOLD


def test_what_was_marked_there_already_is_left_to_who_has_marked_it(
    sonarr: FakeArr, fail: Fail, replacer: MakeReplacer, attempt: Attempt
) -> None:
    sonarr.grab("nzo", 7001)
    sonarr._happen("downloadFailed", "nzo", 7001)
    told = attempt(replacer(sonarr), fail("Film", "nzo"))
    assert told is not None
    assert (told.step, told.answer) == (
        Step.TOLD,
        "sonarr 'sonarr0' had it marked as failed already",
    )
    assert posts(sonarr) == []


def test_a_file_that_it_still_has_is_said_and_one_that_is_not_monitored_not_searched_for(
    serve: Serve, fail: Fail, replacer: MakeReplacer, attempt: Attempt
) -> None:
    fake = serve("radarr", auto_redownload=False)
    for number in (10, 11):
        fake.add_movie(number, f"Film {number}", has_file=True)
        fake.grab(f"nzo{number}", number)
    fake.movies[11]["monitored"] = False
    teller = replacer(fake)
    told = [attempt(teller, fail(f"Film {number}", f"nzo{number}")) for number in (10, 11)]
    assert [one.answer for one in told if one] == [
        f"marked as failed; searches again{WITH_FILE}",
        "marked as failed; not monitored there, so nothing is searched for",
    ]
    assert fake.searches() == [{"name": "MoviesSearch", "movieIds": [10]}]


def test_what_turns_out_to_be_there_again_before_anybody_was_told_is_not_told(
    sonarr: FakeArr,
    outbox: ReplacementStore,
    fail: Fail,
    judge: Callable[..., None],
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
) -> None:
    sonarr.grab("nzo", 7001)
    release = fail("Film", "nzo")
    sonarr.fault = lambda _: Fault(503)
    teller = replacer(sonarr)
    waiting = attempt(teller, release)
    assert waiting is not None
    assert waiting.step is Step.WAITING
    judge(release, "healthy")
    sonarr.fault = lambda _: None
    clock.now += HOUR_S
    assert attempt(teller, release) is None
    assert posts(sonarr) == []
    judge(release, "failed")  # once, and not confirmed
    assert attempt(teller, release) is None
    judge(release, "degraded", clock.now)
    assert attempt(teller, release) is None
    judge(release, "failed", clock.now)
    told = attempt(teller, release)
    assert told is not None
    assert told.step is Step.TOLD


def test_a_release_that_was_removed_in_between_is_forgotten_unless_something_was_sent(
    sonarr: FakeArr,
    database: Database,
    library: Library,
    outbox: ReplacementStore,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
) -> None:
    sonarr.grab("one", 7001)
    sonarr.grab("two", 7002)
    sonarr.fault = lambda asked: (
        Fault(503) if "two" in str(asked.query) or asked.method == "POST" else None
    )
    releases = [fail("One", "one"), fail("Two", "two")]
    first, second = replacer(sonarr), replacer(sonarr)
    attempt(first, releases[0])
    attempt(second, releases[1])
    for release in releases:
        library.remove_files(release)
    sonarr.fault = lambda _: None
    clock.now += HOUR_S
    attempt(replacer(sonarr), releases[0])
    assert sonarr.blocklist == ["Some.Release.one"], "told that it is failed, it hears the rest"


# Limits ---------------------------------------------------------------------------------------


def test_a_title_is_replaced_three_times_in_six_hours_whatever_fails_and_across_restarts(
    sonarr: FakeArr, fail: Fail, replacer: MakeReplacer, attempt: Attempt, clock: Any
) -> None:
    began = clock.now
    for number in range(3):
        sonarr.grab(f"nzo{number}", 7001)
        told = attempt(replacer(sonarr), fail(f"Film {number}", f"nzo{number}"))
        assert told is not None
        assert told.step is Step.TOLD
        clock.now += HOUR_S
    sonarr.grab("nzo3", 7001, 7002)
    fourth = fail("Film 3", "nzo3")
    waits = attempt(replacer(sonarr), fourth)
    assert waits is not None
    assert (waits.step, waits.note, waits.not_before) == (
        Step.WAITING,
        "3 replacements of it have been asked for within 6 hours",
        began + 6 * HOUR_S,
    )
    sonarr.grab("other", 7003)
    told = attempt(replacer(sonarr), fail("Other", "other"))
    assert told is not None
    assert told.step is Step.TOLD, "nobody waits behind it"
    clock.now = began + 6 * HOUR_S - 1
    waits = attempt(replacer(sonarr), fourth)
    assert waits is not None
    assert waits.step is Step.WAITING
    clock.now = began + 6 * HOUR_S
    told = attempt(replacer(sonarr), fourth)
    assert told is not None
    assert told.step is Step.TOLD
    assert len(sonarr.blocklist) == 5


def test_what_is_sent_again_hours_later_counts_then_and_not_when_it_was_tried_first(
    sonarr: FakeArr, fail: Fail, replacer: MakeReplacer, attempt: Attempt, clock: Any
) -> None:
    """An *arr that was away for a day is not told everything at once when it is back."""
    sonarr.fault = lambda asked: Fault(cut=True) if asked.method == "POST" else None
    for number in range(4):
        sonarr.grab(f"nzo{number}", 7001)
        release = fail(f"Film {number}", f"nzo{number}")
        attempt(replacer(sonarr), release)
        clock.now += 7 * HOUR_S
    sonarr.fault = lambda _: None
    attempt(replacer(sonarr), release)
    assert len(sonarr.blocklist) == 3


# Bad days -------------------------------------------------------------------------------------


def test_an_arr_that_is_down_is_asked_again_after_growing_pauses(
    sonarr: FakeArr, fail: Fail, replacer: MakeReplacer, attempt: Attempt, clock: Any
) -> None:
    sonarr.grab("nzo", 7001)
    release, other = fail("Film", "nzo"), fail("Other", "other")
    sonarr.fault = lambda _: Fault(500)
    teller = replacer(sonarr)
    for number, pause_s in enumerate((*PAUSES_S, PAUSES_S[-1])):
        waiting = attempt(teller, release)
        assert waiting is not None
        assert waiting.note == f"{sonarr.url} answered with status 500"
        assert waiting.not_before == clock.now + pause_s
        assert teller.resting_until() == clock.now + pause_s
        assert len(sonarr.asked) == number + 1, "one attempt is enough for all who wait for it"
        clock.now += pause_s - 1
        attempt(teller, other)
        assert len(sonarr.asked) == number + 1
        clock.now += 1
    sonarr.fault = lambda _: None
    told = attempt(teller, release)
    assert told is not None
    assert told.step is Step.TOLD
    assert len(sonarr.blocklist) == 1


def test_what_a_person_has_to_mend_is_not_tried_every_minute(
    sonarr: FakeArr, fail: Fail, replacer: MakeReplacer, attempt: Attempt, clock: Any
) -> None:
    sonarr.fault = lambda _: Fault(401)
    waiting = attempt(replacer(sonarr), fail("Film"))
    assert waiting is not None
    assert waiting.not_before == clock.now + HOUR_S
    assert waiting.note == (f"{sonarr.url} refused us (401): check GATEWAY_ARR__SONARR0__API_KEY")


def test_one_that_is_down_keeps_nobody_from_asking_the_others(
    serve: Serve, fail: Fail, replacer: MakeReplacer, attempt: Attempt
) -> None:
    down, well = serve(), serve()
    down.fault = lambda _: Fault(cut=True)
    well.grab("ours", 7001)
    teller = replacer(down, well)
    told = attempt(teller, fail("Ours", "ours"))
    assert told is not None
    assert told.step is Step.TOLD
    waiting = attempt(teller, fail("Theirs", "theirs"))
    assert waiting is not None
    assert waiting.step is Step.WAITING, "it may be theirs: nobody says that it is nobody's"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(raw=b"<html>", acts=False),
        Fault(raw=b"<html>", acts=True),
        Fault(500, acts=True),
        Fault(cut=True, acts=True),
        Fault(raw=b'{"ok', acts=True),
        Fault(302, headers=(("Location", "/login"),), acts=False),
    ],
)
@pytest.mark.parametrize(
    ("path", "auto"), [("/api/v3/history/failed", True), ("/api/v3/command", False)]
)
def test_a_mark_and_a_search_that_nobody_confirms_are_looked_for_before_they_are_sent_again(
    serve: Serve,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
    fault: Fault,
    path: str,
    auto: bool,
) -> None:
    fake = serve("sonarr", auto_redownload=auto)
    fake.grab("nzo", 7001)
    release = fail("Film", "nzo")
    fake.fault = lambda asked: (
        fault if asked.method == "POST" and asked.path.startswith(path) else None
    )
    attempt(replacer(fake), release)
    fake.fault = lambda _: None
    clock.now += 2 * HOUR_S
    told = attempt(replacer(fake), release)
    assert told is not None
    assert told.step is Step.TOLD
    assert fake.blocklist == ["Some.Release.nzo"]
    assert len(fake.searches()) == 1


class Killed(BaseException):
    """The program ends here."""


class Mortal:
    """Counts the instants between two things that can be seen from outside, and ends at one."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.passed = 0

    def instant(self) -> None:
        if self.passed == self.last:
            raise Killed
        self.passed += 1


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], Mortal]:
    """Have every request and every transaction begin and end with an instant."""
    from contextlib import contextmanager

    from gateway_queue.calling import Caller

    ask, begin = Caller._ask, Database.begin
    current = Mortal(None)

    def asked(self: Caller, *given: Any) -> object:
        current.instant()
        answer = ask(self, *given)
        current.instant()
        return answer

    @contextmanager
    def begun(self: Database) -> Any:
        current.instant()
        with begin(self) as tx:
            yield tx
        current.instant()

    def arm(last: int | None) -> Mortal:
        nonlocal current
        current = Mortal(last)
        return current

    monkeypatch.setattr(Caller, "_ask", asked)
    monkeypatch.setattr(Database, "begin", begun)
    return arm


@pytest.mark.parametrize("auto", [True, False])
def test_killed_at_any_instant_it_has_told_once_after_the_restart(
    serve: Serve,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    outbox: ReplacementStore,
    mortal: Callable[[int | None], Mortal],
    clock: Any,
    auto: bool,
) -> None:
    fake = serve("radarr", auto_redownload=auto, is_quick=True)
    limits = Limits(per_hour=10_000, per_day=10_000)
    number = 100
    while True:
        number += 1
        fake.add_movie(number, f"Film {number}")
        fake.grab(f"nzo{number}", number)
        mortal(None)
        release = fail(f"Film {number}", f"nzo{number}")
        life = mortal(number - 101)
        before = len(fake.blocklist), len(fake.searches())
        try:
            attempt(replacer(fake, limits=limits), release)
        except Killed:
            pass
        else:
            assert life.passed > 20, "every request and every transaction was counted"
            break
        mortal(None)
        clock.now += 301  # what was taken up by the dead is free again
        outbox.begin_anew(["radarr0"])
        told = attempt(replacer(fake, limits=limits), release)
        assert told is not None
        assert told.step is Step.TOLD
        after = len(fake.blocklist), len(fake.searches())
        assert after == (before[0] + 1, before[1] + 1), f"killed at instant {number - 101}"
    assert not [one for one in fake.asked if one.method not in {"GET", "POST"}]


# By hand --------------------------------------------------------------------------------------


def test_what_somebody_wants_replaced_goes_first_and_is_searched_for_though_it_is_marked(
    sonarr: FakeArr,
    outbox: ReplacementStore,
    put: Fail,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
) -> None:
    sonarr.grab("early", 7001)
    sonarr.grab("wanted", 7002)
    early, wanted = fail("Early", "early"), put("Wanted", "wanted")
    clock.now += 100
    outbox.ask(wanted, "wanted", clock.now)
    told = attempt(replacer(sonarr), wanted)
    assert told is not None
    assert (told.step, told.by_hand) == (Step.TOLD, True)
    assert sonarr.blocklist == ["Some.Release.wanted", "Some.Release.early"]
    outbox.ask(early, "early", clock.now)
    told = attempt(replacer(sonarr), early)
    assert told is not None
    assert told.answer == "was marked as failed before; searches again"
    assert len(sonarr.blocklist) == 2
    assert sonarr.searches()[-1] == {"name": "EpisodeSearch", "episodeIds": [7001]}


def test_somebody_who_asks_too_often_is_refused_and_does_not_wait(
    sonarr: FakeArr,
    outbox: ReplacementStore,
    put: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
) -> None:
    sonarr.grab("nzo", 7001)
    release = put("Film", "nzo")
    steps = []
    for _ in range(4):
        outbox.ask(release, "nzo", clock.now)
        told = attempt(replacer(sonarr), release)
        assert told is not None
        steps.append((told.step, told.answer))
    assert steps[-1] == (
        Step.REFUSED,
        "3 replacements of it have been asked for within 6 hours",
    )
    assert [step for step, _ in steps[:3]] == [Step.TOLD] * 3
    assert len(sonarr.blocklist) == 1


def test_asking_again_for_what_waits_makes_no_second_one_and_no_wait(
    sonarr: FakeArr,
    outbox: ReplacementStore,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    clock: Any,
) -> None:
    sonarr.grab("nzo", 7001)
    release = fail("Film", "nzo")
    sonarr.fault = lambda _: Fault(500)
    waiting = attempt(replacer(sonarr), release)
    assert waiting is not None
    sonarr.fault = lambda _: None
    asked = outbox.ask(release, "nzo", clock.now)
    assert (asked.id, asked.by_hand, asked.not_before) == (waiting.id, True, 0.0)
    told = attempt(replacer(sonarr), release)
    assert told is not None
    assert (told.id, told.step) == (waiting.id, Step.TOLD)


# Never ----------------------------------------------------------------------------------------


def test_nothing_is_deleted_and_no_key_is_told(
    serve: Serve,
    fail: Fail,
    replacer: MakeReplacer,
    attempt: Attempt,
    library: Library,
    clock: Any,
    said: list[str],
) -> None:
    fake = serve("sonarr", auto_redownload=False)
    faults = iter([Fault(401), Fault(raw=b"<html>"), Fault(cut=True), Fault(500)] * 2)
    fake.fault = lambda asked: next(faults, None)
    fake.grab("nzo", 7001, 7002)
    release = fail("Film", "nzo")
    shown = []
    for _ in range(12):
        shown.append(repr(attempt(replacer(fake), release)))
        clock.now += 7 * HOUR_S
    assert "TOLD" in shown[-1]
    assert {one.method for one in fake.asked} == {"GET", "POST"}
    assert library.release("movies", "Film") == release
    assert said
    assert KEY not in "".join(shown + said)
    assert "key-of-an-indexer" not in "".join(shown + said)
