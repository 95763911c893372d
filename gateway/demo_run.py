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
from pathlib import Path
from types import FrameType
from typing import TextIO
from urllib.parse import quote

from gateway.api_client import ApiClient
from gateway.app import Gateway
from gateway.demo import CLIP_NAME, CLIP_SECONDS, NewsServer, make_post, read_clip
from gateway.errors import GatewayError, ImportFailed
from gateway.settings import ProviderSettings, Settings

_IMPORT_S = 60.0
_CATEGORY = "movies"


def demo(settings: Settings) -> int:
    """Show the clip until SIGINT or SIGTERM; of *settings*, only HOST and PORT are heeded."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    show(settings, sys.stdout, ended.wait)
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
            storage = _import(client, nzb)
            path = storage.removeprefix(str(gateway.settings.mount_dir))
            _explain(gateway, news, f"/dav{path}/{CLIP_NAME}", out)
            wait()
            print("\nstopping", file=out)


def _settings(settings: Settings, folder: Path, news: NewsServer) -> Settings:
    provider = ProviderSettings(host=news.host, port=news.port, tls=False, connections=8)
    return Settings(
        host=settings.host,
        port=settings.port,
        allowed_hosts=settings.allowed_hosts,
        data_dir=folder,
        providers={"demo": provider},
    )


def _import(client: ApiClient, nzb: Path) -> str:
    """Add *nzb* as anybody would; return the folder of its release when it is there."""
    nzo_id = client.add(nzb, _CATEGORY)
    pause = threading.Event()
    for _ in range(int(_IMPORT_S * 10)):
        for slot in client.listing(5).history:
            if slot["nzo_id"] == nzo_id:
                if slot["status"] == "Completed":
                    return str(slot["storage"])
                raise ImportFailed(f"the demo's own clip failed: {slot['fail_message']}")
        pause.wait(0.1)
    raise GatewayError(f"the demo's own clip was not imported within {_IMPORT_S:g} s")


def _explain(gateway: Gateway, news: NewsServer, path: str, out: TextIO) -> None:
    user, password = gateway.keys.webdav_user, gateway.keys.webdav_password
    with_login = gateway.url.replace("//", f"//{quote(user)}:{quote(password)}@")
    print(
        f"""
NZB Gateway: a news server on {news.host}:{news.port} has one post, a clip of {CLIP_SECONDS} s.
The gateway has read its NZB, and shows what is inside as a file.

  watch it   mpv '{with_login}{quote(path)}'
             vlc '{with_login}{quote(path)}'
  browse     {gateway.url}/dav/   user {user}, password {password}
  add NZBs   SABnzbd's API on {gateway.url}/api   key {gateway.keys.api_key}

Ctrl-C ends it; nothing is left behind. With your own provider: settings.example.env.
""",
        file=out,
        flush=True,
    )
