"""How many replacements may be asked for, of one title and of all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_queue.replacing.limits import DAY_S, HOUR_S, Limits, Sent

NOW = 1_000_000.0


def sent(*hours_ago: float, arr: str = "tv", titles: str = "episode:1") -> list[Sent]:
    return [Sent(NOW - hours * HOUR_S, arr, frozenset(titles.split())) for hours in hours_ago]


def test_a_title_is_asked_for_three_times_in_six_hours_and_then_waits_for_the_first_to_pass() -> (
    None
):
    limits = Limits()
    assert limits.of_title(sent(5, 1), "tv", {"episode:1"}, NOW) is None
    over = limits.of_title(sent(5, 1, 0), "tv", {"episode:1"}, NOW)
    assert over is not None
    assert over.until == NOW + HOUR_S
    assert over.words == "3 replacements of it have been asked for within 6 hours"
    assert limits.of_title(sent(5, 1, 0), "tv", {"episode:1"}, over.until) is None
    assert limits.of_title(sent(7, 5, 1), "tv", {"episode:1"}, NOW) is None


def test_another_title_and_another_arr_are_not_concerned() -> None:
    limits = Limits()
    assert limits.of_title(sent(3, 2, 1), "tv", {"episode:2"}, NOW) is None
    assert limits.of_title(sent(3, 2, 1), "anime", {"episode:1"}, NOW) is None


def test_an_episode_counts_for_itself_alone_or_with_its_season() -> None:
    limits = Limits()
    packs = sent(3, 2, titles="episode:1 episode:2 episode:3")
    assert limits.of_title([*packs, *sent(1)], "tv", {"episode:2"}, NOW) is None
    assert limits.of_title([*packs, *sent(1)], "tv", {"episode:1"}, NOW) is not None
    assert limits.of_title([*packs, *sent(1)], "tv", {"episode:1", "episode:4"}, NOW) is not None


def test_all_together_are_asked_for_ten_times_an_hour_and_forty_times_a_day() -> None:
    limits = Limits()
    assert limits.of_all(sent(*[0.5] * 9), NOW) is None
    hour = limits.of_all(sent(*[0.5] * 10), NOW)
    assert hour is not None
    assert hour.until == NOW + HOUR_S / 2
    assert hour.words == "10 replacements have been asked for within an hour"
    day = limits.of_all(sent(*[2 + n / 10 for n in range(40)]), NOW)
    assert day is not None
    assert day.until == pytest.approx(NOW + DAY_S - 5.9 * HOUR_S)
    assert day.words == "40 replacements have been asked for within a day"


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0, 4 * HOUR_S), min_size=1, max_size=80),
    titles=st.lists(st.sampled_from(["a", "b", "a b"]), min_size=80, max_size=80),
)
def test_whoever_waits_as_long_as_told_never_passes_a_limit(
    gaps: list[float], titles: list[str]
) -> None:
    limits = Limits()
    now, done = NOW, list[Sent]()
    for gap, names in zip(gaps, titles, strict=False):
        now += gap
        wanted = frozenset(names.split())
        while True:
            over = limits.of_title(done, "tv", wanted, now) or limits.of_all(done, now)
            if over is None:
                break
            assert over.until > now, "waiting has an end, and is no busy loop"
            now = over.until
        done.append(Sent(now, "tv", wanted))
        assert len([one for one in done if one.at + HOUR_S > now]) <= 10
        assert len([one for one in done if one.at + DAY_S > now]) <= 40
        for name in wanted:
            lately = [one for one in done if one.at + 6 * HOUR_S > now and name in one.titles]
            assert len(lately) <= 3


def test_a_clock_that_was_set_back_blocks_nothing_for_longer_than_the_window() -> None:
    over = Limits().of_title(sent(-1000, -1000, -1000), "tv", {"episode:1"}, NOW)
    assert over is not None
    assert over.until == NOW + 6 * HOUR_S
