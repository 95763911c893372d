"""Releases that have failed, an *arr that has grabbed them, and who tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from fake_arr import KEY, FakeArr, serving

from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.library.replacement import Replacement
from gateway.library.schema import checks, files
from gateway.nzb.extents import PartTable, Run
from gateway_queue.replacing.arr import ArrOverHttp
from gateway_queue.replacing.limits import Limits
from gateway_queue.replacing.replacer import Replacer
from gateway_queue.replacing.store import ReplacementStore

Fail = Callable[..., Release]


@pytest.fixture
def outbox(database: Database) -> ReplacementStore:
    return ReplacementStore(database)


@pytest.fixture
def judge(database: Database) -> Callable[..., None]:
    """Write a verdict on all files of a release, and since when it is confirmed."""

    def judge(release: Release, verdict: str, confirmed_at: float | None = None) -> None:
        ours = sa.select(files.c.id).where(files.c.release_id == release.id)
        update = (
            sa.update(checks)
            .where(checks.c.file_id.in_(ours))
            .values(verdict=verdict, confirmed_at=confirmed_at)
        )
        with database.begin() as tx:
            tx.execute(update)

    return judge


@pytest.fixture
def put(database: Database, library: Library) -> Fail:
    """Publish a release of one film that came under a download id."""

    def put(name: str, nzo_id: str | None = None, category: str = "movies") -> Release:
        table = PartTable.regular([f"{n}@{name}".encode() for n in range(4)], 40, 10)
        new = NewRelease(
            category,
            name,
            1.0,
            b"<nzb/>",
            (NewPosted("film.mkv", table),),
            (NewFile("film.mkv", 40, (Run(0, 0, 40),)),),
        )
        with database.begin() as tx:
            return library.publish(tx, replace(new, nzo_id=nzo_id))

    return put


@pytest.fixture
def fail(put: Fail, judge: Callable[..., None], clock: Any) -> Fail:
    """Publish a release whose failure is confirmed, now or *at*."""

    def fail(name: str, nzo_id: str | None = None, *, at: float | None = None) -> Release:
        release = put(name, nzo_id or f"id-of-{name}")
        judge(release, "failed", clock.now if at is None else at)
        return release

    return fail


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeArr]]:
    """Run an *arr with a series (7: 3 and 2 episodes) and a movie (3)."""
    with ExitStack() as stack:

        def serve(kind: str = "sonarr", **more: Any) -> FakeArr:
            arr = FakeArr(kind, **more)
            arr.add_series(7, "The Show", {1: 3, 2: 2})
            arr.add_movie(3, "The Film")
            return stack.enter_context(serving(arr))

        yield serve


@pytest.fixture
def sonarr(serve: Callable[..., FakeArr]) -> FakeArr:
    return serve("sonarr")


@pytest.fixture
def radarr(serve: Callable[..., FakeArr]) -> FakeArr:
    return serve("radarr", version=5)


@pytest.fixture
def client() -> Callable[..., ArrOverHttp]:
    """Return what asks an *arr."""

    def client(arr: FakeArr, name: str | None = None, longest_s: float = 20.0) -> ArrOverHttp:
        return ArrOverHttp(name or arr.kind, arr.kind, arr.url, KEY, longest_s=longest_s)

    return client


@pytest.fixture
def replacer(
    outbox: ReplacementStore, client: Callable[..., ArrOverHttp], clock: Any
) -> Callable[..., Replacer]:
    """Return who tells these *arrs."""

    def replacer(*arrs: FakeArr, limits: Limits | None = None) -> Replacer:
        clients = [client(arr, f"{arr.kind}{index}") for index, arr in enumerate(arrs)]
        return Replacer(outbox, clients, limits or Limits(), clock=clock)

    return replacer


@pytest.fixture
def attempt(
    outbox: ReplacementStore, clock: Any
) -> Callable[[Replacer, Release], Replacement | None]:
    """Take up whatever is due, once each, and return what became of a release."""

    def attempt(replacer: Replacer, release: Release) -> Replacement | None:
        outbox.gather(clock.now)
        while (one := outbox.claim(clock.now)) is not None:
            replacer.attempt(one)
        return outbox.of_releases([release.id]).get(release.id)

    return attempt
