"""The demo news server as a process of its own: `python -m gateway.demo`.

It prints one JSON object when it listens, then answers each JSON object on its standard input
with one, and stops when that ends; so it never outlives who started it.

    {"do": "report"}                                  → counts and CPU seconds
    {"do": "fail", "fault": "STALL", "ids": [...]}    → {}; further keys as NewsServer.fail
    {"do": "heal"} {"do": "release"} {"do": "remove", "ids": [...]} → {}
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import time
from collections.abc import Sequence
from typing import Any

from gateway.demo.faults import Fault
from gateway.demo.process import PostSpec
from gateway.demo.server import NewsServer
from gateway.demo.shape import Shape
from gateway.demo.site import LimitAt


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument(
        "--post",
        type=PostSpec.parse,
        action="append",
        default=[],
        metavar="NAME:SIZE:PART_SIZE:SEED",
    )
    parser.add_argument("--shape", type=json.loads, metavar="JSON", help="the fields of Shape")
    parser.add_argument("--user", metavar="NAME:PASSWORD")
    parser.add_argument("--max-connections", type=int)
    parser.add_argument("--limit-at", type=LimitAt, default=LimitAt.GREETING)
    parser.add_argument("--certificate", metavar="PEM", help="speak TLS; key and chain")
    options = parser.parse_args(arguments)
    tls = None
    if options.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate)
    with NewsServer(
        host=options.host,
        port=options.port,
        shape=Shape(**options.shape) if options.shape else None,
        users=dict([options.user.split(":", 1)]) if options.user else None,
        tls=tls,
        max_connections=options.max_connections,
        limit_at=options.limit_at,
    ) as server:
        for spec in options.post:
            server.add(spec.make())
        print(json.dumps({"host": server.host, "port": server.port}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_obey(server, json.loads(line))), flush=True)


def _obey(server: NewsServer, order: dict[str, Any]) -> dict[str, Any]:
    do, ids = order.pop("do"), order.pop("ids", [])
    match do:
        case "report":
            return _report(server)
        case "fail":
            server.fail(Fault[order.pop("fault")], *ids, **order)
        case "heal":
            server.heal()
        case "release":
            server.release()
        case "remove":
            server.remove(ids)
        case _:
            return {"error": f"unknown order {do!r}"}
    return {}


def _report(server: NewsServer) -> dict[str, Any]:
    counts = server.counts
    return {
        "cpu_s": time.process_time(),
        "bytes_sent": counts.bytes_sent,
        "commands": counts.commands,
        "bodies": counts.bodies.total(),
        "connections": counts.connections,
        "peak_connections": counts.peak_connections,
        "total_connections": counts.total_connections,
    }


if __name__ == "__main__":
    main()
