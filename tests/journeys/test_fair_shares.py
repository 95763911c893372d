"""The queue, viewers and health checks at once, over 50 connections of which 30 are the queue's.

What used to go wrong: viewers and checks took more than 20, and no item was ever worked on again.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo import NewsServer, Post, Shape, make_post
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.streams.on_disk import FileLayout
from gateway.streams.streams import Streams
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.policy import Policy
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Workload, new_stream
from gateway_queue.health import Examiner
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.item import State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Verifier

CONNECTIONS, FOR_THE_QUEUE = 50, 30
PART = 10_000
WATCHED = make_post("Watched.mkv", random.Random(1).randbytes(300 * PART), part_size=PART)
ADDED = [
    make_post(f"Added.{number}.mkv", random.Random(number).randbytes(60 * PART), part_size=PART)
    for number in range(2, 6)
]


@dataclass(frozen=True, slots=True)
class House:
    """The parts of a gateway that share its connections."""

    usenet: UsenetClient
    streams: Streams
    library: Library
    store: JobStore
    queue: Queue

    def add(self, post: Post, name: str) -> str:
        return self.queue.add(post.nzb, filename=f"{name}.nzb", category="movies")

    def wait_for(self, nzo_id: str) -> State:
        """Return how the item ended. Nobody rings a bell, so it is looked at again and again."""
        deadline = time.monotonic() + 60
        while True:
            for item in self.store.history().items:
                if item.id == nzo_id:
                    return item.state
            assert time.monotonic() < deadline, self.usenet.pools["main"].permits.snapshot()
            threading.Event().wait(0.01)

    def layout(self, release: str) -> FileLayout:
        entry = self.library.file("movies", release, WATCHED.files[0].name)
        assert entry is not None
        return self.library.layout(entry.id)


@contextmanager
def built(server: NewsServer, policy: Policy, folder: Path) -> Iterator[House]:
    with ExitStack() as stack:
        account = Account("main", server.host, server.port, connections=CONNECTIONS)
        usenet = stack.enter_context(UsenetClient([account], policy))
        streams = Streams(
            usenet.source,
            readahead_budget=64 << 20,
            article_cache=0,  # who reads again asks again
            read_timeout_s=30,
            connections=usenet.connections,
        )
        stack.callback(streams.close)
        database = Database(f"sqlite:///{folder}/library.sqlite")
        stack.callback(database.close)
        library = Library(database)
        stack.callback(library.close)
        store = JobStore(database)
        verifier = Verifier(usenet.source, providers=1)
        processor = Processor(store, Importer(streams.source, library, verifier))
        stack.callback(processor.stop)
        processor.start()
        yield House(usenet, streams, library, store, Queue(store, processor))


def watch(house: House, layout: FileLayout, enough: threading.Event) -> int:
    """Watch the film to its end, and again until it is *enough*; return how often."""
    times = 0
    while not (times and enough.is_set()):
        digest = hashlib.sha256()
        with house.streams.open(layout, reservation=new_stream()) as stream:
            while view := stream.read_view(64 << 10):
                digest.update(view)
        assert digest.hexdigest() == WATCHED.files[0].sha256()
        times += 1
    return times


def check(house: House, layout: FileLayout, enough: threading.Event) -> int:
    """Check the film, and again until it is *enough*; return how often."""
    examiner, times = Examiner(house.usenet.source, providers=1), 0
    while not (times and enough.is_set()):
        findings = examiner.examine(layout, Ticket(), lambda _done, _articles: None)
        assert (findings.missing, findings.unknown) == (0, 0)
        times += 1
    return times


@pytest.mark.parametrize(
    ("policy", "most"),
    [
        pytest.param(Shares(queue_cap=FOR_THE_QUEUE), CONNECTIONS, id="shares"),
        pytest.param(Fixed(FOR_THE_QUEUE), FOR_THE_QUEUE, id="fixed"),
    ],
)
def test_items_are_imported_while_viewers_and_health_checks_want_every_connection(
    policy: Policy, most: int, tmp_path: Path
) -> None:
    with (
        NewsServer(shape=Shape(round_trip_s=0.010, rate_total=20e6)) as server,
        built(server, policy, tmp_path) as house,
        ThreadPoolExecutor(6) as threads,
    ):
        server.add(WATCHED, *ADDED)
        assert house.wait_for(house.add(WATCHED, "Watched")) is State.COMPLETED
        layout = house.layout("Watched")
        enough = threading.Event()
        try:
            viewers = [threads.submit(watch, house, layout, enough) for _ in range(4)]
            checks = [threads.submit(check, house, layout, enough) for _ in range(2)]
            permits = house.usenet.pools["main"].permits
            # Everybody is at it, and nothing is left that could be had.
            server.wait_for(lambda counts: counts.connections == most)
            items = [house.add(post, f"Added {number}") for number, post in enumerate(ADDED)]
            ends = [house.wait_for(item) for item in items]
        finally:
            enough.set()
        assert ends == [State.COMPLETED] * len(ADDED)
        assert min(one.result(60) for one in viewers + checks) >= 1
        seen = permits.snapshot()
        assert min(seen.granted[workload] for workload in Workload) > 0
        assert seen.unattributed == seen.double_releases == 0
        assert server.counts.peak_connections <= most
