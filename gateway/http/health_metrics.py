"""`/metrics`, of checks: how the library stands, what is overdue, whether checks are stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.errors import GatewayError
from gateway.library.ports import CheckStatus

log = logging.getLogger(__name__)

_PREFIX = "nzb_gateway_"


class HealthFigures(Collector):
    """Reads the numbers at each scrape; while the database refuses them they are left out."""

    def __init__(self, status: Callable[[], CheckStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        try:
            schedule = self._status().schedule
        except GatewayError as exc:
            log.warning("checks are left out of /metrics: %s", exc)
            return
        files = GaugeMetricFamily(
            f"{_PREFIX}library_files", "Files of the library, by verdict", labels=("verdict",)
        )
        for verdict, count in schedule.verdicts.items():
            files.add_metric([verdict.value], count)
        yield files
        yield GaugeMetricFamily(
            f"{_PREFIX}checks_overdue", "Files whose check is due", value=schedule.overdue
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}checks_stopped",
            "1 while no file is checked by itself, as a provider is ill",
            value=int(schedule.braked is not None),
        )
