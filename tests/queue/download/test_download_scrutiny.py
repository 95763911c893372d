"""Articles that contradict each other are weighed against each other, and that comes to an end."""

from __future__ import annotations

from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from gateway.demo import make_post
from gateway.nzb.document import parse
from gateway.usenet.articles import Body
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.scrutiny import Scrutiny, Unfit


def asked(path: Path, sizes: list[int], order: Random) -> int:
    """Fetch a file whose articles state these *sizes*; return how many were asked for.

    Four are under way at a time, and come in any *order*; what does not fit is asked for again
    once, and what is taken back again, as in `Transfer`.
    """
    parts = len(sizes)
    files = parse(make_post("Film.mkv", bytes(parts * 1_000), part_size=1_000).nzb).files
    with closing(Journal(path, "the post", lambda *_: True)) as journal:
        scrutiny = Scrutiny(files, journal)
        waiting = deque((part, False) for part in range(parts))
        under_way: list[tuple[int, bool, int | None]] = []
        count = 0
        while (waiting or under_way) and count < 100 * parts:
            while waiting and len(under_way) < 4:
                count += 1
                under_way.append((*waiting.popleft(), scrutiny.size(0)))
            part, is_last, wanted = under_way.pop(order.randrange(len(under_way)))
            size, begin = sizes[part], part * 1_000
            if wanted not in (None, size):
                continue
            end = size if part == parts - 1 else begin + 1_000
            body = Body(bytearray(end - begin), begin, end, size, "Film.mkv", "a@x", "main", 1)
            back: list[int] = []
            try:
                back = scrutiny.look(0, part, body)
            except Unfit:
                if not is_last:
                    waiting.append((part, True))
                continue
            if journal.posted(0).size not in (None, size):
                journal.anew(0)
            for wrong in back:
                journal.lost(0, wrong)
            if journal.posted(0).size is None:
                journal.begun(0, body.name, size)
            journal.written(0, part, Span(begin, end - begin, 1))
            waiting.extend((wrong, True) for wrong in back)
    with suppress(FileNotFoundError):
        path.unlink()
    return count


@pytest.mark.parametrize("others", [1, 2, 3])
def test_articles_of_two_sizes_do_not_take_turns_for_ever(tmp_path: Path, others: int) -> None:
    for seed in range(20):
        order = Random(seed)
        sizes = [3_000 + 1_000 * others] * 3 + [3_007 + 1_000 * others] * others
        order.shuffle(sizes)
        assert asked(tmp_path / "journal", sizes, order) < 10 * len(sizes)
