"""The VOD service as a process of its own, for benches and long runs: its CPU is its own."""

from __future__ import annotations

import http.client
import json
from typing import Any

from gateway.demo.child import Child
from gateway.demo.xtream.faults import Trouble
from gateway.demo.xtream.panel import FILM_SIZE
from gateway.demo.xtream.site import Counts

_ANSWER_S = 10.0


class XtreamProcess(Child):
    """A VOD service that runs elsewhere; made by `spawn`, stopped by `stop` or `with`."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__("gateway.demo.xtream", arguments)
        self.url = f"http://{self.host}:{self.port}"

    def report(self) -> dict[str, Any]:
        """Do what `XtreamServer.report` does."""
        return self._ask("GET", "report")

    def counts(self, account: str) -> Counts:
        return Counts(**self.report()["accounts"][account])

    def fail(self, trouble: Trouble, **how: Any) -> None:
        """Do what `XtreamServer.fail` does; *body* is text here."""
        self._ask("POST", "fail", {"trouble": trouble.name, **how})

    def heal(self) -> None:
        self._ask("POST", "heal", {})

    def release(self) -> None:
        self._ask("POST", "release", {})

    def _ask(self, method: str, what: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_ANSWER_S)
        try:
            body = None if order is None else json.dumps(order)
            connection.request(method, f"/_demo/{what}", body)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


def spawn(
    accounts: dict[str, tuple[str, int]],
    movies: dict[int, int] | None = None,
    *,
    full_status: int = 403,
) -> XtreamProcess:
    """Start a VOD service in a process of its own, and wait until it listens.

    *movies*: id → size in bytes; None: film 4711.
    """
    arguments = [f"--account={json.dumps([name, *rest])}" for name, rest in accounts.items()]
    for number, size in (movies or {4711: FILM_SIZE}).items():
        arguments.append(f"--movie={number}:{size}")
    return XtreamProcess([*arguments, f"--full-status={full_status}"])
