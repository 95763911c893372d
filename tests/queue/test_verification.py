"""Is a post whole? By a sample, by all, or by reading everything: over real news servers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator

import pytest

from gateway.demo import Fault, NewsServer, Post, make_bulk_post, make_post, make_posts
from gateway.errors import ArticleDamaged, ImportFailed, IncompletePost, ProviderError
from gateway.nzb.extents import PartTable
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue import deep_reading
from gateway_queue.category import CategoryRules, Verify
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.item import Item, LetGo, State
from gateway_queue.processor import Processor
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Sought, Tally, Verifier

PART = 1_000
ALL_BUT_SAMPLE = [Verify.ALL, Verify.DEEP]


@pytest.fixture(autouse=True)
def as_the_queue() -> Iterator[None]:
    with scope(Reservation(Workload.QUEUE)):
        yield


@pytest.fixture
def film() -> Post:
    return make_bulk_post("film.mkv", 1_000 * PART, part_size=PART)


@pytest.fixture
def verifier(usenet: UsenetClient) -> Verifier:
    return Verifier(usenet.source, providers=len(usenet.source.providers), timeout_s=10)


def sought(post: Post, *, md5: Callable[[bytes], bytes | None] = lambda _: None) -> list[Sought]:
    return [
        Sought(
            file.name,
            PartTable.regular([each.encode() for each in file.message_ids], file.size, PART),
            md5(file.data),
        )
        for file in post.files
    ]


def right(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def asked(server: NewsServer) -> tuple[int, int]:
    commands = server.counts.commands
    return commands["STAT"], commands["BODY"]


@pytest.mark.parametrize(
    ("how", "stats", "bodies"),
    [(Verify.SAMPLE, 10, 0), (Verify.ALL, 1_000, 0), (Verify.DEEP, 1_000, 1_000)],
)
def test_a_whole_post_costs_what_its_category_asks_for(
    server: NewsServer, verifier: Verifier, film: Post, how: Verify, stats: int, bodies: int
) -> None:
    server.add(film)

    tally = verifier.verify_post(sought(film, md5=right), how, Ticket())

    assert tally == Tally(total=1_000, asked=stats, missing=0, unknown=0)
    assert asked(server) == (stats, bodies)


def test_a_sample_is_of_each_file(server: NewsServer, verifier: Verifier) -> None:
    post = make_posts({f"{number}.mkv": b"x" * 20 * PART for number in range(3)}, part_size=PART)
    server.add(post)

    assert verifier.verify_post(sought(post), Verify.SAMPLE, Ticket()).asked == 15


@pytest.mark.parametrize("how", list(Verify))
def test_articles_that_have_been_seen_are_not_asked_for_again(
    server: NewsServer, verifier: Verifier, film: Post, how: Verify
) -> None:
    server.add(film)
    seen = frozenset({film.message_ids[0], film.message_ids[-1]})

    tally = verifier.verify_post(sought(film), how, Ticket(), present=seen)

    assert tally.asked - server.counts.commands["STAT"] == 2


@pytest.mark.parametrize("providers", [2], indirect=True)
@pytest.mark.parametrize("how", ALL_BUT_SAMPLE)
def test_every_article_that_is_missing_is_counted_and_nothing_is_fetched_then(
    providers: list[NewsServer], verifier: Verifier, film: Post, how: Verify
) -> None:
    gone = film.message_ids[100:137]
    for server in providers:
        server.add(film.without(*gone))

    with pytest.raises(IncompletePost) as caught:
        verifier.verify_post(sought(film), how, Ticket())

    assert str(caught.value) == "37 of 1,000 articles are missing from all 2 providers"
    assert [server.counts.commands["BODY"] for server in providers] == [0, 0]


@pytest.mark.parametrize("providers", [2], indirect=True)
@pytest.mark.parametrize("how", list(Verify))
def test_what_one_provider_lacks_and_another_has_is_there(
    providers: list[NewsServer], verifier: Verifier, film: Post, how: Verify
) -> None:
    half = film.message_ids[::2]
    providers[0].add(film.without(*half))
    providers[1].add(film.without(*[one for one in film.message_ids if one not in half]))

    assert verifier.verify_post(sought(film, md5=right), how, Ticket()).missing == 0


@pytest.mark.parametrize("how", list(Verify))
@pytest.mark.parametrize("stall_s", [0.2])
def test_a_provider_that_says_nothing_makes_nothing_missing(
    server: NewsServer, verifier: Verifier, film: Post, how: Verify
) -> None:
    server.add(film)
    server.fail(Fault.SILENCE)

    with pytest.raises(ProviderError, match="articles could not be checked"):
        verifier.verify_post(sought(film), how, Ticket())


def test_reading_everything_finds_what_stat_does_not_know(
    server: NewsServer, verifier: Verifier, film: Post
) -> None:
    server.add(film)
    server.fail(Fault.STAT_LIES, film.message_ids[500])
    assert verifier.verify_post(sought(film), Verify.ALL, Ticket()).missing == 0

    with pytest.raises(IncompletePost, match="1 of 1,000 articles is missing from the provider"):
        verifier.verify_post(sought(film), Verify.DEEP, Ticket())


def test_reading_everything_finds_damage_and_says_where(
    server: NewsServer, verifier: Verifier, film: Post
) -> None:
    server.add(film)
    server.fail(Fault.DAMAGED, *film.message_ids[500:502])

    with pytest.raises(ArticleDamaged, match=r"2 of 1,000 articles are damaged.*CRC-32 is wrong"):
        verifier.verify_post(sought(film), Verify.DEEP, Ticket())


def test_reading_everything_ends_where_a_hundred_articles_cannot_be_had(
    server: NewsServer, verifier: Verifier, film: Post
) -> None:
    server.add(film)
    server.fail(Fault.STAT_LIES)

    with pytest.raises(IncompletePost, match=r"100 of 100 articles fetched \(of 1,000\)"):
        verifier.verify_post(sought(film), Verify.DEEP, Ticket())


@pytest.mark.parametrize("stall_s", [0.2])
def test_reading_everything_ends_where_nothing_comes_any_more(
    server: NewsServer, usenet: UsenetClient, film: Post
) -> None:
    server.add(film)
    server.fail(Fault.SILENCE, commands={"BODY"})

    with pytest.raises(ProviderError, match="articles could not be fetched"):
        Verifier(usenet.source, providers=1, timeout_s=0.1).verify_post(
            sought(film), Verify.DEEP, Ticket()
        )


def test_a_file_that_is_not_what_par2_describes_fails_though_each_article_is_right(
    server: NewsServer, verifier: Verifier
) -> None:
    post = make_posts({"a.mkv": b"a" * 9_500, "b.mkv": b"b" * 9_500}, part_size=PART)
    server.add(post)
    wrong = {b"a" * 9_500: right(b"a" * 9_500), b"b" * 9_500: right(b"c" * 9_500)}

    with pytest.raises(ImportFailed, match=r'^"b.mkv" is not what the par2 files') as caught:
        verifier.verify_post(sought(post, md5=wrong.__getitem__), Verify.DEEP, Ticket())
    assert not isinstance(caught.value, IncompletePost)


def test_reading_everything_holds_little_at_a_time(
    server: NewsServer, verifier: Verifier, film: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep_reading, "_WINDOW", 3 * PART)
    server.add(film)
    server.fail(Fault.SILENCE, film.message_ids[10], commands={"BODY"})
    ticket = Ticket()
    found: list[BaseException] = []

    def verify() -> None:
        try:
            with scope(Reservation(Workload.QUEUE)):
                verifier.verify_post(sought(film), Verify.DEEP, ticket)
        except LetGo as exc:
            found.append(exc)

    thread = threading.Thread(target=verify)
    thread.start()
    server.wait_for(lambda counts: counts.stalled and counts.commands["BODY"] >= 13)
    ticket.cancel()  # it lets go although the provider says nothing
    thread.join(10)

    assert [type(one) for one in found] == [LetGo]
    assert server.counts.commands["BODY"] == 13


@pytest.mark.parametrize("how", list(Verify))
def test_a_category_decides_how_its_imports_are_verified(
    server: NewsServer,
    importer: Importer,
    queue: Queue,
    processor: Processor,
    find: Callable[[str], Item],
    wait_until: Callable[[Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
    how: Verify,
) -> None:
    post = make_post("Film.mkv", b"\x1a\x45\xdf\xa3" * 100_000, part_size=PART)
    server.add(post)
    server.remove(post.message_ids[150:152])  # which the sample passes over
    monkeypatch.setattr(importer, "_rules", {"movies": CategoryRules("movies", verify=how)})
    nzo_id = queue.add(post.nzb, filename="Job.nzb", category="movies")

    processor.start()
    wait_until(lambda: find(nzo_id).completed)

    item = find(nzo_id)
    if how is Verify.SAMPLE:
        assert item.state is State.COMPLETED
    else:
        assert item.state is State.FAILED
        assert item.failure == "2 of 400 articles are missing from the provider"
