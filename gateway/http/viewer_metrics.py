"""`/metrics`, of viewers: how many responses stream, who pauses, who hung up, who was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.http.streaming import StreamingBodies
from gateway.http.watchdog import Watchdog

_PREFIX = "nzb_gateway_http_"


class ViewerFigures(Collector):
    """Reads the numbers at each scrape. *watchdog* gives that of the server."""

    def __init__(self, streaming: StreamingBodies, watchdog: Callable[[], Watchdog]) -> None:
        self._streaming, self._watchdog = streaming, watchdog

    def collect(self) -> Iterator[Metric]:
        streaming, watchdog = self._streaming, self._watchdog()
        for name, text, value in (
            ("streams", "Responses that stream", streaming.active),
            ("streams_limit", "Responses that may stream at a time", streaming.limit),
            ("streams_suspended", "Those of viewers that pause for long", streaming.suspended),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value=value)
        for name, text, value in (
            ("streams_refused", "Streams refused, as too many were running", streaming.refused),
            ("suspensions", "Long pauses of viewers", watchdog.suspensions),
            ("hang_ups", "Hang-ups of viewers that the watchdog noticed first", watchdog.hang_ups),
            ("streams_abandoned", "Streams cut after a pause without end", watchdog.abandoned),
        ):
            yield CounterMetricFamily(_PREFIX + name, text, value=value)
