"""`nzb-gateway library export`: the NZBs of releases as files, one at a time."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from gateway.api_client import ApiClient, Refused
from gateway.library_command import the_one
from gateway.nzb.names import safe_name, shortened
from gateway.nzb.unwrapping import ending_of
from gateway.terminal import counted, shown

_NAME_BYTES = 255
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def export(
    client: ApiClient,
    names: Sequence[str],
    *,
    everything: bool,
    to: str,
    force: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Write the NZBs of releases to the folder *to*, or one to the standard output ("-").

    Returns the exit code: 1 if a file was there with something else in it, and not overwritten.
    Raises Refused.
    """
    if everything == bool(names):
        raise Refused("name the releases to be exported, or write --all")
    if to == "-":
        if everything or len(names) > 1:
            raise Refused("one release at a time goes to the standard output: give --to a folder")
        sys.stdout.buffer.write(client.nzb(the_one(client, names[0])["id"]))
        return 0
    folder = Path(to)
    releases = client.releases() if everything else iter([the_one(client, name) for name in names])
    target = _Target(folder, force)
    refused = 0
    for release in releases:
        # Of releases that are named the folder has no others; a library has a name many times.
        place = Path(safe_name(release["category"])) if everything else Path()
        content = client.nzb(release["id"])
        ending = ending_of(content)
        path = place / (shortened(release["name"], _NAME_BYTES - len(ending)) + ending)
        try:
            is_new = target.write(path, content)
        except FileExistsError:
            refused += 1
            said = f'"{folder / path}" is there and differs: --force overwrites it'
            print(f"nzb-gateway: {shown(said)}", file=err)
            continue
        if is_new and not everything:
            print(shown(str(folder / path)), file=out, flush=True)
    if everything or target.same:
        same = f", {target.same:,} were there" if target.same else ""
        print(shown(f"{counted(target.written, 'NZB')} written to {folder}{same}"), file=out)
    return 1 if refused else 0


class _Target:
    """Files below *folder*, each whole or not at all. *force* overwrites what differs."""

    def __init__(self, folder: Path, force: bool) -> None:
        self._folder = folder
        self._force = force
        self._ours: set[Path] = set()
        self.written = self.same = 0

    def write(self, path: Path, content: bytes) -> bool:
        """Write one file; False if it is there already. Raises FileExistsError, OSError."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if _holds(target, content):
            self.same += 1
            return False
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as file:
                file.write(content)
            if self._force and path not in self._ours:
                part.replace(target)
            else:
                _place(part, target)
        finally:
            part.unlink(missing_ok=True)
        self._ours.add(path)
        self.written += 1
        return True


def _place(part: Path, target: Path) -> None:
    """Give *part* the name *target*, unless that is there. Raises FileExistsError, OSError."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        # exFAT, FAT and many a network drive: what backups go to.
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from exc
        part.replace(target)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
