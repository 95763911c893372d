"""Sharing on a shaped line: first bytes, the queue's share and busy connections under full load.

The news server is a process of its own, on the premium line; client, streams and what competes
with them are in this one, without HTTP.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import bare
from bench.background import Checks, Downloads, Load, Viewers, Watch, layout_of, wait_until
from bench.figures import Results
from bench.throughput import GIB, LOGIN, WIRE_PER_BYTE
from gateway.demo import PART_SIZE, Shape
from gateway.demo.process import PostSpec, ServerProcess, spawn
from gateway.nzb.extents import Part
from gateway.streams.layout import Layout
from gateway.streams.streams import Streams
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.permits import ExtendedSemaphore
from gateway.usenet.policy import Policy
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Workload, new_stream

CONNECTIONS = 50
QUEUE_CONNECTIONS = 30
VIEWERS = 8
_QUEUED = PostSpec("queued.mkv", GIB)
_WATCHED = PostSpec("watched.mkv", 4 * GIB)
_NEW = PostSpec("new.mkv", 2 * GIB)

_BUSY = 0.95 * CONNECTIONS
_BLOCK = 6  # first bytes in a row, before idle and loaded take turns
_PAUSE_S = 0.15  # between two of them
_RAMP_S = 3.0  # until viewers read ahead as far as they may


@dataclass(frozen=True, slots=True)
class Site:
    """A client of the shaped server, and files to fetch through it."""

    client: UsenetClient
    streams: Streams
    queued: list[Part]
    watched: Layout
    new: Layout

    @property
    def permits(self) -> ExtendedSemaphore:
        return self.client.pools["main"].permits

    def downloads(self) -> Downloads:
        return Downloads(self.client.source, self.queued, 2 * CONNECTIONS)

    def checks(self) -> Checks:
        return Checks(self.client.source, self.queued)

    def viewers(self) -> Viewers:
        return Viewers(self.streams, self.watched, VIEWERS)

    def first_byte(self, part: int) -> float:
        """Return after how many seconds a new stream shows the first byte of *part*."""
        began = time.perf_counter()
        with self.streams.open(self.new, reservation=new_stream()) as stream:
            stream.seek(part * PART_SIZE)
            stream.read_view(1)
            return time.perf_counter() - began

    def settle(self) -> None:
        """Wait until nobody holds a permit."""
        wait_until(lambda: self.permits.snapshot().free == CONNECTIONS)


@contextmanager
def _site(server: ServerProcess, policy: Policy) -> Iterator[Site]:
    account = Account(
        "main",
        server.host,
        server.port,
        username=LOGIN[0],
        password=LOGIN[1],
        connections=CONNECTIONS,
    )
    with ExitStack() as stack:
        client = stack.enter_context(UsenetClient([account], policy))
        streams = Streams(
            client.source,
            readahead_budget=GIB // 4,
            article_cache=0,  # what has been fetched once is fetched again
            read_timeout_s=60.0,
            connections=client.connections,
        )
        stack.callback(streams.close)
        watched, new = (layout_of(spec.make().files[0], PART_SIZE) for spec in (_WATCHED, _NEW))
        queued = [Part((mid,), listed=PART_SIZE) for mid in _QUEUED.make().message_ids]
        yield Site(client, streams, queued, watched, new)


@dataclass(frozen=True, slots=True)
class FirstBytes:
    """Seconds to the first byte of new streams, and how busy the connections were meanwhile."""

    idle: list[float]
    loaded: list[float]
    busy: Watch


def first_bytes(site: Site, samples: int) -> FirstBytes:
    """Open new streams, idle and beside a queue and checks that want everything, in turns."""
    rng = random.Random(7)
    parts = rng.sample(range(_NEW.size // PART_SIZE), 2 * samples)
    idle: list[float] = []
    loaded: list[float] = []
    busy = Watch(site.permits)
    with site.downloads(), site.checks():
        _full(site)  # every connection has been dialled
    for _ in range(-(-samples // _BLOCK)):
        site.settle()
        idle += [_first_byte(site, parts.pop()) for _ in range(_BLOCK)]
        with site.downloads() as downloads, site.checks() as checks:
            _full(site)
            with busy:
                loaded += [_first_byte(site, parts.pop()) for _ in range(_BLOCK)]
        _check(downloads, checks)
    return FirstBytes(idle, loaded, busy)


def _first_byte(site: Site, part: int) -> float:
    taken = site.first_byte(part)
    time.sleep(_PAUSE_S)
    return taken


@dataclass(frozen=True, slots=True)
class Held:
    """What everybody held while *seconds* long all wanted more, and what the viewers read."""

    watch: Watch
    viewers_bytes_per_s: float


def held(site: Site, seconds: float) -> Held:
    """Let viewers, a queue and health checks at each other."""
    with site.viewers() as viewers, site.downloads() as downloads, site.checks() as checks:
        time.sleep(_RAMP_S)  # read-ahead grows with what has been read
        before = sum(viewers.bytes)
        with Watch(site.permits) as watch:
            time.sleep(seconds)
        read = sum(viewers.bytes) - before
    _check(viewers, downloads, checks)
    site.settle()
    return Held(watch, read / seconds)


def _full(site: Site) -> None:
    wait_until(lambda: _wants_all(site))


def _wants_all(site: Site) -> bool:
    seen = site.permits.snapshot()
    return seen.free == 0 and seen.waiting[Workload.QUEUE] > 0 and seen.waiting[Workload.HEALTH] > 0


def _check(*loads: Load) -> None:
    for load in loads:
        if load.failures:
            raise RuntimeError(f"{type(load).__name__}: {load.failures} failures")


def contention(results: Results, samples: int, seconds: float) -> None:
    """Measure all of it. *samples*: first bytes, idle and loaded each; *seconds*: of each load."""
    shape = Shape.premium()
    assert shape.rate_total is not None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nzb-gateway-bench-")))
        server = stack.enter_context(spawn(_QUEUED, _WATCHED, _NEW, shape=shape, user=LOGIN))
        ids = folder / "message-ids.txt"
        ids.write_text("\n".join(_QUEUED.make().message_ids))
        line = [_bare(server, ids), _bare(server, ids)]
        with _site(server, Shares()) as site:
            bytes_ = first_bytes(site, samples)
            by_shares = held(site, seconds)
        line += [_bare(server, ids), _bare(server, ids)]
        with _site(server, Fixed(QUEUE_CONNECTIONS)) as site:
            by_fixed = held(site, seconds)
        line.append(_bare(server, ids))
    valid = bare.is_valid(statistics.median(line) * WIRE_PER_BYTE, shape.rate_total)
    add = results.add
    add("bare client", "MB/s", (each / 1e6 for each in line), valid=valid)
    for name, values in (("idle", bytes_.idle), ("loaded", bytes_.loaded)):
        add(f"first byte, {name}", "ms", (value * 1000 for value in values), valid=valid)
    ratio = statistics.median(bytes_.loaded) / statistics.median(bytes_.idle)
    add("first byte, loaded / idle", "", [ratio], aim=1.5, at_most=True, valid=valid)
    busy = bytes_.busy.busy
    add("busy beside first bytes", "permits", [busy], aim=_BUSY, valid=valid)
    _tell(results, "shares", by_shares, valid=valid)
    add("shares: busy", "permits", [by_shares.watch.busy], aim=_BUSY, valid=valid)
    owed = Shares().limits(CONNECTIONS).entitled[Workload.QUEUE]
    share = by_shares.watch.held(Workload.QUEUE) / owed
    add(f"shares: queue, of its guarantee of {owed}", "", [share], aim=0.9, valid=valid)
    _tell(results, "fixed", by_fixed, valid=valid)
    most, cap = by_fixed.watch.most_busy, QUEUE_CONNECTIONS
    add("fixed: most busy", "permits", [most], aim=cap, at_most=True, valid=valid)


def _tell(results: Results, name: str, held: Held, *, valid: bool) -> None:
    for workload in Workload:
        figure = f"{name}: held by {workload.name.lower()}"
        results.add(figure, "permits", [held.watch.held(workload)], valid=valid)
    rate = held.viewers_bytes_per_s / 1e6
    results.add(f"{name}: read by {VIEWERS} viewers", "MB/s", [rate], valid=valid)


def _bare(server: ServerProcess, ids: Path) -> float:
    """Return the bytes a second of the bare client, which is a process of its own."""
    command = [sys.executable, "-m", "bench.bare", server.host, str(server.port), str(ids)]
    login = [f"--user={LOGIN[0]}", f"--password={LOGIN[1]}"]
    command += [f"--connections={CONNECTIONS}", *login]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return bare.Fetched(**json.loads(found)).bytes_per_s
