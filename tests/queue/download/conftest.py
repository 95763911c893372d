"""A download without a queue: posts on a demo server, a folder, and what fetches into it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import par2_maker
import pytest

from gateway.demo import Post, make_posts
from gateway.library.catalogue import Library
from gateway.nzb import document
from gateway.streams.streams import Streams
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.category import CategoryRules, Duplicates, Storage
from gateway_queue.download.disk import PartialFiles
from gateway_queue.download.downloads import Downloads
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.meter import Meter
from gateway_queue.download.transfer import Transfer
from gateway_queue.download.under_way import Wanted
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.ticket import Ticket
from gateway_queue.unpacking.unpack import unpack


@dataclass
class Fetching:
    """A transfer and all that it needs."""

    transfer: Transfer
    files: PartialFiles
    journal: Journal
    meter: Meter
    wanted: list[Wanted]

    def fetch(self, ticket: Ticket | None = None) -> None:
        with scope(Reservation(Workload.QUEUE)):
            self.transfer.fetch(self.wanted, ticket or Ticket())

    def data(self, number: int = 0) -> bytes:
        return self.files.path(number).read_bytes()

    def close(self) -> None:
        self.transfer.close()
        self.journal.close()
        self.files.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


@pytest.fixture
def begin(usenet: UsenetClient, folder: Path, stall_s: float) -> Iterator[Callable[..., Fetching]]:
    """Begin a download of a post in the folder, or go on with it."""
    begun: list[Fetching] = []

    def begin(post: Post, **options: int) -> Fetching:
        nzb = document.parse(post.nzb)
        files = PartialFiles(folder / "parts")

        def is_there(number: int, span: Span) -> bool:
            return files.checksum(number, span.begin, span.length) == span.crc

        journal = Journal(folder / "journal", "the post", is_there)
        meter = Meter()
        transfer = Transfer(
            usenet.source,
            nzb.files,
            files,
            journal,
            meter,
            connections=usenet.connections,
            patience_s=5 * stall_s,
            **{"reserve": 0, **options},
        )
        wanted = [
            Wanted(number, index)
            for number, file in enumerate(nzb.files)
            for index in range(len(file.segments))
        ]
        begun.append(Fetching(transfer, files, journal, meter, wanted))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    """Run something in a thread that is waited for at the end."""
    threads: list[threading.Thread] = []

    def run(target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target)
        threads.append(thread)
        thread.start()
        return thread

    yield run
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def incomplete(tmp_path: Path) -> Path:
    folder = tmp_path / "incomplete"
    folder.mkdir()
    return folder


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    folder = tmp_path / "complete"
    folder.mkdir()
    return folder


@pytest.fixture
def rules() -> dict[str, CategoryRules]:
    """The category movies has its releases downloaded, tv streams them."""
    return {
        "movies": CategoryRules("movies", "films", storage=Storage.DOWNLOAD, media_required=False),
        "strict": CategoryRules(
            "strict", storage=Storage.DOWNLOAD, duplicates=Duplicates.FAIL, media_required=False
        ),
        "tv": CategoryRules("tv", media_required=False),
    }


@pytest.fixture
def downloads(
    usenet: UsenetClient,
    streams: Streams,
    library: Library,
    incomplete: Path,
    complete: Path,
    rules: dict[str, CategoryRules],
    patience_s: float,
) -> Downloads:
    return Downloads(
        streams.source.without_keeping(),
        library,
        incomplete,
        complete,
        unpack,
        rules=rules,
        providers=len(usenet.source.providers),
        connections=usenet.connections,
        patience_s=patience_s,
        reserve=0,
    )


@pytest.fixture
def processor(
    store: JobStore, importer: Importer, downloads: Downloads, clock: Callable[[], float]
) -> Iterator[Processor]:
    """Two workers that have not been started, and download what a category wants on the disk."""
    processor = Processor(store, importer, 2, downloads=downloads, clock=clock)
    yield processor
    assert processor.stop(timeout_s=20)


@pytest.fixture
def add(queue: Queue) -> Callable[..., str]:
    """Add the NZB of a post to the queue, and return the item's id."""

    def add(post: Post, name: str = "Job", category: str = "movies", **options: Any) -> str:
        return queue.add(post.nzb, filename=f"{name}.nzb", category=category, **options)

    return add


class Protected(NamedTuple):
    """A post of files and their par2 set, and what the files are."""

    post: Post
    contents: dict[str, bytes]

    def ids_of(self, *names: str) -> list[str]:
        """Return the message-ids of all files whose names end in one of *names*."""
        return [
            mid for file in self.post.files if file.name.endswith(names) for mid in file.message_ids
        ]


@pytest.fixture(scope="session")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Protected]:
    """Make a post with a par2 set of 20 % recovery blocks, the same one for the same arguments."""

    @cache
    def make(
        sizes: tuple[int, ...] = (300_000, 120_001), part_size: int = 3_000, disguise: bool = False
    ) -> Protected:
        folder = tmp_path_factory.mktemp("protected")
        contents = {
            f"Film.part{number}.bin": random.Random(number).randbytes(size)
            for number, size in enumerate(sizes, 1)
        }
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        par2s = par2_maker.create(folder, "Film", list(contents), "-s2000", "-r20", "-n5")
        files = {**contents, **{path.name: path.read_bytes() for path in par2s}}
        if disguise:
            names = random.Random(7)
            files = {f"{names.getrandbits(128):032x}": data for data in files.values()}
        return Protected(make_posts(files, part_size=part_size), contents)

    return make
