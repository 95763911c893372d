"""The API behind a real server, and who asks it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.http.auth import ApiKey, RequireApiKey
from gateway.http.router import Router
from gateway.http.server import Server
from gateway.page.api import Api
from gateway.page.endpoint import Endpoint

KEY = "the key of the tests"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Asker:
    """Asks the server on *port* for what lies below /api/gateway."""

    port: int

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = KEY,
        content_type: str | None = "application/json",
    ) -> Answer:
        """Send one request; *body* goes as JSON, unless it is bytes already."""
        headers = {} if key is None else {"X-Api-Key": key}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None and content_type is not None:
            headers["Content-Type"] = content_type
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, f"/api/gateway{path}", data, headers)
            response = link.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read().decode())
        finally:
            link.close()


MakeApi = Callable[[Sequence[Endpoint]], Asker]


@pytest.fixture
def serve_api() -> Iterator[MakeApi]:
    """Serve endpoints as the gateway does; return how to ask them."""
    with ExitStack() as stack:

        def serve(endpoints: Sequence[Endpoint]) -> Asker:
            api = RequireApiKey(Api(endpoints, version="1.2.3"), ApiKey(KEY))
            server = Server(Router({"/api/gateway": api}), "127.0.0.1", 0)
            stack.enter_context(server)
            return Asker(server.port)

        yield serve
