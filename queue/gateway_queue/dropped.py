"""Files in a drop folder: which there are, how one is taken, and what is done with it in the end.

A taken file has a hidden name that holds the id of its item to be, beside where it was put. So
whoever finds it there later, after the program has died, knows which item it has become, or not.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.nzb.names import safe_name, shortened
from gateway.nzb.unwrapping import LIMIT
from gateway_queue.item import new_id

SUFFIXES = (".nzb", ".nzb.gz", ".nzb.bz2", ".zip")
FAILED = ".failed"
_TAKEN = re.compile(r"\.(SABnzbd_nzo_[a-z0-9]{12})\.(.+)", re.DOTALL)
# Of a taken file: what a name may have, without the id, the dots and a number for what failed.
_NAME_BYTES = 220
# A ZIP of more NZBs is none that anybody has packed to have them queued.
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file at *path*, put there as *name*; *category* is the folder in the drop folder, or None.

    *nzo_id*: it is taken, and its item has this id or will have it.
    """

    path: Path
    name: str
    category: str | None
    nzo_id: str | None = None

    @property
    def put(self) -> Path:
        """Return the path at which it was put."""
        return self.path.with_name(self.name)


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a drop folder: files, and the *links* that are refused for being such."""

    files: tuple[Dropped, ...]
    links: tuple[Path, ...]


def listing(folder: Path) -> Listing:
    """Return what lies in *folder* and in the folders directly in it. Raises OSError."""
    files: list[Dropped] = []
    links: list[Path] = []
    for path, category in _paths(folder):
        taken = _TAKEN.fullmatch(path.name)
        if taken is not None:
            files.append(Dropped(path, taken[2], category, taken[1]))
        elif path.name.startswith(".") or not path.name.lower().endswith(SUFFIXES):
            continue
        elif path.is_symlink():
            links.append(path)
        else:
            files.append(Dropped(path, path.name, category))
    return Listing(tuple(files), tuple(links))


def _paths(folder: Path) -> Iterator[tuple[Path, str | None]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path), None
        elif not entry.name.startswith("."):
            # One that is closed to us, or gone this moment, keeps nobody from the others.
            with suppress(OSError), os.scandir(entry.path) as inside:
                yield from ((Path(one.path), entry.name) for one in inside)


def mark(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the file at *path* does; None: it is no file, or gone."""
    try:
        known = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(known.st_mode):
        return None
    return known.st_ino, known.st_size, known.st_mtime_ns


def read(path: Path) -> bytes:
    """Return what the file at *path* holds; of what is too large to be an NZB, a byte too much.

    Raises OSError, also for what is a link, a pipe or a folder.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no file")
        return file.read(LIMIT + 1)


def take(one: Dropped) -> Dropped:
    """Return *one* taken, under an id that nobody has. Raises OSError."""
    nzo_id, name = new_id(), one.name
    if len(os.fsencode(name)) > _NAME_BYTES:
        name = shortened(safe_name(name), _NAME_BYTES)
    path = one.path.with_name(f".{nzo_id}.{name}")
    one.path.rename(path)
    return Dropped(path, name, one.category, nzo_id)


def set_aside(one: Dropped) -> Path:
    """Give *one* a name that says that it failed, and that nothing else has. Raises OSError."""
    name, number = f"{one.name}{FAILED}", 2
    while (path := one.path.with_name(name)).exists():
        name, number = f"{one.name} ({number}){FAILED}", number + 1
    one.path.rename(path)
    return path


def documents(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Give the NZBs in *content* with their names: of a ZIP of several each, else all of it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [one for one in archive.infolist() if one.filename.lower().endswith(".nzb")]
            if 2 <= len(inside) <= _MOST:
                for one in inside:
                    with archive.open(one) as file:
                        document = file.read(LIMIT + 1)
                    yield one.filename.rpartition("/")[2], document
                return
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        pass  # whoever imports it says what is wrong with it
    yield name, content
