"""Articles come to the disk, each at its offset, once."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import Checksum, Fault, NewsServer, Post, make_post, make_posts
from gateway.errors import ProviderError, StorageFull
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope
from gateway_queue.download import transfer as module
from gateway_queue.download.scrutiny import doubted
from gateway_queue.download.under_way import Wanted
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

Begin = Callable[..., Any]
InThread = Callable[[Callable[[], None]], threading.Thread]


@pytest.fixture
def post(server: NewsServer, film: bytes) -> Post:
    post = make_post("Film.mkv", film, part_size=7_000)
    server.add(post)
    return post


def most_often_asked(server: NewsServer) -> int:
    return max(server.counts.bodies.values(), default=0)


def waiting_for_a_permit(usenet: UsenetClient) -> int:
    return next(iter(usenet.pools.values())).permits.snapshot().waiting[Workload.QUEUE]


def test_what_is_on_the_disk_is_what_was_posted(server: NewsServer, begin: Begin) -> None:
    contents = {f"file-{n}.bin": random.Random(n).randbytes(n * 5_003 + 1) for n in range(20)}
    post = make_posts(contents, part_size=2_000)
    server.add(post)

    fetching = begin(post)
    fetching.fetch()

    for number, data in enumerate(contents.values()):
        assert fetching.data(number) == data
    assert [one.name for _, one in sorted(fetching.journal.files.items())] == list(contents)


def test_irregular_and_single_parts_lie_where_they_belong(
    server: NewsServer, begin: Begin, film: bytes
) -> None:
    post = make_posts({"a": film[:50_000], "b": b"x"}, part_sizes=[700, 3_000, 1])
    server.add(post)
    fetching = begin(post)
    fetching.fetch()
    assert (fetching.data(0), fetching.data(1)) == (film[:50_000], b"x")


@pytest.mark.parametrize("stall_s", [30])
@pytest.mark.parametrize(
    ("listed", "asked", "waiting"),
    [
        (7_200, 19, 11),
        pytest.param(16 << 20, 10 + 4, 0, id="no more than 64 MiB beside what arrives"),
    ],
)
def test_articles_are_asked_for_behind_others_that_still_arrive(
    server: NewsServer,
    usenet: UsenetClient,
    begin: Begin,
    post: Post,
    in_thread: InThread,
    wait_until: Callable[[Callable[[], object]], None],
    listed: int,
    asked: int,
    waiting: int,
) -> None:
    server.fail(Fault.STALL, *post.message_ids[:10], times=1, after=2_000)
    nzb = re.sub(rb'bytes="\d+"', b'bytes="%d"' % listed, post.nzb)
    fetching = begin(replace(post, nzb=nzb))
    in_thread(fetching.fetch)
    try:
        server.wait_for(
            lambda counts: counts.commands["BODY"] == asked and counts.stalled == 10, 20
        )
        wait_until(lambda: waiting_for_a_permit(usenet) == waiting)
    finally:
        server.release()
    server.wait_for(lambda counts: len(counts.bodies) == len(post.message_ids), 20)
    assert server.counts.peak_connections == 10
    assert most_often_asked(server) == 1


@pytest.mark.parametrize("stall_s", [30])
def test_what_is_asked_for_ahead_is_not_waited_for_and_comes_with_what_is_fetched_next(
    server: NewsServer, usenet: UsenetClient, begin: Begin, post: Post, film: bytes
) -> None:
    server.fail(Fault.STALL, *post.message_ids[1:], after=2_000)
    fetching = begin(post)
    first, *others = fetching.wanted
    left = iter(others)
    with scope(Reservation(Workload.QUEUE)):
        fetching.transfer.fetch([first], Ticket(), lambda: next(left, None))
        assert fetching.journal.posted(0).spans.keys() == {0}
        server.wait_for(lambda counts: counts.stalled == 10)
        server.wait_for(lambda counts: counts.commands["BODY"] == 1 + 19)
        assert waiting_for_a_permit(usenet) == 1, "two for each connection"
        server.heal()
        fetching.transfer.fetch(others, Ticket())
    assert fetching.data() == film
    assert most_often_asked(server) == 1


@pytest.mark.parametrize("stall_s", [30])
def test_it_goes_ahead_until_something_else_is_done(
    begin: Begin, post: Post, film: bytes, in_thread: InThread
) -> None:
    fetching, until = begin(post), Future[None]()
    left, over = iter(fetching.wanted), threading.Event()

    def ahead() -> Wanted | None:
        if (one := next(left, None)) is None:
            over.set()
        return one

    def fetch() -> None:
        with scope(Reservation(Workload.QUEUE)):
            fetching.transfer.fetch((), Ticket(), ahead, until)

    thread = in_thread(fetch)
    assert over.wait(20)
    assert thread.is_alive(), "there is nothing more to fetch, and it is not done yet"
    until.set_result(None)
    thread.join(20)
    fetching.fetch()
    assert fetching.data() == film


def test_who_goes_ahead_until_something_else_is_done_lets_go_at_once(
    begin: Begin, post: Post, in_thread: InThread
) -> None:
    fetching, ticket, ended = begin(post), Ticket(), threading.Event()

    def fetch() -> None:
        with pytest.raises(LetGo):
            fetching.transfer.fetch((), ticket, until=Future())
        ended.set()

    in_thread(fetch)
    ticket.cancel()
    assert ended.wait(20)


def test_nothing_is_fetched_again_once_it_is_there(
    server: NewsServer, begin: Begin, post: Post, film: bytes
) -> None:
    begin(post).fetch()
    again = begin(post)
    again.fetch()

    assert again.data() == film
    assert again.journal.read_back == 0, "what was left in good order need not be read"
    assert most_often_asked(server) == 1


def test_what_every_provider_lacks_is_known_to_be_absent_and_not_asked_for_again(
    server: NewsServer, begin: Begin, post: Post, film: bytes
) -> None:
    gone = post.message_ids[3]
    server.remove([gone])
    begin(post).fetch()
    asked = server.counts.bodies[gone]

    again = begin(post)
    again.fetch()

    assert again.journal.posted(0).absent == {3}
    assert server.counts.bodies[gone] == asked
    assert again.data() == film[:21_000] + bytes(7_000) + film[28_000:]


def test_a_damaged_article_is_not_written_and_asked_for_again_another_time(
    server: NewsServer, begin: Begin, post: Post, film: bytes
) -> None:
    server.fail(Fault.DAMAGED, post.message_ids[3])
    first = begin(post)
    first.fetch()
    assert first.transfer.damaged == {(0, 3)}
    assert first.data() == film[:21_000] + bytes(7_000) + film[28_000:]

    server.heal()
    again = begin(post)
    again.fetch()
    assert not again.transfer.damaged
    assert again.data() == film


def test_an_article_with_offsets_of_another_place_is_not_written_over_what_is_there(
    server: NewsServer, begin: Begin, film: bytes
) -> None:
    post = make_post("Film.mkv", film, part_size=7_000)
    shifted = make_post("Film.mkv", film, part_size=7_000, shift=1_000)
    wrong = shifted.message_ids[5]
    assert wrong == post.message_ids[5]
    server.add(post)
    server.add(shifted.articles[wrong])

    fetching = begin(post)
    everything = fetching.wanted
    fetching.wanted = [one for one in everything if one.segment != 5]
    fetching.fetch()
    fetching.wanted = everything
    fetching.fetch()

    assert fetching.transfer.damaged == {(0, 5)}
    assert fetching.data() == film[:35_000] + bytes(7_000) + film[42_000:]


def swap(server: NewsServer, post: Post, mid: str, other: str) -> None:
    """Have *server* give the article *other* of *post* as *mid*."""
    article = post.articles[mid]
    server.add(type(article)(mid, article.groups, article.head, post.articles[other].body))


def test_articles_in_each_others_places_cost_nobody_else_theirs(
    server: NewsServer, begin: Begin, post: Post, film: bytes
) -> None:
    ids = post.message_ids
    swap(server, post, ids[5], ids[20])
    swap(server, post, ids[20], ids[40])
    fetching = begin(post)
    fetching.wanted.sort(key=lambda one: (one.segment not in {0, 5, 20}, one.segment))

    fetching.fetch()

    assert fetching.transfer.damaged == {(0, 5), (0, 20)}
    # What lies in the two places that count as damaged depends on what came first.
    data = fetching.data()
    for begins, ends in [(0, 35_000), (42_000, 140_000), (147_000, len(film))]:
        assert data[begins:ends] == film[begins:ends]
    assert len(data) == len(film)


@pytest.mark.parametrize("providers", [2], indirect=True)
def test_another_provider_is_asked_for_what_one_gives_in_the_wrong_place(
    providers: list[NewsServer], begin: Begin, film: bytes
) -> None:
    post = make_post("Film.mkv", film, part_size=7_000)
    for server in providers:
        server.add(post)
    swap(providers[0], post, post.message_ids[5], post.message_ids[20])
    fetching = begin(post)
    fetching.fetch()
    assert not fetching.transfer.damaged
    assert fetching.data() == film


@pytest.mark.parametrize("first", [0, 1])
def test_the_size_of_a_file_is_what_most_of_its_articles_say(
    server: NewsServer, begin: Begin, film: bytes, first: int
) -> None:
    post = make_posts({"": film, "Other.bin": film[:300_000]}, part_size=7_000, subject="x")
    server.add(post)
    swap(server, post, post.message_ids[first], post.files[1].message_ids[first])
    fetching = begin(post)
    fetching.wanted = [one for one in fetching.wanted if one.number == 0]
    fetching.wanted.sort(key=lambda one: one.segment != first)

    fetching.fetch()

    assert fetching.transfer.damaged == {(0, first)}
    assert fetching.journal.posted(0).size == len(film)
    at = 7_000 * first
    assert fetching.data() == film[:at] + bytes(7_000) + film[at + 7_000 :]
    again = begin(post)
    assert (again.journal.posted(0).size, len(again.journal.posted(0).spans)) == (len(film), 71)


def test_an_article_of_another_file_of_the_post_is_not_written(
    server: NewsServer, begin: Begin, film: bytes
) -> None:
    # Of one size, as volumes are: offsets, size and CRC-32 are all as they should be.
    post = make_posts({"Film.r00": film, "Film.r01": film[::-1]}, part_size=7_000)
    server.add(post)
    swap(server, post, post.files[0].message_ids[5], post.files[1].message_ids[5])
    fetching = begin(post)
    fetching.fetch()
    assert fetching.transfer.damaged == {(0, 5)}
    assert fetching.data(0) == film[:35_000] + bytes(7_000) + film[42_000:]


@pytest.mark.parametrize("checksum", [Checksum.ABSENT, Checksum.RIGHT])
def test_what_bears_another_name_or_alone_no_checksum_is_in_doubt(
    server: NewsServer, begin: Begin, post: Post, film: bytes, checksum: Checksum
) -> None:
    odd = make_post(
        "Film.mkv" if checksum is Checksum.ABSENT else "Another.mkv",
        film,
        part_size=7_000,
        checksum=checksum,
    )
    for at in (0, 5):
        mid, article = post.message_ids[at], odd.articles[odd.message_ids[at]]
        server.add(type(article)(mid, article.groups, article.head, article.body))
    begin(post).fetch()

    again = begin(post)
    assert again.data() == film
    assert doubted(again.journal.files, 0) == {0, 5}
    again.journal.lost(0, 5)
    assert doubted(again.journal.files, 0) == {0}


def test_a_post_without_checksums_or_with_a_name_for_each_article_is_as_good_as_any(
    server: NewsServer, begin: Begin, film: bytes
) -> None:
    posts = [
        make_post(f"{part:032x}", film, part_size=7_000, checksum=Checksum.ABSENT)
        for part in range(72)
    ]
    post = posts[0]
    for part, other in enumerate(posts):
        mid, article = post.message_ids[part], other.articles[other.message_ids[part]]
        server.add(type(article)(mid, article.groups, article.head, article.body))
    fetching = begin(post)
    fetching.fetch()
    assert fetching.data() == film
    assert not doubted(fetching.journal.files, 0)


def test_a_provider_that_does_not_answer_proves_nothing(
    server: NewsServer, begin: Begin, post: Post, film: bytes
) -> None:
    server.fail(Fault.BUSY, post.message_ids[9])
    fetching = begin(post)
    with pytest.raises(ProviderError):
        fetching.fetch()
    assert not fetching.journal.posted(0).absent

    server.heal()
    again = begin(post)
    again.fetch()
    assert again.data() == film


def test_it_lets_go_at_once_and_what_came_stays(
    server: NewsServer, begin: Begin, post: Post, in_thread: InThread, film: bytes
) -> None:
    server.fail(Fault.SILENCE, post.message_ids[-1])
    ticket, ended = Ticket(), threading.Event()
    fetching = begin(post)

    def fetch() -> None:
        with pytest.raises(LetGo):
            fetching.fetch(ticket)
        ended.set()

    in_thread(fetch)
    server.wait_for(lambda counts: counts.stalled)
    tick = threading.Event()
    for _ in range(2_000):  # what the server has sent is written a moment later
        if fetching.meter.progress().speed:
            break
        tick.wait(0.01)
    ticket.cancel()
    assert ended.wait(20), "without waiting for the provider"
    server.heal()

    again = begin(post)
    assert again.journal.posted(0).spans
    again.fetch()
    assert again.data() == film


def test_it_stops_before_the_disk_is_full_and_goes_on_when_there_is_room(
    begin: Begin, post: Post, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda folder: 999_999)
    fetching = begin(post, reserve=1_000_000)
    with pytest.raises(StorageFull, match=r"1 MB are free .* make room"):
        fetching.fetch()

    monkeypatch.setattr(module, "free_bytes", lambda folder: 1 << 30)
    again = begin(post, reserve=1_000_000)
    again.fetch()
    assert again.data() == film


def test_the_meter_counts_all_that_is_done(begin: Begin, post: Post, server: NewsServer) -> None:
    server.remove([post.message_ids[3]])
    total = sum(article.size for article in post.files[0].articles)
    fetching = begin(post)
    fetching.meter.aim(0, total, 0)
    fetching.fetch()

    progress = fetching.meter.progress()
    assert (progress.done, progress.total) == (total, total)
    assert progress.missing == post.files[0].articles[3].size
    assert progress.speed > 0
    assert progress.left_s == 0


def test_a_descriptor_for_each_file_is_not_needed(server: NewsServer, begin: Begin) -> None:
    contents = {f"{n}.bin": b"%d" % n * 100 for n in range(200)}
    post = make_posts(contents, part_size=50)
    server.add(post)
    fetching = begin(post)
    before = len(list(Path("/proc/self/fd").iterdir()))
    fetching.fetch()
    assert [fetching.data(n) for n in range(200)] == list(contents.values())
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 100


def test_what_nobody_reads_again_makes_way_in_the_page_cache_once_it_is_on_the_disk(
    server: NewsServer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[int] = []

    def advise(fd: int, _offset: int, _length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        given_up.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "posix_fadvise", advise)
    post = make_posts({"film.mkv": b"film" * 2_000, "film.rar": b"rar" * 2_000}, part_size=1_000)
    server.add(post)
    fetching = begin(post)
    fetching.files.unread = {0}
    fetching.fetch()
    assert set(given_up) == {fetching.files.path(0).stat().st_ino}
