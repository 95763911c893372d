"""From an NZB to files in the library, over real news servers."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo import Fault, NewsServer, make_post, make_posts
from gateway.library.catalogue import Library
from gateway.streams.streams import Streams
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Workload
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor

Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]
Import = Callable[..., Item]
Read = Callable[..., dict[str, bytes]]

NAME = "Some.Film.2026.1080p"


@pytest.fixture
def import_(queue: Queue, processor: Processor, find: Find, wait_until: WaitUntil) -> Import:
    """Add an NZB, and return its item when the first attempt on it is over."""
    processor.start()

    def run(nzb: bytes, filename: str = f"{NAME}.nzb") -> Item:
        nzo_id = queue.add(nzb, filename=filename, category="movies")
        over = {State.COMPLETED, State.FAILED, State.PAUSED}
        wait_until(lambda: find(nzo_id).state in over or find(nzo_id).attempts)
        return find(nzo_id)

    return run


@pytest.fixture
def read(library: Library, streams: Streams) -> Read:
    """Read all files of a release as a viewer would."""

    def read(release: str = NAME) -> dict[str, bytes]:
        found = library.release("movies", release)
        assert found is not None
        contents = {}
        for entry in library.entries(found).files:
            with streams.open(library.layout(entry.id)) as stream:
                contents[entry.name] = stream.read()
        return contents

    return read


def test_a_post_of_one_file_becomes_that_file(
    server: NewsServer, import_: Import, read: Read, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)

    item = import_(post.nzb)

    assert item.state is State.COMPLETED
    assert (item.name, item.size, item.note) == (NAME, len(film), "")
    assert read() == {"Some.Film.mkv": film}


def test_a_post_of_five_files_becomes_five_files(
    server: NewsServer, import_: Import, read: Read
) -> None:
    files = {f"Some.Show.S01E0{n}.mkv": random.Random(n).randbytes(n * 9_999) for n in range(1, 6)}
    post = make_posts(files, part_size=3_000)
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == files


def test_of_a_regular_post_one_article_a_file_is_fetched(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_posts({"A.Film.mkv": film, "A.Film.srt": b"words" * 99}, part_size=5_000)
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert server.counts.bodies == {file.message_ids[0]: 1 for file in post.files}


@pytest.mark.parametrize("sizes", [(7_000, 9_000, 8_000), (5_000, 100), (100, 5_000), (1,)])
def test_a_post_of_irregular_parts_reads_right_at_every_offset(
    server: NewsServer, import_: Import, read: Read, film: bytes, sizes: tuple[int, ...]
) -> None:
    data = film[: 60 * max(sizes)]
    post = make_post("Some.Film.mkv", data, part_sizes=sizes)
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == {"Some.Film.mkv": data}


def test_irregular_parts_are_not_taken_for_regular_ones_whose_number_fits_by_chance(
    server: NewsServer, import_: Import, read: Read, film: bytes
) -> None:
    # Five parts: as many as 7,000 at a time would make of 34,000 bytes.
    post = make_post("Some.Film.mkv", film[:34_000], part_sizes=(7_000, 9_000, 8_000))
    assert len(post.message_ids) == 5
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == {"Some.Film.mkv": film[:34_000]}


@pytest.mark.parametrize("stated", [b"0", b"1", b"999999999", b"none"])
def test_sizes_that_the_nzb_states_wrongly_do_no_harm(
    server: NewsServer, import_: Import, read: Read, film: bytes, stated: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    sizes = re.compile(rb'bytes="\d+" number="(\d*[05])"')

    item = import_(sizes.sub(b'bytes="' + stated + rb'" number="\1"', post.nzb))

    assert item.state is State.COMPLETED
    assert read() == {"Some.Film.mkv": film}


def test_a_disguised_video_takes_the_name_of_its_job(
    server: NewsServer, import_: Import, read: Read, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000, obfuscate=True)
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == {f"{NAME}.mkv": film}


def test_a_name_that_is_taken_is_counted_on(
    server: NewsServer, import_: Import, read: Read, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)

    names = [import_(post.nzb).name for _ in range(3)]

    assert names == [NAME, f"{NAME} (2)", f"{NAME} (3)"]
    assert read(f"{NAME} (3)") == {"Some.Film.mkv": film}


def test_par2_volumes_are_left_out_and_may_be_missing(
    server: NewsServer, import_: Import, read: Read, film: bytes
) -> None:
    post = make_posts(
        {
            "Some.Film.mkv": film,
            "Some.Film.vol00+01.par2": b"PAR2\0PKT" + bytes(20_000),
            "nameless": b"PAR2\0PKT" + bytes(20_000),
        },
        part_size=7_000,
    )
    server.add(post.without(*post.files[1].message_ids))

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == {"Some.Film.mkv": film}


def test_a_post_of_par2_volumes_alone_fails_for_good(server: NewsServer, import_: Import) -> None:
    post = make_post("Some.Film.vol00+01.par2", bytes(9_000))
    server.add(post)

    item = import_(post.nzb)

    assert (item.state, item.failure) == (
        State.FAILED,
        "the post holds nothing but par2 files",
    )


def test_small_archives_beside_a_film_are_shown_as_they_are(
    server: NewsServer, import_: Import, read: Read, film: bytes
) -> None:
    files = {"Some.Film.mkv": film, "Some.Film.Subs.rar": b"Rar!\x1a\x07\x00" + bytes(500)}
    post = make_posts(files, part_size=7_000)
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == files


@pytest.mark.parametrize("providers", [2], indirect=True)
def test_articles_that_all_providers_lack_fail_the_item_with_numbers(
    providers: list[NewsServer], import_: Import, library: Library, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    for server in providers:
        server.add(post.without(*post.message_ids[-30:]))

    item = import_(post.nzb)

    assert item.state is State.FAILED
    assert item.failure == "2 of 5 articles checked (of 72) are missing from all 2 providers"
    assert library.release("movies", NAME) is None


def test_a_gap_in_any_file_is_found_when_the_post_is_verified(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    files = {f"Some.Show.S01E0{n}.mkv": film[: n * 50_000] for n in range(1, 6)}
    post = make_posts(files, part_size=7_000)
    server.add(post.without(post.files[0].message_ids[-1]))

    item = import_(post.nzb)

    assert item.state is State.FAILED
    assert item.failure == "1 of 25 articles checked (of 110) is missing from the provider"


def test_what_has_been_seen_is_not_asked_for_again(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    files = {f"Some.Show.S01E0{n}.mkv": film[: n * 50_000] for n in range(1, 6)}
    post = make_posts(files, part_size=7_000)
    server.add(post)

    assert import_(post.nzb).state is State.COMPLETED
    assert set(server.counts.stats.values()) == set(server.counts.bodies.values()) == {1}
    assert not {post.files[n].message_ids[0] for n in (0, 1)} & server.counts.stats.keys()


def test_a_dead_post_is_recognised_within_a_few_questions(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_posts({f"Film.Part.{n}.mkv": film for n in range(10)}, part_size=7_000)

    item = import_(post.nzb)

    assert item.state is State.FAILED
    assert item.failure == "15 of 15 articles checked (of 720) are missing from the provider"
    assert sum(server.counts.stats.values()) == 15


def test_what_one_provider_lacks_another_may_have(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film[:20_000], part_size=7_000)
    server.add(post.without(post.message_ids[1]))

    item = import_(post.nzb)

    assert item.failure == "1 of 3 articles is missing from the provider"


@pytest.mark.parametrize("providers", [2], indirect=True)
def test_an_article_that_is_at_the_second_provider_only_is_there(
    providers: list[NewsServer], import_: Import, read: Read, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    first, second = providers
    first.add(post.without(*post.message_ids[::2]))
    second.add(post.without(*post.message_ids[1::2]))

    assert import_(post.nzb).state is State.COMPLETED
    assert read() == {"Some.Film.mkv": film}


def test_a_first_article_that_stat_promised_and_body_denies_is_missing(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.fail(Fault.STAT_LIES, post.message_ids[0])

    item = import_(post.nzb)

    assert item.state is State.FAILED
    assert item.failure == "1 of 5 articles checked (of 72) is missing from the provider"


def test_segments_that_the_nzb_leaves_out_fail_the_item_before_anything_is_asked(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    nzb = re.sub(rb'<segment bytes="\d+" number="(3|17|40)">.*</segment>', b"", post.nzb)

    item = import_(nzb)

    assert item.state is State.FAILED
    assert item.failure == "3 of 72 articles are not listed in the NZB"
    assert not server.counts.commands["BODY"]


def test_an_nzb_that_ends_too_early_fails_the_item(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    nzb = re.sub(rb'<segment bytes="\d+" number="(7\d)">.*</segment>', b"", post.nzb)

    item = import_(nzb)

    assert item.state is State.FAILED
    assert item.failure == (
        'the NZB leaves out the end of "Some.Film.mkv": '
        "its articles reach to byte 483,000 of 500,004"
    )


def test_an_nzb_that_is_cut_off_between_two_files_does_not_pass_for_the_whole_post(
    server: NewsServer, import_: Import, library: Library, film: bytes
) -> None:
    post = make_posts({"Some.Film.nfo": b"A film.", "Some.Film.mkv": film}, part_size=7_000)
    server.add(post)

    item = import_(post.nzb[: post.nzb.rindex(b"<file")])

    assert item.state is State.FAILED
    assert item.failure == "the NZB is cut off within or after its file 1: get it again"
    assert list(library.releases("movies")) == []


@pytest.mark.parametrize(
    ("nzb", "words"),
    [
        (b"<nzb>", "the NZB is broken"),
        (b"<html><body>Not found</body></html>", "not an NZB"),
        (b'<?xml version="1.0"?><nzb></nzb>', "the NZB lists nothing to fetch"),
    ],
)
def test_an_nzb_that_cannot_be_read_is_taken_and_fails_in_the_history(
    import_: Import, nzb: bytes, words: str
) -> None:
    item = import_(nzb)

    assert item.state is State.FAILED
    assert item.failure.startswith(words)


@pytest.mark.parametrize("stall_s", [0.5])
@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ({"STAT", "HEAD"}, "5 of 5 articles could not be checked"),
        ({"BODY"}, "has said nothing"),
    ],
)
def test_an_item_whose_provider_says_nothing_stays_in_the_queue_with_the_reason(
    server: NewsServer, import_: Import, film: bytes, commands: set[str], words: str
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.fail(Fault.SILENCE, commands=commands)

    item = import_(post.nzb)

    assert item.state is State.QUEUED
    assert item.attempts == 1
    assert words in item.note


def test_an_item_whose_provider_refuses_the_login_stays_in_the_queue_with_the_reason(
    server: NewsServer, import_: Import, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.fail(Fault.BUSY, code=480)

    item = import_(post.nzb)

    assert (item.state, item.attempts) == (State.QUEUED, 1)
    assert "provider-1 wants a login" in item.note


def test_a_damaged_first_article_is_a_verdict_only_when_it_stays_damaged(
    server: NewsServer,
    import_: Import,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    clock: Any,
    film: bytes,
) -> None:
    post = make_post("Some.Film.mkv", film, part_size=7_000)
    server.add(post)
    server.fail(Fault.DAMAGED, post.message_ids[0])

    item = import_(post.nzb)
    clock.now = item.not_before
    processor.wake()
    wait_until(lambda: find(item.id).attempts == 2)
    assert find(item.id).state is State.QUEUED
    clock.now = find(item.id).not_before
    processor.wake()
    wait_until(lambda: find(item.id).state is State.FAILED)

    assert find(item.id).failure.startswith('"Some.Film.mkv": segment 1 of 72 from provider-1')
    assert server.counts.bodies[post.message_ids[0]] == 3


def test_a_misnumbered_nzb_fails_the_item(server: NewsServer, import_: Import, film: bytes) -> None:
    post = make_post("Some.Film.mkv", film[:20_000], part_size=7_000)
    server.add(post)
    nzb = post.nzb.replace(b'number="1"', b'number="x"').replace(b'number="3"', b'number="1"')

    item = import_(nzb.replace(b'number="x"', b'number="3"'))

    assert item.state is State.FAILED
    assert "misnumbered: the article of the first begins at byte 14,000" in item.failure


def test_every_request_of_an_import_is_the_queues(
    server: NewsServer, usenet: UsenetClient, import_: Import, film: bytes
) -> None:
    post = make_post("Some.Film.mkv", film, part_sizes=(7_000, 9_000))
    server.add(post)
    assert import_(post.nzb).state is State.COMPLETED

    permits = usenet.pools["provider-1"].permits.snapshot()
    assert permits.granted[Workload.QUEUE] > 0
    assert permits.granted[Workload.STREAM] == permits.granted[Workload.HEALTH] == 0
    assert permits.unattributed == 0
