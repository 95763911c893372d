"""`GET /connections`: who holds the providers' connections at this moment, and who waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.page.endpoint import Call, Endpoint
from gateway.usenet.limit import SlotFigures
from gateway.usenet.permit_figures import PermitsSnapshot, Use, WaitSeconds
from gateway.usenet.provider import BreakerState, Provider
from gateway.usenet.workload import Workload


@dataclass(frozen=True, slots=True)
class WaitBucket:
    """How many permits were granted after *le_s* seconds of waiting or less."""

    le_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """How long was waited for the permits granted since the start; *count* is all of them."""

    count: int
    sum_s: float
    buckets: tuple[WaitBucket, ...]


@dataclass(frozen=True, slots=True)
class WorkloadUse:
    """What one workload holds and wants of one provider.

    *required*: the threshold in force, so many permits must stay free beside the next one.
    *guarantee* and *cap* apply to the provider's limit of the moment. *granted* counts from the
    start.
    """

    held: int
    waiting: int
    granted: int
    required: int
    guarantee: int
    cap: int
    wait: Wait


@dataclass(frozen=True, slots=True)
class StreamUse:
    """What one stream holds and wants of one provider; *stream* 0: no stream of its own."""

    workload: str
    stream: int
    held: int
    read_ahead: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SlotUse:
    """Of an account that several gateways use: slots that this one holds, its share, its wish."""

    held: int
    target: int
    wanted: int


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """One provider. *limit* is below *configured* while the provider allows fewer.

    Or while other gateways have the rest: then *slots* tells; null: the account is not shared.
    *live* are its open connections with those being dialled, *idle* those of them without work;
    *available* permits could be granted now. *breaker* is "open" while the provider is not
    asked, for *pause_s* still, because of *paused*.
    """

    name: str
    backup: bool
    configured: int
    limit: int
    live: int
    idle: int
    active: int
    dialling: int
    available: int
    slots: SlotUse | None
    breaker: BreakerState
    paused: str | None
    pause_s: float
    workloads: Mapping[str, WorkloadUse]
    streams: tuple[StreamUse, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over all providers."""

    configured: int
    limit: int
    live: int
    idle: int
    active: int
    dialling: int
    available: int
    held: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ConnectionsView:
    """All providers, in the order in which they are asked.

    *unattributed* requests came without saying who asks, expected 0.
    """

    providers: tuple[ProviderUse, ...]
    totals: Totals
    unattributed: int


def endpoints(providers: Sequence[Provider]) -> list[Endpoint]:
    """Return what tells of *providers*."""

    def show(_call: Call) -> ConnectionsView:
        seen = [(provider, provider.pool.permits.snapshot()) for provider in providers]
        return _view([_provider(provider, permits) for provider, permits in seen], seen)

    summary = "Tell who holds the providers' connections, and who waits for them"
    return [Endpoint("GET", "/connections", summary, ConnectionsView, show)]


def _view(
    uses: Sequence[ProviderUse], seen: Sequence[tuple[Provider, PermitsSnapshot]]
) -> ConnectionsView:
    workloads = [workload for use in uses for workload in use.workloads.values()]
    totals = Totals(
        configured=sum(use.configured for use in uses),
        limit=sum(use.limit for use in uses),
        live=sum(use.live for use in uses),
        idle=sum(use.idle for use in uses),
        active=sum(use.active for use in uses),
        dialling=sum(use.dialling for use in uses),
        available=sum(use.available for use in uses),
        held=sum(workload.held for workload in workloads),
        waiting=sum(workload.waiting for workload in workloads),
    )
    return ConnectionsView(tuple(uses), totals, sum(permits.unattributed for _, permits in seen))


def _provider(provider: Provider, permits: PermitsSnapshot) -> ProviderUse:
    status, breaker = provider.pool.status(), provider.breaker()
    return ProviderUse(
        provider.name,
        provider.is_backup,
        status.configured,
        status.limit,
        status.live,
        status.idle,
        status.live - status.idle,
        status.dialling,
        permits.available,
        _slots(status.slots),
        breaker.state,
        breaker.reason,
        round(breaker.pause_s, 1),
        {workload.name.lower(): _workload(permits, workload) for workload in Workload},
        tuple(_stream(use) for use in provider.pool.permits.uses()),
    )


def _slots(figures: SlotFigures | None) -> SlotUse | None:
    return None if figures is None else SlotUse(figures.held, figures.target, figures.wanted)


def _workload(permits: PermitsSnapshot, workload: Workload) -> WorkloadUse:
    return WorkloadUse(
        permits.held[workload],
        permits.waiting[workload],
        permits.granted[workload],
        permits.required[workload],
        permits.guarantee[workload],
        permits.cap[workload],
        _wait(permits.waits[workload]),
    )


def _wait(waits: WaitSeconds) -> Wait:
    buckets = tuple(WaitBucket(bound, count) for bound, count in waits.cumulative())
    return Wait(waits.count, round(waits.sum_s, 6), buckets)


def _stream(use: Use) -> StreamUse:
    asker = use.reservation
    return StreamUse(asker.workload.name.lower(), asker.stream, use.held, use.ahead, use.waiting)
