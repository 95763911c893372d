"""Releases of one name: told apart, or refused, as their category says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.demo import Fault, NewsServer, make_posts
from gateway.errors import ImportFailed
from gateway.library.catalogue import Library
from gateway.streams.streams import Streams
from gateway_queue.category import CategoryRules, Duplicates
from gateway_queue.importer import Importer
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Verifier

POST = make_posts(
    {"Film.mkv": b"film" * 999, "Film.nfo": b"words", "Film.srt": b"1"}, part_size=900
)


@pytest.fixture
def duplicates() -> Duplicates:
    return Duplicates.FAIL


@pytest.fixture
def importer(streams: Streams, library: Library, duplicates: Duplicates) -> Importer:
    rules = {"movies": CategoryRules("movies", "Films", duplicates=duplicates)}
    verifier = Verifier(streams.source, providers=1, timeout_s=5.0)
    return Importer(streams.source, library, verifier, rules=rules)


@pytest.fixture
def import_(
    queue: Queue,
    processor: Processor,
    server: NewsServer,
    find: Callable[[str], Item],
    wait_until: Callable[[Callable[[], object]], None],
) -> Callable[[str], Item]:
    server.add(POST)
    processor.start()

    def run(category: str = "movies") -> Item:
        nzo_id = queue.add(POST.nzb, filename="Film.nzb", category=category)
        wait_until(lambda: find(nzo_id).completed)
        return find(nzo_id)

    return run


def test_a_second_release_of_a_name_fails_before_anything_is_fetched(
    import_: Callable[..., Item], library: Library, server: NewsServer
) -> None:
    assert import_().state is State.COMPLETED
    fetched = server.counts.bodies.copy()
    second = import_()
    assert second.state is State.FAILED
    assert second.failure == (
        '"Films" has a release called "Film" already: remove it first, or set '
        "GATEWAY_CATEGORIES__MOVIES__DUPLICATES=increment"
    )
    assert server.counts.bodies == fetched
    assert import_("tv").state is State.COMPLETED, "another category has names of its own"
    assert [release.name for release in library.releases("Films")] == ["Film"]


@pytest.mark.parametrize("duplicates", [Duplicates.INCREMENT])
def test_a_second_release_of_a_name_gets_a_number(
    import_: Callable[..., Item], library: Library
) -> None:
    assert [import_().name, import_().name] == ["Film", "Film (2)"]
    assert [release.name for release in library.releases("Films")] == ["Film", "Film (2)"]


def test_of_two_that_are_worked_on_at_once_the_second_to_end_fails(
    store: JobStore, importer: Importer, library: Library, server: NewsServer
) -> None:
    server.add(POST)
    plans = []
    for _ in range(2):
        store.add(POST.nzb, name="Film", filename="Film.nzb", category="movies")
        item = store.claim()
        assert item is not None
        plan = importer.analyse(item, POST.nzb, Ticket())
        plans.append((store.advance(item, State.VERIFYING), plan))
    for item, plan in plans[:1]:
        store.finish(item, importer.publisher(plan), size=plan.size, took_s=1.0)
    item, plan = plans[1]
    with pytest.raises(ImportFailed, match='has a release called "Film" already'):
        store.finish(item, importer.publisher(plan), size=plan.size, took_s=1.0)
    assert [release.name for release in library.releases("Films")] == ["Film"]


def test_what_the_blocklist_names_is_not_published(
    import_: Callable[..., Item], library: Library
) -> None:
    import_()
    release = library.release("Films", "Film")
    assert release is not None
    assert [file.name for file in library.entries(release).files] == ["Film.mkv", "Film.srt"]


def test_what_the_blocklist_names_needs_not_be_there(
    import_: Callable[..., Item], server: NewsServer
) -> None:
    (nfo,) = (file for file in POST.files if file.name == "Film.nfo")
    server.fail(Fault.MISSING, *nfo.message_ids)
    assert import_().state is State.COMPLETED
    assert not server.counts.bodies.keys() & set(nfo.message_ids)
