"""`/metrics`: the numbers of the moment, for Prometheus.

Nothing is counted here. At each scrape the snapshots are read that the parts keep anyway, so an
exchange costs the same whether anybody looks or not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from wsgiref.types import StartResponse

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.errors import GatewayError
from gateway.http.wsgi import App, Chunk, Environ, plain, status_line
from gateway.streams.streams import Streams
from gateway.usenet.limit import SlotFigures
from gateway.usenet.permit_figures import PermitsSnapshot
from gateway.usenet.pool_status import PoolStatus
from gateway.usenet.provider import BreakerState, Provider
from gateway.usenet.tally import Tally
from gateway.usenet.workload import Workload

log = logging.getLogger(__name__)

Family = GaugeMetricFamily | CounterMetricFamily
PerWorkload = Callable[[PermitsSnapshot], Mapping[Workload, int]]

_PREFIX = "nzb_gateway_"
_BY_PROVIDER, _BY_WORKLOAD = ("provider",), ("provider", "workload")

# Name, meaning, where it stands. A counter's name gets its _total from the library.
_WORKLOAD_GAUGES: tuple[tuple[str, str, PerWorkload], ...] = (
    ("permits_held", "Permits held", lambda seen: seen.held),
    ("permits_waiting", "Requests that wait for a permit", lambda seen: seen.waiting),
    ("permits_required_available", "Threshold in force", lambda seen: seen.required),
    ("permits_guarantee", "Permits guaranteed", lambda seen: seen.guarantee),
    ("permits_cap", "Permits that may be held at most", lambda seen: seen.cap),
)
_PERMIT_COUNTERS: tuple[tuple[str, str, Callable[[PermitsSnapshot], int]], ...] = (
    ("permits_declined", "Permits given back unused", lambda seen: seen.declined),
    ("permits_double_releases", "Permits released twice", lambda seen: seen.double_releases),
    ("permits_unattributed", "Requests that said not who asks", lambda seen: seen.unattributed),
)
_CONNECTION_GAUGES: tuple[tuple[str, str, Callable[[PoolStatus], int]], ...] = (
    ("connections_configured", "Connections configured", lambda status: status.configured),
    ("connections_limit", "Connections that the provider allows", lambda status: status.limit),
    ("connections_live", "Connections open or being dialled", lambda status: status.live),
    ("connections_idle", "Open connections without work", lambda status: status.idle),
    ("connections_dialling", "Connections being dialled", lambda status: status.dialling),
)
_SLOT_GAUGES: tuple[tuple[str, str, Callable[[SlotFigures], int]], ...] = (
    ("slots_held", "Slots held of an account that is shared", lambda slots: slots.held),
    ("slots_target", "Share of them that is this gateway's", lambda slots: slots.target),
    ("slots_wanted", "Slots that this gateway could use", lambda slots: slots.wanted),
)
_PROVIDER_COUNTERS: tuple[tuple[str, str, Callable[[Tally], int]], ...] = (
    ("provider_articles", "Articles fetched that fit", lambda tally: tally.articles),
    ("provider_articles_damaged", "Articles fetched that do not", lambda tally: tally.damaged),
)


class Figures(Collector):
    """Reads the numbers at each scrape.

    *queue* tells how many items are in each state, *responses* how many are being answered.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        streams: Streams,
        *,
        queue: Callable[[], Mapping[str, int]],
        responses: Callable[[], int],
        version: str,
    ) -> None:
        self._providers = providers
        self._streams = streams
        self._queue = queue
        self._responses = responses
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(f"{_PREFIX}build", "The program", {"version": self._version})
        yield from self._permits()
        yield from self._connections()
        yield from self._exchanges()
        yield from self._reading()
        yield from self._items()
        yield _one("http_responses_in_progress", "Requests being answered", self._responses())

    def _permits(self) -> Iterator[Metric]:
        seen = {provider.name: provider.pool.permits.snapshot() for provider in self._providers}
        for name, text, read in _WORKLOAD_GAUGES:
            gauge = _gauge(name, text, _BY_WORKLOAD)
            _fill(gauge, {provider: read(permits) for provider, permits in seen.items()})
            yield gauge
        granted = _counter("permits_granted", "Permits granted", _BY_WORKLOAD)
        _fill(granted, {provider: permits.granted for provider, permits in seen.items()})
        yield granted
        waits = HistogramMetricFamily(
            f"{_PREFIX}permit_wait_seconds", "Waiting for permits granted", labels=_BY_WORKLOAD
        )
        for provider, permits in seen.items():
            for workload, waited in permits.waits.items():
                buckets = [(str(bound), float(count)) for bound, count in waited.cumulative()]
                buckets.append(("+Inf", float(waited.count)))
                waits.add_metric([provider, workload.name.lower()], buckets, waited.sum_s)
        yield waits
        for name, text, count in _PERMIT_COUNTERS:
            counter = _counter(name, text, _BY_PROVIDER)
            for provider, permits in seen.items():
                counter.add_metric([provider], count(permits))
            yield counter

    def _connections(self) -> Iterator[Metric]:
        seen = {provider.name: provider.pool.status() for provider in self._providers}
        for name, text, read in _CONNECTION_GAUGES:
            gauge = _gauge(name, text, _BY_PROVIDER)
            for provider, status in seen.items():
                gauge.add_metric([provider], read(status))
            yield gauge
        for name, text, figure in _SLOT_GAUGES:
            gauge = _gauge(name, text, _BY_PROVIDER)
            for provider, status in seen.items():
                if status.slots is not None:
                    gauge.add_metric([provider], figure(status.slots))
            yield gauge
        received = _counter("provider_received_bytes", "Bytes of replies received", _BY_PROVIDER)
        for provider, status in seen.items():
            received.add_metric([provider], status.received)
        yield received

    def _exchanges(self) -> Iterator[Metric]:
        for name, text, read in _PROVIDER_COUNTERS:
            counter = _counter(name, text, _BY_PROVIDER)
            for provider in self._providers:
                counter.add_metric([provider.name], read(provider.tally))
            yield counter
        replies = _counter("provider_replies", "Replies by meaning", ("provider", "meaning"))
        failures = _counter("provider_failures", "Failed exchanges", ("provider", "kind"))
        breakers = _gauge(
            "provider_breaker_state", "1 for the state that it is in", ("provider", "state")
        )
        for provider in self._providers:
            for meaning, count in provider.tally.replies.items():
                replies.add_metric([provider.name, meaning.name.lower()], count)
            for kind, count in sorted(provider.tally.failures.copy().items()):
                failures.add_metric([provider.name, kind], count)
            standing = provider.breaker().state
            for state in BreakerState:
                breakers.add_metric([provider.name, state], state is standing)
        yield from (replies, failures, breakers)

    def _reading(self) -> Iterator[Metric]:
        streams, source, cache = self._streams, self._streams.source, self._streams.source.cache
        yield _one("streams_active", "Open streams", len(streams.active()))
        yield _one("readahead_bytes", "Bytes charged for read-ahead", streams.budget.used)
        yield _one("readahead_budget_bytes", "Bytes allowed for it", streams.budget.total)
        yield _one("article_cache_bytes", "Bytes of articles kept", cache.size)
        yield _one("article_cache_limit_bytes", "Bytes allowed for them", cache.limit)
        for name, text, count in (
            ("article_cache_hits", "Articles that were in the cache", source.hits),
            ("article_cache_misses", "Articles that were not", source.misses),
        ):
            counter = _counter(name, text, ())
            counter.add_metric([], count)
            yield counter

    def _items(self) -> Iterator[Metric]:
        try:
            items = self._queue()
        except GatewayError as exc:
            log.warning("the queue is left out of /metrics: %s", exc)
            return
        gauge = _gauge("queue_items", "Items of the queue and the history", ("state",))
        for state, count in sorted(items.items()):
            gauge.add_metric([state], count)
        yield gauge


def make_metrics_app(*figures: Collector) -> App:
    """Return the application that answers with *figures*, and with those of the process."""
    registry = CollectorRegistry()
    for one in figures:
        registry.register(one)
    ProcessCollector(registry=registry)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        if environ.get("PATH_INFO", "") not in {"", "/"}:
            return plain(start_response, 404, "nothing is here")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return plain(start_response, 405, "only GET is for /metrics", [("Allow", "GET, HEAD")])
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        body: bytes = encode(registry)
        start_response(
            status_line(200),
            [
                ("Content-Type", content_type),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
            ],
        )
        return [body]

    return app


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, text, labels=labels)


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _fill(family: Family, seen: Mapping[str, Mapping[Workload, int]]) -> None:
    for provider, values in seen.items():
        for workload, value in values.items():
            family.add_metric([provider, workload.name.lower()], value)
