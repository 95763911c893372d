"""`kill -9` at any moment loses no item and publishes none twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway.demo import Fault, NewsServer, Post, make_post
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.item import State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.ticket import Ticket

WaitUntil = Callable[[Callable[[], object]], None]

# A whole gateway but for its faces: adds the NZB from its standard input, says so, and works.
PROGRAM = """
import sys
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.usenet.client import Account, UsenetClient
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.verifier import Verifier

url, host, port, works = sys.argv[1:]
source = UsenetClient([Account("main", host, int(port))], stall_s=60).source
database = Database(url)
store = JobStore(database)
verifier = Verifier(source, providers=1)
processor = Processor(store, Importer(source, Library(database), verifier))
if works == "works":
    processor.start()
nzb = sys.stdin.buffer.read()
print(Queue(store, processor).add(nzb, filename="Job.nzb", category="movies"), flush=True)
processor.wake()
__import__("threading").Event().wait()
"""


@pytest.fixture
def post(film: bytes) -> Post:
    return make_post("Some.Film.mkv", film, part_size=7_000)


@contextmanager
def program(address: str, server: NewsServer, post: Post, does: str) -> Iterator[str]:
    """Run the program until it has added the NZB, and kill it at the end of the block."""
    command = [sys.executable, "-c", PROGRAM, address, server.host, str(server.port), does]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(post.nzb)
            process.stdin.close()
            yield process.stdout.readline().decode().strip()
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_what_was_answered_for_is_there_after_a_kill(
    address: str, server: NewsServer, post: Post
) -> None:
    with program(address, server, post, "rests") as nzo_id:
        pass

    database = Database(address)
    assert [item.id for item in JobStore(database).queue().items] == [nzo_id]
    assert JobStore(database).document(nzo_id) == post.nzb
    database.close()


@pytest.mark.parametrize("command", ["STAT", "BODY"])
def test_what_was_worked_on_when_the_program_was_killed_is_published_once(
    address: str,
    server: NewsServer,
    post: Post,
    request: pytest.FixtureRequest,
    wait_until: WaitUntil,
    command: str,
) -> None:
    server.add(post)
    server.fail(Fault.SILENCE, commands={command})
    with program(address, server, post, "works") as nzo_id:
        server.wait_for(lambda counts: counts.stalled)
    server.heal()

    store: JobStore = request.getfixturevalue("store")
    assert [item.state for item in store.queue().items] == [State.ANALYSING]
    processor: Processor = request.getfixturevalue("processor")
    processor.start()
    wait_until(lambda: store.history().items)

    assert [(item.id, item.state) for item in store.history().items] == [(nzo_id, State.COMPLETED)]
    library: Library = request.getfixturevalue("library")
    assert [release.name for release in library.releases("movies")] == ["Job"]


def crash_after_claiming(store: JobStore, importer: Importer) -> None:
    assert store.claim()


def crash_after_analysing(store: JobStore, importer: Importer) -> None:
    item = store.claim()
    assert item is not None
    importer.analyse(item, store.document(item.id), Ticket())


def crash_while_verifying(store: JobStore, importer: Importer) -> None:
    item = store.claim()
    assert item is not None
    plan = importer.analyse(item, store.document(item.id), Ticket())
    store.advance(item, State.VERIFYING)
    importer.verify(plan, Ticket())


def crash_while_publishing(store: JobStore, importer: Importer) -> None:
    item = store.claim()
    assert item is not None
    plan = importer.analyse(item, store.document(item.id), Ticket())
    item = store.advance(item, State.VERIFYING)
    publish = importer.publisher(plan)

    def publish_and_crash(tx: object) -> None:
        publish(tx)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.finish(item, publish_and_crash, size=1, took_s=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "crash",
    [crash_after_claiming, crash_after_analysing, crash_while_verifying, crash_while_publishing],
)
def test_between_any_two_steps_a_crash_loses_nothing_and_doubles_nothing(
    queue: Queue,
    processor: Processor,
    store: JobStore,
    importer: Importer,
    library: Library,
    server: NewsServer,
    post: Post,
    wait_until: WaitUntil,
    crash: Callable[[JobStore, Importer], None],
) -> None:
    server.add(post)
    nzo_id = queue.add(post.nzb, filename="Job.nzb", category="movies")
    crash(store, importer)
    assert [item.id for item in store.queue().items] == [nzo_id]
    assert list(library.releases("movies")) == []

    processor.start()  # the next run of the program
    wait_until(lambda: store.history().items)

    assert [item.state for item in store.history().items] == [State.COMPLETED]
    assert [release.name for release in library.releases("movies")] == ["Job"]
