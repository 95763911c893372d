"""Sonarr's and Radarr's whole sequence over an rclone mount: at the end the film plays.

The mount keeps folders for an hour, and is told of what is new by its remote control.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlencode

import pytest
from gateway_process import (
    API_KEY,
    GatewayProcess,
    provider_settings,
    running_gateway,
)
from rclone_mount import NEWEST, mounted

from bench.ports import free_port
from gateway.api_client import ApiClient
from gateway.demo import NewsServer, make_posts
from gateway.library_listing import Asked, show_list

RELEASE = "Größe & Tücke 100% +1 (2026) [1080p]"
FILM = f"{RELEASE}.mkv"
LONG = "ü" * 120 + ".srt"  # with the ending of a link it has more than 255 bytes

pytestmark = pytest.mark.system("fusermount3")


@dataclass(frozen=True)
class Arr:
    """What tells Sonarr's calls from Radarr's."""

    category: str
    adding: dict[str, str] = field(default_factory=dict)
    polling: dict[str, str] = field(default_factory=dict)
    removing: dict[str, str] = field(default_factory=dict)


SONARR = Arr("tv", {"priority": "-100"}, {"category": "tv"}, {"del_files": "1"})
RADARR = Arr("movies", {"priority": "0"}, {"cat": "movies"}, {"del_files": "0", "archive": "0"})


@dataclass(frozen=True)
class Home:
    """Where everything of a household lies; it stays when the programs are started again."""

    folder: Path
    news: tuple[str, int]

    @property
    def mount(self) -> Path:
        return self.folder / "mount"

    @contextmanager
    def running(self, cache_mode: str) -> Iterator[GatewayProcess]:
        """Run the gateway and its mount."""
        control = free_port()
        settings = {
            **provider_settings(*self.news),
            "GATEWAY_MOUNT_DIR": str(self.mount),
            "GATEWAY_RCLONE__URL": f"http://127.0.0.1:{control}",
        }
        self.mount.mkdir(exist_ok=True)
        with (
            running_gateway(self.folder / "data", settings) as gateway,
            mounted(
                NEWEST,
                gateway.url,
                self.mount,
                "--links",
                f"--vfs-cache-mode={cache_mode}",
                "--dir-cache-time=1h",
                "--rc",
                "--rc-no-auth",
                f"--rc-addr=127.0.0.1:{control}",
            ),
        ):
            yield gateway


@pytest.fixture(scope="module")
def film() -> bytes:
    return random.Random(5).randbytes(6_000_000)


@pytest.fixture
def home(film: bytes, tmp_path: Path) -> Iterator[Home]:
    with NewsServer() as server:
        server.add(make_posts({FILM: film, LONG: b"1\n"}, part_size=700_000))
        (tmp_path / "post.nzb").write_bytes(
            make_posts({FILM: film, LONG: b"1\n"}, part_size=700_000).nzb
        )
        yield Home(tmp_path, (server.host, server.port))


def call(gateway: GatewayProcess, mode: str, **parameters: str) -> Any:
    answer = gateway.api(mode, **parameters)
    assert answer.get("status") is not False, answer
    return answer


def add(gateway: GatewayProcess, arr: Arr, nzb: bytes) -> str:
    """Send an NZB as both do: a POST of a form, whose field `name` is the file."""
    query = urlencode(
        {"mode": "addfile", "cat": arr.category, "apikey": API_KEY, "output": "json", **arr.adding}
    )
    head = (
        f'--edge\r\nContent-Disposition: form-data; name="name"; filename="{RELEASE}.nzb"\r\n'
        "Content-Type: application/x-nzb\r\n\r\n"
    )
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    try:
        connection.request(
            "POST",
            f"/api?{query}",
            head.encode() + nzb + b"\r\n--edge--\r\n",
            {"Content-Type": "multipart/form-data; boundary=edge"},
        )
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert answer["status"] is True
    (nzo_id,) = answer["nzo_ids"]
    assert isinstance(nzo_id, str)
    return nzo_id


def move(link: Path, target: Path) -> None:
    """Move a symbolic link as .NET's Sonarr does: by a rename, or else by one of the same text."""
    with pytest.raises(OSError) as failure:
        link.rename(target)
    assert failure.value.errno == errno.EXDEV
    target.symlink_to(link.readlink())
    link.unlink()


def nobody_links_to(gateway: GatewayProcess, home: Home) -> list[dict[str, Any]]:
    """Return the releases to which nothing in the household's library leads."""
    out, warnings = io.StringIO(), io.StringIO()
    show_list(
        ApiClient("127.0.0.1", gateway.port, API_KEY),
        Asked(roots=(home.folder / "library",)),
        mount_dir=PurePosixPath(home.mount),
        complete=home.folder / "data" / "complete",
        as_json=True,
        out=out,
        err=warnings,
    )
    found: list[dict[str, Any]] = json.loads(out.getvalue())
    return found


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize(
    ("arr", "cache_mode"),
    [pytest.param(SONARR, "full", id="sonarr"), pytest.param(RADARR, "off", id="radarr")],
)
def test_the_film_plays_through_the_link_that_was_moved(
    home: Home, film: bytes, arr: Arr, cache_mode: str
) -> None:
    library = home.folder / "library" / "Some Title (2026)"
    library.mkdir(parents=True)
    wanted = hashlib.sha256(film).hexdigest()
    with home.running(cache_mode) as gateway:
        # Test, as the settings' page of either does.
        assert call(gateway, "version")["version"] == "4.5.5"
        config = call(gateway, "get_config")["config"]
        complete = Path(config["misc"]["complete_dir"])
        assert call(gateway, "fullstatus", skip_dashboard="1")["status"]["completedir"] == str(
            complete
        )
        (folder,) = [one["dir"] for one in config["categories"] if one["name"] == arr.category]
        category = complete / folder
        assert category.is_dir()  # or they complain of a missing path mapping
        assert list(category.iterdir()) == []

        nzo_id = add(gateway, arr, (home.folder / "post.nzb").read_bytes())
        call(gateway, "queue", start="0", limit="0", **arr.polling)
        slot = gateway.wait_for_history(nzo_id)
        assert (slot["status"], slot["fail_message"]) == ("Completed", "")
        assert slot["category"] == arr.category
        job = Path(slot["storage"])
        assert job == category / RELEASE

        # Import: what is in the folder, which of it is a film, and how large it is.
        gateway.wait_until(job.is_dir)  # which is when the remote control has been told
        names = {path.name for path in job.iterdir()}
        assert FILM in names
        assert len(names) == 2
        link = job / FILM
        assert link.is_symlink()
        assert link.readlink().is_relative_to(home.mount / ".ids")
        assert link.stat().st_size == len(film)
        move(link, library / "film.mkv")
        shutil.rmtree(job)
        call(gateway, "history", name="delete", value=nzo_id, **arr.removing)

        assert list(category.iterdir()) == []
        assert gateway.api("history")["history"]["slots"] == []
        gone = gateway.ask("PROPFIND", f"/dav/completed-symlinks/{folder}/", headers={"Depth": "1"})
        assert gone.body.count(b"<D:response>") == 1
        assert (home.mount / "content" / folder / RELEASE / FILM).stat().st_size == len(film)
        assert digest(library / "film.mkv") == wanted
    with home.running(cache_mode) as gateway:
        assert digest(library / "film.mkv") == wanted
        assert list(category.iterdir()) == []
        # Who keeps the library sees that it is used, until the *arr removes its link.
        assert nobody_links_to(gateway, home) == []
        (library / "film.mkv").unlink()
        (release,) = nobody_links_to(gateway, home)
        assert (release["name"], release["links"]) == (RELEASE, "gone")
        assert release["last_read"] >= release["links_gone_at"] - 3600


def test_a_folder_of_links_that_was_removed_through_the_mount_leaves_the_history(
    home: Home, film: bytes
) -> None:
    with home.running("off") as gateway:
        nzo_id = add(gateway, SONARR, (home.folder / "post.nzb").read_bytes())
        job = Path(gateway.wait_for_history(nzo_id)["storage"])
        gateway.wait_until(job.is_dir)
        renamed = job / "renamed.mkv"
        (job / FILM).rename(renamed)
        assert digest(renamed) == hashlib.sha256(film).hexdigest()
        shutil.rmtree(job)
        assert [one["nzo_id"] for one in gateway.api("history")["history"]["slots"]] == [nzo_id]
        call(gateway, "history", name="delete", value=nzo_id, del_files="1")
        assert gateway.api("history")["history"]["slots"] == []
        with pytest.raises(OSError):  # releases are removed where a setting has it so
            (home.mount / "content/tv" / RELEASE / FILM).unlink()
        assert (home.mount / "content/tv" / RELEASE / FILM).stat().st_size == len(film)
