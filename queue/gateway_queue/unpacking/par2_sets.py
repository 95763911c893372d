"""The par2 sets in a folder, and which of its files each of them speaks of."""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from gateway.nzb import par2
from gateway.nzb.par2 import Described
from gateway_queue.unpacking.bounds import DEEPEST, LONGEST_PATH

_HEAD = 16 * 1024  # bytes of a file that par2 knows an MD5 of
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_CHUNK = 4 << 20
_LONGEST_NAME = 255  # bytes, of each part of a path
_LARGEST_EXPONENT = 65_535


@dataclass(slots=True)
class FolderSet:
    """A set, the par2 files that tell of it, and the exponents of its blocks that are there."""

    set_id: bytes
    slice_size: int
    files: tuple[Described, ...]
    volumes: list[Path] = field(default_factory=list)
    exponents: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What to call it in an error."""
        return min((path.name for path in self.volumes), key=len, default="par2 set")


def files_in(folder: Path) -> list[Path]:
    """Return the files in *folder* and below, in order; no links, nothing that begins with "."."""
    return sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and not path.is_symlink()
    )


def is_par2(path: Path) -> bool:
    """Say whether *path* is a par2 file: it begins as one, or is called one."""
    with path.open("rb") as file:
        head = file.read(len(par2.MAGIC))
    return head == par2.MAGIC or path.suffix.lower() == ".par2"


def sets_of(paths: Iterable[Path]) -> list[FolderSet]:
    """Return the sets that the par2 files *paths* tell of, in the order of their ids."""
    found: dict[bytes, FolderSet] = {}
    told: dict[bytes, dict[bytes, Described]] = {}
    protected: dict[bytes, set[bytes]] = {}
    for path in paths:
        if not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            # A map has all of bytes that is asked for, and leaves recovery data on the disk.
            data = cast("bytes", view)
            sets, blocks = par2.read([data]), par2.recovery_blocks(data)
        for set_id in {*sets, *blocks}:
            one = found.setdefault(set_id, FolderSet(set_id, 0, ()))
            exponents = blocks.get(set_id, set())
            if max(exponents, default=0) <= _LARGEST_EXPONENT:  # par2 dies of another
                one.volumes.append(path)
                one.exponents |= exponents
            if set_id in sets:
                one.slice_size = sets[set_id].slice_size or one.slice_size
                _complete(told.setdefault(set_id, {}), sets[set_id].files)
                protected.setdefault(set_id, set()).update(sets[set_id].protected)
    for set_id, one in found.items():
        # Of what a set only mentions, and has no blocks for, it says nothing that we could use.
        one.files = tuple(
            file
            for file_id, file in told.get(set_id, {}).items()
            if file_id in protected[set_id] or not protected[set_id]
        )
    return [found[set_id] for set_id in sorted(found)]


def _complete(known: dict[bytes, Described], files: Mapping[bytes, Described]) -> None:
    for file_id, file in files.items():
        before = known.setdefault(file_id, file)
        before.slices = before.slices or file.slices


def flaw_of(one: FolderSet) -> str:
    """Say in words why *one* cannot be worked with, "" if it can: what it states cannot be."""
    if not one.files or one.slice_size <= 0 or one.slice_size % 4:
        return "nothing in it tells which files it protects"
    if not one.volumes:
        return "its recovery blocks have numbers above 65,535"
    names = [file.name.casefold() for file in one.files]
    if len(set(names)) < len(names):
        return "two of its files have one name"
    known = set(names)
    if any(name[:at] in known for name in names for at, char in enumerate(name) if char == "/"):
        return "one of its files would be a folder of another"
    for file in one.files:
        parts = file.name.split("/")
        if (
            _UNSAFE.search(file.name)
            or "\\" in file.name
            or any(part.strip(". ") == "" or len(part.encode()) > _LONGEST_NAME for part in parts)
        ):
            return "it names a file that would lie outside of the folder"
        if len(parts) > DEEPEST or len(file.name.encode()) > LONGEST_PATH:
            return f"it names a file that would lie in {len(parts) - 1:,} folders"
        if file.slices and len(file.slices) != -(-file.size // one.slice_size):
            return f'"{file.name}" states {file.size:,} bytes in {len(file.slices):,} slices'
    return ""


def matches(one: FolderSet, folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Return which of *paths* is which file of the set, by the names that the set gives.

    By the first 16 KiB, of several preferably the one that has the name; then by the name alone;
    and, only if there is no other, by a size that no two files have.
    """
    rest = {path: path.relative_to(folder).as_posix() for path in paths}
    heads: dict[bytes, list[Path]] = {}
    for path in rest:
        heads.setdefault(_head_md5(path), []).append(path)
    found: dict[str, Path] = {}
    for file in one.files:
        alike = [path for path in heads.get(file.md5_16k, []) if path in rest]
        if alike:
            chosen = min(alike, key=lambda path: (rest[path] != file.name, str(path)))
            found[file.name] = chosen
            del rest[chosen]
    by_name = {name: path for path, name in rest.items()}
    for file in one.files:
        if file.name not in found and file.name in by_name:
            found[file.name] = by_name[file.name]
            del rest[by_name[file.name]]
    if not found:
        sizes: dict[int, list[Path]] = {}
        for path in rest:
            sizes.setdefault(path.stat().st_size, []).append(path)
        for file in one.files:
            if file.size >= _HEAD and len(sizes.get(file.size, ())) == 1:
                found[file.name] = sizes[file.size][0]
                sizes[file.size] = []
    return found


def unclaimed(
    one: FolderSet,
    found: Mapping[str, Path],
    strangers: Iterable[FolderSet],
    folder: Path,
    paths: Sequence[Path],
) -> list[Path]:
    """Return which of *paths* may hold what the set lacks: under another name, or in pieces.

    None where each of its files is there in its size; never what belongs to *strangers*: looking
    for blocks at any offset takes long.
    """
    sizes = {name: path.stat().st_size for name, path in found.items()}
    if not found or all(sizes.get(file.name, 0) == file.size for file in one.files):
        return []
    used = set(found.values())
    for stranger in strangers:
        used.update(matches(stranger, folder, paths).values())
    return [path for path in paths if path not in used]


def _head_md5(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.md5(file.read(_HEAD), usedforsecurity=False).digest()


def md5_of(path: Path, tick: Callable[[], object]) -> bytes:
    """Return the MD5 of all of *path*; *tick* is called every few milliseconds."""
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            md5.update(data)
            tick()
    return md5.digest()
