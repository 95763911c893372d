"""A download without a queue: posts on a demo server, a folder, and what fetches into it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo import Post
from gateway.nzb import document
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.download.disk import PartialFiles
from gateway_queue.download.journal import Journal, Span
from gateway_queue.download.meter import Meter
from gateway_queue.download.transfer import Transfer, Wanted
from gateway_queue.ticket import Ticket


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
