"""Which releases the links in folders of media lead to: symbolic links, `.strm`, `.rclonelink`.

A link names a file by its id, its number for players, its path in the mount or on the disk. What
is not known is never taken for "nobody links there": a folder that is not there, or is empty as a
mount point without its disk, is an error; one that cannot be looked into is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from gateway.errors import GatewayError
from gateway.vod.film import FIRST_ID

_ID = re.compile(r"/\.ids/([0-9a-f])/([0-9a-f])/([0-9a-f])/(\1\2\3[0-9a-f]{29})(?:\.[^/]*)?$")
_BY_NAME = re.compile(r"/(?:content|completed-symlinks)/([^/]+)/([^/]+)(?:/|$)")
_BY_NUMBER = re.compile(r"/(?:movie|series)/[^/]+/[^/]+/(\d{10,18})(?:\.\w+)?$")
_TEXT_BYTES = 64 << 10


class RootMissing(GatewayError):
    """A folder of media is not there, so that nothing can be said about what links there."""


@dataclass(slots=True)
class Seen:
    """How many *links* into the library there are; *warnings* say what could not be looked at."""

    links: int = 0
    warnings: list[str] = field(default_factory=list)


class Reached:
    """What links lead to. *mount_dir* is the mount, *complete* the folder of downloads."""

    def __init__(self, mount_dir: PurePosixPath, complete: Path) -> None:
        self._mount = f"{mount_dir}/"
        self._complete = str(complete)
        # Numbers take a third of the memory of texts; a library may have a million links.
        self._ids: set[int] = set()
        self._numbers: set[int] = set()
        self._names: set[str] = set()
        self._paths: set[str] = set()
        self._met: set[int | str] = set()

    def note_path(self, path: str) -> bool:
        """Take what a path leads to; False if that is not in the library's places."""
        if match := _ID.search(path):
            self._ids.add(int(match[4], 16))
            return True
        if path.startswith(self._mount) and (match := _BY_NAME.match(path[len(self._mount) - 1 :])):
            self._names.add(f"{match[1]}/{match[2]}")
            return True
        if path == self._complete or path.startswith(f"{self._complete}/"):
            self._paths.add(path)
            return True
        return False

    def note_address(self, address: str) -> bool:
        """Take what an address, or a path, in a .strm leads to; False if not into the library."""
        try:
            parts = urlsplit(address)
        except ValueError:
            return False
        if parts.scheme not in {"http", "https"}:
            return self.note_path(address)
        path = unquote(parts.path)
        if match := _BY_NUMBER.search(path):
            number = int(match[1]) - FIRST_ID
            if number > 0:
                self._numbers.add(number)
            return number > 0
        if match := _ID.search(path):
            self._ids.add(int(match[4], 16))
            return True
        _, dav, inside = path.partition("/dav/")
        if dav and (match := _BY_NAME.match(f"/{inside}")):
            self._names.add(f"{match[1]}/{match[2]}")
            return True
        return False

    def leads_to(self, release: dict[str, Any]) -> bool:
        """Say whether a link leads to *release*, with its keys, as the API tells of it."""
        name = f"{release['category']}/{release['name']}"
        met: set[int | str] = {name} if name in self._names else set()
        for key in release["keys"]:
            met |= {int(key["id"], 16)} & self._ids
            if key["number"] in self._numbers:
                met.add(f"number {key['number']}")
            if key["disk"] is not None and self._paths:
                above = (str(path) for path in (Path(key["disk"]), *Path(key["disk"]).parents))
                met |= {f"path {path}" for path in above if path in self._paths}
        self._met |= met
        return bool(met)

    def leads_nowhere(self) -> int:
        """Return how many of the targets belong to no release that `leads_to` was asked about."""
        every = len(self._ids) + len(self._numbers) + len(self._names) + len(self._paths)
        return every - len(self._met)


def check_roots(roots: Sequence[Path]) -> None:
    """Raise RootMissing unless every one is a folder that can be read and holds something."""
    for root in roots:
        try:
            with os.scandir(root) as entries:
                if next(entries, None) is not None:
                    continue
        except OSError as exc:
            raise RootMissing(
                f'"{root}" cannot be looked into ({exc.strerror or exc}): what it links to is not '
                "known, and nothing is listed"
            ) from exc
        raise RootMissing(
            f'"{root}" is empty, as a folder is whose disk is not mounted: what it links to is not '
            "known, and nothing is listed. Leave it out if it is right"
        )


def scan(roots: Sequence[Path], reached: Reached) -> Seen:
    """Look at all that lies in *roots* and below, and note what its links lead to.

    Links to folders are not followed, but what they lead to is noted. Raises RootMissing where a
    root is gone, or another one, at the end.
    """
    seen = Seen()
    for root in roots:
        before, links = _identity(root), seen.links
        for entry in _walk(root, seen):
            try:
                seen.links += _look(entry, reached, seen)
            except OSError as exc:
                seen.warnings.append(_words(entry.path, exc))
        if _identity(root) != before:
            raise RootMissing(f'"{root}" is another folder than it was at first: nothing is listed')
        if seen.links == links:
            seen.warnings.append(
                f'"{root}" has no link into the library: leave it out if that is right'
            )
    return seen


def _walk(root: Path, seen: Seen) -> Iterator[os.DirEntry[str]]:
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    yield entry
        except OSError as exc:
            seen.warnings.append(_words(folder, exc))


def _look(entry: os.DirEntry[str], reached: Reached, seen: Seen) -> bool:
    """Note what *entry* leads to; say whether that is the library."""
    if entry.is_symlink():
        # Without a look at what is there: it may lie in a mount that does not answer.
        link = Path(entry.path)
        where = os.path.normpath(link.parent / link.readlink())
        if reached.note_path(where):
            return True
        if entry.is_dir():
            seen.warnings.append(
                f'"{entry.path}" is a link to a folder, and was not followed: name "{where}" too '
                "if it is to be looked at"
            )
        return False
    if entry.name.lower().endswith((".strm", ".rclonelink")) and entry.is_file():
        with Path(entry.path).open("rb") as file:
            text = file.read(_TEXT_BYTES).decode(errors="replace")
        return sum(reached.note_address(line.strip()) for line in text.splitlines()) > 0
    return False


def _identity(root: Path) -> tuple[int, int]:
    try:
        found = root.stat()
    except OSError as exc:
        raise RootMissing(f'"{root}" is gone ({exc.strerror or exc}): nothing is listed') from exc
    return found.st_dev, found.st_ino


def _words(path: str, exc: OSError) -> str:
    return f'"{path}" could not be looked at ({exc.strerror or exc}): what links there is not known'
