"""The gateway as its users run it: a process of its own, settings from the environment."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from bench.ports import free_port

USER, PASSWORD, API_KEY = "gateway", "a password of the tests", "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class GatewayProcess:
    """A running gateway at http://127.0.0.1:*port*, its data in *data_dir*."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request with the right credentials, unless *headers* has others."""
        credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            link.request(
                method,
                quote(path, safe="/?&=%"),
                body,
                {"Authorization": f"Basic {credentials}", **(headers or {})},
            )
            response = link.getresponse()
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            link.close()

    def api(self, mode: str, **parameters: str) -> Any:
        """Call SABnzbd's API and return what it answers."""
        query = urlencode({"mode": mode, "apikey": API_KEY, "output": "json", **parameters})
        return json.loads(self.ask("GET", f"/api?{query}").body)

    def wait_for_history(self, nzo_id: str, timeout_s: float = 60.0) -> Any:
        """Return the history slot of *nzo_id* as soon as it stands there."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for slot in self.api("history")["history"]["slots"]:
                if slot["nzo_id"] == nzo_id:
                    return slot
            self._pause(0.05)
        raise AssertionError(f"{nzo_id} is not in the history after {timeout_s:g} s")

    def wait_until(self, happened: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Return as soon as *happened* says something true."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            assert time.monotonic() < deadline, f"it has not happened after {timeout_s:g} s"
            self._pause(0.05)

    def _pause(self, seconds: float) -> None:
        # A pause that ends early, and loudly, when the process does.
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the gateway has ended with {self.process.wait(seconds)}")


def provider_settings(host: str, port: int, connections: int = 8) -> dict[str, str]:
    """Return the settings for one provider without TLS, as environment variables."""
    return {
        "GATEWAY_PROVIDERS__MAIN__HOST": host,
        "GATEWAY_PROVIDERS__MAIN__PORT": str(port),
        "GATEWAY_PROVIDERS__MAIN__TLS": "false",
        "GATEWAY_PROVIDERS__MAIN__CONNECTIONS": str(connections),
    }


def environment(data_dir: Path, port: int, settings: Mapping[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith("GATEWAY_")}
    return {
        **inherited,
        "GATEWAY_PORT": str(port),
        "GATEWAY_DATA_DIR": str(data_dir),
        "GATEWAY_WEBDAV_PASSWORD": PASSWORD,
        "GATEWAY_API_KEY": API_KEY,
        **settings,
    }


@contextlib.contextmanager
def running_gateway(data_dir: Path, settings: Mapping[str, str]) -> Iterator[GatewayProcess]:
    """Run `nzb-gateway serve` until the block ends; it must end well, within its drain time."""
    port = free_port()
    log = (data_dir.parent / f"{data_dir.name}.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"],
        env=environment(data_dir, port, settings),
        cwd=data_dir.parent,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
    )
    gateway = GatewayProcess(process, port, data_dir)
    try:
        _wait_until_ready(gateway)
        yield gateway
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        log.close()


def _wait_until_ready(gateway: GatewayProcess) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if gateway.ask("GET", "/healthz").status == 200:
                return
        if time.monotonic() > deadline:
            raise AssertionError("the gateway does not answer after 60 s")
        gateway._pause(0.05)
