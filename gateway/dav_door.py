"""The WebDAV door, built from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from gateway.http.addresses import place, reachable
from gateway.http.auth import BasicAuth
from gateway.http.wsgi import App
from gateway.keys import Keys
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.links import Links
from gateway.library.ports import Intake
from gateway.nzb.unwrapping import LIMIT
from gateway.settings import Settings
from gateway.streams.streams import Streams
from gateway_webdav.face import make_webdav_app
from gateway_webdav.links import Linked


def dav_door(
    settings: Settings,
    keys: Keys,
    database: Database,
    library: Library,
    streams: Streams,
    intake: Intake,
    *,
    folders: Mapping[str, str],
    port: Callable[[], int],
) -> App:
    """Return the WebDAV application behind its login.

    *folders* has the folder of each category. *port* is where the gateway listens, asked once
    somebody reads a .strm file.
    """

    def address_for_players() -> str:
        """Return the address of /dav with the login in it, as players take it from a file."""
        here = f"http://{place(reachable(settings.host), port())}"
        where = urlsplit(settings.strm_url or here)
        user, password = quote(keys.webdav_user, ""), quote(keys.webdav_password, "")
        return f"{where.scheme}://{user}:{password}@{where.netloc}{where.path}/dav"

    app = make_webdav_app(
        library,
        streams,
        intake,
        categories=folders,
        nzb_limit=LIMIT,
        linked=Linked(Links(database), library, settings.mount_dir, address_for_players),
        content_delete=settings.allow_content_delete,
    )
    return BasicAuth(app, keys.webdav_user, keys.webdav_password)
