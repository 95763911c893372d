"""A bare sabctools client: the fastest that this machine can fetch and decode articles.

One selector thread drives all connections and throws the decoded bytes away. What the gateway
does is given as a share of what this does in the same run.
"""

from __future__ import annotations

import argparse
import json
import selectors
import ssl
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import sabctools

from gateway.demo import PlainClient

VALID_UNSHAPED = 2e9
"""Bytes a second below which an unshaped run says more about the server than about its client."""
VALID_SHAPED = 0.90
"""The same for a shaped line, as a share of its nominal rate."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a run came to. *wall_s* runs from the first command to the last byte."""

    bytes: int
    wall_s: float
    cpu_s: float

    @property
    def bytes_per_s(self) -> float:
        return self.bytes / self.wall_s

    @property
    def cpu_s_per_gib(self) -> float:
        return self.cpu_s / (self.bytes / 2**30)


def is_valid(bytes_per_s: float, nominal: float | None) -> bool:
    """Say whether the server was fast enough for a run to mean something."""
    return bytes_per_s >= (VALID_UNSHAPED if nominal is None else VALID_SHAPED * nominal)


class _Connection(PlainClient):
    """A logged-in connection that does not block."""

    def __init__(self, host: str, port: int, user: str, password: str, *, tls: bool) -> None:
        context = None
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, tls=context)
        self.in_flight = 0
        if user:
            self.log_in(user, password)
        self.sock.setblocking(False)

    def receive_some(self) -> int:
        if isinstance(self.sock, ssl.SSLSocket):
            return sabctools.unlocked_ssl_recv_into(self.sock, self.decoder)
        return self.sock.recv_into(self.decoder)


def fetch(
    host: str,
    port: int,
    message_ids: Sequence[str],
    *,
    connections: int = 8,
    depth: int = 2,
    user: str = "",
    password: str = "",
    tls: bool = False,
) -> Fetched:
    """Fetch and decode all articles, with *depth* BODY commands in flight on each connection.

    Connections are made and logged in before the clock starts. Raises ValueError when an
    article is missing or its CRC is wrong.
    """
    with ExitStack() as stack:
        links = [
            stack.enter_context(_Connection(host, port, user, password, tls=tls))
            for _ in range(connections)
        ]
        selector = stack.enter_context(selectors.DefaultSelector())
        for link in links:
            selector.register(link.sock, selectors.EVENT_READ, link)
        waiting = deque(message_ids)
        left, received = len(message_ids), 0
        cpu, wall = time.process_time(), time.perf_counter()
        for link in links:
            _ask(link, waiting, depth)
        while left:
            for key, _ in selector.select():
                done, count = _take(key.data)
                received += count
                if done:
                    left -= done
                    key.data.in_flight -= done
                    _ask(key.data, waiting, depth)
        return Fetched(received, time.perf_counter() - wall, time.process_time() - cpu)


def _take(link: _Connection) -> tuple[int, int]:
    """Read once; return how many articles came to their end, and how many bytes they hold."""
    try:
        count = link.receive_some()
    except (BlockingIOError, ssl.SSLWantReadError):
        return 0, 0
    if not count:
        raise ConnectionError("the server has hung up")
    link.decoder.process(count)
    done = received = 0
    for response in link.decoder:
        if response.status_code != 222 or response.crc is None:
            raise ValueError(f"{response.message}: missing or damaged")
        received += response.bytes_decoded
        done += 1
    return done, received


def _ask(link: _Connection, waiting: deque[str], depth: int) -> None:
    commands = []
    while link.in_flight < depth and waiting:
        commands.append(f"BODY <{waiting.popleft()}>\r\n")
        link.in_flight += 1
    if commands:
        # A few hundred bytes into an empty buffer: always taken whole.
        link.sock.sendall("".join(commands).encode())


def main(arguments: Iterable[str] | None = None) -> None:
    """Fetch the message-ids of a file, one a line, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="bench.bare", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("message_ids", type=argparse.FileType())
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args(None if arguments is None else list(arguments))
    result = fetch(
        options.host,
        options.port,
        options.message_ids.read().split(),
        connections=options.connections,
        depth=options.depth,
        user=options.user,
        password=options.password,
        tls=options.tls,
    )
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
