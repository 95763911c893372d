"""What providers do wrong, and what a viewer has of it: the right bytes, a sentence, or a cut."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo.xtream import Movie, Trouble, XtreamServer
from gateway.errors import ConnectFailed, GatewayError
from gateway.leases.lease import LeaseStore
from gateway.vod.profiles import Profile
from gateway.vod.tally import Tally
from gateway.vod.upstream import Interrupted, Patience, Upstream

SIZE = 12_000_003
FILM = "/movie/bob/s3cret-pw/4711.mkv"
ACCOUNT = "upstream-bob"
SECRETS = ("s3cret-pw", "upstr3am-pw", "upstream-bob")

MakeDoors = Callable[..., Any]
MakeProfile = Callable[..., Profile]
Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def film(provider: XtreamServer) -> XtreamServer:
    provider.add(Movie(4711, size=SIZE))
    return provider


HASTY = Patience(10.0, 1.0, 1.0)  # where a provider keeps it waiting on purpose
PATIENT = Patience(10.0, 20.0, 20.0)


@pytest.fixture
def doors_with(
    memory_store: LeaseStore, film: XtreamServer, profile_of: MakeProfile, doors_over: MakeDoors
) -> Callable[[Patience], Any]:
    return lambda patience: doors_over(memory_store, [profile_of()], patience=patience, grace_s=0)


@pytest.fixture
def doors(doors_with: Callable[[Patience], Any]) -> Any:
    return doors_with(PATIENT)


def rest(player: Any) -> bytes:
    """Return what still comes of a body, until it ends or is cut."""
    data = bytearray()
    try:
        while piece := player.read(1 << 20):
            data += piece
    except (OSError, http.client.HTTPException):
        pass
    return bytes(data)


def upstream(**fields: Any) -> Upstream:
    return Upstream("bob", "movie 4711", patience=PATIENT, agent="test", tally=Tally(), **fields)


@pytest.mark.parametrize(
    ("trouble", "how", "status", "words"),
    [
        (Trouble.REFUSE, {"status": 403}, 503, "was refused movie 4711 (403)"),
        (Trouble.REFUSE, {"status": 429}, 503, "was refused movie 4711 (429)"),
        (Trouble.REFUSE, {"status": 503}, 503, "was refused movie 4711 (503)"),
        (Trouble.REFUSE, {"status": 404}, 404, "has no movie 4711 (404)"),
        (Trouble.REFUSE, {"status": 401}, 502, "check its USERNAME and PASSWORD"),
        (Trouble.REFUSE, {"status": 500}, 502, "was refused movie 4711 (500)"),
        (Trouble.SILENCE, {}, 502, "did not answer within 1 s"),
        (Trouble.STALL, {"after": 0}, 502, "sent nothing of movie 4711 for 1 s"),
        (Trouble.CUT, {"after": 0}, 502, "broke off in movie 4711"),
        (Trouble.OTHER_RANGE, {"after": 1}, 502, "when asked for 5000000 to 12000003"),
        (Trouble.IGNORE_RANGE, {}, 502, "from its beginning when asked for byte 5000000"),
        (Trouble.REDIRECT_AWAY, {"location": "ftp://x/y"}, 502, "to what is no web address"),
        (Trouble.REDIRECT_AWAY, {"location": "http://127.0.0.1:1/x"}, 502, "be connected to"),
        (Trouble.REDIRECT_AWAY, {"location": ""}, 502, "answered 302"),
    ],
)
def test_what_fails_before_the_first_byte_is_a_clean_answer_and_gives_the_slot_back(
    trouble: Trouble, how: dict[str, Any], status: int, words: str,
    doors_with: Callable[[Patience], Any], film: XtreamServer, until: Until,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    doors = doors_with(HASTY if trouble in {Trouble.SILENCE, Trouble.STALL} else PATIENT)
    assert doors.ask(FILM, None, method="HEAD").status == 200  # it is known
    film.fail(trouble, **how)
    player = doors.ask(FILM, "5000000-")
    sentence = player.read().decode()
    assert (player.status, words in sentence) == (status, True), sentence
    assert (player.response.getheader("Retry-After") is not None) == (status == 503)
    assert doors.count("profile:bob") == 0
    until(lambda: film.counts(ACCOUNT).open == 0)
    assert doors.connections == 0
    told = sentence + caplog.text
    assert not [secret for secret in SECRETS if secret in told]


def test_a_provider_that_redirects_for_ever_is_given_up(doors: Any, film: XtreamServer) -> None:
    film.fail(Trouble.REDIRECT_AWAY, location=film.movie_url(ACCOUNT, 4711))
    player = doors.ask(FILM, "0-")
    assert (player.status, "more than 5 times" in player.read().decode()) == (502, True)


def test_a_redirect_is_followed_to_where_the_film_is(doors: Any, film: XtreamServer) -> None:
    film.fail(Trouble.REDIRECT)
    player = doors.ask(FILM, "1000-")
    assert (player.status, player.read()) == (206, film.content(4711).read(1000))


@pytest.mark.parametrize("how", [{"reset": True}, {"reset": False}])
def test_a_cut_between_bytes_is_gone_on_with_once_at_the_exact_byte(
    how: dict[str, Any], doors: Any, film: XtreamServer
) -> None:
    assert doors.ask(FILM, None, method="HEAD").status == 200
    film.fail(Trouble.CUT, after=3_000_001, times=1, **how)
    player = doors.ask(FILM, "7-")
    assert player.read() == film.content(4711).read(7)
    assert doors.events("upstream_reopened") == 1
    assert film.counts(ACCOUNT).offences == 0


def test_a_provider_that_stops_in_mid_film_is_asked_again_at_the_exact_byte(
    doors_with: Callable[[Patience], Any], film: XtreamServer
) -> None:
    doors = doors_with(HASTY)
    film.fail(Trouble.STALL, after=3_000_001, times=1)
    assert doors.ask(FILM, "0-").read() == film.content(4711).read()


@pytest.mark.parametrize("spoilt", [Trouble.REFUSE, Trouble.CHANGE_ETAG, Trouble.IGNORE_RANGE])
def test_a_film_that_cannot_be_gone_on_with_is_cut_and_never_ends_early(
    spoilt: Trouble, doors: Any, film: XtreamServer, until: Until
) -> None:
    film.fail(Trouble.CUT, after=8_000_001, times=1)
    player = doors.ask(FILM, "0-")
    begun = player.read(100)
    film.fail(spoilt)
    data = begun + rest(player)
    assert len(data) < SIZE
    assert film.content(4711).read(0, len(data)) == data
    until(lambda: doors.count("profile:bob") == 0)


def test_a_provider_that_cuts_every_connection_short_is_given_up(
    doors: Any, film: XtreamServer
) -> None:
    film.fail(Trouble.CUT, after=300_000)
    data = rest(doors.ask(FILM, "0-"))
    assert data == film.content(4711).read(0, len(data))
    assert len(data) < SIZE
    assert doors.events("upstream_reopened") == 1


def test_a_provider_without_ranges_is_read_from_the_beginning_for_a_small_offset(
    doors: Any, film: XtreamServer
) -> None:
    film.fail(Trouble.IGNORE_RANGE)
    content = film.content(4711)
    assert doors.ask(FILM, "0-").read() == content.read()
    near = doors.ask(FILM, "1000-2999")
    assert (near.status, near.read()) == (206, content.read(1000, 2000))


def test_without_validators_a_film_is_gone_on_with_by_its_size(
    doors: Any, film: XtreamServer
) -> None:
    film.fail(Trouble.NO_ETAG)
    film.fail(Trouble.CUT, after=3_000_001, times=1)
    player = doors.ask(FILM, "0-")
    assert player.response.getheader("ETag") is None
    assert player.read() == film.content(4711).read()


@pytest.mark.parametrize("trouble", [Trouble.SILENCE, Trouble.STALL])
def test_closing_a_connection_ends_what_waits_in_it_from_another_thread(
    trouble: Trouble, film: XtreamServer
) -> None:
    film.fail(trouble)
    one, caught = upstream(), []

    def read() -> None:
        try:
            one.open(film.movie_url(ACCOUNT, 4711), 0, None)
            one.read(1000)
        except GatewayError as exc:
            caught.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    film.wait_for(lambda server: server.held == 1)
    one.close()
    one.close()
    thread.join(20)
    assert not thread.is_alive()
    assert [type(exc) for exc in caught] == [Interrupted]
    film.wait_for(lambda server: server.counts(ACCOUNT).open == 0)


def test_a_connection_that_was_closed_is_not_opened(film: XtreamServer) -> None:
    one = upstream()
    one.close()
    with pytest.raises(Interrupted):
        one.open(film.movie_url(ACCOUNT, 4711), 0, None)
    assert film.requests == []


def test_an_address_that_nobody_listens_at_is_told_without_the_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ConnectFailed) as caught:
        upstream().open(f"http://127.0.0.1:{port}/movie/u/s3cret-pw/1.mkv", 0, None)
    assert "s3cret-pw" not in str(caught.value)
    assert str(port) not in str(caught.value)
    assert caught.value.__cause__ is None
