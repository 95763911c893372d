"""What may come out of the archives of a post, and what is refused before and while it does.

An archive is a stranger's. Its listing is looked at first: names that lead elsewhere, sizes that
no film has. As a listing may lie, the same bounds hold for what a program really writes.
"""

from __future__ import annotations

import enum
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gateway.errors import ImportFailed, StorageFull

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_LONGEST_NAME = 255  # bytes of UTF-8: Linux

# No release has such folders, and not every program and system gets to what lies in deeper ones.
DEEPEST = 100
"""Names in the path of a file, within a release."""
LONGEST_PATH = 2_000
"""Bytes of UTF-8 in the path of a file, within a release: Linux takes twice as many in all."""


class Nature(enum.Enum):
    """What an entry of an archive is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"  # symbolic or hard
    DEVICE = "device"  # or a pipe, or a socket


class Entry(NamedTuple):
    """One line of an archive's listing; *size* is None where it does not tell."""

    name: str
    size: int | None
    nature: Nature = Nature.FILE
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that the archives of one post may hold together.

    *ratio* is how many times the size of the post, which is looked at from *ratio_from* bytes
    on: a text of nulls is no bomb. *reserve* bytes of the disk stay free.
    """

    most_files: int = 50_000
    ratio: int = 250
    ratio_from: int = 256 << 20
    reserve: int = 64 << 20


class Allowance:
    """What the archives of one post of *packed* bytes may still write."""

    def __init__(self, bounds: Bounds, packed: int) -> None:
        self._bounds = bounds
        self._bytes = max(bounds.ratio_from, bounds.ratio * packed)
        self._packed = packed
        self._files = bounds.most_files

    def check(self, archive: str, entries: Iterable[Entry], folder: Path) -> int:
        """Return how many bytes *entries*, the listing of *archive*, are to become in *folder*.

        Raises ImportFailed for what must not be unpacked, StorageFull for what cannot.
        """
        entries = list(entries)
        _refuse_paths(archive, entries)
        total = sum(entry.size or 0 for entry in entries)
        self.hold(archive, len(entries), total)
        free = shutil.disk_usage(folder).free - self._bounds.reserve
        if total > free:
            raise StorageFull(
                f'"{archive}" becomes {total:,} bytes, and {max(0, free):,} are free in {folder}'
            )
        return total

    def hold(self, archive: str, files: int, total: int) -> None:
        """Raise ImportFailed if *archive* has, or has become, more than may be."""
        if files > self._files:
            raise ImportFailed(
                f'"{archive}" holds {files:,} files, and no more than {self._files:,} are unpacked'
            )
        if total > self._bytes:
            raise ImportFailed(
                f'"{archive}" becomes {total:,} bytes of a post of {self._packed:,}: '
                f"no more than {self._bytes:,} are unpacked"
            )

    def spend(self, files: int, total: int) -> None:
        """Take what an archive has become from what is left for the others."""
        self._files -= files
        self._bytes -= total


def _refuse_paths(archive: str, entries: list[Entry]) -> None:
    links = {_parts(entry.name) for entry in entries if entry.nature is Nature.LINK}
    for entry in entries:
        parts = _parts(entry.name)
        if entry.nature is Nature.DEVICE:
            raise ImportFailed(f'"{archive}" holds a device: {entry.name[:100]!r}')
        if _CONTROL.search(entry.name):
            raise ImportFailed(f'"{archive}" holds a name that is none: {entry.name[:100]!r}')
        leads_away = entry.name.startswith(("/", "\\")) or _DRIVE.match(entry.name)
        through = links and any(parts[:end] in links for end in range(1, len(parts)))
        length = _length(entry.name)
        if len(parts) > DEEPEST or length > LONGEST_PATH:
            raise ImportFailed(
                f'"{archive}" holds a path of {len(parts):,} names and {length:,} bytes: no more '
                f"than {DEEPEST} names and {LONGEST_PATH:,} bytes are unpacked"
            )
        if leads_away or ".." in parts or through:
            raise ImportFailed(f'"{archive}" would write outside of it: {entry.name[:100]!r}')


def refuse_long_names(archive: str, entries: Iterable[Entry]) -> None:
    """Raise ImportFailed for a name that no file can have: programs do not shorten any."""
    for entry in entries:
        longest = max(map(_length, re.split(r"[/\\]", entry.name)))
        if longest > _LONGEST_NAME:
            raise ImportFailed(
                f'"{archive}" holds a name of {longest:,} bytes, and a file can have one of '
                f"{_LONGEST_NAME}: {entry.name[:100]!r}"
            )


def _length(name: str) -> int:
    return len(name.encode("utf-8", "replace"))


def _parts(name: str) -> tuple[str, ...]:
    parts = re.split(r"[/\\]", name.casefold())
    return tuple(part for part in parts if part not in ("", "."))
