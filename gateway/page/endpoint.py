"""One endpoint of the gateway's own API: what it is called with, what it answers, who answers.

An endpoint is described by types: frozen dataclasses for what is answered and for query
parameters, pydantic models for bodies (which tell what was left out from what is null). The
dispatcher (`gateway.page.api`) reads and writes JSON by them, and `openapi.json` is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import GatewayError


class BadRequest(GatewayError):
    """What was sent cannot be done; the message says why, and what would do."""

    http_status = 400


class NotFound(GatewayError):
    """There is nothing of that name."""

    http_status = 404


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one endpoint.

    *parameters*: what stands in the path for each {name}, decoded. *query* and *body* are
    instances of the endpoint's types, checked; None where it has none.
    """

    parameters: Mapping[str, str]
    query: Any = None
    body: Any = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file that is answered as it is: it is to be saved under *name*."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path below /api/gateway.

    *path* begins with a slash; `{name}` in it stands for one segment. *handler* returns an
    instance of *answer* (a `Document` is answered as it is, and is of *content_type*), or raises
    a GatewayError, whose `http_status` and message are the answer then. It runs on the request's
    thread. *summary* is its line in openapi.json, and *refusals* say in which cases (HTTP status:
    words) it answers with a `Problem`.
    """

    method: str
    path: str
    summary: str
    answer: Any
    handler: Callable[[Call], object]
    query: Any = None
    body: Any = None
    status: int = 200
    refusals: Mapping[int, str] | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer: one sentence."""

    error: str
