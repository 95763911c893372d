"""A whole queue over demo news servers: database, library, store, workers, and the API."""

from __future__ import annotations

import io
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from werkzeug.test import Client

from gateway.demo import NewsServer, Post, make_post
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.nzb.extents import PartTable, Run
from gateway.streams.streams import Streams
from gateway.usenet import reactor
from gateway.usenet.client import Account, UsenetClient
from gateway_queue.category import CategoryRules
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.item import Item
from gateway_queue.listing import Wanted
from gateway_queue.processor import Processor
from gateway_queue.recent_warnings import RecentWarnings
from gateway_queue.sab_config import Setup
from gateway_queue.sab_servers import SabServer
from gateway_queue.sabnzbd import Keys, SabnzbdApi, Surroundings
from gateway_queue.store import JobStore
from gateway_queue.traffic import Traffic
from gateway_queue.verifier import Verifier

API_KEY, NZB_KEY = "the key of the tests", "the key for adding"
FOLDERS = {"movies": "movies", "tv": "series", "uncategorized": "uncategorized"}
RULES = {name: CategoryRules(name, folder) for name, folder in FOLDERS.items()}


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Bell(logging.Handler):
    """Rings for everything that the workers tell the log, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.rung = threading.Condition()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self.rung:
            self.said.append(f"{record.levelname} {record.getMessage()}")
            self.rung.notify_all()


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    log = logging.getLogger("gateway_queue")
    log.addHandler(bell)
    level = log.level
    log.setLevel(logging.INFO)
    yield bell
    log.removeHandler(bell)
    log.setLevel(level)


@pytest.fixture
def said(bell: Bell) -> list[str]:
    """What the workers have told the log: level and message of each line."""
    return bell.said


@pytest.fixture
def wait_until(bell: Bell) -> Callable[[Callable[[], object]], None]:
    """Wait until something holds, looking again whenever a worker has told the log anything."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        with bell.rung:
            # And again without a bell: what it waits for may come a moment after it was told.
            while not bell.rung.wait_for(holds, timeout=0.2):
                assert time.monotonic() < deadline, "it did not happen within 60 s"

    return wait


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def providers(request: pytest.FixtureRequest) -> Iterator[list[NewsServer]]:
    """One news server, or as many as the test is parametrized with."""
    with ExitStack() as stack:
        count = getattr(request, "param", 1)
        yield [stack.enter_context(NewsServer()) for _ in range(count)]


@pytest.fixture
def server(providers: list[NewsServer]) -> NewsServer:
    return providers[0]


@pytest.fixture
def stall_s() -> float:
    """How long a provider may say nothing. To be overridden by a parameter."""
    return 10.0


@pytest.fixture
def patience_s(stall_s: float) -> float:
    """How long an import waits for the next article: longer than the provider may take."""
    return 5 * stall_s


@pytest.fixture
def usenet(
    providers: list[NewsServer], stall_s: float, monkeypatch: pytest.MonkeyPatch
) -> Iterator[UsenetClient]:
    # A provider is found silent when it is looked at next.
    monkeypatch.setattr(reactor, "TICK_S", min(reactor.TICK_S, stall_s / 10))
    accounts = [
        Account(f"provider-{number}", server.host, server.port)
        for number, server in enumerate(providers, start=1)
    ]
    with UsenetClient(accounts, stall_s=stall_s) as client:
        yield client


@pytest.fixture
def streams(usenet: UsenetClient, patience_s: float) -> Iterator[Streams]:
    streams = Streams(
        usenet.source,
        readahead_budget=1 << 20,
        article_cache=1 << 20,
        read_timeout_s=patience_s,
        connections=usenet.connections,
    )
    yield streams
    streams.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/library.sqlite"


@pytest.fixture
def database(address: str) -> Iterator[Database]:
    database = Database(address)
    yield database
    database.close()


@pytest.fixture
def library(database: Database) -> Iterator[Library]:
    library = Library(database)
    yield library
    library.close()


@pytest.fixture
def store(database: Database, clock: Clock) -> JobStore:
    return JobStore(database, clock=clock)


@pytest.fixture
def importer(
    usenet: UsenetClient, streams: Streams, library: Library, clock: Clock, patience_s: float
) -> Importer:
    count = len(usenet.source.providers)
    verifier = Verifier(streams.source, providers=count, timeout_s=patience_s)
    return Importer(
        streams.source, library, verifier, rules=RULES, patience_s=patience_s, clock=clock
    )


@pytest.fixture
def processor(store: JobStore, importer: Importer, clock: Clock) -> Iterator[Processor]:
    """Two workers that have not been started."""
    processor = Processor(store, importer, 2, connections=lambda: "Connections=10", clock=clock)
    yield processor
    assert processor.stop(timeout_s=20)


@pytest.fixture
def queue(store: JobStore, processor: Processor) -> Queue:
    return Queue(store, processor)


@pytest.fixture
def publish(database: Database, library: Library) -> Callable[..., Release]:
    """Publish a post, made with parts of 1,000 bytes, without looking at its articles."""

    def publish(
        post: Post, name: str = "Film", category: str = "movies", created: float = 1.0
    ) -> Release:
        posted = tuple(
            NewPosted(
                file.name,
                PartTable.regular([one.encode() for one in file.message_ids], file.size, 1000),
            )
            for file in post.files
        )
        files = tuple(
            NewFile(file.name, file.size, (Run(number, 0, file.size),))
            for number, file in enumerate(post.files)
        )
        with database.begin() as tx:
            return library.publish(tx, NewRelease(category, name, created, post.nzb, posted, files))

    return publish


@pytest.fixture
def records(database: Database) -> CheckRecords:
    return CheckRecords(database)


@pytest.fixture
def examiner(usenet: UsenetClient) -> Examiner:
    return Examiner(usenet.source, providers=len(usenet.source.providers))


@pytest.fixture
def agenda(database: Database) -> CheckAgenda:
    return CheckAgenda(database)


@pytest.fixture
def scheduled() -> bool:
    """Whether files are checked that nobody has asked for. To be overridden by a parameter."""
    return True


@pytest.fixture
def confirmed() -> list[float]:
    """When a worker has said that a file has FAILED for certain."""
    return []


@pytest.fixture
def start_worker(
    examiner: Examiner,
    library: Library,
    records: CheckRecords,
    agenda: CheckAgenda,
    clock: Clock,
    scheduled: bool,
    confirmed: list[float],
) -> Iterator[Callable[[], HealthWorker]]:
    """Start a thread that checks; all are stopped, and have to stop, at the end."""
    workers: list[HealthWorker] = []

    def start() -> HealthWorker:
        worker = HealthWorker(
            examiner,
            library,
            records,
            agenda,
            scheduled=scheduled,
            on_confirmed=lambda: confirmed.append(clock.now),
            clock=clock,
        )
        workers.append(worker)
        worker.start()
        return worker

    yield start
    stopped = [worker.stop(20) for worker in workers]
    assert all(stopped)


@pytest.fixture
def find(store: JobStore) -> Callable[[str], Item]:
    """Find an item in the queue or in the history."""

    def find(nzo_id: str) -> Item:
        wanted = Wanted(ids=[nzo_id])
        # In this order: between the two looks it may have moved, and then the latter counts.
        return (store.queue(wanted).items + store.history(wanted).items)[-1]

    return find


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(PurePosixPath("/mnt/gateway"), tmp_path, FOLDERS)


@pytest.fixture
def drop_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def traffic(database: Database, usenet: UsenetClient, clock: Clock) -> Iterator[Traffic]:
    """What providers have sent: written down when a test says so, and at the end."""
    traffic = Traffic(database, usenet.source.providers, clock=clock)
    yield traffic
    traffic.stop()


@pytest.fixture
def warnings() -> Iterator[RecentWarnings]:
    warnings = RecentWarnings()
    with warnings.listening():
        yield warnings


@pytest.fixture
def around(
    usenet: UsenetClient, traffic: Traffic, warnings: RecentWarnings, drop_dir: Path
) -> Surroundings:
    servers = tuple(
        SabServer(Account(one.name, "news.example.com"), one) for one in usenet.source.providers
    )
    return Surroundings(servers, traffic, warnings, drop_dir)


@pytest.fixture
def keys() -> Keys:
    return Keys(API_KEY, NZB_KEY, ("gateway", "a password"))


@pytest.fixture
def api(queue: Queue, setup: Setup, around: Surroundings, keys: Keys) -> Client:
    return Client(SabnzbdApi(queue, setup, around, keys))


@pytest.fixture
def ask(api: Client) -> Callable[..., Any]:
    """Ask the API with the right key for a mode, and return what its JSON says."""

    def ask(mode: str, **parameters: object) -> Any:
        answer = api.get("/", query_string={"mode": mode, "apikey": API_KEY, **parameters})
        assert answer.status_code == 200
        return answer.json

    return ask


@pytest.fixture
def show(server: NewsServer, film: bytes) -> Post:
    show = make_post("My.Show.S01E01.mkv", film, part_size=7_000)
    server.add(show)
    return show


@pytest.fixture
def add(api: Client, show: Post) -> Callable[..., str]:
    """Add an NZB as Sonarr does, and return its id."""

    def add(
        nzb: bytes = show.nzb, filename: str = "My.Show.S01E01.1080p.nzb", **parameters: object
    ) -> str:
        answer = api.post(
            "/",
            query_string={"mode": "addfile", "apikey": API_KEY, "cat": "tv", **parameters},
            data={"name": (io.BytesIO(nzb), filename)},
        )
        assert answer.status_code == 200
        assert answer.json is not None
        (nzo_id,) = answer.json["nzo_ids"]
        assert answer.json["status"] is True
        assert isinstance(nzo_id, str)
        return nzo_id

    return add


@pytest.fixture(scope="session")
def film() -> bytes:
    """Half a megabyte that begins as a Matroska file does."""
    return b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(500_000)


@pytest.fixture(scope="session")
def shapes() -> dict[str, Any]:
    """Which fields of which types a SABnzbd 5.0 answers, by mode, as captured from one."""
    text = Path(__file__).with_name("shapes.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
