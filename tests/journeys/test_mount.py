"""A film is watched through a mount, from the demo's news server and from INN2."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import PASSWORD, USER, GatewayProcess
from rclone_mount import SYSTEM, mounted

FILM = "content/movies/Some.Film.2026/Some.Film.2026.mp4"


def run(*command: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout_s,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mount(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    point = tmp_path_factory.mktemp("mount")
    with mounted(SYSTEM, gateway.url, point, "--vfs-cache-mode=off", "--read-only"):
        yield point


pytestmark = pytest.mark.system("rclone", "fusermount3")


def test_the_tree_is_there(mount: Path) -> None:
    release = mount / "content/movies/Some.Film.2026"
    names = {entry.name for entry in release.iterdir()}
    assert names == {"Some.Film.2026.mp4", "Some.Film.2026.srt"}


def test_the_whole_file_is_the_original(mount: Path, film: bytes, tmp_path: Path) -> None:
    original = tmp_path / "original.mp4"
    original.write_bytes(film)
    compared = run("cmp", mount / FILM, original, timeout_s=120)
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")


@pytest.mark.system("ffprobe")
def test_ffprobe_reads_it_through_the_mount(mount: Path) -> None:
    probed = run("ffprobe", "-v", "error", "-show_streams", "-of", "json", mount / FILM)
    assert probed.stderr == ""
    streams = json.loads(probed.stdout)["streams"]
    assert {stream["codec_type"] for stream in streams} == {"video", "audio"}


@pytest.mark.system("ffprobe")
def test_ffprobe_reads_it_over_http(gateway: GatewayProcess) -> None:
    url = f"http://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{gateway.port}/dav/{FILM}"
    probed = run("ffprobe", "-v", "error", "-show_format", "-of", "json", url)
    assert probed.stderr == ""
    assert float(json.loads(probed.stdout)["format"]["duration"]) > 5


def test_200_random_reads_agree(mount: Path, film: bytes) -> None:
    rng = random.Random(2026)
    with (mount / FILM).open("rb", buffering=0) as mounted:
        for _ in range(200):
            at, length = rng.randrange(len(film)), rng.randrange(1, 200_000)
            mounted.seek(at)
            wanted, got = film[at : at + length], b""
            while len(got) < len(wanted):
                piece = mounted.read(len(wanted) - len(got))
                assert piece
                got += piece
            assert got == wanted, f"bytes {at}-{at + length}"


def test_the_sum_over_http_is_the_originals(gateway: GatewayProcess, film: bytes) -> None:
    answer = gateway.ask("GET", f"/dav/{FILM}")
    assert answer.status == 200
    assert hashlib.sha256(answer.body).hexdigest() == hashlib.sha256(film).hexdigest()
