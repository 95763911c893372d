"""Bad days of a gateway that really runs: bad input, bad providers, full disks, sudden deaths.

Whatever goes wrong is said in one line that names what to change; nothing is half-published,
nothing that was accepted is lost, and nothing fails for good that may be had tomorrow.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from gateway_process import (
    API_KEY,
    PASSWORD,
    Answer,
    GatewayProcess,
    environment,
    provider_settings,
    running_gateway,
)

from bench.ports import free_port
from gateway.demo import Fault, NewsServer, Post, Shape, make_post, make_posts

FOLDER = "/dav/nzbs/movies"
CONTENT = "/dav/content/movies"
PART = 50_000


@pytest.fixture(scope="module")
def data() -> bytes:
    return random.Random(2026).randbytes(40 * PART)


@pytest.fixture(scope="module")
def post_of(data: bytes) -> Post:
    return make_posts({"film.nfo": b"A film.\r\n", "film.mkv": data}, part_size=PART)


@pytest.fixture
def news(post_of: Post) -> Iterator[NewsServer]:
    with NewsServer() as server:
        server.add(post_of)
        yield server


@pytest.fixture(scope="module")
def gateway(post_of: Post, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway in good health, for input that is not."""
    with NewsServer() as server:
        server.add(post_of)
        data_dir = tmp_path_factory.mktemp("bad-input") / "data"
        with running_gateway(data_dir, provider_settings(server.host, server.port)) as running:
            yield running


def settings_of(server: NewsServer, **more: str) -> dict[str, str]:
    """Return the settings for *server*, and *more* without their prefix."""
    return {
        **provider_settings(server.host, server.port),
        **{f"GATEWAY_{name}": value for name, value in more.items()},
    }


def wait_until(
    gateway: GatewayProcess, predicate: Callable[[], Any], timeout_s: float = 30.0
) -> Any:
    """Return what *predicate* gives as soon as that is true; the gateway must live so long."""
    deadline = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the gateway has ended with {gateway.process.wait(0.02)}")
    return found


def put(gateway: GatewayProcess, name: str, nzb: bytes) -> Answer:
    return gateway.ask("PUT", f"{FOLDER}/{name}.nzb", nzb)


def queued(gateway: GatewayProcess) -> list[Any]:
    slots: list[Any] = gateway.api("queue")["queue"]["slots"]
    return slots


def ended(gateway: GatewayProcess) -> dict[str, Any]:
    """Return the history by name; no name may stand there twice."""
    slots = gateway.api("history")["history"]["slots"]
    named = {slot["name"]: slot for slot in slots}
    assert len(named) == len(slots)
    return named


def reason(gateway: GatewayProcess) -> str:
    """Return why the only item waits, as soon as it does. It must not have failed."""

    def note() -> str:
        assert ended(gateway) == {}
        (slot,) = queued(gateway)
        labels: list[str] = slot["labels"]
        return labels[-1] if slot["status"] == "Queued" and labels else ""

    found: str = wait_until(gateway, note)
    return found


def published(gateway: GatewayProcess) -> list[str]:
    """Return the names of the releases in /dav/content/movies."""
    answer = gateway.ask("PROPFIND", f"{CONTENT}/", headers={"Depth": "1"})
    assert answer.status == 207
    return re.findall(rf"<D:href>{CONTENT}/([^/<]+)/</D:href>", answer.body.decode())


def log_of(gateway: GatewayProcess) -> str:
    return (gateway.data_dir.parent / f"{gateway.data_dir.name}.log").read_text()


def command(
    *words: str | Path, data_dir: Path, port: int, settings: Mapping[str, str] = {}
) -> tuple[int, str, str]:
    """Run `nzb-gateway` *words* in a process; return its exit code, its output, its complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, words)],
        env=environment(data_dir, port, settings),
        cwd=data_dir.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# What is handed in ---------------------------------------------------------------------------

NZB = b'<?xml version="1.0"?>\n<nzb xmlns="http://www.newzbin.com/DTD/2003/nzb">'


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"\x00\x01\x02 not XML at all", "not an NZB: begins with"),
        (b"404 Not Found\n", "not an NZB: begins with '404 Not Found"),
        (gzip.compress(b""), "not an NZB: it is empty"),
    ],
    ids=["bytes", "text", "empty within gzip"],
)
def test_what_is_no_xml_is_refused_at_the_door(
    gateway: GatewayProcess, tmp_path: Path, document: bytes, words: str
) -> None:
    answer = put(gateway, "junk", document)
    assert answer.status == 400
    assert answer.body.decode().startswith(words)
    assert answer.body.count(b"\n") == 1

    file = tmp_path / "junk.nzb"
    file.write_bytes(document)
    told = command("add", file, data_dir=gateway.data_dir, port=gateway.port)
    assert told == (1, "", f"nzb-gateway: {file} was not added: it is no NZB\n")
    assert "junk" not in ended(gateway)


@pytest.mark.parametrize(
    ("name", "document", "words"),
    [
        ("page", b"<html><body>Please log in</body></html>", "not an NZB but <html>"),
        (
            "refusal",
            b'<?xml version="1.0"?><error code="100" description="Incorrect user credentials"/>',
            "not an NZB but <error> that says 'Incorrect user credentials'",
        ),
        ("nothing", NZB + b"</nzb>", "the NZB lists nothing to fetch"),
        ("stump", NZB + b"<file", "the NZB is broken"),
        ("bomb", gzip.compress(bytes(220 << 20), 1), "the NZB has more than 209,715,200 bytes"),
        ("half-gzip", gzip.compress(NZB)[:40], "damaged gzip file"),
    ],
)
def test_xml_that_is_no_usable_nzb_fails_in_the_history_and_says_why(
    gateway: GatewayProcess, name: str, document: bytes, words: str
) -> None:
    assert put(gateway, name, document).status == 201
    slot = wait_until(gateway, lambda: ended(gateway).get(name))
    assert slot["status"] == "Failed"
    assert slot["fail_message"].startswith(words)
    assert "\n" not in slot["fail_message"]
    assert slot["storage"] == ""
    assert name not in published(gateway)


@pytest.mark.parametrize("at", ["in the film", "between two files"])
def test_an_nzb_that_is_cut_off_is_not_published_in_part(
    gateway: GatewayProcess, post_of: Post, at: str
) -> None:
    name = f"cut {at}"
    end = post_of.nzb.rindex(b"<segment" if at == "in the film" else b"<file")
    assert put(gateway, name, post_of.nzb[:end]).status == 201
    slot = wait_until(gateway, lambda: ended(gateway).get(name))
    assert slot["status"] == "Failed"
    assert slot["fail_message"].startswith("the NZB is cut off")
    assert published(gateway) == []


def test_missing_articles_fail_the_item_with_numbers(gateway: GatewayProcess, data: bytes) -> None:
    gone = make_post("gone.mkv", data, part_size=PART, seed=7)  # nobody serves it
    assert put(gateway, "gone", gone.nzb).status == 201
    slot = wait_until(gateway, lambda: ended(gateway).get("gone"))
    assert slot["status"] == "Failed"
    assert re.fullmatch(
        r"\d of \d articles checked \(of 40\) (is|are) missing from the provider",
        slot["fail_message"],
    )
    assert "gone" not in published(gateway)


def test_the_command_line_says_which_file_it_cannot_add(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    code, out, err = command(
        "add", "none.nzb", tmp_path, data_dir=gateway.data_dir, port=gateway.port
    )
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "nzb-gateway: none.nzb cannot be read: No such file or directory",
        f"nzb-gateway: {tmp_path} cannot be read: Is a directory",
    ]


def test_a_wrong_key_opens_neither_the_api_nor_the_command_line(
    gateway: GatewayProcess, post_of: Post, tmp_path: Path
) -> None:
    for query, words in {
        "mode=queue": "API Key Required",
        "mode=queue&apikey=wrong": "API Key Incorrect",
        "mode=addfile&apikey=wrong": "API Key Incorrect",
        f"mode=queue&apikey={API_KEY[:-1]}": "API Key Incorrect",
    }.items():
        answer = gateway.ask("GET", f"/api?output=json&{query}")
        assert answer.status == 200  # as SABnzbd: clients take anything else for a dead server
        assert words in answer.body.decode()
        assert b"slots" not in answer.body

    file = tmp_path / "film.nzb"
    file.write_bytes(post_of.nzb)
    wrong = {"GATEWAY_API_KEY": "wrong-key"}
    code, out, err = command(
        "add", file, data_dir=gateway.data_dir, port=gateway.port, settings=wrong
    )
    assert (code, out) == (1, "")
    assert "refused the API key: set GATEWAY_API_KEY or GATEWAY_DATA_DIR" in err
    assert err.count("\n") == 1
    assert "wrong-key" not in err + log_of(gateway)


def test_a_wrong_password_opens_no_folder(gateway: GatewayProcess, post_of: Post) -> None:
    wrong = {"Authorization": "Basic Z2F0ZXdheTp3cm9uZw=="}
    for method, path in {"GET": f"{CONTENT}/", "PUT": f"{FOLDER}/film.nzb"}.items():
        answer = gateway.ask(method, path, post_of.nzb if method == "PUT" else None, wrong)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert PASSWORD not in log_of(gateway)


def test_without_a_gateway_the_command_line_says_where_it_looked(tmp_path: Path) -> None:
    file = tmp_path / "film.nzb"
    file.write_bytes(NZB)
    port = free_port()
    code, out, err = command("add", file, data_dir=tmp_path / "data", port=port)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"nothing listens on 127.0.0.1:{port}: start the gateway" in err


# How it is set up ----------------------------------------------------------------------------


def file_in_the_way(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").write_text("x")
    return {"DATA_DIR": str(tmp_path / "file")}


def folder_that_cannot_be_made(tmp_path: Path) -> dict[str, str]:
    return {"DATA_DIR": "/proc/nzb-gateway"}


def no_database(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "library.sqlite").write_text("It was a dark and stormy night. " * 200)
    return {"DATA_DIR": str(tmp_path)}


def misspelt_section(tmp_path: Path) -> dict[str, str]:
    return {"PROVIDER__MAIN__HOST": "news.example.com"}


def misspelt_field(tmp_path: Path) -> dict[str, str]:
    return {"PROVIDERS__MAIN__HOTS": "news.example.com"}


def wrong_unit(tmp_path: Path) -> dict[str, str]:
    return {"READ_TIMEOUT": "30 parsecs"}


def address_of_another_machine(tmp_path: Path) -> dict[str, str]:
    return {"HOST": "192.0.2.1"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (file_in_the_way, "cannot be written (File exists): check the folder that GATEWAY_DATA"),
        (folder_that_cannot_be_made, "cannot be written (No such file or directory): check the"),
        (no_database, "is not a database: move it away or set GATEWAY_DATABASE_URL"),
        (misspelt_section, "is no setting: did you mean GATEWAY_PROVIDERS__MAIN__HOST?"),
        (misspelt_field, "is no setting: did you mean GATEWAY_PROVIDERS__MAIN__HOST?"),
        (wrong_unit, "GATEWAY_READ_TIMEOUT=30 parsecs (environment) is not a time: write a"),
        (address_of_another_machine, "set GATEWAY_HOST to an address of this machine"),
    ],
)
def test_serve_ends_with_one_line_that_says_what_to_change(
    settings: Callable[[Path], dict[str, str]], words: str, tmp_path: Path
) -> None:
    given = {f"GATEWAY_{name}": value for name, value in settings(tmp_path).items()}
    before = sorted(tmp_path.iterdir())
    code, out, err = command("serve", data_dir=tmp_path / "data", port=free_port(), settings=given)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("nzb-gateway: ")
    assert words in last
    assert "Traceback" not in err
    if settings is not address_of_another_machine:
        assert err.count("\n") == 1
        assert [one for one in sorted(tmp_path.iterdir()) if one.name != "lock"] == before


def test_a_port_that_is_taken_is_told_and_the_other_program_lives_on(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    code, out, err = command("serve", data_dir=tmp_path / "data", port=gateway.port)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        f"nzb-gateway: cannot listen on 127.0.0.1:{gateway.port}: another program does; "
        "set GATEWAY_PORT to a free port"
    )
    assert gateway.ask("GET", "/healthz").status == 200


def test_without_a_provider_the_gateway_runs_and_says_what_it_lacks(
    tmp_path: Path, news: NewsServer, post_of: Post, data: bytes
) -> None:
    lacks = "no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST"
    with running_gateway(tmp_path / "data", {}) as running:
        ready = running.ask("GET", "/readyz")
        assert (ready.status, ready.body.decode().startswith(lacks)) == (503, True)
        assert put(running, "film", post_of.nzb).status == 201
        assert reason(running).startswith(lacks)
        assert published(running) == []

    with running_gateway(tmp_path / "data", settings_of(news)) as running:
        assert running.ask("GET", "/readyz").status == 200
        assert wait_until(running, lambda: ended(running).get("film"))["status"] == "Completed"
        assert running.ask("GET", f"{CONTENT}/film/film.mkv").body == data


# Providers that do not serve -----------------------------------------------------------------


def test_a_refused_login_is_told_without_the_password_and_a_mended_one_ends_the_wait(
    tmp_path: Path, post_of: Post
) -> None:
    def login(password: str) -> dict[str, str]:
        return {
            "PROVIDERS__MAIN__USERNAME": "bob",
            "PROVIDERS__MAIN__PASSWORD": password,
        }

    with NewsServer(users={"bob": "correct-horse"}) as server:
        server.add(post_of)
        wrong = settings_of(server, **login("battery-staple"))
        with running_gateway(tmp_path / "data", wrong) as running:
            assert put(running, "film", post_of.nzb).status == 201
            assert reason(running).endswith(
                f"{server.host}:{server.port} refused the login of 'bob' (481): "
                "check GATEWAY_PROVIDERS__MAIN__USERNAME and GATEWAY_PROVIDERS__MAIN__PASSWORD"
            )
            told = [
                running.ask("GET", f"/api?output=json&apikey={API_KEY}&mode={mode}").body
                for mode in ("queue", "history", "fullstatus", "get_config")
            ]
            told += [running.ask("GET", path).body for path in ("/", "/readyz", "/healthz")]
            assert b"battery-staple" not in b"".join(told)
            assert "battery-staple" not in log_of(running)
            # One refusal is enough: a provider locks the account of who keeps trying.
            assert server.counts.commands["AUTHINFO PASS"] <= 8
            assert published(running) == []

        right = settings_of(server, **login("correct-horse"))
        with running_gateway(tmp_path / "data", right) as running:
            assert wait_until(running, lambda: ended(running).get("film"))["status"] == "Completed"


def test_a_provider_that_is_not_there_is_told_with_its_address(
    tmp_path: Path, post_of: Post
) -> None:
    port = free_port()
    with running_gateway(tmp_path / "data", provider_settings("127.0.0.1", port)) as running:
        assert put(running, "film", post_of.nzb).status == 201
        assert reason(running).endswith(f"cannot connect to 127.0.0.1:{port}: Connection refused")
        assert published(running) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.CUT, "closed the connection"),
        (Fault.DAMAGED, "its CRC-32 is wrong"),
        (Fault.BUSY, "refuses for now: 502"),
        (Fault.STALL, "has said nothing for"),
    ],
)
def test_a_provider_that_fails_for_now_fails_no_item(
    tmp_path: Path, news: NewsServer, post_of: Post, fault: Fault, words: str
) -> None:
    news.fail(fault, *post_of.files[1].message_ids)
    with running_gateway(tmp_path / "data", settings_of(news, READ_TIMEOUT="2s")) as running:
        assert put(running, "film", post_of.nzb).status == 201
        assert words in reason(running)
        assert published(running) == []


@pytest.fixture(scope="module")
def watching(
    post_of: Post, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[NewsServer, GatewayProcess]]:
    """A gateway with the film in its library, and no memory of its articles."""
    with NewsServer() as server:
        server.add(post_of)
        data_dir = tmp_path_factory.mktemp("watching") / "data"
        settings = settings_of(server, READ_TIMEOUT="2s", ARTICLE_CACHE="0", DRAIN="1s")
        with running_gateway(data_dir, settings) as running:
            assert put(running, "film", post_of.nzb).status == 201
            assert wait_until(running, lambda: ended(running).get("film"))["status"] == "Completed"
            yield server, running


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (Fault.CUT, 502, "closed the connection"),
        (Fault.DAMAGED, 502, "its CRC-32 is wrong"),
        (Fault.MISSING, 404, "430 from the provider"),
        (Fault.STALL, 502, "nothing within 2 s"),
    ],
)
def test_a_hole_in_the_film_is_an_error_and_never_a_short_film(
    watching: tuple[NewsServer, GatewayProcess],
    post_of: Post,
    data: bytes,
    fault: Fault,
    status: int,
    words: str,
) -> None:
    server, running = watching
    film = f"{CONTENT}/film/film.mkv"
    hole = post_of.files[1].message_ids[30]
    server.fail(fault, hole)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        running.ask("GET", film)
    within = {"Range": f"bytes={30 * PART + 5}-{30 * PART + 9}"}
    answer = running.ask("GET", film, headers=within)
    assert answer.status == status
    assert words in answer.body.decode()
    assert answer.body.count(b"\n") == 1
    before = {"Range": f"bytes=0-{30 * PART - 1}"}
    assert running.ask("GET", film, headers=before).body == data[: 30 * PART]

    server.heal()
    assert running.ask("GET", film).body == data


def test_a_provider_that_ends_all_connections_at_once_costs_a_viewer_nothing(
    watching: tuple[NewsServer, GatewayProcess], data: bytes
) -> None:
    server, running = watching
    for _ in range(20):
        server.drop_connections()
        answer = running.ask("GET", f"{CONTENT}/film/film.mkv")
        assert (answer.status, answer.body == data) == (200, True), answer.body[:200]


# Ends ----------------------------------------------------------------------------------------


def test_sigterm_over_a_stalled_film_ends_the_program_soon_after_its_drain(
    tmp_path: Path, news: NewsServer, post_of: Post
) -> None:
    settings = settings_of(news, DRAIN="0.5s", ARTICLE_CACHE="0")  # a read waits for 30 s
    answers: list[object] = []
    with running_gateway(tmp_path / "data", settings) as running:
        assert put(running, "film", post_of.nzb).status == 201
        assert wait_until(running, lambda: ended(running).get("film"))["status"] == "Completed"
        news.fail(Fault.STALL, *post_of.files[1].message_ids[5:])

        def watch() -> None:
            try:
                answers.append(running.ask("GET", f"{CONTENT}/film/film.mkv"))
            except (OSError, http.client.HTTPException) as exc:
                answers.append(exc)

        viewer = threading.Thread(target=watch)
        viewer.start()
        news.wait_for(lambda counts: counts.stalled)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        took_s = time.monotonic() - began
        viewer.join(10)
        assert 0.5 <= took_s < 20
        assert isinstance(answers[0], ConnectionResetError | http.client.IncompleteRead)
        assert "Traceback" not in log_of(running)


def test_ten_sudden_deaths_lose_nothing_and_publish_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(9)
    films = {f"film{number}": rng.randbytes(20_000) for number in range(40)}
    posts = {name: make_post(f"{name}.mkv", film, part_size=1_000) for name, film in films.items()}
    waiting = list(posts.items())
    with NewsServer(shape=Shape(round_trip_s=0.004)) as server:
        server.add(*posts.values())

        def kill(running: GatewayProcess, after: int) -> None:
            """End it when the server has been asked *after* more questions, or is left alone."""
            asked = sum(server.counts.commands.values())
            for name, post in [waiting.pop() for _ in range(4)]:
                assert put(running, name, post.nzb).status == 201
            wait_until(
                running,
                lambda: sum(server.counts.commands.values()) > asked + after or not queued(running),
            )
            running.process.kill()
            assert running.process.wait(10) == -signal.SIGKILL

        for death in range(10):
            with running_gateway(tmp_path / "data", settings_of(server)) as running:
                kill(running, after=5 * death)
        with running_gateway(tmp_path / "data", settings_of(server)) as running:
            wait_until(running, lambda: not queued(running))
            assert log_of(running).count("items that were interrupted") >= 3  # or it proves little
            assert {slot["status"] for slot in ended(running).values()} == {"Completed"}
            assert sorted(ended(running)) == sorted(films)
            assert sorted(published(running)) == sorted(films)
            for name, film in films.items():
                assert running.ask("GET", f"{CONTENT}/{name}/{name}.mkv").body == film


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid() != 0 and not os.environ.get("GATEWAY_REQUIRE_SYSTEM"):
        pytest.skip("mounting takes root")
    point = tmp_path / "disk"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def fill(file: Path) -> None:
    """Let *file* take all the room that there is."""
    with file.open("wb", buffering=0) as filling, contextlib.suppress(OSError):
        while True:
            filling.write(bytes(4096))


@pytest.mark.system("mount", "umount")
def test_a_full_disk_is_told_and_what_was_accepted_completes_when_there_is_room(
    disk: Path, tmp_path: Path
) -> None:
    rng = random.Random(3)
    films = {f"film{number}": rng.randbytes(100_000) for number in range(30)}
    posts = {name: make_post(f"{name}.mkv", film, part_size=250) for name, film in films.items()}
    accepted = []
    with NewsServer() as server:
        server.add(*posts.values())
        server.fail(Fault.SILENCE)
        with running_gateway(disk, settings_of(server)) as running:
            for name, post in posts.items():
                refused = put(running, name, post.nzb)
                if refused.status != 201:
                    break
                accepted.append(name)
                if len(accepted) == 5:
                    fill(disk / "filling")
            assert refused.status == 507
            assert refused.body.decode() == (
                f"the disk that holds the database '{disk}/library.sqlite' is full\n"
            )
            assert len(accepted) >= 5
            file = tmp_path / "one.nzb"
            file.write_bytes(posts[name].nzb)
            code, out, err = command("add", file, data_dir=disk, port=running.port)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "was not added: the disk that holds the database" in err

            # Nothing is lost by it, what needs no room goes on, and what does not fit waits.
            assert sorted(slot["filename"] for slot in queued(running)) == sorted(accepted)
            assert running.ask("GET", "/healthz").status == 200
            assert published(running) == []
            server.heal()
            wait_until(running, lambda: "is full" in log_of(running).partition("cannot ")[2])
            assert {slot["status"] for slot in ended(running).values()} <= {"Completed"}

            (disk / "filling").unlink()
            assert put(running, name, posts[name].nzb).status == 201
            accepted.append(name)
        with running_gateway(disk, settings_of(server)) as running:
            wait_until(running, lambda: not queued(running))
            assert {slot["status"] for slot in ended(running).values()} == {"Completed"}
            assert sorted(ended(running)) == sorted(accepted)
            assert sorted(published(running)) == sorted(accepted)
            for name in accepted:
                assert running.ask("GET", f"{CONTENT}/{name}/{name}.mkv").body == films[name]
