"""A folder of archives made a folder of files: sets, pieces, archives in archives.

Nothing is extracted where it could meet anything: each archive has an empty folder, what comes out
is looked at, and moves on under a safe name once all of it is there. par2 files stay behind.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from gateway.errors import ImportFailed, StorageError, UnsupportedArchive
from gateway.nzb import rar, rar_sets, split
from gateway.nzb.names import safe_name, safe_path
from gateway.nzb.nesting import DEPTH
from gateway_queue import passwords as trials
from gateway_queue.contents import Kind, kind_of
from gateway_queue.download.disk import translated
from gateway_queue.sets import Candidate, FileSet, arrange
from gateway_queue.unpacking import archives
from gateway_queue.unpacking.archives import Job
from gateway_queue.unpacking.bounds import LONGEST_PATH, Allowance, Bounds, Entry
from gateway_queue.unpacking.distinct import Names
from gateway_queue.unpacking.meter import Meter
from gateway_queue.unpacking.par2_sets import files_in
from gateway_queue.unpacking.volumes_on_disk import volumes_of
from gateway_queue.unpacking.workroom import remove, remove_leftovers, workroom

log = logging.getLogger(__name__)

_BESIDE = 0.1  # of the post: a smaller archive that cannot be opened is kept as it is
_HEAD = 1024
_CHUNK = 1 << 20
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_ZIP = b"PK\x03\x04"
_UNTYPABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _File:
    """A file on its way: where it lies, its path in the release, and its place in the post."""

    path: Path
    name: str
    place: int | None = None


def unpack(
    folder: Path,
    target: Path,
    *,
    passwords: Sequence[str] = (),
    places: Mapping[str, int] | None = None,
    progress: Callable[[float], object] = lambda _: None,
    bounds: Bounds | None = None,
) -> list[Path]:
    """Return the files that *folder* holds once its archives are unpacked; they lie in *target*.

    *target* is on the same file system, and empty or not there; after an error it is empty. What
    is in *folder* stays: files that are in no archive appear in *target* as a second name of
    theirs, or a copy where that cannot be. *passwords* are tried in order, no password first.
    *places* say of files in *folder* which ones of their post they are: this puts pieces in order
    whose names do not.
    *progress* is called with the part that is done, several times a second: what it raises (no
    OSError) ends every program, and goes through. *target* may lie in *folder* if its name begins
    with a dot.

    Names are made safe for any system, and numbered where two are the same. An archive of less
    than a tenth of the post that cannot be unpacked is among the files as it is; of a larger one
    the reason is raised: WrongPassword, IncompletePost, UnsupportedArchive (which may name what
    to install), any other ImportFailed, or StorageFull.
    """
    with translated(target):
        target.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        if any(target.iterdir()):
            raise StorageError(f"{target} is not empty: nothing is unpacked into it")
        named = [(path, path.relative_to(folder).as_posix()) for path in files_in(folder)]
        files = [_File(path, name, (places or {}).get(name)) for path, name in named]
        total = sum(one.path.stat().st_size for one in files)
        bounds = bounds or Bounds()
        with workroom(target) as room:
            job = Job(
                room, _usable(passwords), bounds, Allowance(bounds, total), Meter(progress, total)
            )
            found = _Unpacking(job, total).level(files, DEPTH)
            names = _lay_out(found, room, room / "whole")
            for path in (room / "whole").iterdir():
                path.rename(target / path.name)
    progress(1.0)
    return [target / name for name in names]


def _usable(passwords: Iterable[str]) -> tuple[str, ...]:
    """Return those that can be typed: one line of characters that have bytes."""
    typed = (one for one in passwords if one and not _UNTYPABLE.search(one))
    return tuple(dict.fromkeys(typed))


class _Unpacking:
    def __init__(self, job: Job, total: int) -> None:
        self._job = job
        self._total = total
        self._numbers = count(1)

    def level(self, files: Sequence[_File], depth: int) -> list[_File]:
        """Return what *files* are or hold, through *depth* archives at most."""
        candidates = [_candidate(one) for one in files]
        sets, plain = arrange(candidates)
        found = [files[index] for index in plain]
        for one in sets:
            members = [files[index] for index in one.members]
            for group in self._groups(one, members):
                found += self._opened(one, group, depth)
        return found

    def _opened(self, one: FileSet, group: list[_File], depth: int) -> list[_File]:
        """Return what the archive of *group* holds, or *group* if it is small and cannot be."""
        size = sum(member.path.stat().st_size for member in group)
        out = self._job.room / f"out{next(self._numbers)}"
        try:
            if not depth:
                raise UnsupportedArchive(f"more than {DEPTH} archives lie in one another")
            found = self.level(self._unpacked(one, group, out), depth - 1)
        except ImportFailed as exc:
            remove(out)
            if size > _BESIDE * self._total:
                raise
            log.warning('[Queue] "%s" is kept as it is: %s', group[0].name, exc)
            return group
        for member in group:
            if self._job.room in member.path.parents:
                member.path.unlink()  # an archive in an archive has served
        return found

    def _groups(self, one: FileSet, members: list[_File]) -> list[list[_File]]:
        """Return the members of each archive of a set: RAR volumes may be of several."""
        if one.kind is not Kind.RAR:
            return [members]
        try:
            return self._rar_sets(members)
        except ImportFailed:
            # It may be one of them that cannot be read, a small one: by their names, then.
            found: list[list[_File]] = []
            for stem in rar_sets.stems([member.path.name for member in members]):
                group = [members[index] for index in stem]
                try:
                    found += self._rar_sets(group)
                except ImportFailed:
                    found.append(group)  # whoever reads it is told why
            return found

    def _rar_sets(self, members: list[_File]) -> list[list[_File]]:
        call = partial(rar.sets, volumes_of(member.path for member in members))
        found = trials.first(call, self._job.passwords)
        return [[members[index] for index in group] for group in found]

    def _unpacked(self, one: FileSet, group: list[_File], out: Path) -> list[_File]:
        first = group[0]
        folder = first.name.rpartition("/")[0]
        kind = one.kind
        if kind is Kind.SPLIT:
            if not one.in_order:
                order = split.ordered([member.path.name for member in group])
                group = [group[index] for index in order]
            head = _head(group[0].path)
            if not head.startswith((_SEVEN_ZIP, _ZIP)):
                return [self._joined(group, out)]
            kind = Kind.SEVEN_ZIP
        paths = [member.path for member in group]
        found = archives.unpack(self._job, kind, paths, safe_name(first.path.name), out)
        return [
            _File(path, f"{folder}/{path.relative_to(out).as_posix()}".lstrip("/"))
            for path in found
        ]

    def _joined(self, group: Sequence[_File], out: Path) -> _File:
        """Put the pieces *group* together."""
        job = self._job
        sizes = [member.path.stat().st_size for member in group]
        name = split.read(volumes_of([group[0].path]))[0].name if _is_numbered(group[0]) else ""
        name = name or group[0].path.name
        job.allowance.check(name, [Entry(name, sum(sizes))], job.room)
        job.meter.expect(sum(sizes))
        out.mkdir()
        path, written = out / safe_name(name), 0
        with path.open("xb") as whole:
            for member in group:
                with member.path.open("rb") as piece:
                    while data := piece.read(_CHUNK):
                        whole.write(data)
                        written += len(data)
                        job.meter.show(written)
        job.allowance.spend(1, written)
        job.meter.wrote(written)
        return _File(path, f"{group[0].name.rpartition('/')[0]}/{name}".lstrip("/"))


def _is_numbered(file: _File) -> bool:
    return file.path.name.rpartition(".")[2].isdigit()


def _candidate(file: _File) -> Candidate:
    head, name = _head(file.path), file.name.rpartition("/")[2]
    return Candidate(name, kind_of([name], head), file.path.stat().st_size, head, file.place)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _lay_out(files: Iterable[_File], room: Path, whole: Path) -> list[str]:
    """Put *files* into *whole*, under safe names that no system takes for one; return these."""
    names = Names()
    given = []
    whole.mkdir()
    for file in sorted(files, key=lambda one: one.name):
        name = safe_path(file.name) or "_"
        if len(name.encode()) > LONGEST_PATH:
            raise ImportFailed(
                f'"{file.path.name[-100:]}" lies in folders and archives whose names are '
                f"{len(name.encode()):,} bytes long together: no more than {LONGEST_PATH:,} are "
                "taken"
            )
        given.append(names.free(name))
        path = whole / given[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        if room in file.path.parents:
            file.path.rename(path)
        else:
            _second_name(file.path, path)
    return given


def _second_name(file: Path, path: Path) -> None:
    try:
        path.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, path)
