"""`nzb-gateway leases`, as somebody types it, against a gateway that runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial

import pytest

from gateway.app import Gateway
from gateway.leases.lease import Pool, State
from gateway.leases_command import show

ONE = Pool("profile:1", 3)
ALL = Pool("global", 0)

Run = Callable[..., tuple[int, list[str], list[str]]]


pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture
def run(command: Run) -> Run:
    """Run one of its commands; return its exit code, and the lines that it printed."""
    return partial(command, "leases")


def test_pools_and_sessions_are_shown_as_tables(gateway: Gateway, run: Run) -> None:
    gateway.keeper.acquire([[ONE, ALL]], "4fa1", lambda state: None)
    gateway.leases.acquire([[ONE]], "90cc", "r", 20)
    gateway.leases.claim(Pool("provider:main", 20), "attic", 12, (), 20)
    code, out, err = run()
    assert (code, err) == (0, [])
    assert out == [
        "Pools: 3",
        "  pool           sessions  of",
        "  global         1         unlimited",
        "  profile:1      2         3",
        "  provider:main  12        -",
        "Sessions: 2",
        "  session  state      user  content  client  profile  age  offset  pools",
        "  4fa1     -          -     -        -       -        -    -       global profile:1",
        "  90cc     elsewhere  -     -        -       -        -    -       profile:1",
        "Connections to providers",
        "  pool           gateway  held",
        "  provider:main  attic    12",
    ]


def test_without_leases_it_says_so_and_the_code_is_0(gateway: Gateway, run: Run) -> None:
    assert run() == (0, ["Pools: 0", "Sessions: 0"], [])


def test_scripts_get_what_the_api_answers(gateway: Gateway, run: Run) -> None:
    gateway.keeper.acquire([[ONE]], "s", lambda state: None)
    code, out, _ = run("--json")
    found = json.loads("\n".join(out))
    assert code == 0
    assert found["pools"] == [{"name": "profile:1", "cap": 3, "count": 1}]
    assert [one["session"] for one in found["sessions"]] == ["s"]


def test_a_session_is_ended_by_its_name(gateway: Gateway, run: Run) -> None:
    told: list[State] = []
    code, out, err = run("end", "s 1 %")
    assert (code, out) == (1, [])
    assert err[0].startswith("nzb-gateway: no session 's 1 %' is here: ")
    gateway.keeper.acquire([[ONE]], "s 1 %", told.append)
    assert run("end", "s 1 %") == (0, ["s 1 % was told to end: 1 request"], [])
    assert told == [State.EVICTED]


def test_where_no_gateway_runs_the_code_is_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "k")
    monkeypatch.setenv("GATEWAY_PORT", "1")
    for arguments in ((), ("end", "s")):
        code, out, err = run(*arguments)
        assert (code, out) == (1, [])
        assert err[0].startswith("nzb-gateway: nothing listens on 127.0.0.1:1: ")


def test_what_strangers_named_does_nothing_to_a_terminal() -> None:
    out = io.StringIO()
    viewing = {
        "session": "s",
        "ref": "r",
        "state": "suspended",
        "user": "bob",
        "content": "\x1b[2Jfilm",
        "client": "192.0.2.1",
        "profile": None,
        "age_s": 3661.4,
        "offset": 5724,
    }
    ref = {"ref": "r", "here": True, "state": "streaming", "age_s": 61.0, "offset": 1}
    session = {**viewing, "grace_s": None, "pools": ["global"]}
    show(
        {
            "pools": [],
            "sessions": [
                {**session, "refs": [{**ref, "ending": None}]},
                {**session, "session": "t", "grace_s": 1.5, "refs": []},
            ],
            "slots": [],
            "without_lease": [viewing],
        },
        out,
    )
    assert out.getvalue().splitlines() == [
        "Pools: 0",
        "Sessions: 2",
        "  session  state       user  content   client     profile  age   offset  pools",
        "  s        streaming   bob   ?[2Jfilm  192.0.2.1  -        1:01  1       global",
        "  t        grace 1.5s  bob   ?[2Jfilm  192.0.2.1  -        -     -       global",
        "Without a slot: 1",
        "  session  state      user  content   client     profile  age      offset",
        "  s        suspended  bob   ?[2Jfilm  192.0.2.1  -        1:01:01  5724",
    ]
