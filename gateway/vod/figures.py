"""`/metrics`, of VOD: what was admitted, refused and taken over, and connections to providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.vod.tally import TallySnapshot

_PREFIX = "nzb_gateway_vod_"
_EVENTS = (
    ("admitted", "Slots taken, again after a pause too"),
    ("superseded", "Requests whose turn a newer one of their session took"),
    ("split", "Requests that became sessions of their own: two viewers with one address"),
    ("suspended", "Requests whose paused viewer had the slot taken"),
    ("resumed", "Requests that went on with another turn"),
    ("taken_back", "Requests that were cut: evicted, or their lease was lost"),
    ("probes", "Slots taken beside full accounts, by short probes"),
    ("upstream_opens", "Ranges asked for from providers"),
    ("upstream_failures", "Ranges that a provider did not give"),
    ("upstream_reopened", "Connections made anew after a cut between two bytes"),
)


class VodFigures(Collector):
    """Reads the numbers at each scrape. *waiting*: how many requests wait for a slot now."""

    def __init__(self, read: Callable[[], TallySnapshot], waiting: Callable[[], int]) -> None:
        self._read, self._waiting = read, waiting

    def collect(self) -> Iterator[Metric]:
        seen = self._read()
        for event, text in _EVENTS:
            yield CounterMetricFamily(_PREFIX + event, text, value=seen.events.get(event, 0))
        refused = CounterMetricFamily(
            f"{_PREFIX}refused", "Requests without a slot, by the kind of pool", labels=("pool",)
        )
        for kind, count in sorted(seen.refused.items()):
            refused.add_metric([kind], count)
        yield refused
        yield GaugeMetricFamily(
            f"{_PREFIX}upstream_connections",
            "Connections to VOD providers open now",
            value=seen.connections,
        )
        yield CounterMetricFamily(
            f"{_PREFIX}received_bytes", "Bytes of films received", value=seen.received
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}waiting", "Requests that wait for a slot", value=self._waiting()
        )
