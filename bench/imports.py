"""`python -m bench.imports`: imports and a queue of the sizes that real life has.

A film of 10 GB in 600 volumes of 167 articles each, on a good provider's line: how long its NZB
takes to read, and how long it takes from adding it to the first bytes. A queue of 1,000 items and
a history of as many: what they take of memory, and how soon they are listed. Ends with 1 if an
aim is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.figures import Results
from bench.gateway_process import GatewayProcess
from gateway.demo import make_bulk_post
from gateway.demo.process import PostSpec, spawn
from gateway.demo.shape import MIB, Shape
from gateway.library.database import Database
from gateway.nzb.document import parse
from gateway_queue.item import Priority
from gateway_queue.store import JobStore

VOLUMES, PARTS, PART = 600, 167, 100_000
CONNECTIONS = 20
SHAPE = Shape(0.040, 0.0, 8 * MIB, 400 * MIB)
ITEMS = 1_000
_FIRST = 64 << 10  # what a player reads first
_OPEN, _CLOSE = b"<file ", b"</nzb>"


def volumes() -> list[PostSpec]:
    """Return a film cut in pieces: what a post of that size is, but for the headers of RAR."""
    return [
        PostSpec(f"film.mkv.{number:03}", PARTS * PART, PART, seed=number)
        for number in range(1, VOLUMES + 1)
    ]


def one_nzb(specs: Sequence[PostSpec]) -> bytes:
    """Return one NZB of the posts."""
    head, files = b"", []
    for spec in specs:
        nzb = spec.make().nzb
        begin = nzb.index(_OPEN)
        head = nzb[:begin]
        files.append(nzb[begin : nzb.rindex(_CLOSE)])
    return head + b"".join(files) + _CLOSE


def large(results: Results, rounds: int) -> None:
    """Measure the film in 600 volumes."""
    specs = volumes()
    nzb = one_nzb(specs)
    assert sum(len(file.segments) for file in parse(nzb).files) == VOLUMES * PARTS
    results.add(
        f"reading an NZB of {VOLUMES * PARTS:,} segments",
        "s",
        _times(lambda: parse(nzb), rounds),
        aim=1.0,
        at_most=True,
    )
    results.add("CPU for it", "s", _cpu(lambda: parse(nzb), rounds))
    took, cpu = [], []
    with spawn(*specs, shape=SHAPE, user=("bench", "bench")) as server:
        for _ in range(rounds):
            with (
                tempfile.TemporaryDirectory() as folder,
                GatewayProcess(
                    Path(folder),
                    provider=(server.host, server.port),
                    connections=CONNECTIONS,
                ) as gateway,
            ):
                before, began = gateway.cpu_s(), time.monotonic()
                path = gateway.add("Film.2026", nzb)
                assert len(gateway.read(path, _FIRST)) == _FIRST
                took.append(time.monotonic() - began)
                cpu.append(gateway.cpu_s() - before)
    what = f"{VOLUMES} volumes, {CONNECTIONS} connections at 40 ms"
    results.add(f"{what}: first bytes", "s", took, aim=4.0, at_most=True)
    results.add("CPU of the gateway for it", "s", cpu)


def many(results: Results) -> None:
    """Measure a long queue beside a long history."""
    post = make_bulk_post("film.mkv", 500 * 1000, part_size=1000)
    with tempfile.TemporaryDirectory() as folder:
        _finished(Path(folder), post.nzb)
        with GatewayProcess(Path(folder)) as gateway:
            gateway.api(mode="pause")
            before = gateway.rss()
            began = time.monotonic()
            for number in range(ITEMS):
                gateway.queue(f"Film {number:04}", post.nzb)
            results.add("adding an item", "ms", [(time.monotonic() - began) * 1000 / ITEMS])
            grown = (gateway.rss() - before) / MIB
            results.add(f"memory of {ITEMS:,} queued items", "MiB", [grown], aim=200, at_most=True)
            for name, query in (
                ("the whole queue", {"mode": "queue"}),
                ("a page of the queue", {"mode": "queue", "start": "500", "limit": "50"}),
                ("the whole history", {"mode": "history", "limit": str(ITEMS)}),
                ("a page of the history", {"mode": "history", "start": "500", "limit": "50"}),
            ):
                answered = [1000 * each for each in _times(partial(gateway.api, **query), 30)]
                results.add(f"{name} of {ITEMS:,}", "ms", answered, aim=50, at_most=True)


def _finished(data_dir: Path, nzb: bytes) -> None:
    """Fill a history."""
    database = Database(f"sqlite:///{data_dir / 'library.sqlite'}")
    store = JobStore(database)
    for number in range(ITEMS):
        name = f"Old film {number:04}"
        store.add(
            nzb, name=name, filename=f"{name}.nzb", category="movies", priority=Priority.NORMAL
        )
        item = store.claim()
        assert item is not None
        store.fail(item, "37 of 4,120 articles are missing from all 2 providers", took_s=1.0)
    database.close()


def _times(work: Callable[[], object], samples: int) -> Iterator[float]:
    for _ in range(samples):
        began = time.perf_counter()
        work()
        yield time.perf_counter() - began


def _cpu(work: Callable[[], object], samples: int) -> Iterator[float]:
    for _ in range(samples):
        began = time.process_time()
        work()
        yield time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="of large, many")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    results = Results("imports")
    chosen = options.suites or ["large", "many"]
    if "large" in chosen:
        large(results, options.rounds)
    if "many" in chosen:
        many(results)
    print(f"\nwritten to {results.write()}")
    return int(any(figure.verdict == "missed" for figure in results.figures))


if __name__ == "__main__":
    sys.exit(main())
