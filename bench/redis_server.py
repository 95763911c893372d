"""A redis-server of a bench's or test's own on 127.0.0.1: can be stalled, emptied and restarted."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from bench.ports import free_port

_START_S = 30.0


class RedisServer:
    """A redis-server of PATH; keeps nothing on the disk unless told to. Runs between `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "dir": str(self._folder),
            "loglevel": "warning",
        }
        command = ["redis-server"]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except RedisError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise

    def stop(self, *, save: bool = False) -> None:
        """End it at once; what it holds is gone, or with *save* there again after `start`.

        May be called again.
        """
        if self._process is not None:
            self.go_on()
            if save:
                with self.client() as client:
                    client.save()
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> Redis:
        """Return a client of it, to be closed by the caller."""
        return Redis(port=self.port, socket_timeout=5.0, decode_responses=True)

    def flush(self) -> None:
        """Have it lose all that it holds."""
        with self.client() as client:
            client.flushall()

    def stall(self) -> None:
        """Have it answer nothing, with its connections open, until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a stall, if there is one."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
