"""What the API tells of connections, streams and limits, and how limits are changed by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.demo import Fault, NewsServer, make_post
from gateway.nzb.extents import Part, PartTable, Run
from gateway.page import connections, limits
from gateway.page import streams as open_streams
from gateway.page.endpoint import Endpoint
from gateway.streams.layout import Layout
from gateway.streams.streams import Streams
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.rules import Rules, Sharing
from gateway.usenet.workload import Reservation, Workload, new_stream

Ask = Callable[..., Any]
MakeApi = Callable[[Sequence[Endpoint]], Ask]

QUEUE = Reservation(Workload.QUEUE)
PASSWORD = "a secret of the account"
POST = make_post("film.mkv", bytes(range(256)) * 800, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]


@dataclass(frozen=True)
class Site:
    server: NewsServer
    client: UsenetClient
    streams: Streams
    ask: Ask

    def stall(self, count: int, reservation: Reservation, first: int = 0) -> list[Any]:
        """Ask for *count* articles, and return when all that may are on their way and stuck."""
        parts = PARTS[first : first + count]
        return [self.client.source.request(part, reservation=reservation) for part in parts]

    def go_on(self) -> None:
        self.server.heal()
        self.server.release()


@pytest.fixture
def site(serve_api: MakeApi) -> Iterator[Site]:
    """Ten connections to "main", and a backup "spare" to which nobody listens."""
    rules = Rules(max_queue_connections=3)
    with ExitStack() as stack:
        server = stack.enter_context(NewsServer(users={"bob": PASSWORD}))
        server.add(POST)
        main = Account("main", server.host, server.port, None, "bob", PASSWORD, 10)
        accounts = [main, replace(main, name="spare", port=1, connections=4, backup=True)]
        client = stack.enter_context(UsenetClient(accounts, rules.make()))
        streams = Streams(
            client.source,
            readahead_budget=1 << 20,
            article_cache=0,
            read_timeout_s=20,
            connections=client.connections,
        )
        stack.callback(streams.close)
        providers = client.source.providers
        endpoints = [
            *connections.endpoints(providers),
            *limits.endpoints(Sharing(client, rules), providers),
            *open_streams.endpoints(streams, providers),
        ]
        yield Site(server, client, streams, serve_api(endpoints))


# Connections


def test_connections_of_an_idle_gateway(site: Site) -> None:
    seen = site.ask("GET", "/connections").json
    main, spare = seen["providers"]
    workloads, streams = main.pop("workloads"), main.pop("streams")
    assert main == {
        "name": "main",
        "backup": False,
        "configured": 10,
        "limit": 10,
        "live": 0,
        "idle": 0,
        "active": 0,
        "dialling": 0,
        "available": 10,
        "slots": None,
        "breaker": "closed",
        "paused": None,
        "pause_s": 0.0,
    }
    assert streams == []
    assert list(workloads) == ["stream", "queue", "health"]
    wait = workloads["queue"].pop("wait")
    assert (wait["count"], wait["sum_s"]) == (0, 0)
    assert workloads["queue"] == {
        "held": 0,
        "waiting": 0,
        "granted": 0,
        "required": 0,
        "guarantee": 2,
        "cap": 3,
    }
    assert (spare["name"], spare["backup"], spare["configured"]) == ("spare", True, 4)
    assert seen["totals"] == {
        "configured": 14,
        "limit": 14,
        "live": 0,
        "idle": 0,
        "active": 0,
        "dialling": 0,
        "available": 14,
        "held": 0,
        "waiting": 0,
    }
    assert seen["unattributed"] == 0


def test_connections_tell_who_holds_and_who_waits_by_workload_and_stream(site: Site) -> None:
    site.server.fail(Fault.STALL, after=2_000)
    viewer = new_stream()
    fetches = [*site.stall(4, QUEUE), *site.stall(7, viewer, first=4)]
    site.server.wait_for(lambda counts: counts.stalled == 10, 10)
    seen = site.ask("GET", "/connections").json
    main = seen["providers"][0]
    assert (main["live"], main["active"], main["idle"], main["available"]) == (10, 10, 0, 0)
    stream, queue = main["workloads"]["stream"], main["workloads"]["queue"]
    assert (queue["held"], queue["waiting"], queue["granted"]) == (3, 1, 3)
    assert (stream["held"], stream["waiting"], stream["granted"]) == (7, 0, 7)
    assert main["streams"] == [
        {
            "workload": "stream",
            "stream": viewer.stream,
            "held": 7,
            "read_ahead": 0,
            "waiting": 0,
        },
        {"workload": "queue", "stream": 0, "held": 3, "read_ahead": 0, "waiting": 1},
    ]
    assert (seen["totals"]["held"], seen["totals"]["waiting"]) == (10, 1)
    site.go_on()
    for fetch in fetches:
        fetch.result(10)
    main = site.ask("GET", "/connections").json["providers"][0]
    wait = main["workloads"]["queue"]["wait"]
    assert wait["count"] == 4
    assert wait["buckets"][-1] == {"le_s": 30.0, "count": 4}
    assert wait["buckets"][0]["count"] <= 3


def test_connections_tell_why_a_provider_is_not_asked_and_never_a_password(site: Site) -> None:
    site.server.fail(Fault.REFUSE_LOGIN)
    (fetch,) = site.stall(1, QUEUE)
    with pytest.raises(Exception, match="481"):
        fetch.result(10)
    answer = site.ask("GET", "/connections")
    main = answer.json["providers"][0]
    assert main["breaker"] == "open"
    assert "refused the login" in main["paused"]
    assert 0 < main["pause_s"] <= 60
    assert PASSWORD not in answer.text


# Streams


def test_streams_tell_what_is_read_and_what_each_holds(site: Site) -> None:
    size = POST.files[0].size
    ids = [message_id.encode() for message_id in POST.message_ids]
    layout = Layout([Run(0, 0, size)], [PartTable.regular(ids, size, 10_000)])
    with site.streams.open(layout, reservation=new_stream(), name="Film/film.mkv") as stream:
        site.streams.open(layout, name="Film/again.mkv").close()
        stream.seek(20_000)
        site.server.fail(Fault.STALL, after=2_000)
        (fetch,) = site.stall(1, stream.reservation)
        site.server.wait_for(lambda counts: counts.stalled == 1, 10)
        seen = site.ask("GET", "/streams").json
        (one,) = seen["streams"]
        opened = datetime.fromisoformat(one.pop("opened"))
        assert timedelta() <= datetime.now(UTC) - opened < timedelta(minutes=1)
        assert one == {
            "stream": stream.reservation.stream,
            "workload": "stream",
            "name": "Film/film.mkv",
            "position": 20_000,
            "size": size,
            "read_ahead": 0,
            "permits": 1,
        }
        assert (seen["read_ahead"], seen["read_ahead_budget"]) == (0, 1 << 20)
        site.go_on()
        fetch.result(10)
    assert site.ask("GET", "/streams").json["streams"] == []


# Limits


def test_limits_tell_what_was_set_and_what_follows_from_it(site: Site) -> None:
    seen = site.ask("GET", "/limits").json
    assert seen == {
        "policy": "shares",
        "stream_guarantee": None,
        "queue_guarantee": None,
        "health_guarantee": None,
        "max_queue_connections": 3,
        "health_cap": None,
        "max_connections_per_stream": None,
        "permit_aging_s": 2.0,
        "connections": {"main": 10, "spare": 4},
        "in_force": {
            "main": {
                "total": 10,
                "guarantee": {"stream": 4, "queue": 2, "health": 1},
                "cap": {"stream": 10, "queue": 3, "health": 1},
            },
            "spare": {
                "total": 4,
                "guarantee": {"stream": 1, "queue": 1, "health": 1},
                "cap": {"stream": 4, "queue": 3, "health": 1},
            },
        },
    }


def test_a_change_answers_the_new_state_and_wakes_who_waits(site: Site) -> None:
    site.server.fail(Fault.STALL, after=2_000)
    fetches = site.stall(6, QUEUE)
    site.server.wait_for(lambda counts: counts.stalled == 3, 10)
    answer = site.ask("PATCH", "/limits", {"max_queue_connections": 5, "permit_aging_s": 1})
    assert answer.status == 200
    assert answer.json == site.ask("GET", "/limits").json
    assert (answer.json["max_queue_connections"], answer.json["permit_aging_s"]) == (5, 1.0)
    site.server.wait_for(lambda counts: counts.stalled == 5, 10)
    site.go_on()
    for fetch in fetches:
        fetch.result(10)


def test_null_restores_the_default_and_what_is_left_out_stays(site: Site) -> None:
    site.ask("PATCH", "/limits", {"queue_guarantee": 1, "permit_aging_s": 9})
    seen = site.ask("PATCH", "/limits", {"max_queue_connections": None, "permit_aging_s": None})
    assert seen.json["max_queue_connections"] is None
    assert seen.json["permit_aging_s"] == 2.0
    assert seen.json["queue_guarantee"] == 1
    assert seen.json["in_force"]["main"]["cap"]["queue"] == 10


def test_connections_of_a_provider_and_the_policy_change_at_once(site: Site) -> None:
    seen = site.ask("PATCH", "/limits", {"policy": "fixed", "connections": {"main": 20}}).json
    assert seen["connections"] == {"main": 20, "spare": 4}
    assert seen["in_force"]["main"] == {
        "total": 20,
        "guarantee": {"stream": 0, "queue": 0, "health": 0},
        "cap": {"stream": 3, "queue": 3, "health": 3},
    }
    required = site.ask("GET", "/connections").json["providers"][0]["workloads"]["stream"]
    assert required["required"] == 17


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"stream_guarantee": 9, "health_guarantee": 2, "health_cap": 5},
            "GATEWAY_STREAM_GUARANTEE=9 + GATEWAY_HEALTH_GUARANTEE=2 = 11, but the largest",
        ),
        ({"connections": {"mine": 5}}, "no provider is called 'mine': main, spare"),
        ({"connections": {"main": 5, "spare": -1}}, "-1 connections of 'spare' cannot be"),
        ({"max_queue_connections": 0}, "GATEWAY_MAX_QUEUE_CONNECTIONS=0 is too small"),
        ({"permit_aging_s": -1}, "GATEWAY_PERMIT_AGING=-1.0 is too small"),
        ({"queue_guarantee": "5"}, "queue_guarantee: input should be a valid integer"),
        ({"queue_guarantee": True}, "queue_guarantee: input should be a valid integer"),
        ({"policy": "odds"}, "policy: input should be 'shares' or 'fixed'"),
        ({"connections": {"main": None}}, "connections.main: input should be a valid integer"),
        ({"guarantee": 5}, "guarantee: extra inputs are not permitted"),
        (b'{"permit_aging_s": NaN}', "permit_aging_s: input should be a finite number"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_one_line_and_nothing_changes(
    site: Site, change: object, words: str
) -> None:
    before = site.ask("GET", "/limits").json
    answer = site.ask("PATCH", "/limits", change)
    assert answer.status == 400
    assert answer.json["error"].startswith(words)
    assert "\n" not in answer.json["error"]
    assert site.ask("GET", "/limits").json == before


def test_a_merge_patch_by_its_own_type_is_taken_too(site: Site) -> None:
    kind = "application/merge-patch+json"
    assert site.ask("PATCH", "/limits", {"health_cap": 2}, content_type=kind).status == 200
    assert site.ask("PUT", "/limits", {"health_cap": 2}).headers["allow"] == "GET, HEAD, PATCH"


def test_what_is_answered_is_of_the_form_that_openapi_json_tells(site: Site) -> None:
    described = site.ask("GET", "/openapi.json").json
    validate(described)
    schemas = described["components"]["schemas"]
    assert set(described["paths"]) == {"/connections", "/limits", "/streams"}
    for path, name in (("/limits", "LimitsView"), ("/connections", "ConnectionsView")):
        assert set(site.ask("GET", path).json) == set(schemas[name]["properties"])
