"""A folder of its own for a program: what it sees are links, and what it makes stays inside."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def remove(room: Path) -> None:
    """Remove *room* with all that is in it, whatever rights a program gave it; follows no link."""
    for parent, folders, _ in os.walk(room):
        for name in folders:
            folder = Path(parent, name)
            if not folder.is_symlink():
                folder.chmod(0o700)  # before it is walked into
    shutil.rmtree(room, ignore_errors=True)


def show(file: Path, link: Path) -> None:
    """Make *file* appear as *link*: one file with two names, or a link where that cannot be."""
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.hardlink_to(file)
    except OSError:
        link.symlink_to(file.absolute())
