"""Several items at a time: who waits for whom, and who does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.demo import Fault, NewsServer, make_post
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor

WaitUntil = Callable[[Callable[[], object]], None]


@pytest.mark.parametrize("stall_s", [60.0])
def test_an_item_that_hangs_holds_nobody_up_and_the_most_urgent_of_the_others_goes_first(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    find: Callable[[str], Item],
    wait_until: WaitUntil,
    said: list[str],
    film: bytes,
) -> None:
    hanging = make_post("hanging.mkv", film, part_size=7_000, seed=1)
    others = make_post("others.mkv", film, part_size=7_000, seed=2)
    server.add(hanging, others)
    server.fail(Fault.SILENCE, hanging.message_ids[0], commands={"BODY"})
    stuck = queue.add(hanging.nzb, filename="hanging.nzb", category="movies")
    processor.start()
    server.wait_for(lambda counts: counts.stalled)

    queue.pause_all()
    names = {"low": -1, "normal": 0, "high": 1, "later, normal": 0}
    for name, priority in names.items():
        queue.add(others.nzb, filename=f"{name}.nzb", category="movies", priority=priority)
    queue.resume_all()
    completed = "INFO [Queue] completed "
    wait_until(lambda: sum(line.startswith(completed) for line in said) == len(names))

    order = [line.split("'")[1] for line in said if line.startswith(completed)]
    assert order == ["high", "normal", "later, normal", "low"]
    assert find(stuck).state is State.ANALYSING

    server.heal()
    wait_until(lambda: find(stuck).state is State.COMPLETED)
