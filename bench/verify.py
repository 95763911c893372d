"""`python -m bench.verify`: how many articles a second a check of all of them asks for.

By STAT over 10 connections to a news server 50 ms away, in a process of its own. Ends with 1 if
an aim is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from bench.figures import Results
from gateway.demo.process import PostSpec, spawn
from gateway.demo.shape import Shape
from gateway.nzb.extents import Part
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Verifier

CONNECTIONS = 10
SHAPE = Shape(round_trip_s=0.050)
PART = 1_000  # bytes: a STAT costs the same, whatever the article holds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__)
    parser.add_argument("--articles", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    results = Results("verify")
    spec = PostSpec("film.mkv", options.articles * PART, PART)
    post = spec.make()
    parts = [
        Part((message_id,), number, options.articles)
        for number, message_id in enumerate(post.message_ids, start=1)
    ]
    rates, ours, theirs = [], [], []
    with spawn(spec, shape=SHAPE) as server:
        account = Account("bench", server.host, server.port, connections=CONNECTIONS)
        with UsenetClient([account]) as usenet, scope(Reservation(Workload.QUEUE)):
            verifier = Verifier(usenet.source, providers=1)
            verifier.verify(parts[:5_000], Ticket(), total=len(parts))  # the connections are open
            for _ in range(options.rounds):
                cpu, served, began = time.process_time(), server.report().cpu_s, time.monotonic()
                verifier.verify(parts, Ticket(), total=len(parts))
                took_s = time.monotonic() - began
                rates.append(len(parts) / took_s)
                ours.append((time.process_time() - cpu) * 1e6 / len(parts))
                theirs.append((server.report().cpu_s - served) * 1e6 / len(parts))
    results.add("all articles, asked for by STAT", "1/s", rates, aim=10_000)
    results.add("our CPU for one", "µs", ours)
    results.add("the server's CPU for one", "µs", theirs)
    print(f"\nwritten to {results.write()}")
    return int(any(figure.verdict == "missed" for figure in results.figures))


if __name__ == "__main__":
    sys.exit(main())
