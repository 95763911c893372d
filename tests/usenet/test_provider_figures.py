"""What an operator sees of a provider: whether it is asked, and what it has answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.demo import Fault, NewsServer, make_post
from gateway.errors import ArticleDamaged, ArticleMissing, GatewayError, ProviderBusy
from gateway.nzb.extents import Part
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.provider import PAUSE_S, Breaker, BreakerState, BreakerStatus
from gateway.usenet.replies import Meaning
from gateway.usenet.workload import Reservation, Workload, scope

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

WATCHING = Reservation(Workload.STREAM, 1)
POST = make_post("film.mkv", bytes(range(256)) * 400, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]


def test_replies_are_counted_by_meaning_and_articles_by_what_they_were_worth(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    server.fail(Fault.MISSING, POST.message_ids[0])
    server.fail(Fault.DAMAGED, POST.message_ids[1])
    client = make_client(to(server))
    with scope(WATCHING):
        with pytest.raises(ArticleMissing):
            client.source.body(PARTS[0], timeout_s=10)
        with pytest.raises(ArticleDamaged):
            client.source.body(PARTS[1], timeout_s=10)
        for part in PARTS[2:6]:
            client.source.body(part, timeout_s=10)
        client.source.exists(PARTS, timeout_s=10)
    tally = client.source.providers[0].tally
    assert (tally.articles, tally.damaged) == (4, 1)
    assert tally.replies[Meaning.MISSING] == 2  # BODY and STAT
    assert tally.replies[Meaning.PRESENT] == 5 + len(PARTS) - 1
    assert sum(tally.replies.values()) == 6 + len(PARTS)
    assert not tally.failures


def test_exchanges_that_failed_are_counted_by_what_kept_them(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    server.fail(Fault.REFUSE_LOGIN, times=1)
    client = make_client(to(server, username="bob", password="pw"))
    with scope(WATCHING), pytest.raises(GatewayError):
        client.source.body(PARTS[0], timeout_s=10)
    provider = client.source.providers[0]
    assert dict(provider.tally.failures) == {"LoginRefused": 1}
    status = provider.breaker()
    assert status.state is BreakerState.OPEN
    assert status.reason is not None
    assert "481" in status.reason
    assert "pw" not in status.reason.split()


def test_a_breaker_tells_why_and_for_how_long_it_is_open() -> None:
    now = 100.0
    breaker = Breaker(lambda: now)
    assert breaker.status() == BreakerStatus(BreakerState.CLOSED, None, 0.0)
    for _ in range(3):
        breaker.failed(ProviderBusy("main refuses for now"))
        now += 2
    status = breaker.status()
    assert (status.state, status.reason) == (BreakerState.OPEN, "main refuses for now")
    assert status.pause_s == PAUSE_S - 2
    now += PAUSE_S
    assert breaker.status().state is BreakerState.PROBING
    assert breaker.refusal() is None, "looking at it does not take the probe away"
    assert breaker.status().state is BreakerState.PROBING
    breaker.succeeded()
    assert breaker.status().state is BreakerState.CLOSED
