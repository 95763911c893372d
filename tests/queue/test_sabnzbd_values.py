"""Numbers as SABnzbd writes them."""

from __future__ import annotations

import pytest

from gateway_queue.item import Priority, State
from gateway_queue.sab_values import PRIORITY_WORDS, STATUS_WORDS, age, clock, megabytes, units

# What Sonarr and Radarr can read; any other word breaks their whole poll.
SONARR_KNOWS = """
Grabbing Queued Paused Checking Downloading QuickCheck Verifying Repairing Fetching
Extracting Moving Running Completed Failed Deleted Propagating
"""


def test_every_state_and_priority_has_a_word_that_clients_know() -> None:
    assert set(STATUS_WORDS) == set(State)
    assert set(STATUS_WORDS.values()) <= set(SONARR_KNOWS.split())
    assert set(PRIORITY_WORDS) == set(Priority)
    assert set(PRIORITY_WORDS.values()) == {"Force", "High", "Normal", "Low"}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (309_000, "302 KB"),
        (1 << 20, "1.0 MB"),
        (1_500_000_000, "1.4 GB"),
        (1 << 60, "1024.0 PB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert units(size, "B") == text


def test_sizes_without_a_unit() -> None:
    assert (units(0), units(309_000), units(71_400_000_000)) == ("0", "302 K", "66.5 G")
    assert megabytes(309_000) == "0.29"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0:00:00"),
        (0, "0:00:00"),
        (59.9, "0:00:59"),
        (3_661, "1:01:01"),
        (86_399, "23:59:59"),
        (86_400, "1:00:00:00"),
        (10 * 86_400 + 3_661, "10:01:01:01"),
    ],
)
def test_times_left(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0m"), (3_599, "59m"), (3_600, "1h"), (95_299_200, "1103d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text
