"""The gateway as a process of its own, reached through its doors only: CLI, /api and /dav."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from base64 import b64encode
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

USER = "gateway"
PASSWORD = "bench-password"
API_KEY = "bench-api-key-0123456789abcdef"
CATEGORY = "movies"

_START_S = 60.0
_IMPORT_S = 300.0
_POLL_S = 0.05
_BOUNDARY = "nzb-gateway-bench-boundary"


class GatewayProcess:
    """A gateway on a free port of 127.0.0.1, with at most one provider and an empty library."""

    def __init__(
        self,
        data_dir: Path,
        *,
        provider: tuple[str, int] | None = None,
        connections: int = 10,
        login: tuple[str, str] = ("bench", "bench"),
        trusted: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        """Start it and wait until it is ready.

        *provider*: address of the news server; *trusted*: a PEM file with the authority that
        vouches for it: then TLS is spoken. *settings*: more of them, without their prefix.
        """
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.host = "127.0.0.1"
        chosen = {
            "HOST": self.host,
            "PORT": str(self.port),
            "DATA_DIR": str(data_dir),
            "WEBDAV_PASSWORD": PASSWORD,
            "API_KEY": API_KEY,
            **(settings or {}),
        }
        if provider is not None:
            chosen |= {
                "PROVIDERS__BENCH__HOST": provider[0],
                "PROVIDERS__BENCH__PORT": str(provider[1]),
                "PROVIDERS__BENCH__TLS": "true" if trusted else "false",
                "PROVIDERS__BENCH__USERNAME": login[0],
                "PROVIDERS__BENCH__PASSWORD": login[1],
                "PROVIDERS__BENCH__CONNECTIONS": str(connections),
            }
        environment = {key: value for key, value in os.environ.items() if "GATEWAY_" not in key}
        environment |= {f"GATEWAY_{key}": value for key, value in chosen.items()}
        if trusted is not None:
            environment["SSL_CERT_FILE"] = str(trusted)
        self._log = (data_dir / "gateway.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=data_dir,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._watched = psutil.Process(self._process.pid)
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def credentials(self) -> str:
        return f"{USER}:{PASSWORD}"

    def stop(self) -> None:
        """End the process. May be called again."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has taken so far."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        """Return the resident memory in bytes."""
        return int(self._watched.memory_info().rss)

    def queue(self, name: str, nzb: bytes) -> str:
        """Queue an NZB and return its id."""
        body = (
            (
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="name"; '
                f'filename="{name}.nzb"\r\nContent-Type: application/x-nzb\r\n\r\n'
            ).encode()
            + nzb
            + f"\r\n--{_BOUNDARY}--\r\n".encode()
        )
        answer = self._api(
            {"mode": "addfile", "cat": CATEGORY},
            body,
            {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
        )
        (nzo_id,) = answer["nzo_ids"]
        return str(nzo_id)

    def api(self, **query: str) -> dict[str, Any]:
        """Return what SABnzbd's API answers."""
        return self._api(query)

    def own(self, path: str, body: Any = None) -> dict[str, Any]:
        """Return what the gateway's own API answers; *body* is posted."""
        headers = {"X-Api-Key": API_KEY, "Content-Type": "application/json"}
        posted = None if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(
            self._request(f"/api/gateway{path}", body=posted, headers=headers)
        )
        return answer

    def read(self, path: str, count: int) -> bytes:
        """Return the first bytes of a file."""
        return self._request(path, headers={"Range": f"bytes=0-{count - 1}", **self._basic()})

    def add(self, name: str, nzb: bytes) -> str:
        """Queue an NZB, wait for its import, and return the path of its largest file."""
        nzo_id = self.queue(name, nzb)
        deadline = time.monotonic() + _IMPORT_S
        while time.monotonic() < deadline:
            for slot in self._api({"mode": "history"})["history"]["slots"]:
                if slot["nzo_id"] != nzo_id:
                    continue
                if slot["status"] == "Completed":
                    return self._largest_file(name)
                if slot["status"] == "Failed":
                    raise RuntimeError(f"import of {name}: {slot['fail_message']}")
            time.sleep(_POLL_S)
        raise TimeoutError(f"{name} was not imported within {_IMPORT_S:g} s\n{self._tail()}")

    def _largest_file(self, release: str) -> str:
        root = f"/dav/content/{CATEGORY}/{urllib.parse.quote(release)}/"
        found = self._request(root, method="PROPFIND", headers={"Depth": "1", **self._basic()})
        sizes: dict[str, int] = {}
        for response in ET.fromstring(found).iter("{DAV:}response"):
            href = urllib.parse.urlsplit(response.findtext("{DAV:}href") or "").path
            length = response.findtext(".//{DAV:}getcontentlength")
            if response.find(".//{DAV:}collection") is None and length:
                sizes[href] = int(length)
        return max(sizes, key=sizes.__getitem__)

    def _basic(self) -> dict[str, str]:
        return {"Authorization": f"Basic {b64encode(self.credentials.encode()).decode()}"}

    def _api(
        self,
        query: dict[str, str],
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        encoded = urllib.parse.urlencode({**query, "output": "json", "apikey": API_KEY})
        answer: dict[str, Any] = json.loads(
            self._request(f"/api?{encoded}", body=body, headers=headers)
        )
        return answer

    def _request(
        self,
        path: str,
        *,
        method: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        request = urllib.request.Request(
            f"http://{self.host}:{self.port}{path}", body, headers or {}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            content: bytes = response.read()
            return content

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                self._request("/healthz")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(_POLL_S)
            else:
                return
        raise RuntimeError(f"the gateway did not start\n{self._tail()}")

    def _tail(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()[-4000:]
