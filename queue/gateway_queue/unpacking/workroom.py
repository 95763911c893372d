"""A folder of its own for a program: what it sees are links, and what it makes stays inside."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".work-"


@contextmanager
def workroom(folder: Path) -> Iterator[Path]:
    """Give an empty folder within *folder*, on the same file system; it is gone afterwards."""
    room = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder)).absolute()
    try:
        yield room
    finally:
        remove(room)


def remove_leftovers(folder: Path) -> None:
    """Remove the workrooms that a process which was killed has left in *folder*."""
    for path in folder.glob(f"{_PREFIX}*"):
        remove(path)


def probe(folder: Path) -> None:
    """Raise the OSError that keeps files from being made in *folder*, if there is one.

    Programs say of a disk that is gone whatever they would say of a damaged archive.
    """
    with tempfile.TemporaryFile(prefix=_PREFIX, dir=folder):
        pass


def remove(room: Path) -> None:
    """Remove *room* with all that is in it, whatever rights a program gave it; follows no link.

    However deep its folders are: each is emptied by its own entry in *room*. What cannot be
    removed stays, and nothing is said.
    """
    mark = secrets.token_hex(4)
    waiting = [] if room.is_symlink() else [room]
    folders = []
    while waiting:
        folders.append(waiting.pop())
        for entry in _entries(folders[-1]):
            path = Path(entry)
            with suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    path.unlink()
                    continue
                if len(folders) > 1:
                    path = path.rename(room / f".{mark}-{len(folders) + len(waiting)}")
                waiting.append(path)
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError):
        folder.chmod(0o700)  # before it is walked into
    with suppress(OSError), os.scandir(folder) as entries:
        return list(entries)
    return []


def show(file: Path, link: Path) -> None:
    """Make *file* appear as *link*: one file with two names, or a link where that cannot be."""
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.hardlink_to(file)
    except OSError:
        link.symlink_to(file.absolute())
