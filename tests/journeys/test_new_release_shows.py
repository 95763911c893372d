"""An NZB is put into the drop folder, and its film shows in a mount that had seen nothing there."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway_process import (
    PASSWORD,
    USER,
    GatewayProcess,
    provider_settings,
    running_gateway,
)

from bench.ports import free_port
from gateway.demo import NewsServer, make_posts

# The newest, from the package index: distributions' rclone shows no links.
RCLONE = str(Path(sys.executable).with_name("rclone"))
RC_USER, RC_PASSWORD = "control", "pässword of the tests"
FILM = random.Random(5).randbytes(3_000_000)

pytestmark = pytest.mark.system("fusermount3")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shows")
    for name in ("mount", "drop"):
        (root / name).mkdir()
    return root


@pytest.fixture(scope="module")
def rc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(root: Path, rc_port: int) -> Iterator[GatewayProcess]:
    with NewsServer() as server:
        server.add(make_posts({"Film.mkv": FILM, "Film.nfo": b"words"}, part_size=200_000))
        settings = {
            **provider_settings(server.host, server.port),
            "GATEWAY_MOUNT_DIR": str(root / "mount"),
            "GATEWAY_DROP_DIR": str(root / "drop"),
            "GATEWAY_RCLONE__URL": f"http://127.0.0.1:{rc_port}",
            "GATEWAY_RCLONE__USERNAME": RC_USER,
            "GATEWAY_RCLONE__PASSWORD": RC_PASSWORD,
            "GATEWAY_CATEGORIES__TV__LINKS": "strm",
        }
        with running_gateway(root / "data", settings) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def mount(root: Path, gateway: GatewayProcess, rc_port: int) -> Iterator[Path]:
    """A mount that asks for a folder once, and not again within the hour."""
    point = root / "mount"
    obscured = subprocess.run(
        [RCLONE, "obscure", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    log = root / "rclone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                RCLONE, "mount", ":webdav:", str(point),
                f"--webdav-url={gateway.url}/dav", "--webdav-vendor=other",
                f"--webdav-user={USER}", f"--webdav-pass={obscured}",
                "--config=/dev/null", f"--cache-dir={root / 'cache'}", "--links", "--use-cookies",
                "--read-only", "--dir-cache-time=1h", "--vfs-cache-mode=off",
                "--rc", f"--rc-addr=127.0.0.1:{rc_port}",
                f"--rc-user={RC_USER}", f"--rc-pass={RC_PASSWORD}",
            ],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        wait_for(point.is_mount, process, log)
        yield point
    finally:
        subprocess.run(["fusermount3", "-u", str(point)], check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for(holds: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {process.wait(0.05)}: {log.read_text()}")
        assert time.monotonic() < deadline, log.read_text()


@pytest.fixture(scope="module")
def dropped(root: Path, gateway: GatewayProcess, mount: Path) -> None:
    """An NZB that was put there when the mount had seen every folder empty."""
    for folder in ("content", "completed-symlinks"):
        assert list((mount / folder / "movies").iterdir()) == []
        assert list((mount / folder / "tv").iterdir()) == []
    assert list((mount / ".ids").iterdir())
    post = make_posts({"Film.mkv": FILM, "Film.nfo": b"words"}, part_size=200_000)
    for category in ("movies", "tv"):
        (root / "drop" / category).mkdir()
        (root / "drop" / category / "Film.nzb").write_bytes(post.nzb)
    seen = [mount / "content" / category / "Film" for category in ("movies", "tv")]
    wait_for(lambda: all(path.is_dir() for path in seen), gateway.process, root / "rclone.log")


@pytest.mark.usefixtures("dropped")
def test_the_release_shows_without_what_nobody_watches(mount: Path, root: Path) -> None:
    assert [path.name for path in (mount / "content/movies/Film").iterdir()] == ["Film.mkv"]
    assert [path for path in (root / "drop").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("dropped")
def test_the_film_plays_through_the_link_wherever_that_is_moved(mount: Path, root: Path) -> None:
    link = mount / "completed-symlinks/movies/Film/Film.mkv"
    assert link.is_symlink()
    moved = root / "library.mkv"
    moved.symlink_to(link.readlink())
    assert moved.read_bytes() == FILM


@pytest.mark.usefixtures("dropped")
def test_a_strm_holds_an_address_at_which_the_film_is(mount: Path, gateway: GatewayProcess) -> None:
    text = (mount / "completed-symlinks/tv/Film/Film.strm").read_text().strip()
    login, _, rest = text.removeprefix("http://").partition("@")
    assert login == f"{USER}:{PASSWORD.replace(' ', '%20')}"
    host, _, path = rest.partition("/")
    assert host == f"127.0.0.1:{gateway.port}"
    assert gateway.ask("GET", f"/{path}").body == FILM


@pytest.mark.usefixtures("dropped")
def test_nothing_secret_is_in_the_log(root: Path) -> None:
    said = (root / "data.log").read_text()
    assert "completed 'Film'" in said
    assert RC_PASSWORD not in said
    assert PASSWORD not in said
