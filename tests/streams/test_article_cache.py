"""Articles kept in memory, in front of the source."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ArticleMissing
from gateway.nzb.extents import Part
from gateway.streams.cache import ArticleCache, CachedSource
from gateway.streams.source import Pending
from gateway.usenet.articles import Body, Verdict

if TYPE_CHECKING:
    from tests.streams.conftest import Opener, Shelf

CONTENT = bytes(range(251)) * 40


def body(message_id: str, size: int) -> Body:
    return Body(bytearray(size), 0, size, size, "a.bin", message_id, "memory")


@given(
    st.integers(0, 100),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 60)), max_size=60),
)
def test_the_articles_used_last_are_kept_and_never_more_than_the_limit(
    limit: int, uses: list[tuple[bool, int, int]]
) -> None:
    cache = ArticleCache(limit)
    model: dict[str, int] = {}  # the one used last comes last
    for is_put, number, size in uses:
        mid = f"{number}@test"
        if is_put:
            cache.put(body(mid, size))
            if mid not in model and size <= limit:
                model[mid] = size
                while sum(model.values()) > limit:
                    del model[next(iter(model))]
        else:
            found = cache.get(mid)
            assert (found is not None) == (mid in model)
            if mid in model:
                model[mid] = model.pop(mid)
        assert cache.size == sum(model.values()) <= limit


def test_a_second_viewer_fetches_nothing(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf, article_cache=1 << 20)
    layout = shelf.plain(CONTENT, 1000)
    for _ in range(2):
        with streams.open(layout) as stream:
            assert stream.read() == CONTENT
    assert len(shelf.asked) == len(set(shelf.asked)) == 11


def test_an_index_that_is_read_again_fetches_nothing(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf, article_cache=1 << 20)
    with streams.open(shelf.plain(CONTENT[:10_000], 1000)) as stream:
        for offset in (0, 9_500, 100, 9_700, 9_400):
            stream.seek(offset)
            stream.read(50)
    assert shelf.asked == ["1.0@test", "1.9@test"]


def test_what_lies_ahead_and_what_is_kept_is_one_object(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf, article_cache=1 << 20)
    with streams.open(shelf.plain(CONTENT, 1000)) as stream:
        stream.read(1000)
        kept = streams.source.cache.get("1.1@test")
        assert kept is not None
        assert stream.read_view(1000).obj is kept.data


def test_without_a_limit_nothing_is_kept(shelf: Shelf, make_streams: Opener) -> None:
    streams = make_streams(shelf, article_cache=0)
    layout = shelf.plain(CONTENT, 1000)
    for _ in range(2):
        with streams.open(layout) as stream:
            stream.read(1)
    assert shelf.asked == ["1.0@test"] * 2


def test_errors_are_not_kept(shelf: Shelf) -> None:
    source = CachedSource(shelf, 1 << 20)
    (mid,) = shelf.post(CONTENT, [len(CONTENT)])
    part = Part((mid.decode(),))
    shelf.errors[mid.decode()] = ArticleMissing("not there")
    with pytest.raises(ArticleMissing):
        source.request(part).result(20)
    shelf.errors.clear()
    assert source.request(part).result(20).data == CONTENT
    assert len(shelf.asked) == 2


def test_an_article_is_kept_by_its_message_id_and_found_as_an_alternate(shelf: Shelf) -> None:
    source = CachedSource(shelf, 1 << 20)
    (mid,) = shelf.post(CONTENT, [len(CONTENT)])
    first = source.body(Part((mid.decode(),)), timeout_s=1)
    assert source.request(Part(("gone@test", mid.decode()))).result(0) is first
    assert source.body(Part((mid.decode(),)), timeout_s=1) is first
    assert len(shelf.asked) == 1


def test_an_article_kept_for_another_post_is_not_taken_for_this_one(shelf: Shelf) -> None:
    source = CachedSource(shelf, 1 << 20)
    (mid,) = shelf.post(CONTENT, [len(CONTENT)])
    source.body(Part((mid.decode(),)), timeout_s=1)
    source.body(Part((mid.decode(),), 1, 2, 0, 7, 20), timeout_s=1)
    assert len(shelf.asked) == 2  # the source judges


def test_whether_an_article_exists_is_for_the_source_to_say(shelf: Shelf) -> None:
    source = CachedSource(shelf, 1 << 20)
    (mid,) = shelf.post(CONTENT, [len(CONTENT)])
    part = Part((mid.decode(),))
    source.body(part, timeout_s=1)
    shelf.bodies.clear()
    assert source.exists([part], timeout_s=1) == [Verdict.MISSING]


def test_a_fetch_from_memory_is_done_and_calls_back_at_once(shelf: Shelf) -> None:
    source = CachedSource(shelf, 1 << 20)
    (mid,) = shelf.post(CONTENT, [len(CONTENT)])
    source.request(Part((mid.decode(),)))
    hit = source.request(Part((mid.decode(),)))
    called: list[Pending] = []
    hit.promote()
    hit.add_done_callback(called.append)
    hit.cancel()
    assert hit.done
    assert called == [hit]
    assert hit.result(0).data == CONTENT


def test_the_cache_is_for_any_number_of_threads() -> None:
    cache = ArticleCache(5_000)

    def use(seed: int) -> None:
        for turn in range(2_000):
            mid = f"{(seed * 31 + turn * 7) % 40}@test"
            found = cache.get(mid)
            if found is None:
                cache.put(body(mid, 400))

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(use, seed) for seed in range(4)]:
            job.result(60)
    kept = [cache.get(f"{number}@test") for number in range(40)]
    assert cache.size == sum(len(found.data) for found in kept if found) <= 5_000


def test_a_download_takes_what_is_kept_and_keeps_nothing(shelf: Shelf) -> None:
    cached = CachedSource(shelf, 1 << 20)
    once = cached.without_keeping()
    layout = shelf.plain(CONTENT, 1000)
    first, second = layout.article(0, 0), layout.article(0, 1)
    kept = cached.body(first, timeout_s=1)

    assert once.request(first).result(20) is kept
    assert once.body(first, timeout_s=1) is kept
    assert once.request(second).result(20).begin == 1000
    assert once.body(second, timeout_s=1).begin == 1000

    assert once.exists([second], timeout_s=1) == [Verdict.PRESENT]
    assert cached.cache.size == len(kept.data)
