"""`.strm` files: a folder of films and series for Jellyfin, each file one line, an address.

    Movies/A Film (2001)/A Film (2001).strm
    Series/A Show/Season 01/A Show S01E02.strm

What this wrote before is listed in LIST in the same folder. Only what stands there is ever
changed or removed: anything else belongs to somebody else, and is left alone and told.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path, PurePosixPath

from gateway.errors import GatewayError
from gateway.nzb.names import safe_name
from gateway.vod.titles import parse_title

LIST = ".nzb-gateway-strm.json"
MOVIES, SERIES = "Movies", "Series"
_EXTENSION = ".strm"


class FolderUnusable(GatewayError):
    """The folder cannot be written to, or its list of files cannot be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to be: *path* below the folder, and the *address* in it."""

    path: str
    address: str


class Names:
    """Gives every film and episode a path of its own; the first of a name gets the plain one.

    Further ones stand beside it with their number, where Jellyfin takes them for versions of it.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def movie(self, name: str, number: int) -> str:
        """Return the path of the film that is listed as *name*."""
        title = _safe(parse_title(name).with_year)
        return self._free(f"{MOVIES}/{title}", title, number)

    def episode(self, series: str, season: int, episode: int, number: int) -> str:
        """Return the path of an episode of the series that is listed as *series*."""
        title = _safe(parse_title(series).title)
        folder = f"{series_folder(series)}/Season {season:02}"
        return self._free(folder, f"{title} S{season:02}E{episode:02}", number)

    def _free(self, folder: str, name: str, number: int) -> str:
        marks = chain(["", f" - {number}"], (f" - {number} ({more})" for more in count(2)))
        paths = (f"{folder}/{_fitting(name + mark)}{_EXTENSION}" for mark in marks)
        path = next(path for path in paths if path.lower() not in self._taken)
        self._taken.add(path.lower())
        return path


def series_folder(series: str) -> str:
    """Return the folder of the series that is listed as *series*."""
    return f"{SERIES}/{_safe(parse_title(series).with_year)}"


def _safe(name: str) -> str:
    # A dot at the beginning hides a folder. Room is left for what stands behind a title.
    return safe_name(_fitting(name.lstrip(". "), 180))


def _fitting(name: str, limit: int = 245) -> str:
    return name.encode()[:limit].decode("utf-8", "ignore").rstrip(". ") or "_"


@dataclass(slots=True)
class Report:
    """What was done, as paths below the folder. *foreign*: in the way, and not ours."""

    written: int = 0
    unchanged: int = 0
    stale: list[str] = field(default_factory=list)
    removed: int = 0
    foreign: list[str] = field(default_factory=list)


class Folder:
    """A folder of `.strm` files and the list of those that were written here.

    Raises FolderUnusable when the list cannot be read, OSError as files do.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ours = self._read_list()

    def write(self, entries: Iterable[Entry], keep: Iterable[str] = ()) -> Report:
        """Write what is not there yet, or otherwise, and find what is there no longer.

        Each file appears whole. What lies below the folders *keep* is not called stale.
        """
        report = Report()
        wanted = {entry.path: f"{entry.address}\n".encode() for entry in entries}
        others = {
            path
            for path in self._ours - wanted.keys()
            if _is_below(self._root, path) and os.path.lexists(self._root / path)
        }
        kept = tuple(f"{folder}/" for folder in keep)
        report.stale = sorted(path for path in others if not path.startswith(kept or "\0"))
        changed = []
        for path, content in wanted.items():
            found = self._read(path)
            if found == content:
                report.unchanged += 1
            elif (found is None or path in self._ours) and _is_below(self._root, path):
                changed.append(path)
            else:
                report.foreign.append(path)
        self._root.mkdir(parents=True, exist_ok=True)
        # Listed before they are written: what a power cut leaves behind is known as ours.
        self._write_list(others | wanted.keys() - set(report.foreign))
        for path in changed:
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            _replace(self._root / path, wanted[path])
        report.written = len(changed)
        return report

    def prune(self, stale: Iterable[str]) -> int:
        """Remove *stale*, of what `write` reported, and folders left empty; return how many."""
        removed = 0
        for name in stale:
            path = self._root / name
            if name not in self._ours or not _is_below(self._root, name):
                continue
            if not _is_address(path):
                continue  # somebody made something else of it
            path.unlink()
            removed += 1
            self._ours.discard(name)
            _remove_empty(path.parent, self._root)
        self._write_list(self._ours)
        return removed

    def _read(self, name: str) -> bytes | None:
        """Return what the file holds; None: there is none."""
        path = self._root / name
        try:
            return b"" if path.is_symlink() else path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read_list(self) -> set[str]:
        path = self._root / LIST
        try:
            said = json.loads(path.read_bytes())
        except FileNotFoundError:
            return set()
        except ValueError:
            said = None
        files = said.get("files") if isinstance(said, dict) else None
        if not isinstance(files, list):
            raise FolderUnusable(
                f"{path} is no list of files that this command wrote: restore it, or move it away "
                "and what is listed in it stays for ever"
            )
        return {name for name in files if isinstance(name, str) and _is_plain(name)}

    def _write_list(self, files: set[str]) -> None:
        self._ours = files
        said = {"written by": "nzb-gateway vod strm", "files": sorted(files)}
        content = json.dumps(said, ensure_ascii=False, indent=0).encode()
        path = self._root / LIST
        if not path.exists() or path.read_bytes() != content:
            _replace(path, content)


def _is_below(root: Path, name: str) -> bool:
    """Say whether no link leads out of *root* on the way to *name*."""
    return (root / name).parent.resolve().is_relative_to(root.resolve())


def _replace(path: Path, content: bytes) -> None:
    """Put *content* at *path* at once: nobody sees a part of it."""
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        path.suffix == _EXTENSION
        and not path.is_absolute()
        and len(path.parts) > 1
        and ".." not in path.parts
    )


def _is_address(path: Path) -> bool:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return False
    return len(lines) == 1 and lines[0].startswith((b"http://", b"https://"))


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
        folder = folder.parent


def in_words(report: Report) -> Iterator[str]:
    """Give the lines that tell of *report*."""
    yield f"{report.written:,} written, {report.unchanged:,} unchanged, {report.removed:,} removed"
    for path in report.foreign:
        yield f"left alone, not written by this command: {path}"
    for path in report.stale:
        yield f"no longer in the catalogue: {path}"
