"""A plain HTTP client: GET over a socket, with the times that a player would feel."""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass

_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Download:
    """What a GET came to. Times run from the request's first byte, on an open connection."""

    status: int
    bytes: int
    first_byte_s: float
    wall_s: float
    cpu_s: float
    sha256: str

    @property
    def bytes_per_s(self) -> float:
        return self.bytes / self.wall_s


class Get:
    """A GET whose header has been read: *status*, *length*, and the body still to come."""

    def __init__(
        self, host: str, port: int, path: str, credentials: str, *, begin: int = 0, end: int = -1
    ) -> None:
        """Ask for [begin, end) of *path*; end -1: to its end. *credentials*: user:password."""
        self.sock = socket.create_connection((host, port), timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        last = "" if end < 0 else str(end - 1)
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
            f"Authorization: Basic {b64encode(credentials.encode()).decode()}\r\n"
            f"Range: bytes={begin}-{last}\r\n\r\n"
        )
        self.began = time.perf_counter()
        self.sock.sendall(request.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            chunk = self.sock.recv(64 * 1024)
            if not chunk:
                raise ConnectionError(f"no answer to GET {path}: {received!r}")
            received += chunk
        head, _, self._rest = received.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        named = {
            name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
        }
        self.length = int(named.get("content-length", "0"))
        if self.status not in (200, 206):
            self.close()
            raise ConnectionError(f"GET {path}: {status}")

    def wait(self) -> float:
        """Wait for the body's first byte and return how long it took, in seconds."""
        if not self._rest:
            self._rest = self.sock.recv(1)
        return time.perf_counter() - self.began

    def read(self, limit: int) -> int:
        """Read up to *limit* bytes and return how many came; 0 at the end."""
        if self._rest:
            taken, self._rest = len(self._rest), b""
            return taken
        return len(self.sock.recv(limit))

    def read_all(self, *, digest: bool = False) -> Download:
        """Read the body to its end. Raises ConnectionError when it ends early."""
        cpu = time.process_time()
        first_byte_s = self.wait()
        sha256 = hashlib.sha256(self._rest)
        count = len(self._rest)
        self._rest = b""
        buffer = bytearray(_BUFFER)
        view = memoryview(buffer)
        while count < self.length:
            received = self.sock.recv_into(buffer)
            if not received:
                raise ConnectionError(f"the body ended after {count} of {self.length} bytes")
            if digest:
                sha256.update(view[:received])
            count += received
        wall_s = time.perf_counter() - self.began
        self.close()
        return Download(
            self.status,
            count,
            first_byte_s,
            wall_s,
            time.process_time() - cpu,
            sha256.hexdigest() if digest else "",
        )

    def close(self) -> None:
        """Hang up, whatever is still to come. May be called again."""
        self.sock.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Download once and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.download", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("credentials", metavar="USER:PASSWORD")
    parser.add_argument("--begin", type=int, default=0)
    parser.add_argument("--end", type=int, default=-1)
    parser.add_argument("--sha256", action="store_true")
    options = parser.parse_args(arguments)
    get = Get(
        options.host,
        options.port,
        options.path,
        options.credentials,
        begin=options.begin,
        end=options.end,
    )
    print(json.dumps(asdict(get.read_all(digest=options.sha256))))


if __name__ == "__main__":
    main()
