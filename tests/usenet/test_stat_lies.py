"""A STAT that lies, 223 and then 430 to BODY, is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.demo import Fault, NewsServer, Post, make_post
from gateway.errors import ArticleMissing
from gateway.nzb.extents import Part
from gateway.usenet import claims as module
from gateway.usenet import reactor
from gateway.usenet.articles import ArticleSource, Verdict
from gateway.usenet.claims import Claims
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope

MakeClient = Callable[..., UsenetClient]
To = Callable[..., Account]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def queue() -> Iterator[None]:
    with scope(Reservation(Workload.QUEUE)):
        yield


@pytest.fixture
def post() -> Post:
    return make_post("film.mkv", b"0123456789" * 10_000, part_size=1_000)


def parts_of(post: Post) -> list[Part]:
    return [Part((message_id,)) for message_id in post.message_ids]


def ask(source: ArticleSource, parts: list[Part]) -> list[Verdict]:
    return source.exists(parts, timeout_s=10)


def catch(source: ArticleSource, part: Part) -> None:
    """Have STAT say that it is there, and BODY that it is not."""
    assert ask(source, [part]) == [Verdict.PRESENT]
    with pytest.raises(ArticleMissing):
        source.body(part, timeout_s=10)


def test_a_provider_that_was_caught_has_its_word_held_against_a_few_bodies(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.STAT_LIES)
    source = make_client(to(server)).source
    first, *rest = parts_of(post)
    assert ask(source, rest) == [Verdict.PRESENT] * 99  # nothing is known of it yet
    catch(source, first)

    verdicts = ask(source, rest)

    assert server.counts.commands["BODY"] == 1 + 5
    assert (verdicts.count(Verdict.MISSING), verdicts.count(Verdict.UNKNOWN)) == (5, 94)


def test_one_that_was_caught_once_and_has_what_is_fetched_is_believed_for_the_rest(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    first, *rest = parts_of(post)
    server.fail(Fault.STAT_LIES, first.message_ids[0])
    source = make_client(to(server)).source
    catch(source, first)

    assert ask(source, rest) == [Verdict.PRESENT] * 99
    assert server.counts.commands["BODY"] == 1 + 5
    assert 0 < source.providers[0].claims.lies < 1


def test_what_body_has_just_refused_stat_cannot_bring_back(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.STAT_LIES)
    source = make_client(to(server)).source
    part = parts_of(post)[7]
    with pytest.raises(ArticleMissing):
        source.body(part, timeout_s=10)

    assert ask(source, [part]) == [Verdict.MISSING]
    assert not source.providers[0].claims.believed
    assert server.counts.commands["BODY"] == 2


def test_what_came_since_body_refused_it_is_there_and_nobody_has_lied(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    part, other, *_ = parts_of(post)
    server.add(post.without(*part.message_ids, *other.message_ids))
    source = make_client(to(server)).source
    for one in (part, other):
        with pytest.raises(ArticleMissing):
            source.body(one, timeout_s=10)
    assert ask(source, [part, other]) == [Verdict.MISSING] * 2
    assert server.counts.commands["BODY"] == 2  # nobody says that they are there

    server.add(post.without(*other.message_ids))

    assert ask(source, [part, other]) == [Verdict.PRESENT, Verdict.MISSING]
    assert source.providers[0].claims.believed
    assert server.counts.commands["BODY"] == 3


def test_of_very_many_that_body_has_just_refused_some_are_fetched(
    server: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    server.add(post)
    server.fail(Fault.STAT_LIES)
    source = make_client(to(server)).source
    for part in parts_of(post):
        with pytest.raises(ArticleMissing):
            source.body(part, timeout_s=10)

    assert ask(source, parts_of(post)) == [Verdict.MISSING] * 100
    assert server.counts.commands["BODY"] == 100 + 64


def test_another_provider_that_is_believed_is_asked_before_anything_is_fetched(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To, post: Post
) -> None:
    first, *rest = parts_of(post)
    server.add(post)
    server.fail(Fault.STAT_LIES)
    spare.add(post.without(first.message_ids[0]))
    source = make_client(to(server, "a"), to(spare, "b", priority=1)).source
    catch(source, first)
    bodies = server.counts.commands["BODY"]

    assert ask(source, rest) == [Verdict.PRESENT] * 99
    assert server.counts.commands["BODY"] == bodies
    assert source.providers[1].claims.believed


def test_a_liar_that_does_not_answer_any_more_leaves_things_unknown(
    server: NewsServer,
    make_client: MakeClient,
    to: To,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reactor, "TICK_S", 0.05)
    server.add(post)
    first, *rest = parts_of(post)
    server.fail(Fault.STAT_LIES, first.message_ids[0])
    source = make_client(to(server), stall_s=0.5).source
    catch(source, first)
    server.fail(Fault.SILENCE, commands={"BODY"})

    assert set(source.exists(rest, timeout_s=10)) == {Verdict.UNKNOWN}


def test_one_lie_among_a_hundred_true_claims_is_forgiven_and_two_are_not() -> None:
    claims = Claims("main")
    for number in range(99):
        assert claims.said(f"{number}@a")
        claims.delivered(f"{number}@a")
    claims.said("gone@a")
    claims.refused("gone@a")
    assert claims.believed
    assert not claims.said("gone@a")
    assert claims.believed  # it may have come since
    claims.refused("gone@a")
    assert not claims.believed


def test_what_went_long_after_it_was_there_is_no_lie() -> None:
    clock = Clock()
    claims = Claims("main", clock)
    claims.said("a@a")
    clock.now += 3_600
    claims.refused("a@a")
    assert claims.believed
    clock.now += 3_600
    assert claims.said("a@a")  # it has arrived
    assert claims.believed


def test_what_is_remembered_is_bounded_and_fades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 100)
    claims = Claims("main")
    for number in range(1_000):
        claims.said(f"{number}@a")
    claims.refused("0@a")
    assert claims.believed  # forgotten long since
    claims.refused("999@a")
    assert claims.lies == 1
    for number in range(10_000):
        claims.said(f"{number}@b")
        claims.delivered(f"{number}@b")
    assert claims.believed
    assert claims.lies < 0.001


def test_an_article_that_came_after_it_was_refused_is_there_again() -> None:
    claims = Claims("main")
    claims.refused("a@a")
    claims.delivered("a@a")
    assert claims.said("a@a")
    assert claims.believed
