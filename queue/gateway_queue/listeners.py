"""Who is told that an item has ended: Sonarr and its kin, and rclone's remote control.

No message holds a key or a password, and none is sent anywhere but where the settings say: a
redirect is not followed.
"""

from __future__ import annotations

from collections.abc import Sequence

from urllib3.util import make_headers

from gateway_queue.calling import Caller
from gateway_queue.telling import Ended

# The version of the API that each kind of *arr has had for years.
API_OF_KIND = {"sonarr": "v3", "radarr": "v3", "lidarr": "v1"}


class Arr:
    """A Sonarr or the like: has it ask its download clients now, and not within the minute."""

    def __init__(self, name: str, kind: str, url: str, api_key: str) -> None:
        self._name, self._path = name, f"/api/{API_OF_KIND[kind]}/command"
        self._kind = kind
        self._caller = Caller(url, {"X-Api-Key": api_key})

    @property
    def name(self) -> str:
        return f"{self._kind} {self._name!r}"

    def tell(self, ended: Sequence[Ended] | None) -> None:
        # It asks itself what there is; files that change, and what goes, are no affair of its.
        if ended is not None and all(one.changed or one.removed for one in ended):
            return
        key = f"GATEWAY_ARR__{self._name.upper()}__API_KEY"
        self._caller.post(self._path, {"name": "RefreshMonitoredDownloads"}, key=key)


class Rclone:
    """An rclone with `--rc`: has its mounts read again the folders in which something is new."""

    name = "rclone"

    def __init__(self, url: str, username: str | None, password: str | None) -> None:
        login = f"{username}:{password or ''}" if username else None
        # Of UTF-8: urllib3 would take letters beyond Latin-1 for a mistake.
        encoded = None if login is None else login.encode().decode("latin-1")
        self._caller = Caller(url, make_headers(basic_auth=encoded))

    def tell(self, ended: Sequence[Ended] | None) -> None:
        published = None if ended is None else [one for one in ended if one.completed]
        if published == []:
            return
        listed = self._post("/vfs/list", {})
        names = listed.get("vfses") if isinstance(listed, dict) else None
        for vfs in names if isinstance(names, list) else ():
            self._post("/vfs/forget", {**_forgotten(str(vfs), published), "fs": str(vfs)})

    def _post(self, path: str, body: object) -> object:
        return self._caller.post(path, body, key="GATEWAY_RCLONE__USERNAME and __PASSWORD")


def _forgotten(vfs: str, published: Sequence[Ended] | None) -> dict[str, str]:
    """Return what a mount is to forget, as rclone takes it; nothing: all that it has cached.

    To forget a folder is to read again the one above it, and nothing beside it. *vfs* is what is
    mounted: "remote:" or "remote:folder".
    """
    if published is None:
        return {}
    folders = [] if all(one.changed for one in published) else [".ids"]
    for one in published:
        folders.append(f"content/{one.folder}/{one.name}")
        # A file that changes is where it was: in one folder of ids, behind the same links.
        folders.append(
            "/".join((".ids", *one.changed[:3]))
            if one.changed
            else f"completed-symlinks/{one.folder}/{one.name}"
        )
    folders = list(dict.fromkeys(folders))
    root = vfs.rpartition(":")[2].strip("/")
    within = [folder.removeprefix(f"{root}/") if root else folder for folder in folders]
    return {f"dir{number}": folder for number, folder in enumerate(within)}
