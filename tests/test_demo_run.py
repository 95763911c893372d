"""The demo, as somebody starts it, reads what it prints, and pastes that into a shell."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.ports import free_port
from gateway import demo_run
from gateway.demo import CLIP_NAME, CLIP_SHA256
from gateway.demo_run import Doors, explain
from gateway.settings import Settings

ROOT = Path(__file__).parents[1]
PROGRAMS = ("curl", "vlc", "mpv", "rclone", "mkdir", "umount")


def commands(told: str) -> list[str]:
    """Return what *told* has for the shell: indented lines that begin with a program."""
    joined = re.sub(r"\\\n +", "", told)
    lines = [line[2:] for line in joined.splitlines() if line.startswith("  ")]
    return [line for line in lines if line.split()[0] in PROGRAMS]


def command(told: str, beginning: str) -> str:
    (found,) = [line for line in commands(told) if beginning in line]
    return found


def shell(line: str, home: Path) -> str:
    """Paste *line* into a shell, return what it prints."""
    environ = {**os.environ, "HOME": str(home), "PATH": _path()}
    done = subprocess.run(
        ["bash", "-c", line], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def _path() -> str:
    # The rclone of the tests is newer than distributions'.
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@contextmanager
def shown(settings: Settings) -> Iterator[str]:
    """Run the demo in this process, give what it has printed."""
    out = io.StringIO()
    ready, ended = threading.Event(), threading.Event()

    def until_ended() -> None:
        ready.set()
        ended.wait()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(demo_run.show, settings, out, until_ended)
        running.add_done_callback(lambda _: ready.set())
        assert ready.wait(60)
        try:
            yield out.getvalue()
        finally:
            ended.set()
            running.result(60)


@pytest.fixture(scope="module")
def told() -> Iterator[str]:
    with shown(Settings(port=0)) as told:
        yield told


# What it says


def test_the_clip_can_be_watched_where_it_says(told: str) -> None:
    for player in ("vlc", "mpv"):
        (address,) = shlex.split(command(told, f"{player} "))[1:]
        parts = urlsplit(address)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        login = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        connection.request("HEAD", parts.path, headers={"Authorization": f"Basic {login}"})
        with connection.getresponse() as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "video/mp4"
        connection.close()


@pytest.mark.system("curl", "sha256sum")
def test_the_line_with_curl_gives_the_sum_that_it_says(told: str, tmp_path: Path) -> None:
    assert shell(command(told, "sha256sum"), tmp_path).split() == [CLIP_SHA256, "-"]
    assert f"expected: {CLIP_SHA256}\n" in told


@pytest.mark.system("curl")
def test_the_line_that_adds_the_nzb_once_more_makes_it_a_release_of_that_category(
    tmp_path: Path,
) -> None:
    with shown(Settings(port=0)) as told:
        answer = json.loads(shell(command(told, "addfile"), tmp_path))
        assert answer["status"] is True
        ask = re.sub("mode=.*&apikey", "mode=history&apikey", command(told, "addfile"))
        ask = re.sub("-F '.*?'", "", ask)
        for _ in range(600):
            slots = json.loads(shell(ask, tmp_path))["history"]["slots"]
            if len(slots) == 2:
                break
        assert [(slot["category"], slot["status"]) for slot in slots] == [
            ("tv", "Completed"),
            ("movies", "Completed"),
        ]


@pytest.mark.system("rclone")
def test_the_line_that_lists_shows_the_clip(told: str, tmp_path: Path) -> None:
    listed = shell(command(told, "rclone lsf"), tmp_path).splitlines()
    assert f"movies/{Path(CLIP_NAME).stem}/{CLIP_NAME}" in listed


@pytest.mark.system("rclone", "fusermount3", "umount")
def test_the_lines_that_mount_and_unmount_show_the_clip_as_a_file(
    told: str, tmp_path: Path
) -> None:
    shell(command(told, "rclone mount"), tmp_path)
    clip = tmp_path / "nzb-gateway/content/movies" / Path(CLIP_NAME).stem / CLIP_NAME
    try:
        assert shell(f"sha256sum < {shlex.quote(str(clip))}", tmp_path).split()[0] == CLIP_SHA256
        with pytest.raises(OSError, match="Read-only"):
            clip.with_name("new").touch()
    finally:
        shell(command(told, "umount"), tmp_path)
    assert not (tmp_path / "nzb-gateway").is_mount()


def test_sonarr_finds_host_port_key_and_category_as_they_stand_there(told: str) -> None:
    entered = re.search(r"Host (\S+)   Port (\d+)   API Key (\S+)\n", told)
    assert entered is not None
    host, port, key = entered.groups()
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", f"/api?mode=get_config&output=json&apikey={key}")
    with connection.getresponse() as response:
        config = json.load(response)["config"]
    connection.close()
    names = {category["name"] for category in config["categories"]}
    assert set(re.findall(r"(\w+) \((?:Sonarr|Radarr)\)", told)) == {"tv", "movies"} <= names


def test_it_fits_on_one_screen(told: str) -> None:
    lines = told.splitlines()
    assert len(lines) <= 40
    # What has an address in it is as long as that.
    assert all(len(line) <= 100 for line in lines if "http://" not in line)


def test_what_listens_on_every_address_is_shown_under_one_that_can_be_opened() -> None:
    with shown(Settings(host="0.0.0.0", port=0)) as told:
        assert "0.0.0.0" not in told
        assert "http://127.0.0.1:" in told


def test_every_word_is_quoted_for_the_shell_whatever_is_in_it(tmp_path: Path) -> None:
    nasty = 'it\'s $HOME `id` "x" \\ ;&|'
    doors = Doors("::1", 80, nasty, nasty, nasty, "/content/a & b's.mkv", "/tmp/a;b's.nzb", "/mnt")
    stubs = "".join(
        f"{name}() {{ printf '%s\\n' \"$@\" >&3; }}\n"
        for name in ("curl", "vlc", "mpv", "mkdir", "sha256sum")
    )
    # What rclone is asked to obscure comes back as it was said.
    stubs += (
        'rclone() { if [ "$1" = obscure ]; then printf %s "$2"; else '
        "printf '%s\\n' \"$@\" >&3; fi; }\n"
    )
    told = explain(doors)
    given = {line: shell(f"{stubs}exec 3>&1\n{line}", tmp_path).splitlines()
             for line in commands(told) if not line.startswith("umount")}  # fmt: skip
    curl, mount = given[command(told, "sha256sum")], given[command(told, "rclone mount")]
    assert f"{nasty}:{nasty}" in curl
    assert "http://[::1]:80/dav/content/a%20%26%20b%27s.mkv" in curl
    for lines in (mount, given[command(told, "rclone lsf")]):
        assert f"--webdav-user={nasty}" in lines
        assert f"--webdav-pass={nasty}" in lines
        assert "--webdav-url=http://[::1]:80/dav" in lines
    (address,) = given[command(told, "vlc ")]
    assert urlsplit(address).hostname == "::1"
    assert urlsplit(address).port == 80
    assert 'name=@"/tmp/a;b\'s.nzb"' in given[command(told, "addfile")]


# How it ends


@contextmanager
def started(
    *start: str, folder: Path, port: int, **settings: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the demo as a process of its own group, give it and what it has printed."""
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith("GATEWAY_")}
    process = subprocess.Popen(
        start,
        env={**inherited, "GATEWAY_PORT": str(port), "TMPDIR": str(folder), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        told = ""
        while "Ctrl-C ends it" not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        yield process, told
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


DIRECTLY = (sys.executable, "-m", "gateway", "demo")
# As the README says, but in the environment that the tests run in, and without a look at its age.
MAKE = ("make", f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.installed", "demo")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_is_left_behind(number: int, tmp_path: Path) -> None:
    with started(*DIRECTLY, folder=tmp_path, port=free_port()) as (process, _):
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest.split()) == (0, ["stopping"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system("make")
@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.killpg), (signal.SIGTERM, os.kill)],
    ids=["Ctrl-C", "SIGTERM to all", "SIGTERM to make"],
)
def test_started_through_make_it_ends_as_well(
    number: int, send: Callable[[int, int], None], tmp_path: Path
) -> None:
    port = free_port()
    with started(*MAKE, folder=tmp_path, port=port) as (process, _):
        # Ctrl-C reaches the whole group of the terminal. (make alone passes SIGTERM on to what it
        # runs, but not SIGINT.)
        send(process.pid, number)
        rest, _ = process.communicate(timeout=60)
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_viewer_who_reads_on_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with (
        # Whatever is set, the demo waits for nobody for long.
        started(*DIRECTLY, folder=tmp_path, port=free_port(), GATEWAY_DRAIN="1h") as running,
        socket.socket() as viewer,
    ):
        process, told = running
        parts = urlsplit(shlex.split(command(told, "mpv "))[1])
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect((parts.hostname, parts.port))
        login = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        viewer.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Authorization: Basic {login}\r\n\r\n".encode()
        )
        assert viewer.recv(12) == b"HTTP/1.1 200"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_one_line_that_says_what_to_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            DIRECTLY,
            env={**os.environ, "GATEWAY_PORT": str(port), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    (complaint,) = done.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: another program does" in complaint
    assert "set GATEWAY_PORT to a free port" in complaint
    assert list(tmp_path.iterdir()) == []
