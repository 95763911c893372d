"""`nzb-gateway check --tell`, and what `check` shows of it, as somebody types it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
import sqlalchemy as sa
from fake_arr import KEY, FakeArr, Fault, serving

from gateway.app import Gateway
from gateway.demo import NewsServer, make_bulk_post
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.entries import NewFile, NewPosted, NewRelease
from gateway.library.schema import checks
from gateway.nzb.extents import PartTable, Run
from gateway.settings import load

FILM = make_bulk_post("film.mkv", 20 * 1000, part_size=1000)
Start = Callable[..., Gateway]
Run_ = Callable[..., tuple[int, list[str], list[str]]]


pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture
def radarr(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArr]:
    """A Radarr that has grabbed the film, and is in the settings."""
    fake = FakeArr("radarr", version=5)
    fake.add_movie(3, "The Film", has_file=True)
    fake.grab("SABnzbd_nzo_film", 3)
    with serving(fake):
        monkeypatch.setenv("GATEWAY_ARR__MOVIES__KIND", "radarr")
        monkeypatch.setenv("GATEWAY_ARR__MOVIES__URL", fake.url)
        monkeypatch.setenv("GATEWAY_ARR__MOVIES__API_KEY", KEY)
        yield fake


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Run a gateway, once, with a film of which some articles are gone, or all are."""
    with ExitStack() as stack:
        server = stack.enter_context(NewsServer())
        server.add(FILM)

        def run(*, failed: bool = False) -> Gateway:
            server.remove(FILM.message_ids if failed else FILM.message_ids[:1])
            monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__HOST", server.host)
            monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__PORT", str(server.port))
            monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__TLS", "false")
            monkeypatch.setenv("GATEWAY_PORT", "0")
            database = Database(load().database)
            library = Library(database)
            (file,) = FILM.files
            table = PartTable.regular([one.encode() for one in file.message_ids], file.size, 1000)
            new = NewRelease(
                "movies",
                "Film (2020)",
                1.0,
                FILM.nzb,
                (NewPosted(file.name, table),),
                (NewFile(file.name, file.size, (Run(0, 0, file.size),)),),
                nzo_id="SABnzbd_nzo_film",
            )
            with database.begin() as tx:
                library.publish(tx, new)
                if failed:
                    tx.execute(sa.update(checks).values(verdict="failed", confirmed_at=1.0))
            library.close()
            database.close()
            running = stack.enter_context(Gateway(load()))
            monkeypatch.setenv("GATEWAY_PORT", str(running.server.port))
            return running

        yield run


@pytest.fixture
def run(command: Run_) -> Run_:
    """Run one of its commands; return its exit code, and the lines that it printed."""
    return partial(command, "check")


TOLD = (
    r"The Film \(1999\): 'movies' was told: marked as failed; searches again by itself; it has a "
    r"file of it, and takes only what it counts as better \(\d{4}-\d\d-\d\d \d\d:\d\d\)"
)


NOBODY = "no Sonarr or Radarr is configured (GATEWAY_ARR__<name>__KIND, URL and API_KEY)"


def test_a_degraded_release_is_replaced_when_somebody_says_so_and_check_shows_it(
    radarr: FakeArr, gateway: Start, run: Run_
) -> None:
    gateway()
    code, out, err = run("--tell", "Film (2020)")
    assert (code, err) == (0, [])
    assert re.fullmatch(rf"Film \(2020\): {TOLD}", "\n".join(out))
    assert radarr.blocklist == ["Some.Release.SABnzbd_nzo_film"]
    code, out, _ = run("movies/Film (2020)")
    assert code == 3
    assert out[1].startswith("  DEGRADED  film.mkv  ")
    assert re.fullmatch(rf"  {TOLD}", out[3])
    assert {one.method for one in radarr.asked} == {"GET", "POST"}


def test_what_has_failed_for_certain_is_told_by_itself_and_shown(
    radarr: FakeArr, gateway: Start, run: Run_
) -> None:
    running = gateway(failed=True)
    code, out, _ = run("--tell", "Film (2020)")  # waits until something has come of it
    assert code == 0
    assert re.search("'movies' was told: ", out[0])
    assert len(radarr.blocklist) == 1
    assert running.checks.replacing.stop(20)


def test_an_arr_that_does_not_answer_is_said_to_be_told_later(
    radarr: FakeArr, gateway: Start, run: Run_
) -> None:
    radarr.fault = lambda _: Fault(503)
    gateway()
    code, out, err = run("--tell", "Film (2020)")
    assert (code, err) == (4, [])
    (line,) = out
    assert line.startswith(
        f"Film (2020): no *arr is told yet: {radarr.url} answered with status 503; again at 20"
    )
    assert KEY not in line


def test_who_cannot_be_told_is_said_in_one_sentence_with_code_1(gateway: Start, run: Run_) -> None:
    gateway()
    assert run("--tell", "Film (2020)") == (
        1,
        [],
        [f"Film (2020): {NOBODY}"],
    )
    code, _, (complaint,) = run("--tell", "Filn")
    assert (code, complaint) == (1, "Filn: no release is called 'Filn'")


def test_no_whole_library_is_replaced(gateway: Start, run: Run_) -> None:
    gateway()
    assert run("--tell") == (1, [], ["nzb-gateway: no whole library is replaced: name releases"])


@pytest.mark.parametrize(("kind", "replace"), [("radarr", "false"), ("lidarr", "true")])
def test_an_arr_is_told_of_no_failure_where_the_settings_say_so(
    radarr: FakeArr,
    gateway: Start,
    run: Run_,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    replace: str,
) -> None:
    monkeypatch.setenv("GATEWAY_ARR__MOVIES__KIND", kind)
    monkeypatch.setenv("GATEWAY_ARR__MOVIES__REPLACE", replace)
    gateway(failed=True)
    code, _, (complaint,) = run("--tell", "Film (2020)")
    assert code == 1
    assert "no Sonarr or Radarr is configured" in complaint
    assert radarr.asked == []


def test_a_release_without_files_is_no_fault_of_the_command(
    radarr: FakeArr, gateway: Start, run: Run_
) -> None:
    gateway()
    database = Database(load().database)
    library = Library(database)
    release = library.release("movies", "Film (2020)")
    assert release is not None
    library.remove_files(release, "film.mkv")
    library.close()
    database.close()
    code, out, (complaint,) = run("--tell", "Film (2020)")
    assert (code, out) == (4, [])
    assert complaint.startswith("Film (2020): it has no files any more")
