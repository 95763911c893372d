"""Which par2 volumes are fetched for so many blocks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway_queue.unpacking.volumes import RecoveryVolume, blocks_of, choose


def test_blocks_are_told_by_the_name_of_a_volume_or_by_its_size() -> None:
    assert blocks_of("film.vol003+04.par2", 50_000, 10_000) == 4
    assert blocks_of("film.vol003-006.PAR2", 50_000, 10_000) == 4
    assert blocks_of("film.vol003+04.par2", 50_000, 0) == 4
    assert blocks_of("3f2a9b.par2", 50_000, 10_000) == 4
    assert blocks_of("film.par2", 3_000, 10_000) == 0
    assert blocks_of("3f2a9b", 50_000, 0) == 0


def test_a_name_cannot_promise_more_blocks_than_its_file_holds() -> None:
    assert blocks_of("film.vol000+9999.par2", 50_000, 10_000) == 4
    assert blocks_of("film.vol009-003.par2", 50_000, 10_000) == 0


def volumes(*blocks: int) -> list[RecoveryVolume]:
    return [RecoveryVolume(key, n, 1000 + 100 * n) for key, n in enumerate(blocks)]


def test_no_more_is_fetched_than_is_needed() -> None:
    posted = volumes(1, 2, 4, 8, 16, 32)
    for wanted in range(1, 64):
        assert sum(one.blocks for one in choose(posted, wanted)) == wanted
    assert choose(posted, 0) == []
    assert choose(posted, 64) == posted


def test_volumes_without_blocks_are_of_no_use() -> None:
    assert choose(volumes(0, 0, 5), 1) == volumes(0, 0, 5)[2:]
    assert choose([], 7) == []


@given(st.lists(st.integers(0, 20), max_size=7), st.integers(0, 60))
def test_the_choice_is_the_smallest_that_suffices(blocks: list[int], wanted: int) -> None:
    posted = volumes(*blocks)
    sums = {
        sum(one.blocks for one in some)
        for n in range(len(posted) + 1)
        for some in itertools.combinations(posted, n)
    }

    chosen = choose(posted, wanted)

    assert sum(one.blocks for one in chosen) == min(
        (n for n in sums if n >= wanted), default=max(sums)
    )
    assert len({one.key for one in chosen}) == len(chosen)
