"""A redis-server of a bench's own on 127.0.0.1, which can be stalled, emptied and restarted."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

_START_S = 10.0


class RedisProcess:
    """A redis-server of PATH that keeps nothing on the disk; runs between `with` and its end."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self._port}/0"
        options = {"port": self._port, "bind": "127.0.0.1", "save": "", "dir": folder}
        self._command = ["redis-server"]
        for name, value in options.items():
            self._command += [f"--{name}", str(value)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return once it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except RedisError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise

    def client(self) -> Redis:
        """Return a client of it, to be closed by the caller."""
        return Redis(port=self._port, socket_timeout=5.0, decode_responses=True)

    def flush(self) -> None:
        """Have it lose all that it holds."""
        with self.client() as client:
            client.flushall()

    def stall(self) -> None:
        """Have it answer nothing, with its connections open, until `go_on` or `kill`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it held is gone. May be called again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
