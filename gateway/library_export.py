"""`nzb-gateway library export`: the NZBs of releases as files, one at a time."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from gateway.api_client import ApiClient, Refused
from gateway.library_command import the_one
from gateway.nzb.names import safe_name, shortened
from gateway.nzb.unwrapping import ending_of
from gateway.terminal import shown
from gateway.words import counted

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
    with client.kept_alive():
        return _export(client, names, everything, _Target(Path(to), force), out, err)


def _export(
    client: ApiClient,
    names: Sequence[str],
    everything: bool,
    target: _Target,
    out: TextIO,
    err: TextIO,
) -> int:
    folder, refused = target.folder, 0
    releases = client.releases() if everything else iter([the_one(client, name) for name in names])
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
        self.folder = folder
        self._force = force
        self._ours: set[Path] = set()
        self.written = self.same = 0

    def write(self, path: Path, content: bytes) -> bool:
        """Write one file; False if it is there already. Raises FileExistsError, OSError."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if _holds(target, content):
            self.same += 1
            return False
        if self._force and path not in self._ours:
            _replace(target, content)
        else:
            _make(target, content)
        self._ours.add(path)
        self.written += 1
        return True


def _make(target: Path, content: bytes) -> None:
    """Make the file *target*, whole or not at all. Raises FileExistsError, OSError."""
    try:
        _name_when_whole(target, content)
    except FileExistsError:
        raise
    except OSError:  # many a disk has no files without names; if that is not why, it fails again
        with _part(target, content) as part:
            _place(part, target)


def _name_when_whole(target: Path, content: bytes) -> None:
    # So that not even a kill leaves a part of it.
    made = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    with os.fdopen(made, "wb") as file:
        file.write(content)
        file.flush()
        # Python follows symbolic links here only if it is given a folder, which means nothing
        # beside an absolute path. open(2), O_TMPFILE.
        os.link(f"/proc/self/fd/{made}", target, src_dir_fd=made, follow_symlinks=True)


def _replace(target: Path, content: bytes) -> None:
    """Make the file *target*, in place of what is there. Raises OSError."""
    with _part(target, content) as part:
        part.replace(target)


@contextmanager
def _part(target: Path, content: bytes) -> Iterator[Path]:
    """Give a hidden file beside *target* that holds *content*; what is left of it goes."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
        yield part
    finally:
        part.unlink(missing_ok=True)


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
