"""`python -m bench.leases`: what it costs to take, extend and give back a lease.

With a few viewers, as an IPTV account allows, and with a hundred; each session in four pools.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.figures import Results
from bench.redis_server import RedisServer
from gateway.leases.lease import Lease, LeaseStore, Pool
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases

_POOLS = (
    Pool("profile:1", 200),
    Pool("credential:1", 200),
    Pool("user:bob", 200),
    Pool("global", 0),
)
_TTL_S = 20.0
_AIM_US = {"memory": 10.0, "redis": 150.0}


def measure(results: Results, kind: str, store: LeaseStore, viewers: int, samples: int) -> None:
    """Add what each operation takes while *viewers* sessions are in all pools, but for one."""
    others = [Lease(f"s{number}", f"of {viewers}", _POOLS) for number in range(viewers - 1)]
    for other in others:
        store.acquire([_POOLS], other.session, other.ref, _TTL_S)
    acquires, releases, heartbeats = [], [], []
    for number in range(samples):
        ref = f"{viewers} {number}"
        acquires.append(_us(partial(store.acquire, [_POOLS], "new", ref, _TTL_S)))
        releases.append(_us(partial(store.release, "new", ref, 0)))
        if number % 10 == 0:
            heartbeats.append(_us(partial(store.heartbeat, others, _TTL_S)))
    title = f"{kind}, {viewers} viewers"
    aim = _AIM_US[kind] if viewers < 10 else None
    results.add(f"{title}: acquire", "µs", acquires, aim=aim, at_most=True)
    results.add(f"{title}: release", "µs", releases)
    results.add(f"{title}: heartbeat of all", "µs", heartbeats)
    for other in others:
        store.release(other.session, other.ref, 0)


def _us(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return (time.perf_counter() - began) * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both stores; print a table and keep it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.leases", description=__doc__)
    parser.add_argument("--samples", type=int, default=5000, help="acquires and releases")
    options = parser.parse_args(arguments)
    results = Results("leases")
    for viewers in (4, 100):
        measure(results, "memory", MemoryLeases(), viewers, options.samples)
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        with server.client() as client:
            results.add("redis: ping", "µs", [_us(client.ping) for _ in range(options.samples)])
        store = RedisLeases.from_url(server.url, recover_s=0)
        for viewers in (4, 100):
            measure(results, "redis", store, viewers, options.samples)
        store.close()
    print(f"\nwritten to {results.write()}")


if __name__ == "__main__":
    main()
