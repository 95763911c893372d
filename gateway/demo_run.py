"""`nzb-gateway demo`: a news server with one post, and the gateway in front of it.

All of it on this machine and in a folder that goes when it ends: nothing needs an account, and
nothing is left behind.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from gateway.api_client import ApiClient
from gateway.app import Gateway
from gateway.demo import CLIP_NAME, CLIP_SECONDS, CLIP_SHA256, NewsServer, make_post, read_clip
from gateway.errors import GatewayError, ImportFailed
from gateway.settings import Settings
from gateway.settings_parts import ProviderSettings
from gateway.signals import awaited

_IMPORT_S = 60.0
_CATEGORY = "movies"
# Whoever types Ctrl-C wants an end: a player that is still open is not waited for.
_DRAIN_S = 1.0


def demo(settings: Settings) -> int:
    """Show the clip until a signal ends it; of *settings*, HOST, PORT and MOUNT_DIR are heeded."""
    with awaited(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as next_signal:
        show(settings, sys.stdout, next_signal)
    return 0


def show(settings: Settings, out: TextIO, wait: Callable[[], object]) -> None:
    """Run news server and gateway, add the clip, say on *out* how to watch it, and *wait*."""
    post = make_post(CLIP_NAME, read_clip())
    with (
        tempfile.TemporaryDirectory(prefix="nzb-gateway-demo-") as folder,
        NewsServer() as news,
    ):
        news.add(post)
        nzb = Path(folder) / f"{Path(CLIP_NAME).stem}.nzb"
        nzb.write_bytes(post.nzb)
        with Gateway(_settings(settings, Path(folder), news)) as gateway:
            client = ApiClient(settings.host, gateway.server.port, gateway.keys.api_key)
            path = f"/content/{_CATEGORY}/{_import(client, nzb)}/{CLIP_NAME}"
            print(explain(_doors(gateway, path, nzb)), file=out, flush=True)
            wait()
            print("\nstopping", file=out, flush=True)


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the demo is to be found. *path* is the clip's below /dav, *nzb* its NZB on disk."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    path: str
    nzb: str
    mount_dir: str

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def explain(doors: Doors) -> str:
    """Return what to do with the demo: lines to copy into a shell, and values to enter."""
    url = f"http://{doors.place}"
    clip = f"/dav{quote(doors.path)}"
    login = f"{quote(doors.user, safe='')}:{quote(doors.password, safe='')}"
    watched = _quoted(f"http://{login}@{doors.place}{clip}")
    webdav = (
        f"--webdav-url={_quoted(url + '/dav')} --webdav-user={_quoted(doors.user)} \\\n"
        f'    --webdav-pass="$(rclone obscure {_quoted(doors.password)})"'
    )
    nzb = doors.nzb.replace("\\", "\\\\").replace('"', '\\"')  # curl's own quoting
    add = f"{url}/api?mode=addfile&cat=tv&apikey={quote(doors.api_key, safe='')}"
    return f"""
NZB Gateway. A news server on this machine has one post, a clip of {CLIP_SECONDS} s; the gateway has
imported its NZB and shows the clip as a file. Lines to copy into another terminal:

Fetch and compare
  curl -sS -u {_quoted(f"{doors.user}:{doors.password}")} {_quoted(url + clip)} | sha256sum
  expected: {CLIP_SHA256}

Watch
  vlc {watched}
  mpv {watched}

Browse: {url}/dav/   user {doors.user}   password {doors.password}

List, mount and unmount
  rclone lsf -R :webdav:content {webdav}
  mkdir -p ~/nzb-gateway && rclone mount :webdav: ~/nzb-gateway \\
    {webdav} \\
    --links --use-cookies --vfs-cache-mode=full --read-only --daemon
  umount ~/nzb-gateway

Jellyfin: as root, mount on {doors.mount_dir} in place of ~/nzb-gateway, with --allow-other;
  then add {doors.mount_dir}/content/{_CATEGORY} as a library of movies.

Sonarr, Radarr: Settings, Download Clients, add SABnzbd, and press Test
  Host {doors.host}   Port {doors.port}   API Key {doors.api_key}
  Category tv (Sonarr) or movies (Radarr)

Add the clip's NZB once more, as they would: it appears in content/tv
  curl -sS -F {_quoted(f'name=@"{nzb}"')} {_quoted(add)}

Ctrl-C ends it; nothing is left behind. With your own provider: README.md, "Your own provider".
"""


def _doors(gateway: Gateway, path: str, nzb: Path) -> Doors:
    # What listens on every address is reached on this machine's own.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(gateway.server.host, gateway.server.host)  # noqa: S104
    keys = gateway.keys
    return Doors(
        host,
        gateway.server.port,
        keys.webdav_user,
        keys.webdav_password,
        keys.api_key,
        path,
        str(nzb),
        str(gateway.settings.mount_dir),
    )


def _quoted(text: str) -> str:
    """Return *text* as one word for a shell, in quotes even where it needs none."""
    return "'" + text.replace("'", "'\\''") + "'"


def _settings(settings: Settings, folder: Path, news: NewsServer) -> Settings:
    provider = ProviderSettings(host=news.host, port=news.port, tls=False, connections=8)
    return Settings(
        host=settings.host,
        port=settings.port,
        allowed_hosts=settings.allowed_hosts,
        drain=_DRAIN_S,
        data_dir=folder,
        mount_dir=settings.mount_dir,
        providers={"demo": provider},
    )


def _import(client: ApiClient, nzb: Path) -> str:
    """Add *nzb* as anybody would; return the name of its release when it is there."""
    nzo_id = client.add(nzb, _CATEGORY)
    pause = threading.Event()
    for _ in range(int(_IMPORT_S * 10)):
        for job in client.history(limit=5)["jobs"]:
            if job["nzo_id"] == nzo_id:
                if job["state"] == "completed":
                    return str(job["name"])
                raise ImportFailed(f"the demo's own clip failed: {job['failure']}")
        pause.wait(0.1)
    raise GatewayError(f"the demo's own clip was not imported within {_IMPORT_S:g} s")
