"""What the API tells of leases: the store's truth, with what this process knows of its viewers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from bench.redis_server import RedisServer
from gateway.leases.held import Held
from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore, Pool, State
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.leases.viewing import Manner, Viewing
from gateway.page import leases
from gateway.page.endpoint import Endpoint

ONE = Pool("profile:1", 3)
BOB = Pool("user:bob", 0)
NEWS = Pool("provider:main", 20)

Ask = Callable[..., Any]


@dataclass
class Site:
    """The API of one process, and what its viewers do."""

    store: LeaseStore
    keeper: Keeper
    ask: Ask
    viewings: list[Viewing] = field(default_factory=list)
    told: list[State] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def view(self, session: str, manner: Manner = Manner.STREAMING) -> Held:
        """Begin a request of *session*, as bob."""
        held = self.keeper.acquire([[ONE, BOB]], session, self.told.append)
        self.viewings.append(
            Viewing(session, held.ref, "bob", "movie 7", "192.0.2.1", "one", 1000.0, 5724, manner)
        )
        return held


Serve = Callable[[LeaseStore], Site]


@pytest.fixture
def serve(serve_api: Callable[[Sequence[Endpoint]], Ask]) -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve(store: LeaseStore) -> Site:
            keeper = Keeper(store, heartbeat_s=3600, grace_s=10)
            stack.callback(store.close)
            stack.callback(keeper.close)
            viewings: list[Viewing] = []
            ended: list[str] = []

            def end(session: str) -> int:
                ended.append(session)
                return 0

            endpoints = leases.endpoints(
                store, keeper, lambda: list(viewings), keeper.caps, end, clock=lambda: 1090.5
            )
            return Site(store, keeper, serve_api(endpoints), viewings, ended=ended)

        yield serve


@pytest.fixture
def site(serve: Serve) -> Site:
    return serve(MemoryLeases(clock=lambda: 5.0))


def test_a_session_is_told_with_its_pools_its_viewer_and_each_of_its_requests(site: Site) -> None:
    older = site.view("s")
    newer = site.view("s", Manner.STALLED)
    answer = site.ask("GET", "/leases")
    assert answer.status == 200
    request: dict[str, Any] = {"here": True, "age_s": 90.5, "offset": 5724, "expires_in_s": 20.0}
    assert answer.json == {
        "pools": [
            {"name": "profile:1", "cap": 3, "count": 1},
            {"name": "user:bob", "cap": 0, "count": 1},
        ],
        "sessions": [
            {
                "session": "s",
                "pools": ["profile:1", "user:bob"],
                "state": "stalled",
                "user": "bob",
                "content": "movie 7",
                "client": "192.0.2.1",
                "profile": "one",
                "grace_s": None,
                "refs": sorted(
                    [
                        {
                            "ref": older.ref,
                            "state": "streaming",
                            "ending": "superseded",
                            **request,
                        },
                        {"ref": newer.ref, "state": "stalled", "ending": None, **request},
                    ],
                    key=lambda one: one["ref"],
                ),
            }
        ],
        "slots": [],
        "without_lease": [],
    }


def test_what_another_process_holds_is_told_as_far_as_the_store_knows_it(site: Site) -> None:
    site.store.acquire([[ONE]], "elsewhere", "r1", 20)
    (session,) = site.ask("GET", "/leases").json["sessions"]
    assert session == {
        "session": "elsewhere",
        "pools": ["profile:1"],
        "state": None,
        "user": None,
        "content": None,
        "client": None,
        "profile": None,
        "grace_s": None,
        "refs": [
            {
                "ref": "r1",
                "here": False,
                "state": None,
                "age_s": None,
                "offset": None,
                "ending": None,
                "expires_in_s": 20.0,
            }
        ],
    }


def test_a_session_whose_last_request_has_ended_is_in_grace(site: Site) -> None:
    site.view("s").release()
    site.viewings[:] = [replace(site.viewings[0], manner=Manner.GRACE)]
    answer = site.ask("GET", "/leases").json
    (session,) = answer["sessions"]
    assert (session["state"], session["grace_s"], session["refs"]) == ("grace", 10.0, [])
    assert session["user"] == "bob"
    assert answer["without_lease"] == []


def test_a_viewer_who_paused_for_long_is_told_apart_from_those_who_hold_a_slot(
    site: Site,
) -> None:
    held = site.view("s", Manner.SUSPENDED)
    held.release(0)
    answer = site.ask("GET", "/leases").json
    assert answer["sessions"] == []
    assert {pool["count"] for pool in answer["pools"]} == {0}
    assert answer["without_lease"] == [
        {
            "session": "s",
            "ref": held.ref,
            "state": "suspended",
            "user": "bob",
            "content": "movie 7",
            "client": "192.0.2.1",
            "profile": "one",
            "age_s": 90.5,
            "offset": 5724,
        }
    ]


def test_connections_to_providers_are_told_by_the_gateway_that_holds_them(site: Site) -> None:
    site.store.claim(NEWS, "attic", 12, (), 20)
    site.store.claim(NEWS, "cellar", 3, (), 20)
    answer = site.ask("GET", "/leases").json
    assert answer["slots"] == [
        {"pool": "provider:main", "owner": "attic", "held": 12},
        {"pool": "provider:main", "owner": "cellar", "held": 3},
    ]
    assert answer["pools"] == [{"name": "provider:main", "cap": None, "count": 15}]
    assert answer["sessions"] == []
    refused = site.ask("DELETE", "/leases/sessions/attic:1")
    assert (refused.status, "no viewer's session" in refused.json["error"]) == (404, True)


def test_a_pool_that_was_asked_for_is_told_while_nobody_is_in_it(site: Site) -> None:
    site.view("s").release(0)
    assert site.ask("GET", "/leases").json["pools"] == [
        {"name": "profile:1", "cap": 3, "count": 0},
        {"name": "user:bob", "cap": 0, "count": 0},
    ]


def test_a_session_that_is_ended_is_told_so_and_leaves_its_pools_without_grace(
    site: Site,
) -> None:
    held = site.view("s")
    answer = site.ask("DELETE", "/leases/sessions/s")
    assert (answer.status, answer.json) == (200, {"session": "s", "refs": 1})
    assert site.told == [State.EVICTED]
    (session,) = site.ask("GET", "/leases").json["sessions"]
    assert session["refs"][0]["ending"] == "evicted"
    held.release()
    assert site.ask("GET", "/leases").json["sessions"] == []


def test_a_session_that_pauses_without_a_slot_is_ended_too(site: Site) -> None:
    site.view("s", Manner.SUSPENDED).release(0)
    answer = site.ask("DELETE", "/leases/sessions/s")
    assert (answer.status, answer.json) == (200, {"session": "s", "refs": 1})
    assert site.ended == ["s"]


def test_a_session_that_is_not_there_is_404_in_words(site: Site) -> None:
    answer = site.ask("DELETE", "/leases/sessions/nobody")
    assert answer.status == 404
    assert answer.json["error"].startswith("no session 'nobody' is here: ")
    assert site.ended == []


def test_what_is_asked_and_answered_is_described(site: Site) -> None:
    description = site.ask("GET", "/openapi.json").json
    validate(description)
    assert set(description["paths"]["/leases"]) == {"get"}
    assert set(description["paths"]["/leases/sessions/{session}"]) == {"delete"}


@pytest.mark.system("redis-server")
def test_two_processes_show_the_same_and_either_ends_a_session_of_the_other_at_once(
    serve: Serve, tmp_path: Path
) -> None:
    # At once is long before the next heartbeat, which is due in an hour.
    with RedisServer(tmp_path) as server:
        here, there = (serve(RedisLeases.from_url(server.url, recover_s=0)) for _ in range(2))
        here.view("s")
        told = [site.ask("GET", "/leases").json["sessions"][0] for site in (here, there)]
        assert [one["pools"] for one in told] == [["profile:1", "user:bob"]] * 2
        assert [one["user"] for one in told] == ["bob", None]
        began = time.monotonic()
        assert there.ask("DELETE", "/leases/sessions/s").status == 200
        while not here.told:
            assert time.monotonic() - began < 20
            time.sleep(0.005)
        assert here.told == [State.EVICTED]


@pytest.mark.system("redis-server")
def test_while_the_store_cannot_be_reached_the_answer_is_503_in_words(
    serve: Serve, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as server:
        site = serve(RedisLeases.from_url(server.url, recover_s=0))
        server.stop()
        for method, path in (("GET", "/leases"), ("DELETE", "/leases/sessions/s")):
            answer = site.ask(method, path)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert answer.json["error"].startswith("the lease store did not do what it was asked")
