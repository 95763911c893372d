"""`/metrics`: every number that an operator watches, as Prometheus reads it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.demo import Fault, NewsServer, make_post
from gateway.errors import GatewayError, StorageError
from gateway.http.auth import ApiKey, RequireApiKey
from gateway.http.metrics import Figures, make_metrics_app
from gateway.http.router import Router
from gateway.http.server import Server
from gateway.nzb.extents import Part, PartTable, Run
from gateway.streams.layout import Layout
from gateway.streams.streams import Streams
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.permit_figures import WAIT_BOUNDS_S
from gateway.usenet.shares import Shares
from gateway.usenet.workload import Reservation, Workload, new_stream

KEY = "the key of the tests"
QUEUE = Reservation(Workload.QUEUE)
POST = make_post("film.mkv", bytes(range(256)) * 800, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]
MAIN = ("provider", "main")


@dataclass
class Site:
    """A news server, a client of it, and the metrics of both behind a real server."""

    news: NewsServer
    client: UsenetClient
    streams: Streams
    port: int = 0
    queue: dict[str, int] = field(default_factory=lambda: {"queued": 3, "failed": 0})
    broken: GatewayError | None = None

    def items(self) -> Mapping[str, int]:
        if self.broken is not None:
            raise self.broken
        return self.queue

    def ask(
        self, target: str = "/metrics", method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(
                method, target, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            response = link.getresponse()
            return response, response.read().decode()
        finally:
            link.close()

    def scrape(self) -> dict[tuple[object, ...], float]:
        """Return every sample by its name and labels."""
        response, text = self.ask(X_Api_Key=KEY)
        assert response.status == 200
        return {
            (sample.name.removeprefix("nzb_gateway_"), *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        news = stack.enter_context(NewsServer())
        news.add(POST)
        accounts = [
            Account("main", news.host, news.port, connections=5),
            Account("spare", news.host, 1, connections=2, backup=True),
        ]
        client = stack.enter_context(UsenetClient(accounts, Shares(queue_cap=2)))
        streams = Streams(
            client.source,
            readahead_budget=1 << 20,
            article_cache=2 << 20,
            read_timeout_s=20,
            connections=client.connections,
        )
        stack.callback(streams.close)
        found = Site(news, client, streams)
        figures = Figures(
            client.source.providers,
            streams,
            queue=found.items,
            responses=lambda: server.serving,
            version="1.2.3",
        )
        app = RequireApiKey(make_metrics_app(figures), ApiKey(KEY))
        server = Server(Router({"/metrics": app}), "127.0.0.1", 0)
        stack.enter_context(server)
        found.port = server.port
        yield found


def film() -> Layout:
    size = POST.files[0].size
    ids = [message_id.encode() for message_id in POST.message_ids]
    return Layout([Run(0, 0, size)], [PartTable.regular(ids, size, 10_000)])


def test_permits_are_told_by_provider_and_workload(site: Site) -> None:
    site.news.fail(Fault.STALL, after=2_000)
    fetches = [site.client.source.request(part, reservation=QUEUE) for part in PARTS[:3]]
    fetches.append(site.client.source.request(PARTS[3], reservation=new_stream()))
    site.news.wait_for(lambda counts: counts.stalled == 3, 10)
    seen = site.scrape()

    def of(name: str) -> list[float]:
        return [seen[name, MAIN, ("workload", workload.name.lower())] for workload in Workload]

    assert of("permits_held") == [1, 2, 0]
    assert of("permits_waiting") == [0, 1, 0]
    assert of("permits_granted_total") == [1, 2, 0]
    assert of("permits_guarantee") == [2, 1, 1]
    assert of("permits_cap") == [5, 2, 1]
    assert of("permits_required_available") == [0, 0, 0]
    for name in ("unattributed", "double_releases", "declined"):
        assert seen[f"permits_{name}_total", MAIN] == 0
    assert seen["permits_held", ("provider", "spare"), ("workload", "queue")] == 0
    site.news.heal()
    site.news.release()
    for fetch in fetches:
        fetch.result(10)


def test_how_long_was_waited_is_a_histogram(site: Site) -> None:
    for part in PARTS[:4]:
        site.client.source.request(part, reservation=QUEUE).result(10)
    seen = site.scrape()
    workload = ("workload", "queue")
    bounds = [*(str(bound) for bound in WAIT_BOUNDS_S), "+Inf"]
    buckets = [seen["permit_wait_seconds_bucket", ("le", le), MAIN, workload] for le in bounds]
    assert buckets == sorted(buckets)
    assert buckets[-1] == seen["permit_wait_seconds_count", MAIN, workload] == 4
    assert 0 < seen["permit_wait_seconds_sum", MAIN, workload] < 10


def test_connections_bytes_articles_and_replies_are_told_by_provider(site: Site) -> None:
    site.news.fail(Fault.MISSING, POST.message_ids[0])
    first = site.client.source.request(PARTS[0], reservation=QUEUE)
    with pytest.raises(GatewayError):
        first.result(10)
    for part in PARTS[1:4]:
        site.client.source.request(part, reservation=QUEUE).result(10)
    seen = site.scrape()
    assert seen["connections_configured", MAIN] == seen["connections_limit", MAIN] == 5
    assert seen["connections_live", MAIN] == seen["connections_idle", MAIN] == 1
    assert seen["connections_dialling", MAIN] == 0
    assert seen["provider_articles_total", MAIN] == 3
    assert seen["provider_articles_damaged_total", MAIN] == 0
    assert 30_000 < seen["provider_received_bytes_total", MAIN] < 35_000
    assert seen["provider_replies_total", ("meaning", "present"), MAIN] == 3
    assert seen["provider_replies_total", ("meaning", "missing"), MAIN] == 1
    assert seen["provider_breaker_state", MAIN, ("state", "closed")] == 1
    assert seen["provider_breaker_state", MAIN, ("state", "open")] == 0
    spare = ("provider", "spare")
    assert seen["provider_failures_total", ("kind", "ConnectFailed"), spare] == 1


def test_streams_read_ahead_and_cache_are_told(site: Site) -> None:
    with site.streams.open(film(), reservation=new_stream(), name="film") as stream:
        stream.read(50_000)
        seen = site.scrape()
        assert seen["streams_active",] == 1
        assert seen["readahead_bytes",] == site.streams.budget.used
        assert seen["readahead_budget_bytes",] == 1 << 20
    with site.streams.open(film()) as stream:
        stream.read(30_000)
    seen = site.scrape()
    assert seen["streams_active",] == 0
    assert seen["readahead_bytes",] == 0
    assert seen["article_cache_hits_total",] >= 3
    assert seen["article_cache_misses_total",] >= 5
    assert seen["article_cache_bytes",] >= 50_000
    assert seen["article_cache_limit_bytes",] == 2 << 20


def test_the_queue_the_responses_and_the_program_are_told(site: Site) -> None:
    seen = site.scrape()
    assert seen["queue_items", ("state", "queued")] == 3
    assert seen["queue_items", ("state", "failed")] == 0
    assert seen["http_responses_in_progress",] == 1  # the scrape itself
    assert seen["build_info", ("version", "1.2.3")] == 1
    assert seen["process_resident_memory_bytes",] > 1 << 20


def test_a_queue_that_cannot_be_asked_leaves_the_other_numbers(site: Site) -> None:
    site.broken = StorageError("the disk is gone")
    seen = site.scrape()
    assert not [name for name, *_ in seen if name == "queue_items"]
    assert seen["connections_limit", MAIN] == 5


def test_every_name_follows_the_conventions(site: Site) -> None:
    _, text = site.ask(X_Api_Key=KEY)
    ours = [
        family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("nzb_gateway_")
    ]
    assert len(ours) > 25
    for family in ours:
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
    assert len({family.name for family in ours}) == len(ours)


def test_openmetrics_is_spoken_to_those_who_ask_for_it(site: Site) -> None:
    response, text = site.ask(X_Api_Key=KEY, Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    response, _ = site.ask(X_Api_Key=KEY)
    assert response.headers["Content-Type"].startswith("text/plain; version=")


@pytest.mark.parametrize("key", ["", "another"])
def test_nobody_reads_them_without_the_key(site: Site, key: str) -> None:
    response, text = site.ask(X_Api_Key=key)
    assert response.status == 403
    assert "nzb_gateway_" not in text
    assert site.ask(f"/metrics?apikey={key}")[0].status == 403


def test_the_key_may_come_in_the_query(site: Site) -> None:
    query = KEY.replace(" ", "%20")
    assert site.ask(f"/metrics?apikey={query}")[0].status == 200


def test_only_get_and_head_of_the_one_path_are_answered(site: Site) -> None:
    assert site.ask("/metrics/more", X_Api_Key=KEY)[0].status == 404
    response, _ = site.ask(method="POST", X_Api_Key=KEY)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    response, text = site.ask(method="HEAD", X_Api_Key=KEY)
    assert (response.status, text) == (200, "")
    assert int(response.headers["Content-Length"]) > 1000
