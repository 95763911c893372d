"""`/metrics`, of leases: who is in the pools, and how the store of leases is doing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.errors import LeaseStoreDown
from gateway.leases.figures import FULL, OUTCOMES, KeeperFigures, KeeperStatus
from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore, State

log = logging.getLogger(__name__)

_PREFIX = "nzb_gateway_"
_ENDS = (State.SUPERSEDED, State.EVICTED, State.LOST)


class LeaseFigures(Collector):
    """Reads the numbers at each scrape: one question to the store, and what the keeper counts.

    *caps*: the cap of every pool that is known here. While the store is known to be down it is not
    asked, and the sessions in its pools are left out.
    """

    def __init__(
        self, store: LeaseStore, keeper: Keeper, caps: Callable[[], Mapping[str, int]]
    ) -> None:
        self._store, self._keeper, self._caps = store, keeper, caps

    def collect(self) -> Iterator[Metric]:
        status, figures = self._keeper.status(), self._keeper.figures()
        yield from self._pools(status)
        yield from _standing(status, figures)
        yield from _acquires(figures)

    def _pools(self, status: KeeperStatus) -> Iterator[Metric]:
        caps = self._caps()
        sessions = GaugeMetricFamily(
            f"{_PREFIX}lease_sessions", "Sessions in the pool, of all processes", labels=("pool",)
        )
        for pool, count in sorted(self._counts(status, caps).items()):
            sessions.add_metric([pool], count)
        yield sessions
        gauge = GaugeMetricFamily(
            f"{_PREFIX}lease_pool_cap",
            "Sessions that the pool may have, as far as is known here; 0: unlimited",
            labels=("pool",),
        )
        for pool, cap in sorted(caps.items()):
            gauge.add_metric([pool], cap)
        yield gauge

    def _counts(self, status: KeeperStatus, known: Iterable[str]) -> Mapping[str, int]:
        if status.is_store_down:
            return {}
        try:
            census = self._store.census()
        except LeaseStoreDown as exc:
            log.warning("sessions are left out of /metrics: %s", exc)
            return {}
        counts = Counter(pool for one in census for pool in one.pools)
        return {name: counts[name] for name in {*counts, *known}}


def _standing(status: KeeperStatus, figures: KeeperFigures) -> Iterator[Metric]:
    for name, text, value in (
        ("lease_refs_held", "Requests that hold leases here", status.refs),
        ("lease_releases_queued", "Releases that the store has missed", status.queued_releases),
        ("lease_store_down", "1 while the store cannot be reached", int(status.is_store_down)),
    ):
        yield GaugeMetricFamily(_PREFIX + name, text, value=value)
    failed = CounterMetricFamily(f"{_PREFIX}lease_heartbeats_failed", "Heartbeats that failed")
    failed.add_metric([], figures.failed_heartbeats)
    yield failed
    ended = CounterMetricFamily(
        f"{_PREFIX}leases_ended", "Leases ended otherwise than by their holder", labels=("how",)
    )
    for state in _ENDS:
        ended.add_metric([state.value], figures.ended.get(state, 0))
    yield ended


def _acquires(figures: KeeperFigures) -> Iterator[Metric]:
    acquires = CounterMetricFamily(
        f"{_PREFIX}lease_acquires",
        "Acquires by outcome; kind: of the pool that was full",
        labels=("outcome", "kind"),
    )
    nobody = {(outcome, ""): 0 for outcome in OUTCOMES if outcome != FULL}
    for (outcome, kind), count in sorted({**nobody, **figures.acquires}.items()):
        acquires.add_metric([outcome, kind], count)
    yield acquires
    seconds = HistogramMetricFamily(
        f"{_PREFIX}lease_acquire_seconds", "How long acquires took, whatever their outcome"
    )
    buckets = [(str(bound), float(count)) for bound, count in figures.cumulative()]
    buckets.append(("+Inf", float(sum(figures.seconds))))
    seconds.add_metric([], buckets, figures.sum_s)
    yield seconds
