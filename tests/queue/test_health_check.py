"""The check of one file: every article is asked for, and what is said of each is kept apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.demo import Fault, NewsServer, Post, make_bulk_post
from gateway.library.catalogue import Library
from gateway.library.check_records import CheckRecords
from gateway.library.damage import Playable
from gateway.library.entries import Release
from gateway.library.health import Findings, Health, Hole
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.extents import PartTable, Run
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout
from gateway.streams.on_disk import DiskFile
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Workload
from gateway_queue.health import Examiner, damage_of
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

Publish = Callable[..., Release]


@pytest.fixture
def examine(examiner: Examiner, library: Library, records: CheckRecords) -> Callable[..., Findings]:
    """Examine the one file of a release."""

    def examine(
        release: Release,
        ticket: Ticket | None = None,
        progress: Callable[[int, int], None] = lambda _done, _articles: None,
    ) -> Findings:
        (known,) = records.of_releases([release.id])
        return examiner.examine(library.layout(known.file.id), ticket or Ticket(), progress)

    return examine


def film(articles: int, name: str = "film.mkv") -> Post:
    return make_bulk_post(name, articles * 1000, part_size=1000)


def test_a_file_whose_articles_are_all_there_is_healthy(
    server: NewsServer, publish: Publish, examine: Callable[..., Findings]
) -> None:
    post = film(250)
    server.add(post)
    findings = examine(publish(post))
    assert findings == Findings(250)
    assert findings.health is Health.HEALTHY
    assert set(server.counts.stats) == set(post.message_ids)
    assert not server.counts.bodies


def test_missing_articles_are_told_with_where_they_are(
    server: NewsServer, publish: Publish, examine: Callable[..., Findings]
) -> None:
    post = film(250)
    gone = [post.message_ids[index] for index in (3, 120, 121, 249)]
    server.add(post.without(*gone))
    findings = examine(publish(post))
    assert findings == Findings(250, 4, 0, (Hole(0, 3, 3), Hole(0, 120, 121), Hole(0, 249, 249)))
    assert findings.health is Health.DEGRADED


def test_a_file_without_any_article_left_has_failed(
    server: NewsServer, publish: Publish, examine: Callable[..., Findings]
) -> None:
    findings = examine(publish(film(250)))
    assert findings == Findings(250, 250, 0, (Hole(0, 0, 249),))
    assert findings.health is Health.FAILED


def test_what_the_nzb_does_not_list_is_missing_and_is_not_asked_for(
    server: NewsServer, usenet: UsenetClient, examiner: Examiner
) -> None:
    post = film(10)
    server.add(post)
    ids = [one.encode() for one in post.message_ids]
    ids[4] = b""
    layout = Layout([Run(0, 0, 10_000)], [PartTable.regular(ids, 10_000, 1000)])
    findings = examiner.examine(layout, Ticket(), lambda _done, _articles: None)
    assert findings == Findings(10, 1, 0, (Hole(0, 4, 4),))
    assert server.counts.commands["STAT"] == 9


def test_only_the_articles_that_hold_bytes_of_the_file_are_asked_for(
    server: NewsServer, examiner: Examiner
) -> None:
    posts = [film(10, "film.part1.rar"), film(10, "film.part2.rar")]
    server.add(posts[0], posts[1].without(posts[1].message_ids[0]))
    tables = [
        PartTable.regular([one.encode() for one in post.message_ids], 10_000, 1000)
        for post in posts
    ]
    layout = Layout([Run(0, 1500, 8500), Run(1, 0, 5000), Run(1, 4000, 1500)], tables)
    findings = examiner.examine(layout, Ticket(), lambda _done, _articles: None)
    assert findings == Findings(15, 1, 0, (Hole(1, 0, 0),))
    asked = {*posts[0].message_ids[1:], *posts[1].message_ids[:6]}
    assert set(server.counts.stats) == asked
    assert server.counts.commands["STAT"] == len(asked)


@pytest.mark.parametrize("stall_s", [0.2])
def test_a_provider_that_says_nothing_leaves_everything_unknown_and_nothing_missing(
    server: NewsServer, publish: Publish, examine: Callable[..., Findings]
) -> None:
    server.fail(Fault.SILENCE)
    findings = examine(publish(film(5000)))
    assert findings == Findings(5000, 0, 5000, (), "the provider did not answer")
    assert findings.health is Health.UNKNOWN
    # it is noticed by the first few: the other 4,900 are not asked for in vain
    assert server.counts.commands["STAT"] <= 200


@pytest.mark.parametrize("providers", [2], indirect=True)
@pytest.mark.parametrize("stall_s", [0.2])
def test_missing_is_what_every_provider_lacks_and_unknown_what_one_did_not_say(
    providers: list[NewsServer], publish: Publish, examine: Callable[..., Findings]
) -> None:
    post = film(80)
    first, second = providers
    first.add(post.without(*post.message_ids[40:]))
    second.add(post.without(*post.message_ids[:10]))
    release = publish(post)
    assert examine(release) == Findings(80)
    second.fail(Fault.SILENCE)
    assert examine(release) == Findings(80, 0, 40, (), "not all 2 providers answered")
    second.heal()
    second.remove(post.message_ids[79:])
    assert examine(release) == Findings(80, 1, 0, (Hole(0, 79, 79),))


def test_without_a_provider_nothing_is_known(
    library: Library, publish: Publish, records: CheckRecords
) -> None:
    (known,) = records.of_releases([publish(film(10)).id])
    with UsenetClient([]) as nobody:
        findings = Examiner(nobody.source, providers=0).examine(
            library.layout(known.file.id), Ticket(), lambda _done, _articles: None
        )
    assert (findings.missing, findings.unknown) == (0, 10)
    assert findings.reason.startswith("no provider is configured")


def test_an_empty_file_is_healthy(examiner: Examiner) -> None:
    findings = examiner.examine(Layout([], []), Ticket(), lambda _done, _articles: None)
    assert findings.health is Health.HEALTHY


def test_twenty_thousand_articles_take_pipelined_batches_and_permits_of_checks_only(
    server: NewsServer, usenet: UsenetClient, publish: Publish, examine: Callable[..., Findings]
) -> None:
    post = film(20_000)
    server.add(post)
    told: list[tuple[int, int]] = []
    assert examine(publish(post), None, lambda *done: told.append(done)) == Findings(20_000)
    assert server.counts.commands["STAT"] == 20_000
    (pool,) = usenet.pools.values()
    permits = pool.permits.snapshot()
    # 100 in each, but for the last of a go
    assert 200 <= permits.granted[Workload.HEALTH] <= 220
    assert permits.unattributed == 0
    assert {w: n for w, n in permits.granted.items() if n} == {
        Workload.HEALTH: permits.granted[Workload.HEALTH]
    }
    # the progress is seen, and no go is too long to be stopped soon
    assert told[0] == (0, 20_000)
    assert told[-1] == (20_000, 20_000)
    assert all(0 < after - before <= 2000 for (before, _), (after, _) in pairwise(told))


@pytest.mark.parametrize("stall_s", [30.0])
def test_a_check_that_is_to_be_left_is_left_at_once(
    server: NewsServer, publish: Publish, examine: Callable[..., Findings]
) -> None:
    post = film(500)
    server.add(post)
    server.fail(Fault.SILENCE, post.message_ids[300])
    ticket, ended = Ticket(), threading.Event()
    release = publish(post)

    def run() -> None:
        with pytest.raises(LetGo):
            examine(release, ticket)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    server.wait_for(lambda counts: counts.stalled)
    ticket.cancel()
    assert ended.wait(20)
    thread.join()
    server.release()


def test_a_file_on_the_disk_is_healthy_while_it_is_there(
    examiner: Examiner, tmp_path: Path
) -> None:
    path = tmp_path / "Film" / "film.mkv"
    path.parent.mkdir()
    path.write_bytes(b"the film")

    def health(size: int = 8) -> Health:
        return examiner.examine(DiskFile(path, size), Ticket(), lambda *_: None).health

    assert health() is Health.HEALTHY
    assert health(size=9) is Health.FAILED
    path.unlink()
    assert health() is Health.FAILED
    path.parent.rmdir()
    assert health() is Health.UNKNOWN, "the disk may not be mounted"


# Deep -------------------------------------------------------------------------------------------


@pytest.fixture
def fetch(examiner: Examiner, library: Library, records: CheckRecords) -> Callable[..., Findings]:
    """Examine the one file of a release by fetching it."""

    def fetch(
        release: Release, progress: Callable[[int, int], None] = lambda _done, _articles: None
    ) -> Findings:
        (known,) = records.of_releases([release.id])
        layout = library.layout(known.file.id)
        return examiner.examine(layout, Ticket(), progress, deep=True)

    return fetch


def test_a_deep_check_fetches_every_article_once_under_the_reservation_for_checks(
    server: NewsServer, usenet: UsenetClient, publish: Publish, fetch: Callable[..., Findings]
) -> None:
    post = film(250)
    server.add(post)
    told: list[tuple[int, int]] = []
    assert fetch(publish(post), lambda *done: told.append(done)) == Findings(250, deep=True)
    assert server.counts.bodies == dict.fromkeys(post.message_ids, 1)
    assert told[-1] == (250, 250)
    (pool,) = usenet.pools.values()
    granted = pool.permits.snapshot().granted
    assert {workload for workload, count in granted.items() if count} == {Workload.HEALTH}


def test_a_deep_check_tells_what_is_missing_from_what_is_not_what_was_posted(
    server: NewsServer, publish: Publish, fetch: Callable[..., Findings]
) -> None:
    post = film(250)
    server.add(post.without(post.message_ids[7]))
    server.fail(Fault.DAMAGED, post.message_ids[3])
    server.fail(Fault.WRONG_ARTICLE, post.message_ids[4], instead=post.message_ids[9])
    release = publish(post)
    findings = fetch(release)
    assert (findings.missing, findings.unknown) == (3, 0)
    assert findings.holes == (Hole(0, 3, 4), Hole(0, 7, 7))
    assert findings.damaged == (Hole(0, 3, 4),)


def test_what_a_deep_check_found_damaged_stays_so_until_another_finds_it_whole(
    server: NewsServer,
    publish: Publish,
    examine: Callable[..., Findings],
    fetch: Callable[..., Findings],
    records: CheckRecords,
) -> None:
    post = film(20)
    server.add(post)
    server.fail(Fault.DAMAGED, post.message_ids[3])
    release = publish(post)

    def check(findings: Findings, at: float) -> tuple[Health, int, str]:
        (known,) = records.of_releases([release.id])
        now = records.record(known, findings, at)
        assert now is not None
        return now.health, now.missing, now.in_words()

    words = "1 of 20 articles missing, 1 of them damaged (segment 4)"
    assert check(fetch(release), 10.0) == (Health.DEGRADED, 1, words)
    assert examine(release).health is Health.HEALTHY, "STAT cannot tell"
    assert check(examine(release), 20.0) == (Health.DEGRADED, 1, words)
    server.remove(post.message_ids[8:9])
    words = "2 of 20 articles missing, 1 of them damaged (segments 4, 9)"
    assert check(examine(release), 30.0) == (Health.DEGRADED, 2, words)
    server.add(post)
    server.heal()
    assert check(fetch(release), 40.0)[:2] == (Health.HEALTHY, 0)


@pytest.mark.parametrize("stall_s", [0.2])
def test_a_deep_check_of_a_silent_provider_ends_and_leaves_everything_unknown(
    server: NewsServer,
    usenet: UsenetClient,
    publish: Publish,
    library: Library,
    records: CheckRecords,
) -> None:
    server.fail(Fault.SILENCE)
    (known,) = records.of_releases([publish(film(300)).id])
    examiner = Examiner(usenet.source, providers=1, patience_s=0.5)
    layout = library.layout(known.file.id)
    findings = examiner.examine(layout, Ticket(), lambda _done, _articles: None, deep=True)
    assert (findings.missing, findings.unknown, findings.health) == (0, 300, Health.UNKNOWN)
    assert findings.reason
    assert sum(server.counts.bodies.values()) < 300
    server.release()


def test_a_deep_check_misses_what_the_nzb_does_not_list_and_asks_for_the_rest(
    server: NewsServer, examiner: Examiner
) -> None:
    post = film(10)
    server.add(post)
    ids = [one.encode() for one in post.message_ids]
    ids[4] = ids[9] = b""
    layout = Layout([Run(0, 0, 10_000)], [PartTable.regular(ids, 10_000, 1000)])
    findings = examiner.examine(layout, Ticket(), lambda _done, _articles: None, deep=True)
    assert findings == Findings(10, 2, 0, (Hole(0, 4, 4), Hole(0, 9, 9)), deep=True)
    assert sum(server.counts.bodies.values()) == 8


def test_a_few_articles_tell_whether_anything_of_a_file_is_there(
    server: NewsServer,
    publish: Publish,
    examiner: Examiner,
    library: Library,
    records: CheckRecords,
) -> None:
    post = film(1000)
    (known,) = records.of_releases([publish(post).id])
    layout = library.layout(known.file.id)
    assert not examiner.has_any(layout, Ticket())
    server.add(post.without(*post.message_ids[1:]))
    assert examiner.has_any(layout, Ticket())
    assert server.counts.commands["STAT"] == 10


# What it means ----------------------------------------------------------------------------------


def test_holes_are_told_as_bytes_of_the_file_article_by_article(
    publish: Publish, library: Library, records: CheckRecords
) -> None:
    (known,) = records.of_releases([publish(film(1000)).id])
    layout = library.layout(known.file.id)
    damage = damage_of(known.file, layout, (Hole(0, 500, 501), Hole(0, 700, 700)))
    assert damage.lost == ((500_000, 502_000), (700_000, 701_000))
    assert (damage.lost_bytes, damage.playable) == (3000, Playable.NO)  # within its first MiB
    damage = damage_of(known.file, layout, (Hole(0, 0, 999),))
    assert (damage.lost, damage.lost_bytes) == (((0, 1_000_000),), 1_000_000)
    assert damage.why.startswith("1,000 articles in a row are missing")
    assert damage_of(known.file, layout, ()).playable is Playable.WHOLE


def test_of_an_encrypted_film_the_blocks_around_a_hole_are_lost_too() -> None:
    key = Cipher(bytes(16), bytes(16))
    stretches = [
        Stretch((Run(0, 0, 1600),), 1590, 0, key),
        Stretch((Run(0, 1600, 400),), 400),
    ]
    layout = CipheredLayout(stretches, [PartTable.regular([b"x"] * 20, 2000, 100)])
    assert layout.shown(0, 2, 2) == [(184, 316)]
    assert layout.shown(0, 15, 16) == [(1484, 1590), (1590, 1690)]
    assert layout.shown(0, 19, 19) == [(1890, 1990)]
