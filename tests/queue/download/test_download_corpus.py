"""Every shape that posts come in, harmed in every way: what comes is the original, or it fails.

DOWNLOAD_CORPUS=all takes each shape with each harm to 1, 3 and 10 % of its articles, par2 files
included, with a par2 set and without; otherwise it is a few of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from harmed_posts import HARMS, harm
from import_shapes import SHAPES

from gateway.demo import NewsServer, Post
from gateway_queue.item import HISTORY, Item, State
from gateway_queue.processor import Processor

PAR2 = ("-s8000", "-r60", "-n7")
SOME = {
    "rar5 new names": ["missing 10", "swapped with the same place 10", "flipped without CRC 3"],
    "rar4 data encrypted": ["flipped without CRC 1"],
    "rar5 data encrypted": ["posted damaged 3"],
    "7z pieces": ["posted damaged 10"],
    "7z pieces useless names": ["missing 0"],
    "mkv pieces": ["swapped with the same place 3", "swapped 10"],
    "plain": ["missing 0", "flipped without CRC 1", "wrong CRC 10"],
    "plain disguised": ["swapped with the same place 10"],
}
CASES = [
    (name, kind, int(percent), protected)
    for name, harms in SOME.items()
    for kind, _, percent in (one.rpartition(" ") for one in harms)
    for protected in (True, False)
]
if os.environ.get("DOWNLOAD_CORPUS") == "all":
    CASES = [
        (name, kind, percent, protected)
        for name, protected, (kind, percent) in product(
            SHAPES, (True, False), [("missing", 0), *product(HARMS, (1, 3, 10))]
        )
    ]
# What was damaged before it was posted, and is in no archive: without par2, nothing could tell.
UNPROVABLE = {"plain", "plain disguised", "mkv pieces", "several sets", "subtitles beside"}
REASONS = {
    "missing": r"missing from the provider",
    "flipped": r"damaged",
    "wrong CRC": r"damaged",
    "flipped without CRC": r"damaged",
    "posted damaged": r"damaged|CRC|does not open|headers|checksum|cannot|early",
    "swapped": r"damaged|do(es)? not fit",
    "swapped with the same place": r"damaged|do(es)? not fit",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Post]:
    """Make a post of the shape that has this name, protected by par2 or not."""

    @lru_cache(maxsize=4)
    def make(name: str, *, protected: bool) -> Post:
        return SHAPES[name].post(
            name, tmp_path_factory.mktemp("made"), *(PAR2 if protected else ())
        )

    return make


@pytest.mark.system("7zz|7z")
@pytest.mark.parametrize(
    ("name", "kind", "percent", "protected"),
    [
        (name, kind, percent, protected)
        for name, kind, percent, protected in CASES
        if protected or not (SHAPES[name].par2 or (kind == "posted damaged" and name in UNPROVABLE))
    ],
)
def test_what_is_downloaded_is_the_original_or_fails_for_the_right_reason(
    server: NewsServer,
    made: Callable[..., Post],
    add: Callable[..., str],
    processor: Processor,
    find: Callable[[str], Item],
    wait_until: Callable[[Callable[[], object]], None],
    clock: Any,
    complete: Path,
    name: str,
    kind: str,
    percent: int,
    protected: bool,
) -> None:
    shape, post = SHAPES[name], made(name, protected=protected)
    server.add(post)
    harmed = harm(server, post, kind, percent, f"{name} {kind} {percent}")

    nzo_id = add(post, "Job", password=shape.password)
    processor.start()
    while True:
        wait_until(lambda: find(nzo_id).state in HISTORY or find(nzo_id).not_before > clock.now)
        if find(nzo_id).state in HISTORY:
            break
        clock.now += 7_200
        processor.wake()
    item = find(nzo_id)

    found = {
        path.relative_to(complete / "films").as_posix(): path.read_bytes()
        for path in complete.rglob("*")
        if path.is_file()
    }
    wanted = {f"Job/{path.format(job='Job')}": data for path, data in shape.shown.items()}
    if item.state is State.COMPLETED:
        if protected and shape.disguise:  # the names are those that par2 tells
            assert sorted(found.values()) == sorted(wanted.values())
        else:
            assert found == wanted
    else:
        assert not found
        assert not protected, item.failure
        assert harmed
        assert re.search(REASONS[kind], item.failure)
