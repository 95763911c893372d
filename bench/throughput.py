"""WebDAV throughput against a bare client, CPU and memory of the gateway, first bytes and seeks.

The news server, the gateway and every client are processes of their own. Bare client and
gateway take turns, so that what else the machine does meets both; a ratio is of one turn.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trustme

from bench import bare
from bench.download import Download, Get
from bench.figures import Results
from bench.gateway_process import GatewayProcess
from gateway.demo import Post, Shape
from gateway.demo.process import PostSpec, ServerProcess, spawn

MIB = 1024 * 1024
GIB = 1024 * MIB
LOGIN = ("bench", "bench")
WIRE_PER_BYTE = 1.032
"""Bytes on the wire for a byte of random data in yEnc."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A line, a post on it, and how the clients use it."""

    name: str
    spec: PostSpec
    shape: Shape | None
    connections: int
    depth: int = 2
    tls: bool = False
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """A scenario that is up: the post is served, imported and visible at *path*."""

    scenario: Scenario
    post: Post
    server: ServerProcess
    gateway: GatewayProcess
    path: str
    message_ids: Path

    def bare(self) -> bare.Fetched:
        """Fetch the post with the bare client."""
        return fetch_bare(self.scenario, self.server, self.message_ids)

    def download(self, begin: int = 0, end: int = -1, *, digest: bool = False) -> Download:
        """Fetch [begin, end) of the file from the gateway."""
        found = _run(
            "bench.download",
            self.gateway.host,
            self.gateway.port,
            self.path,
            self.gateway.credentials,
            f"--begin={begin}",
            f"--end={end}",
            *(["--sha256"] if digest else []),
        )
        return Download(**json.loads(found))

    def get(self, begin: int = 0, end: int = -1) -> Get:
        """Ask for [begin, end) of the file, in this process."""
        gateway = self.gateway
        return Get(gateway.host, gateway.port, self.path, gateway.credentials, begin=begin, end=end)


def fetch_bare(scenario: Scenario, server: ServerProcess, message_ids: Path) -> bare.Fetched:
    """Fetch the articles whose ids are the lines of a file with the bare client."""
    found = _run(
        "bench.bare",
        server.host,
        server.port,
        message_ids,
        f"--connections={scenario.connections}",
        f"--depth={scenario.depth}",
        f"--user={LOGIN[0]}",
        f"--password={LOGIN[1]}",
        *(["--tls"] if scenario.tls else []),
    )
    return bare.Fetched(**json.loads(found))


def _run(module: str, *arguments: object) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def up(scenario: Scenario) -> Iterator[Bench]:
    """Start server and gateway, and import the post."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nzb-gateway-bench-")))
        certificate = trusted = None
        if scenario.tls:
            authority = trustme.CA()
            certificate, trusted = folder / "server.pem", folder / "authority.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
                certificate
            )
            authority.cert_pem.write_to_path(trusted)
        post = scenario.spec.make()
        ids = folder / "message-ids.txt"
        ids.write_text("\n".join(post.message_ids))
        server = stack.enter_context(
            spawn(scenario.spec, shape=scenario.shape, user=LOGIN, certificate=certificate)
        )
        data = folder / "data"
        data.mkdir()
        gateway = stack.enter_context(
            GatewayProcess(
                data,
                provider=(server.host, server.port),
                connections=scenario.connections,
                login=LOGIN,
                trusted=trusted,
                settings=dict(scenario.settings),
            )
        )
        path = gateway.add("bench", post.nzb)
        yield Bench(scenario, post, server, gateway, path, ids)


UNSHAPED = Scenario("unshaped", PostSpec("bench.mkv", 2 * GIB), None, connections=8)
TLS = Scenario("unshaped-tls", PostSpec("bench.mkv", GIB), None, connections=8, tls=True)
PREMIUM = Scenario("premium", PostSpec("bench.mkv", 2 * GIB), Shape.premium(), connections=50)
SLOW = Scenario("slow", PostSpec("bench.mkv", 640 * MIB, 4 * MIB), Shape.slow(), connections=20)
# Large enough that nothing read ahead of one sample serves another.
LATENCY = replace(PREMIUM, name="latency", spec=PostSpec("bench.mkv", 8 * GIB))
MEMORY = Scenario(
    "memory",
    PostSpec("bench.mkv", 4 * GIB),
    None,
    connections=8,
    # Small budgets: what a stream takes beside them cannot hide in them.
    settings=(("READAHEAD_BUDGET", "32MiB"), ("ARTICLE_CACHE", "32MiB")),
)
_MEMORY_BUDGETS = 64 * MIB


def throughput(
    results: Results, scenario: Scenario, rounds: int, *, ratio: float, cpu: float | None
) -> None:
    """Measure whole files in turns. *ratio* to the bare client and *cpu* a GiB are the aims."""
    name, nominal = scenario.name, scenario.shape.rate_total if scenario.shape else None
    with up(scenario) as bench:
        found = bench.download(digest=True)
        wanted = bench.post.files[0].sha256()
        if found.sha256 != wanted:
            raise ValueError(f"{name}: SHA-256 is {found.sha256}, not {wanted}")
        bares: list[bare.Fetched] = []
        downloads: list[Download] = []
        gateway_cpu: list[float] = []
        server_cpu: list[float] = []
        for _ in range(rounds):
            bares.append(bench.bare())
            before, server_before = bench.gateway.cpu_s(), bench.server.report().cpu_s
            downloads.append(bench.download())
            gib = downloads[-1].bytes / GIB
            gateway_cpu.append((bench.gateway.cpu_s() - before) / gib)
            server_cpu.append((bench.server.report().cpu_s - server_before) / gib)
    # A shaped line counts what is on the wire; TLS is held to the ratio alone.
    wire = WIRE_PER_BYTE if nominal else 1.0
    valid = scenario.tls or bare.is_valid(
        sorted(each.bytes_per_s for each in bares)[rounds // 2] * wire, nominal
    )
    add = results.add
    add(f"{name}: bare client", "MB/s", (each.bytes_per_s / 1e6 for each in bares))
    add(
        f"{name}: WebDAV",
        "MB/s",
        (each.bytes_per_s / 1e6 for each in downloads),
        valid=valid,
    )
    add(
        f"{name}: WebDAV / bare client",
        "",
        (
            mine.bytes_per_s / theirs.bytes_per_s
            for mine, theirs in zip(downloads, bares, strict=True)
        ),
        aim=ratio,
        valid=valid,
    )
    add(f"{name}: CPU of the gateway", "s/GiB", gateway_cpu, aim=cpu, at_most=True)
    add(f"{name}: CPU of the bare client", "s/GiB", (each.cpu_s_per_gib for each in bares))
    add(f"{name}: CPU of the news server", "s/GiB", server_cpu)


def four_streams(results: Results, rounds: int) -> None:
    """Measure how evenly the line is shared: the slowest of four against a fair quarter."""
    length = 256 * MIB
    with up(PREMIUM) as bench, ThreadPoolExecutor(4) as threads:
        shares = []
        for _ in range(rounds):
            line = bench.bare().bytes_per_s
            begins = [at * (bench.scenario.spec.size // 4) for at in range(4)]
            found = list(threads.map(lambda at: bench.download(at, at + length), begins))
            shares.append(min(each.bytes_per_s for each in found) / (line / 4))
    results.add("premium: slowest of four / fair quarter", "", shares, aim=0.90)


def latencies(results: Results, samples: int) -> None:
    """Measure first bytes on warm connections: an article's beginning, a seek, a replay."""
    shape, spec = Shape.premium(), LATENCY.spec
    assert shape.rate_per_connection is not None
    articles = spec.size // spec.part_size
    stride = articles // (2 * samples + 1)
    rng = random.Random(7)
    targets = rng.sample([at * stride for at in range(1, 2 * samples + 1)], 2 * samples)
    firsts, seeks, beyond, replays = [], [], [], []
    with up(LATENCY) as bench:
        bench.download(0, 32 * MIB)
        for cold, sought in zip(targets[::2], targets[1::2], strict=True):
            firsts.append(_first_byte(bench, cold * spec.part_size))
            replays.append(_first_byte(bench, cold * spec.part_size))
            within = rng.randrange(spec.part_size)
            seeks.append(_first_byte(bench, sought * spec.part_size + within))
            arrival_s = within * WIRE_PER_BYTE / shape.rate_per_connection
            beyond.append(seeks[-1] - shape.round_trip_s - arrival_s)
    add, at_most = results.add, True
    for name, values, aim in (
        ("premium: cold first byte", firsts, 45.0),
        ("premium: seek, first byte", seeks, None),
        ("premium: seek beyond its limit", beyond, 8.0),
        ("premium: replay, first byte", replays, 3.0),
    ):
        add(name, "ms", (value * 1000 for value in values), aim=aim, at_most=at_most)


def _first_byte(bench: Bench, begin: int) -> float:
    get = bench.get(begin)
    first_byte_s = get.wait()
    get.close()
    time.sleep(0.25)  # a player does not seek again at once: let what was in flight settle
    return first_byte_s


def memory(results: Results, streams: int = 8) -> None:
    """Measure resident memory, idle and with streams that are read slowly."""
    with up(MEMORY) as bench:
        idle = bench.gateway.rss()
        size = bench.scenario.spec.size
        gets = [bench.get(at * (size // streams)) for at in range(streams)]
        peak = 0
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                for get in gets:
                    get.read(256 * 1024)
                peak = max(peak, bench.gateway.rss())
                time.sleep(0.05)
        finally:
            for get in gets:
                get.close()
    add = results.add
    add("memory: idle", "MiB", [idle / MIB], aim=120, at_most=True)
    add(f"memory: {streams} slow streams", "MiB", [peak / MIB])
    growth = max(0, peak - idle - _MEMORY_BUDGETS) / streams
    add("memory: a stream beside the budgets", "MiB", [growth / MIB], aim=20, at_most=True)


def suites(rounds: int, samples: int) -> dict[str, Callable[[Results], None]]:
    """Return everything that can be measured, by name. *samples*: first bytes of each kind."""
    few = max(1, rounds // 3)
    return {
        "unshaped": lambda results: throughput(results, UNSHAPED, rounds, ratio=0.60, cpu=0.5),
        "tls": lambda results: throughput(results, TLS, few, ratio=0.60, cpu=0.9),
        "premium": lambda results: throughput(results, PREMIUM, few, ratio=0.95, cpu=None),
        "four": lambda results: four_streams(results, few),
        "latency": lambda results: latencies(results, samples),
        "slow": lambda results: throughput(results, SLOW, 1, ratio=0.95, cpu=None),
        "memory": memory,
    }
