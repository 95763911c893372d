"""`python -m bench.health`: a check of a whole library, and what it takes from those who watch.

200,000 articles behind one file, behind files of 2,000 and behind files of 100, on a news server
50 ms away that allows 50 connections, of which checks have 5 at most. The gateway and the news
server are processes of their own. A film plays meanwhile, and first bytes are taken of another
one, where nobody has read before. Ends with 1 if an aim is missed, and with 2 if a bare client
found the line slower than it should be: then the figures say more about the machine.
"""

from __future__ import annotations

import argparse
import http.client
import random
import statistics
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import line
from bench.figures import Results
from bench.gateway_process import CATEGORY, GatewayProcess
from bench.throughput import LOGIN
from gateway.demo import PART_SIZE
from gateway.demo.process import PostSpec, ServerProcess, spawn
from gateway.demo.shape import MIB, Shape
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.nzb.extents import PartTable, Run

ARTICLES = 200_000
CONNECTIONS, SHARE = 50, 5
SHAPE = Shape(round_trip_s=0.050)
RUN_S = 40.0
"""So long may a run take."""
RATIO = 1.5
"""So much later than on an idle gateway may a first byte come meanwhile."""
LIBRARIES = {"one": ARTICLES, "films": 2_000, "small": 100}
"""How many articles each file of a library has."""

_PART = 1_000  # bytes: a STAT costs the same, whatever the article holds
_CHECKED = PostSpec("checked.mkv", ARTICLES * _PART, _PART)
_WATCHED = PostSpec("watched.mkv", 512 * MIB, seed=1)
_SOUGHT = PostSpec("sought.mkv", 2048 * MIB, seed=2)
_FILES_PER_RELEASE = 20
_RATE = 4_000_000.0  # bytes a second of the film that plays
_READ = 256 << 10
_PAUSE_S = 0.15  # between two first bytes
_LOOK_S = 0.1  # between two looks at the books
_PATIENCE_S = 4 * RUN_S
_VALID = 0.8  # of what the line should give, a bare client has to have so much
_BARE_S = 2.0


@dataclass
class Seen:
    """What was seen of one run over a library."""

    took_s: float = 0.0
    cpu_s: float = 0.0
    idle: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    stats_per_s: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether the line was what it should be."""
        due = SHARE * line.BATCH / SHAPE.round_trip_s
        return (
            statistics.median(self.stats_per_s) >= _VALID * due
            and statistics.median(self.round_trips) <= SHAPE.round_trip_s / _VALID
        )


def fill(data_dir: Path, articles_per_file: int) -> int:
    """Publish both films and a library of so many articles a file; return how many there are."""
    ids = [message_id.encode() for message_id in _CHECKED.make().message_ids]
    slices = [
        ids[begin : begin + articles_per_file] for begin in range(0, len(ids), articles_per_file)
    ]
    database = Database(f"sqlite:///{data_dir / 'library.sqlite'}")
    library = Library(database)
    with database.begin() as tx:
        for begin in range(0, len(slices), _FILES_PER_RELEASE):
            some = slices[begin : begin + _FILES_PER_RELEASE]
            library.publish(tx, _release(f"Checked {begin:05}", some, _PART))
        for spec in (_WATCHED, _SOUGHT):
            of_film = [message_id.encode() for message_id in spec.make().message_ids]
            library.publish(tx, _release(spec.name, [of_film], PART_SIZE))
            ids += of_film
    library.close()
    database.close()
    return len(ids)


def _release(name: str, files: Sequence[Sequence[bytes]], part: int) -> NewRelease:
    sizes = [len(ids) * part for ids in files]
    if part == PART_SIZE:
        sizes = [next(spec.size for spec in (_WATCHED, _SOUGHT) if spec.name == name)]
    posted = [
        NewPosted(f"{number:05}.mkv", PartTable.regular(ids, size, part))
        for number, (ids, size) in enumerate(zip(files, sizes, strict=True))
    ]
    published = [
        NewFile(posted.name, posted.table.size, (Run(number, 0, posted.table.size),))
        for number, posted in enumerate(posted)
    ]
    return NewRelease(CATEGORY, name, time.time(), b"<nzb/>", tuple(posted), tuple(published))


class Player:
    """Reads from the films of *gateway* as players do: each seek is a request of its own."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._rng = random.Random(7)
        self._parts = list(range(0, _SOUGHT.size // PART_SIZE, 4))
        self._rng.shuffle(self._parts)

    def first_byte(self) -> float:
        """Return after how many seconds a byte is there of a place where nobody has been."""
        place = self._parts.pop() * PART_SIZE + self._rng.randrange(PART_SIZE)
        began = time.perf_counter()
        with self._open(_SOUGHT, place) as response:
            if not response.read(1):
                raise RuntimeError(f"nothing came from {place} on")
            return time.perf_counter() - began

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Play the other film at its rate."""
        over = threading.Event()
        failures: list[Exception] = []

        def play() -> None:
            try:
                with self._open(_WATCHED, 0) as response:
                    began, read = time.monotonic(), 0
                    playing.set()
                    while chunk := response.read(_READ):
                        read += len(chunk)
                        if over.wait(max(0.0, began + read / _RATE - time.monotonic())):
                            return
            except (OSError, http.client.HTTPException, RuntimeError) as exc:
                failures.append(exc)
            finally:
                playing.set()

        playing = threading.Event()
        thread = threading.Thread(target=play, name="Player")
        thread.start()
        playing.wait()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failures:
            raise RuntimeError("the film stopped") from failures[0]

    @contextmanager
    def _open(self, film: PostSpec, place: int) -> Iterator[http.client.HTTPResponse]:
        basic = b64encode(self._gateway.credentials.encode()).decode()
        link = http.client.HTTPConnection(self._gateway.host, self._gateway.port, timeout=60)
        try:
            link.request(
                "GET",
                f"/dav/content/{CATEGORY}/{film.name}/00000.mkv",
                headers={"Authorization": f"Basic {basic}", "Range": f"bytes={place}-"},
            )
            response = link.getresponse()
            if response.status != 206:
                raise RuntimeError(f"{film.name} from {place} on: {response.status}")
            yield response
        finally:
            link.close()


def look(server: ServerProcess, articles_per_file: int, samples: int) -> Seen:
    """Run once over a library of files of so many articles, on a new gateway."""
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="nzb-gateway-bench-") as folder:
        articles = fill(Path(folder), articles_per_file)
        with GatewayProcess(
            Path(folder),
            provider=(server.host, server.port),
            connections=CONNECTIONS,
            login=LOGIN,
            settings={"HEALTH_CHECKS": "false"},  # checks come when they are asked for
        ) as gateway:
            player = Player(gateway)
            with player.playing():
                for _ in range(3):  # connections are open, and what runs first is loaded
                    player.first_byte()
            _bare(server, seen)
            seen.idle += _first_bytes(player, samples // 2)
            with player.playing():
                _run(gateway, player, seen)
            seen.idle += _first_bytes(player, samples - samples // 2)
            _bare(server, seen)
            _expect_all_healthy(gateway, articles)
    return seen


def _run(gateway: GatewayProcess, player: Player, seen: Seen) -> None:
    """Have everything checked; take first bytes and look at the books until that is done."""
    done, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            (provider,) = gateway.own("/connections")["providers"]
            seen.held.append(provider["workloads"]["health"]["held"])
            if any(request["finished"] for request in gateway.own("/checks?limit=0")["requests"]):
                seen.took_s = time.monotonic() - began
                done.set()
                return

    cpu, began = gateway.cpu_s(), time.monotonic()
    gateway.own("/checks", {})
    watcher = threading.Thread(target=watch, name="watcher")
    watcher.start()
    try:
        while not done.wait(_PAUSE_S):
            if time.monotonic() - began > _PATIENCE_S:
                seen.took_s = time.monotonic() - began
                print(f"  not done after {_PATIENCE_S:g} s: {gateway.own('/checks?limit=0')}")
                break
            seen.beside.append(player.first_byte())
    finally:
        over.set()
        watcher.join()
    seen.cpu_s = gateway.cpu_s() - cpu


def _first_bytes(player: Player, count: int) -> Iterator[float]:
    for _ in range(count):
        time.sleep(_PAUSE_S)
        yield player.first_byte()


def _bare(server: ServerProcess, seen: Seen) -> None:
    """Take the measure of the line itself."""
    ids = _CHECKED.make().message_ids
    with line.connections(server.host, server.port, SHARE, LOGIN) as links:
        seen.stats_per_s.append(line.stats_per_s(links, ids, _BARE_S))
        seen.round_trips += [line.round_trip_s(links[0], ids[0]) for _ in range(10)]


def _expect_all_healthy(gateway: GatewayProcess, articles: int) -> None:
    found, after = 0, 0
    while after is not None:
        page = gateway.own(f"/checks?after={after}")
        for file in (file for release in page["results"] for file in release["files"]):
            if file["health"] != "healthy":
                raise RuntimeError(f"{file['path']} is {file['health']}: {file['words']}")
            found += file["articles"]
        after = page["next"]
    if found != articles:
        raise RuntimeError(f"{found:,} of {articles:,} articles were checked")


def measure(results: Results, server: ServerProcess, name: str, samples: int) -> None:
    """Add what a run over the library *name* came to."""
    seen = look(server, LIBRARIES[name], samples)
    valid = seen.is_valid
    files = -(-ARTICLES // LIBRARIES[name])
    what = f"{files:,} {'file' if files == 1 else 'files'}"

    def add(figure: str, unit: str, values: Sequence[float], aim: float | None = None) -> None:
        results.add(f"{what}: {figure}", unit, values, aim=aim, at_most=True, valid=valid)

    add(f"bare STATs over {SHARE} connections", "1/s", seen.stats_per_s)
    add("a round trip", "ms", [1000 * each for each in seen.round_trips])
    add(f"{ARTICLES:,} articles checked", "s", [seen.took_s], RUN_S)
    add("CPU of the gateway meanwhile", "cores", [seen.cpu_s / seen.took_s])
    add("connections that checks held, at most", "", [max(seen.held)], SHARE)
    add("the same, on average", "", [statistics.mean(seen.held)])
    add("first byte, idle", "ms", [1000 * each for each in seen.idle])
    add("first byte meanwhile", "ms", [1000 * each for each in seen.beside])
    ratio = statistics.median(seen.beside) / statistics.median(seen.idle)
    add("first byte meanwhile / idle", "", [ratio], RATIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.health", description=__doc__)
    parser.add_argument(
        "libraries", nargs="*", metavar="LIBRARY", help=f"of {', '.join(LIBRARIES)}"
    )
    parser.add_argument("--samples", type=int, default=40, help="first bytes of an idle gateway")
    options = parser.parse_args(arguments)
    if unknown := set(options.libraries) - set(LIBRARIES):
        parser.error(f"unknown libraries: {', '.join(sorted(unknown))}")
    results = Results("health")
    with spawn(_CHECKED, _WATCHED, _SOUGHT, shape=SHAPE, user=LOGIN) as server:
        for name in options.libraries or LIBRARIES:
            measure(results, server, name, options.samples)
    print(f"\nwritten to {results.write()}")
    verdicts = {figure.verdict for figure in results.figures}
    return 2 if "invalid" in verdicts else int("missed" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
