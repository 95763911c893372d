"""The doors' answers: ranges, conditions, who may enter, and what is never told."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from gateway.demo.xtream import Movie, Trouble, XtreamServer
from gateway.errors import FileChanged
from gateway.leases.lease import LeaseStore
from gateway.library.entries import FileEntry, Release
from gateway.streams.holes import Holes
from gateway.vod.profiles import Profile

SIZE = 1_000_003
FILM = "/movie/bob/s3cret-pw/4711.mkv"

MakeDoors = Callable[..., Any]
MakeProfile = Callable[..., Profile]
Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def film(provider: XtreamServer) -> XtreamServer:
    provider.add(Movie(4711, size=SIZE))
    return provider


@pytest.fixture
def doors(
    memory_store: LeaseStore, film: XtreamServer, profile_of: MakeProfile, doors_over: MakeDoors
) -> Any:
    users = {"bob": ("s3cret-pw", 0), "eve": ("her/pä%ss word", 0)}
    return doors_over(memory_store, [profile_of()], users=users)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("range_", "start", "stop", "status"),
    [
        (None, 0, SIZE, 200),
        ("0-", 0, SIZE, 206),
        ("0-0", 0, 1, 206),
        ("5-9", 5, 10, 206),
        ("500000-", 500_000, SIZE, 206),
        ("-983", SIZE - 983, SIZE, 206),
        ("-99999999", 0, SIZE, 206),
        ("999999-99999999", 999_999, SIZE, 206),
        ("7-8,20-30", 7, 9, 206),
        ("garbage", 0, SIZE, 200),
        ("9-5", 0, SIZE, 200),
    ],
)
def test_every_form_of_range_is_answered_whether_the_film_is_known_or_not(
    known: bool, range_: str | None, start: int, stop: int, status: int,
    doors: Any, film: XtreamServer,
) -> None:  # fmt: skip
    if known:
        doors.ask(FILM, None, method="HEAD").read()
    player = doors.ask(FILM, range_)
    assert (player.status, player.read()) == (status, film.content(4711).read(start, stop - start))
    told = player.response.getheader("Content-Range")
    assert told == (f"bytes {start}-{stop - 1}/{SIZE}" if status == 206 else None)
    assert player.response.getheader("Content-Type") == "video/x-matroska"
    assert player.response.getheader("Accept-Ranges") == "bytes"


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("range_", [f"{SIZE}-", "99999999-", "-0"])
def test_a_range_outside_of_the_film_is_416_also_where_the_provider_knows_no_head(
    range_: str, head: bool, doors: Any, film: XtreamServer, until: Until
) -> None:
    if not head:
        film.fail(Trouble.REFUSE, times=1)
    player = doors.ask(FILM, range_)
    assert player.status == 416
    assert player.response.getheader("Content-Range") == f"bytes */{SIZE}"
    assert doors.events("admitted") == (0 if head else 1)
    until(lambda: doors.count("profile:bob") == 0)


def test_conditions_are_answered_by_the_providers_validators(
    doors: Any, film: XtreamServer
) -> None:
    head = doors.ask(FILM, None, method="HEAD").response
    etag, modified = head.getheader("ETag"), head.getheader("Last-Modified")
    assert doors.ask(FILM, None, f"If-None-Match: {etag}").status == 304
    assert doors.ask(FILM, None, f"If-Modified-Since: {modified}").status == 304
    assert doors.ask(FILM, None, 'If-Match: "other"').status == 412
    assert doors.events("admitted") == 0
    assert doors.ask(FILM, "5-9", f"If-Range: {etag}").status == 206
    assert doors.ask(FILM, "5-9", 'If-Range: "other"').status == 200


def test_head_tells_size_type_and_validators_and_takes_no_slot(doors: Any) -> None:
    head = doors.ask(FILM, "0-", method="HEAD")
    assert (head.status, head.read()) == (200, b"")
    assert head.response.getheader("Content-Length") == str(SIZE)
    assert doors.events("admitted") == 0
    assert not doors.vod.sessions


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/movie/bob/wrong/4711.mkv", 401),
        ("/movie/nobody/s3cret-pw/4711.mkv", 401),
        ("/movie/bob/s3cret-pw/nonsense", 404),
        ("/movie/bob/s3cret-pw/4711", 404),
        ("/movie/bob/s3cret-pw/99.mkv", 404),
        ("/series/bob/s3cret-pw/4711.mkv", 404),
        ("/movie/bob/s3cret-pw/1000000001.mkv", 404),
        ("/movie/bob/s3cret-pw", 404),
        ("/movie/bob/s3cret-pw/x/4711.mkv", 404),
        ("/movie", 404),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whoever_may_not_enter_or_asks_for_nothing_gets_no_slot(
    path: str, status: int, method: str, doors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    player = doors.ask(path, method=method)
    told = player.read().decode() + caplog.text + str(player.response.headers)
    assert player.status == status
    assert doors.count("profile:bob") == 0
    assert "s3cret-pw" not in told
    assert "upstr3am-pw" not in told


def test_options_tell_what_may_be_asked_and_other_methods_are_refused(doors: Any) -> None:
    for method, status in [("OPTIONS", 200), ("POST", 405), ("DELETE", 405)]:
        player = doors.ask(FILM, method=method)
        assert (player.status, player.response.getheader("Allow")) == (status, "GET, HEAD, OPTIONS")


def test_a_password_may_hold_what_a_path_cannot(doors: Any) -> None:
    path = "/movie/eve/her%2Fp%C3%A4%25ss%20word/4711.mkv"
    assert doors.ask(path, "0-0").status == 206
    assert doors.ask("/movie/eve/her%2Fpass/4711.mkv", "0-0").status == 401


def test_a_failure_after_the_first_byte_shows_no_password_in_the_log(
    doors: Any, film: XtreamServer, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    film.fail(Trouble.CUT, after=300_000)
    with pytest.raises((OSError, http.client.HTTPException)):
        doors.ask(FILM).read()
    until(lambda: "/movie/…/4711.mkv" in caplog.text)
    assert "s3cret-pw" not in caplog.text
    assert "upstr3am-pw" not in caplog.text


def test_the_operator_sees_who_watches_what_and_where(doors: Any, film: XtreamServer) -> None:
    film.add(Movie(4712, size=60_000_003))
    player = doors.ask("/movie/bob/s3cret-pw/4712.mkv", "1000-")
    player.read(500_000)
    (viewing,) = doors.vod.viewings()
    assert (viewing.user, viewing.content, viewing.profile) == ("bob", "movie 4712", "bob")
    assert (viewing.client, viewing.manner.value) == ("127.0.0.1", "streaming")
    assert viewing.offset >= 500_000
    (occupant,) = doors.store.sessions("profile:bob")
    assert (occupant.session, occupant.refs) == (viewing.session, (viewing.ref,))
    assert "s3cret" not in repr(viewing)


# The own library


@dataclass
class Shelf:
    """A library of one file of *data*, whose streams are bytes.

    *changes*: how often it gets another ETag between two looks.
    """

    data: bytes
    closed: int = 0
    changes: int = 0
    tag: int = 0
    read: list[str] = field(default_factory=list)

    def file_by_number(self, number: int) -> FileEntry | None:
        release = Release(1, "movies", "A Film (2001)", 1_700_000_000.0)
        entry = FileEntry(
            "id", release, "", "film.mp4", len(self.data), 1_700_000_000.0, f"tag{self.tag}"
        )
        return entry if number == 1 else None

    def layout(self, file_id: str) -> Any:
        return self.data

    def note_read(self, file_id: str) -> None:
        self.read.append(file_id)

    def file_by_id(self, file_id: str) -> FileEntry | None:
        return self.file_by_number(1) if file_id == "id" else None

    def holes(self, file: FileEntry, layout: Any) -> Holes:
        if self.changes:
            self.changes -= 1
            self.tag += 1
            raise FileChanged("ask again")
        return Holes()

    def open(
        self, layout: Any, *, stop: int | None = None, name: str = "", holes: Holes | None = None
    ) -> Any:
        return ShelfStream(self, memoryview(cast("bytes", layout))[:stop])


@dataclass
class ShelfStream:
    shelf: Shelf
    view: memoryview
    at: int = 0

    def seek(self, offset: int) -> int:
        self.at = offset
        return offset

    def read_view(self, limit: int) -> memoryview:
        view = self.view[self.at : self.at + limit]
        self.at += len(view)
        return view

    def close(self) -> None:
        self.shelf.closed += 1


def test_a_file_of_the_library_plays_by_the_same_door_and_takes_no_account(
    memory_store: LeaseStore, profile_of: MakeProfile, doors_over: MakeDoors, until: Until
) -> None:
    shelf = Shelf(bytes(range(256)) * 80_000)
    doors = doors_over(
        memory_store, [profile_of()], library=shelf, streams=shelf, max_streams=1, grace_s=0
    )
    path = "/movie/bob/s3cret-pw/1000000001.mp4"
    head = doors.ask(path, method="HEAD")
    assert head.response.getheader("Content-Length") == str(len(shelf.data))
    assert head.response.getheader("Content-Type") == "video/mp4"
    assert doors.events("admitted") == 0
    player = doors.ask(path, "5-")
    assert player.read(1000) == shelf.data[5:1005]
    assert memory_store.pools() == ["global", "user:bob"]
    assert doors.ask("/movie/eve/0ther-pw/1000000001.mp4").status == 503
    (viewing,) = doors.vod.viewings()
    assert (viewing.content, viewing.profile) == ("A Film (2001)/film.mp4", None)
    assert player.read() == shelf.data[1005:]
    until(lambda: memory_store.pools() == [])
    assert shelf.closed == 1
    assert shelf.read == ["id"], "a HEAD reads nothing"


def test_a_file_of_the_library_that_changes_between_two_looks_is_looked_at_again(
    memory_store: LeaseStore, profile_of: MakeProfile, doors_over: MakeDoors
) -> None:
    shelf = Shelf(bytes(range(256)) * 80, changes=1)
    doors = doors_over(
        memory_store, [profile_of()], library=shelf, streams=shelf, max_streams=1, grace_s=0
    )
    path = "/movie/bob/s3cret-pw/1000000001.mp4"
    player = doors.ask(path, "5-")
    assert player.response.getheader("ETag") == '"tag1"'
    assert player.read() == shelf.data[5:]
    shelf.changes = 3
    assert doors.ask(path, "5-").status == 503
