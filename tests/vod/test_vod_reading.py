"""Telling a viewer from a player that is about to close: by what its system acknowledges."""

from __future__ import annotations

from gateway.vod.reading import Evidence, Watching

EVIDENCE = Evidence(settle_s=0.5, empty_s=2.0)


def looks(*seen: tuple[float, int], rivals: bool = True, answered: bool = True) -> list[bool]:
    """Return what is said at each look: (seconds, bytes in the queue)."""
    watching = Watching(EVIDENCE)
    return [watching.reads(now, size, rivals=rivals, answered=answered) for now, size in seen]


def test_nothing_is_said_before_the_newer_request_has_its_first_bytes() -> None:
    assert looks((0, 0), (10, 0), (20, 0), answered=False) == [False, False, False]


def test_a_queue_that_falls_is_read() -> None:
    assert looks((0, 900), (0.6, 900), (0.7, 500)) == [False, False, True]


def test_what_falls_right_after_the_answer_is_only_what_was_under_way() -> None:
    assert looks((0, 900), (0.2, 500), (0.4, 100), (0.6, 100), (9, 100)) == [False] * 5


def test_a_queue_that_stays_empty_is_read_once_a_player_would_have_closed() -> None:
    assert looks((0, 0), (0.6, 0), (2.5, 0), (2.6, 0)) == [False, False, False, True]


def test_a_paused_viewer_is_never_said_to_read() -> None:
    assert looks((0, 900), (1, 900), (100, 900), (1000, 900)) == [False] * 4


def test_with_nobody_beside_it_an_empty_queue_is_enough() -> None:
    assert looks((0, 0), (0.6, 0), rivals=False) == [False, True]
    assert looks((0, 900), (0.6, 900), (9, 900), (10, 0), rivals=False)[-1]
