"""`nzb-gateway check`, as somebody types it, against a gateway and a news server that run."""

from __future__ import annotations

import io
import re
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from gateway.api_client import ApiClient
from gateway.app import Gateway
from gateway.check_command import _words, check
from gateway.demo import Fault, NewsServer, Post, make_bulk_post
from gateway.library.catalogue import Library
from gateway.library.check_agenda import Braked, CheckAgenda
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.nzb.extents import PartTable, Run
from gateway.settings import load

FILM = make_bulk_post("film.mkv", 250 * 1000, part_size=1000)
SERIES = make_bulk_post("episode.mkv", 20 * 1000, part_size=1000, seed=1)


pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer() as server:
        server.add(FILM, SERIES)
        yield server


@pytest.fixture
def gateway(
    server: NewsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Gateway]]:
    """Run a gateway, once, with a film and an episode of a series in its library."""
    monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__HOST", server.host)
    monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__PORT", str(server.port))
    monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__TLS", "false")
    monkeypatch.setenv("GATEWAY_READ_TIMEOUT", "1s")
    monkeypatch.setenv("GATEWAY_HEALTH_CHECKS", "false")
    monkeypatch.setenv("GATEWAY_PORT", "0")
    with ExitStack() as stack:

        def run() -> Gateway:
            database = Database(load().database)
            library = Library(database)
            publish(database, library, "movies", "Film (2020)", FILM)
            publish(database, library, "tv", "Series S01E01", SERIES)
            library.close()
            database.close()
            running = stack.enter_context(Gateway(load()))
            monkeypatch.setenv("GATEWAY_PORT", str(running.server.port))
            return running

        yield run


def publish(database: Database, library: Library, category: str, name: str, post: Post) -> None:
    (file,) = post.files
    table = PartTable.regular([one.encode() for one in file.message_ids], file.size, 1000)
    release = NewRelease(
        category,
        name,
        1.0,
        post.nzb,
        (NewPosted(file.name, table),),
        (NewFile(file.name, file.size, (Run(0, 0, file.size),)),),
    )
    with database.begin() as tx:
        library.publish(tx, release)


Run_ = Callable[..., tuple[int, list[str], list[str]]]
Start = Callable[[], Gateway]


@pytest.fixture
def run(command: Run_) -> Run_:
    """Run one of its commands; return its exit code, and the lines that it printed."""
    return partial(command, "check")


def test_a_healthy_library_is_shown_file_by_file_with_code_0(gateway: Start, run: Run_) -> None:
    gateway()
    assert run() == (
        0,
        [
            "movies/Film (2020)",
            "  HEALTHY   film.mkv  250 articles present",
            "tv/Series S01E01",
            "  HEALTHY   episode.mkv  20 articles present",
            "2 files: 2 healthy",
        ],
        [],
    )


def test_what_is_missing_is_shown_with_its_place_and_code_3(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    server.remove([*FILM.message_ids[12:14], FILM.message_ids[99], *SERIES.message_ids])
    gateway()
    where = "segments 13-14, 100; at 4.8-5.6 %, 39.6-40.0 % of the file"
    assert run() == (
        3,
        [
            "movies/Film (2020)",
            f"  DEGRADED  film.mkv  3 of 250 articles missing ({where})",
            "            does not play: it begins with what says which tracks are in it",
            "tv/Series S01E01",
            "  FAILED    episode.mkv  all 20 articles missing",
            (
                "  no *arr is told: no Sonarr or Radarr is configured (GATEWAY_ARR__<name>__KIND, "
                "URL and API_KEY)"
            ),
            "2 files: 1 degraded, 1 failed",
        ],
        [],
    )


def test_only_the_releases_that_are_named_are_checked(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    gateway()
    code, out, _ = run("movies/Film (2020)", "Film (2020)")
    assert (code, out[0], out[-1]) == (0, "movies/Film (2020)", "1 file: 1 healthy")
    assert set(server.counts.stats) == set(FILM.message_ids)


def test_a_provider_that_does_not_answer_gives_code_4_and_the_verdict_from_before(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    gateway()
    assert run("Film (2020)")[0] == 0
    server.fail(Fault.SILENCE)
    code, out, err = run("Film (2020)")
    assert (code, err) == (4, [])
    assert re.fullmatch(
        r"  UNKNOWN   film\.mkv  250 of 250 articles unknown: the provider did not answer "
        r"\(before: HEALTHY, \d{4}-\d\d-\d\d\)",
        out[1],
    )
    server.release()


def test_a_release_that_does_not_exist_is_told_in_one_line_with_names_like_it(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    gateway()
    assert run("Flim (2020)", "Series S01E01") == (
        1,
        [],
        ["nzb-gateway: no release is called 'Flim (2020)': perhaps 'Film (2020)'"],
    )
    assert not server.counts.stats


def test_whoever_does_not_want_to_wait_is_told_where_to_look(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    running = gateway()
    place = f"127.0.0.1:{running.server.port}"
    assert run("--no-wait") == (
        0,
        [f"2 files will be checked; {place}/api/gateway/checks tells what is found"],
        [],
    )
    server.wait_for(lambda counts: counts.commands["STAT"] == 270)


def test_an_empty_library_is_no_error(monkeypatch: pytest.MonkeyPatch, run: Run_) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "0")
    with Gateway(load()) as running:
        monkeypatch.setenv("GATEWAY_PORT", str(running.server.port))
        assert run() == (0, ["nothing to check: the library holds no file"], [])


def test_without_a_provider_nothing_is_known_and_the_line_says_what_to_set(
    gateway: Start, monkeypatch: pytest.MonkeyPatch, run: Run_
) -> None:
    for name in ("HOST", "PORT", "TLS"):
        monkeypatch.delenv(f"GATEWAY_PROVIDERS__MAIN__{name}", raising=False)
    gateway()
    code, out, _ = run("Film (2020)")
    assert code == 4
    assert "no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST" in out[1]


def test_the_progress_is_shown_on_a_terminal_and_wiped_at_the_end(
    server: NewsServer, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        """A terminal whose reader lets the server answer once it has seen how far it is."""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            if "100 of 250 articles of film.mkv" in text:
                server.release()
            return super().write(text)

    monkeypatch.setenv("GATEWAY_READ_TIMEOUT", "60s")
    server.fail(Fault.SILENCE, FILM.message_ids[120])
    gateway()
    out, err = io.StringIO(), Terminal()
    client = ApiClient.of(load())
    assert check(client, ["Film (2020)"], wait=True, out=out, err=err, shown=str) == 0
    shown = err.getvalue().split("\r\x1b[K")
    assert "0 of 1 file checked; 100 of 250 articles of film.mkv" in shown
    assert shown[-1] == ""


def test_when_nothing_listens_or_the_key_is_wrong_one_line_says_so(
    gateway: Start, monkeypatch: pytest.MonkeyPatch, run: Run_
) -> None:
    gateway()
    monkeypatch.setenv("GATEWAY_API_KEY", "not-the-key")
    code, out, (complaint,) = run()
    assert (code, out) == (1, [])
    assert "refused the API key: set GATEWAY_API_KEY or GATEWAY_DATA_DIR" in complaint
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GATEWAY_PORT", str(closed.getsockname()[1]))
        code, out, (complaint,) = run()
    assert (code, out) == (1, [])
    assert "nothing listens on" in complaint


# Deep, history, status --------------------------------------------------------------------------


def test_a_deep_check_finds_what_is_not_as_it_was_posted_and_a_plain_one_does_not_heal_it(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    server.fail(Fault.DAMAGED, SERIES.message_ids[3])
    gateway()
    assert run("Series S01E01")[0] == 0
    where = "segment 4; at 15.0-20.0 % of the file"
    broken = f"  DEGRADED  episode.mkv  1 of 20 articles missing, 1 of them damaged ({where})"
    code, out, _ = run("--deep", "Series S01E01")
    assert (code, out[1]) == (3, broken)
    assert server.counts.bodies.keys() == set(SERIES.message_ids)
    code, out, _ = run("Series S01E01")
    assert (code, out[1]) == (3, broken)
    server.heal()
    assert run("--deep", "Series S01E01")[0] == 0


def test_the_history_of_a_release_is_shown_the_latest_check_first(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    gateway()
    assert run("--history", "Film (2020)") == (
        0,
        ["movies/Film (2020)/film.mkv: no check on record"],
        [],
    )
    run("Film (2020)")
    server.remove(FILM.message_ids[12:14])
    run("Film (2020)")
    code, (name, late, early), _ = run("--history", "Film (2020)")
    assert (code, name) == (0, "movies/Film (2020)/film.mkv")
    when = r"  \d{4}-\d\d-\d\d \d\d:\d\d  "
    counted = r"%s of 250 articles missing \(\d+\.\d s\)"
    assert re.fullmatch(f"{when}DEGRADED  {counted % 2}", late)
    assert re.fullmatch(f"{when}HEALTHY   {counted % 0}", early)


def test_a_history_is_that_of_a_release(gateway: Start, run: Run_) -> None:
    gateway()
    assert run("--history")[0] == 1
    assert run("--history", "nothing")[0] == 1


def test_the_status_says_what_is_due_and_whether_checks_are_stopped(
    server: NewsServer, gateway: Start, monkeypatch: pytest.MonkeyPatch, run: Run_
) -> None:
    monkeypatch.setenv("GATEWAY_HEALTH_CHECKS", "true")
    database = Database(load().database)
    agenda = CheckAgenda(database)
    reason = "5 of 5 checks went badly"
    agenda.brake(Braked(time.time(), time.time() + 3000, reason), ill_since=0.0)
    database.close()
    running = gateway()
    code, out, _ = run("--status")
    assert (code, out[0]) == (0, "2 files: 2 unknown")
    assert re.fullmatch(r"2 overdue, next due \d{4}-\d\d-\d\d \d\d:\d\d", out[1])
    assert re.fullmatch(rf"stopped until \d{{4}}-\d\d-\d\d \d\d:\d\d: {reason}", out[2])
    # by hand it goes on, and says so
    code, out, err = run()
    assert (code, out[-1]) == (0, "2 files: 2 healthy")
    assert err == [f"no file is checked by itself at present: {reason}"]
    text = metrics(running)
    assert 'nzb_gateway_library_files{verdict="healthy"} 2.0' in text
    assert "nzb_gateway_checks_overdue 0.0" in text
    assert "nzb_gateway_checks_stopped 1.0" in text


def test_the_status_of_a_release_is_what_is_known_and_when_it_is_due(
    server: NewsServer, gateway: Start, run: Run_
) -> None:
    server.remove(FILM.message_ids[12:14])
    gateway()
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    code, out, err = run("--status", "Film (2020)")
    assert (code, err, out[:2]) == (
        0,
        [],
        ["movies/Film (2020)", "  UNKNOWN   film.mkv  never checked"],
    )
    assert re.fullmatch(f"            due {when}", out[2])
    assert out[3:] == ["no file is checked by itself (GATEWAY_HEALTH_CHECKS, or no provider)"]
    assert not server.counts.stats  # it checks nothing
    checked = run("Film (2020)")[1]
    code, out, _ = run("--status", "movies/Film (2020)")
    assert (code, out[:3]) == (0, checked[:3])
    assert re.fullmatch(f"            checked {when}, due {when}", out[3])
    assert run("--status", "Flim (2020)") == (
        1,
        [],
        ["nzb-gateway: no release is called 'Flim (2020)': perhaps 'Film (2020)'"],
    )


def test_whether_a_file_with_holes_plays_is_said_by_check_and_by_show_in_one_way(
    server: NewsServer, gateway: Start, run: Run_, command: Run_
) -> None:
    server.remove(FILM.message_ids[12:14])
    gateway()
    plays = "does not play: it begins with what says which tracks are in it"
    assert f"            {plays}" in run("Film (2020)")[1]
    assert f"    {plays}" in command("library", "show", "Film (2020)")[1]


def test_where_nothing_is_checked_there_is_nothing_deep(gateway: Start, run: Run_) -> None:
    gateway()
    for way in ("--status", "--history", "--tell"):
        complaint = f"nzb-gateway: with {way} nothing is checked: leave out --deep"
        assert run(way, "--deep", "Film (2020)") == (1, [], [complaint])


def test_without_a_schedule_the_status_says_so(gateway: Start, run: Run_) -> None:
    gateway()
    assert run("--status")[1] == [
        "2 files: 2 unknown",
        "no file is checked by itself (GATEWAY_HEALTH_CHECKS, or no provider)",
    ]


def metrics(running: Gateway) -> str:
    request = urllib.request.Request(
        f"{running.url}/metrics", headers={"X-Api-Key": running.keys.api_key}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def test_what_is_no_gateway_is_called_so(
    server: NewsServer, run: Run_, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_PORT", str(server.port))
    monkeypatch.setenv("GATEWAY_API_KEY", "a-key-of-the-tests-0123456789")
    code, out, (told,) = run("--status")
    assert (code, out) == (1, [])
    assert told.endswith("what listens there does not speak HTTP, so it is no gateway")


def test_a_failure_that_is_confirmed_says_since_when() -> None:
    file = {"health": "failed", "words": "all 20 articles missing", "confirmed_at": 1.0}
    assert re.fullmatch(
        r"all 20 articles missing, confirmed \d{4}-\d\d-\d\d \d\d:\d\d", _words(file)
    )
