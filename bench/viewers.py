"""`python -m bench.viewers`: how fast short answers are while many watch and many pause.

The gateway and the news server are processes of their own, and so are the viewers: they take no
time from what is measured but that of the machine.
"""

from __future__ import annotations

import argparse
import http.client
import select
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figures import Results
from bench.gateway_process import CATEGORY, PASSWORD, USER, GatewayProcess
from bench.throughput import LOGIN, MIB
from gateway.demo.process import PostSpec, spawn

_FILM = PostSpec("film.mkv", 512 * MIB)
_CONNECTIONS = 20
_BOUND_MS = 100.0
_BUFFER = 256 << 10
_BEAT_S = 0.005  # of the viewers' loop
_RAMP_S = 5.0
_PAUSE_S = 0.05  # between two questions


def watch(port: int, credentials: str, path: str, readers: int, paused: int, rate: float) -> None:
    """Open all streams, say so, and read until standard input ends.

    *rate*: bytes a second of each reader; what it is ahead of that, it leaves in the kernel.
    """
    basic = b64encode(credentials.encode()).decode()
    viewers: list[socket.socket] = []
    for number in range(readers + paused):
        viewer = socket.socket()
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        viewer.connect(("127.0.0.1", port))
        begin = number * (_FILM.size // (readers + paused))
        head = f"Host: 127.0.0.1\r\nAuthorization: Basic {basic}\r\nRange: bytes={begin}-"
        viewer.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
        viewers.append(viewer)
    for viewer in viewers:
        if not viewer.recv(4096).startswith(b"HTTP/1.1 206 "):
            raise RuntimeError("a viewer was refused")
        viewer.setblocking(False)
    print("watching", flush=True)
    read = dict.fromkeys(viewers[:readers], 0)
    began = time.monotonic()
    total = 0
    while read and not _told_to_end():
        beat = time.monotonic()
        due = rate * (beat - began)
        for viewer in list(read):
            try:
                size = len(viewer.recv(_BUFFER)) if read[viewer] < due else -1
            except BlockingIOError:
                continue
            if size == 0:  # the end of the file
                del read[viewer]
            elif size > 0:
                read[viewer] += size
                total += size
        time.sleep(max(0.0, _BEAT_S - (time.monotonic() - beat)))
    print(total / (time.monotonic() - began), flush=True)


def _told_to_end() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


@contextmanager
def _watching(gateway: GatewayProcess, path: str, options: argparse.Namespace) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.viewers", "--watch", str(gateway.port), path]
    command += [f"--{name}={getattr(options, name)}" for name in ("readers", "paused", "rate")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "watching\n":
            raise RuntimeError("the viewers could not begin")
        yield
    finally:
        process.stdin.close()
        rate = process.stdout.readline().strip()
        process.wait(10)
        print(f"  {options.readers} readers had {float(rate or 0) / 1e6:.0f} MB/s together")


def _ask(gateway: GatewayProcess, method: str, path: str, status: int) -> float:
    """Return after how many milliseconds a new connection has had the whole answer."""
    basic = b64encode(gateway.credentials.encode()).decode()
    began = time.perf_counter()
    link = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    try:
        link.request(method, path, headers={"Authorization": f"Basic {basic}", "Depth": "1"})
        response = link.getresponse()
        response.read()
    finally:
        link.close()
    if response.status != status:
        raise RuntimeError(f"{method} {path}: {response.status}")
    return (time.perf_counter() - began) * 1000


def measure(results: Results, options: argparse.Namespace) -> None:
    """Ask in turns, idle first and then beside the viewers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nzb-gateway-bench-")))
        server = stack.enter_context(spawn(_FILM, user=LOGIN))
        gateway = stack.enter_context(
            GatewayProcess(
                folder,
                provider=(server.host, server.port),
                connections=_CONNECTIONS,
                login=LOGIN,
            )
        )
        path = gateway.add("film", _FILM.make().nzb)
        questions = {
            "/healthz": ("GET", "/healthz", 200),
            "PROPFIND": ("PROPFIND", f"/dav/content/{CATEGORY}/", 207),
        }

        def ask(when: str, samples: int, aim: float | None) -> None:
            taken: dict[str, list[float]] = {name: [] for name in questions}
            for _ in range(samples):
                for name, question in questions.items():
                    taken[name].append(_ask(gateway, *question))
                    time.sleep(_PAUSE_S)
            for name, values in taken.items():
                results.add(f"{name}, {when}", "ms", values, aim=aim, at_most=True)

        ask("idle", 20, None)
        with _watching(gateway, path, options):
            time.sleep(_RAMP_S)
            before, began = gateway.cpu_s(), time.monotonic()
            ask(f"{options.readers} readers, {options.paused} paused", options.samples, _BOUND_MS)
            cpu = (gateway.cpu_s() - before) / (time.monotonic() - began)
        results.add("CPU of the gateway meanwhile", "cores", [cpu])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 1 if a single answer beside the viewers took longer than the bound."""
    parser = argparse.ArgumentParser(prog="python -m bench.viewers", description=__doc__)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--paused", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e6, help="bytes a second of each reader")
    parser.add_argument("--samples", type=int, default=100, help="of each question")
    parser.add_argument("--name", default="viewers", help="of the file in bench/results")
    parser.add_argument("--watch", nargs=2, metavar=("PORT", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.watch is not None:
        port, path = options.watch
        watch(int(port), f"{USER}:{PASSWORD}", path, options.readers, options.paused, options.rate)
        return 0
    results = Results(options.name)
    measure(results, options)
    late = [f for f in results.figures if f.aim is not None and max(f.values) > f.aim]
    for figure in late:
        print(f"{figure.name}: {max(figure.values):.0f} ms at most, {figure.aim:g} are allowed")
    print(f"\nwritten to {results.write()}")
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
