"""`python -m bench.release`: how soon a slot is free again once its viewer has hung up.

What ffprobe does, without a grace: three ranges of one film, the first and the last reset in
mid-body. The slot is looked for in the gateway's own account of its leases.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.figures import Results
from bench.gateway_process import API_KEY, GatewayProcess
from bench.redis_server import RedisServer
from bench.soak_manners import Film, Reading, Refused
from bench.soak_watch import Leases
from gateway.demo.xtream import Content, spawn

_SIZE = 1_500_636_194
_FILM = Film("/movie/viewer/viewer-password/4711.mkv", _SIZE, Content(4711, _SIZE).read)
_POOL = "profile:bench"
_PATIENCE_S = 10.0


def measure(results: Results, store: str, samples: int) -> None:
    """Add, for *store*, what passes between the last reset and an empty pool."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(spawn({"account": ("secret", 1)}, {4711: _SIZE}))
        settings = {
            "VOD__PROFILES__BENCH__URL": provider.url,
            "VOD__PROFILES__BENCH__USERNAME": "account",
            "VOD__PROFILES__BENCH__PASSWORD": "secret",
            "VOD__USERS__VIEWER__PASSWORD": "viewer-password",
            "GRACE": "0s",
            "LEASE_TTL": "4s",
        }
        if store == "redis":
            settings["REDIS_URL"] = stack.enter_context(RedisServer(folder)).url
        gateway = stack.enter_context(GatewayProcess(folder, settings=settings))
        leases = Leases(gateway.port, API_KEY)
        _wait_until_admitted(gateway.port)
        took = [1000 * _probe(gateway.port, leases) for _ in range(samples)]
        counts = provider.counts("account")
    results.add(f"{store}: free after the last reset", "ms", took, aim=50.0, at_most=True)
    results.add(f"{store}: most streams upstream", "", [counts.most], aim=1, at_most=True)


def _probe(port: int, leases: Leases) -> float:
    """Probe as ffprobe does; return how many seconds after it the pool was empty."""
    with Reading(port, _FILM, "probe") as first:
        first.head()
        first.read(64 << 10)
        with Reading(port, _FILM, "probe", _SIZE - 983) as tail:
            tail.head()
            tail.read(983)
        first.reset()
        with Reading(port, _FILM, "probe", 5724) as again:
            again.head()
            again.read(64 << 10)
            again.reset()
            began = time.monotonic()
    while leases.count(_POOL):
        if time.monotonic() - began > _PATIENCE_S:
            raise TimeoutError(f"the slot is still taken after {_PATIENCE_S:g} s")
    return time.monotonic() - began


def _wait_until_admitted(port: int) -> None:
    """Wait for a store that is new: it admits nobody for two heartbeats."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with Reading(port, _FILM, "first", 0, 1) as reading:
            try:
                reading.head()
                reading.read(1)
                return
            except Refused:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both stores; exit with 1 if a median is beyond its aim."""
    parser = argparse.ArgumentParser(prog="python -m bench.release", description=__doc__)
    parser.add_argument("--samples", type=int, default=50)
    options = parser.parse_args(arguments)
    results = Results("release")
    for store in ("memory", "redis"):
        measure(results, store, options.samples)
    print(f"\nwritten to {results.write()}")
    if any(figure.verdict == "missed" for figure in results.figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
