"""`GET` and `PATCH /limits`: how connections are shared, and its change while they are in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import ConfigurationError
from gateway.page.endpoint import BadRequest, Call, Endpoint
from gateway.usenet.provider import Provider
from gateway.usenet.rules import Rules, Sharing
from gateway.usenet.workload import Workload

Policy = Literal["shares", "fixed"]


@dataclass(frozen=True, slots=True)
class InForce:
    """What applies to one provider, whose *total* is its limit of the moment."""

    total: int
    guarantee: Mapping[str, int]
    cap: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LimitsView:
    """The rules as they were set, null where the default applies, and what follows from them.

    *connections* are those configured for each provider.
    """

    policy: Policy
    stream_guarantee: int | None
    queue_guarantee: int | None
    health_guarantee: int | None
    max_queue_connections: int | None
    health_cap: int | None
    max_connections_per_stream: int | None
    permit_aging_s: float
    connections: Mapping[str, int]
    in_force: Mapping[str, InForce]


class LimitsChange(BaseModel):
    """What is to be changed (a merge patch, RFC 7396): null restores the default.

    What is left out stays as it is, also the connections of a provider that is not named. A
    provider that is named is asked for all of its connections again, whatever it refused before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Policy | None = None
    stream_guarantee: int | None = None
    queue_guarantee: int | None = None
    health_guarantee: int | None = None
    max_queue_connections: int | None = None
    health_cap: int | None = None
    max_connections_per_stream: int | None = None
    permit_aging_s: Annotated[float, Field(allow_inf_nan=False)] | None = None
    connections: dict[str, int] = {}


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Rules)}


def endpoints(sharing: Sharing, providers: Sequence[Provider]) -> list[Endpoint]:
    """Return what shows and changes *sharing*, over *providers*."""

    def show(_call: Call) -> LimitsView:
        return _view(sharing, providers)

    def change(call: Call) -> LimitsView:
        assert isinstance(call.body, LimitsChange)
        given = call.body.model_dump(exclude_unset=True)
        connections = given.pop("connections", {})
        changes = {
            name: _DEFAULTS[name] if value is None else value for name, value in given.items()
        }
        try:
            sharing.change(lambda rules: replace(rules, **changes), connections)
        except ConfigurationError as exc:
            raise BadRequest(str(exc)) from exc
        return _view(sharing, providers)

    return [
        Endpoint("GET", "/limits", "Tell how connections are shared", LimitsView, show),
        Endpoint(
            "PATCH",
            "/limits",
            "Change how connections are shared, until the next start; nobody is cut",
            LimitsView,
            change,
            body=LimitsChange,
            refusals={400: "It cannot be met: the sentence has the arithmetic. Nothing changed"},
        ),
    ]


def _view(sharing: Sharing, providers: Sequence[Provider]) -> LimitsView:
    rules = sharing.rules
    in_force = {}
    for provider in providers:
        permits = provider.pool.permits.snapshot()
        in_force[provider.name] = InForce(
            permits.total,
            {workload.name.lower(): permits.guarantee[workload] for workload in Workload},
            {workload.name.lower(): permits.cap[workload] for workload in Workload},
        )
    return LimitsView(
        rules.policy,
        rules.stream_guarantee,
        rules.queue_guarantee,
        rules.health_guarantee,
        rules.max_queue_connections,
        rules.health_cap,
        rules.max_connections_per_stream,
        rules.permit_aging_s,
        sharing.connections(),
        in_force,
    )
