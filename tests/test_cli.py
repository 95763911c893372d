"""The commands, as somebody types them, against a gateway that really runs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import keys
from gateway.app import Gateway
from gateway.cli import main
from gateway.demo import make_post
from gateway.http.server import Server
from gateway.http.wsgi import plain
from gateway.settings import load

NZB = make_post("film.mkv", bytes(5000)).nzb


pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else will."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    """Run a command; return its exit code and the lines of its output and of its complaints."""
    code = main(arguments)
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err.splitlines()


def write(folder: Path, name: str, content: bytes = NZB) -> str:
    (folder / name).write_bytes(content)
    return name


def process(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# add


def test_add_queues_each_file_and_prints_its_id(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = write(tmp_path, "one.nzb"), write(tmp_path, "two.nzb")
    code, out, err = run(capsys, "add", first, second, "--category", "TV")
    assert (code, err) == (0, [])
    assert [re.sub(r"SABnzbd_nzo_\w+", "ID", line) for line in out] == [
        "ID  one.nzb",
        "ID  two.nzb",
    ]
    _, listed, _ = run(capsys, "queue")
    assert listed[0].startswith("Queue: 2 (")
    assert [line.split()[0] for line in out] == [line.split()[0] for line in listed[2:4]]
    assert all(" tv " in line for line in listed[2:4])
    assert listed[4] == "History: 0"


@pytest.mark.parametrize(
    "name", ['a "quoted" one.nzb', "back\\slash.nzb", "Ärger mit ü & 日本.nzb", "semi;colon=.nzb"]
)
def test_a_file_keeps_its_name_whatever_is_in_it(
    name: str, gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "add", write(tmp_path, name))[0] == 0
    _, listed, _ = run(capsys, "queue")
    # a release's folder cannot hold a backslash, nor (on Windows' disks) quotes
    shown = re.sub(r'[\\"]', ".", listed[2])
    assert re.sub(r'[\\"]', ".", name.removesuffix(".nzb")).split(".")[-1] in shown


def test_a_file_that_cannot_be_read_or_is_no_nzb_is_told_and_the_others_are_added(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junk, good = write(tmp_path, "junk.nzb", b"\x00\x01"), write(tmp_path, "good.nzb")
    code, out, err = run(capsys, "add", "none.nzb", junk, good)
    assert code == 1
    assert [line.split()[1] for line in out] == ["good.nzb"]
    assert err == [
        "nzb-gateway: none.nzb cannot be read: No such file or directory",
        "nzb-gateway: junk.nzb was not added: it is no NZB",
    ]


def test_a_category_that_does_not_exist_is_refused_with_those_that_do(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, (complaint,) = run(capsys, "add", write(tmp_path, "a.nzb"), "--category", "filme")
    assert (code, out) == (2, [])
    assert complaint.startswith("nzb-gateway: --category=filme does not exist: write movies, tv,")


# Whom they ask


def test_when_nothing_listens_one_line_says_where_and_what_to_do(
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "any")
    monkeypatch.setenv("GATEWAY_PORT", str(closed_port))
    for command in (["queue"], ["add", write(tmp_path, "a.nzb")]):
        code, out, (complaint,) = run(capsys, *command)
        assert (code, out) == (1, [])
        assert f"nothing listens on 127.0.0.1:{closed_port}: start the gateway" in complaint


def test_before_the_first_start_there_is_no_key_and_the_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, (complaint,) = run(capsys, "queue")
    assert code == 1
    assert f"no API key is known: {tmp_path}/data/api-key does not exist" in complaint
    assert not (tmp_path / "data").exists()


def test_a_wrong_key_is_told_in_one_line_that_does_not_hold_it(
    gateway: Gateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "not-the-key")
    for command in (["queue"], ["add", write(tmp_path, "a.nzb")]):
        code, _, (complaint,) = run(capsys, *command)
        assert code == 1
        assert "refused the API key: set GATEWAY_API_KEY or GATEWAY_DATA_DIR" in complaint
        assert "not-the-key" not in complaint


def test_another_server_in_its_place_is_recognised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(lambda _, start: plain(start, 404, "nothing here"), "127.0.0.1", 0)
    server.start()
    try:
        monkeypatch.setenv("GATEWAY_API_KEY", "any")
        monkeypatch.setenv("GATEWAY_PORT", str(server.port))
        code, _, (complaint,) = run(capsys, "queue")
    finally:
        server.stop(1.0)
    assert code == 1
    assert "is no NZB Gateway (HTTP status 404)" in complaint


def test_a_gateway_on_every_address_is_asked_on_this_machines_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")
    monkeypatch.setenv("GATEWAY_PORT", "0")
    with Gateway(load()) as running:
        monkeypatch.setenv("GATEWAY_PORT", str(running.server.port))
        assert run(capsys, "queue")[0] == 0


# config


def test_config_lists_what_is_in_force_without_secrets_and_says_where_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__HOST", "news.example.com")
    monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__USERNAME", "bob")
    monkeypatch.setenv("GATEWAY_PROVIDERS__MAIN__PASSWORD", "hunter2")
    data = tmp_path / "data"
    keys.webdav_password(data, None)
    code, out, err = run(capsys, "config")
    assert (code, err) == (0, [])
    assert "GATEWAY_PROVIDERS__MAIN__PASSWORD=********" in out
    assert "GATEWAY_READ_TIMEOUT=30s" in out
    assert f"# GATEWAY_WEBDAV_PASSWORD is not set: kept in {data}/webdav-password" in out
    assert f"# GATEWAY_API_KEY is not set: will be made and kept in {data}/api-key" in out
    assert "hunter2" not in "\n".join(out)


def test_what_config_lists_is_itself_a_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "config")
    write(tmp_path, "again.env", "\n".join(out).encode())
    assert run(capsys, "--settings", "again.env", "config") == (0, out, [])


@pytest.mark.parametrize("command", ["serve", "demo", "queue", "config"])
def test_wrong_settings_end_every_command_with_a_line_for_each_and_code_2(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GATEWAY_PORT")
    write(tmp_path, "settings.env", b"GATEWAY_PORT=x\nGATEWAY_DRAIN=y\n")
    code, out, err = run(capsys, command)
    assert (code, out, len(err)) == (2, [], 2)
    assert err[0].startswith("nzb-gateway: GATEWAY_PORT=x (settings.env, line 1) is not a whole")
    assert err[1].startswith("nzb-gateway: GATEWAY_DRAIN=y (settings.env, line 2) is not a time")


# The program


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["add"], ["queue", "--history", "0"]])
def test_a_command_that_is_none_shows_its_usage_and_ends_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: nzb-gateway")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"nzb-gateway \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_serve_runs_until_it_is_told_to_stop_and_ends_with_code_0() -> None:
    with process("serve", GATEWAY_PORT="0") as running:
        assert running.stderr is not None
        said = []
        for line in running.stderr:
            said.append(line)
            if "listens on http://127.0.0.1:" in line:
                break
        running.send_signal(signal.SIGTERM)
        _, rest = running.communicate(timeout=60)
        said.append(rest)
    assert running.returncode == 0, "".join(said)
    assert "Traceback" not in "".join(said)


def test_serve_on_a_port_that_is_taken_says_so_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process("serve", GATEWAY_PORT=str(port)) as running:
            _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    (complaint,) = [line for line in err.splitlines() if line.startswith("nzb-gateway:")]
    assert str(port) in complaint
    assert "Traceback" not in err


def test_a_reader_that_has_seen_enough_causes_no_complaint() -> None:
    with process("config") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode in {0, 1}


def test_asking_loads_nothing_of_what_serving_needs() -> None:
    code = (
        "import sys; from gateway.cli import main; main(['config']);"
        "sys.exit(any(name in sys.modules for name in ('gateway.app', 'sqlalchemy', 'cheroot')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
