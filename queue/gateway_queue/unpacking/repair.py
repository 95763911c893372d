"""Files repaired and named as par2 knows them.

What the checksums of the articles prove is not read again. The rest is par2's: it works in a
folder of its own on links, its word is not taken (what it made is held against the MD5 that the
set states), and only then do the files take their places.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from gateway.errors import ImportFailed, IncompletePost, StorageFull
from gateway.nzb.names import numbered, safe_name, safe_path
from gateway.nzb.par2 import Described
from gateway_queue.download.disk import translated
from gateway_queue.unpacking import par2_program
from gateway_queue.unpacking.par2_program import Told, Verdict, extra_name
from gateway_queue.unpacking.par2_sets import (
    FolderSet,
    files_in,
    flaw_of,
    is_par2,
    matches,
    md5_of,
    sets_of,
    unclaimed,
)
from gateway_queue.unpacking.quick import Piece, check, is_covered
from gateway_queue.unpacking.workroom import probe, remove_leftovers, show, workroom

_RESERVE = 64 << 20  # bytes of the disk that a repair leaves free

FetchMore = Callable[[bytes, int], int]
"""Called with the id of a set and a number of recovery blocks, puts par2 files with as many into
the folder, or with as many as there are; returns how many it brought, 0 where there are no more."""


@dataclass(slots=True)
class Repaired:
    """What was done: names are relative to the folder, with "/".

    *sets* are the names of those that belong to the files, *ignored* says in words which do not
    and why. *whole*: files that were right as they were; *made*: repaired or put together;
    *renamed*: from what name to which. *blocks* were at hand when it was done.
    """

    sets: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    blocks: int = 0


def no_more(set_id: bytes, blocks: int) -> int:  # noqa: ARG001
    """Fetch nothing: what is in the folder is all there is."""
    return 0


def repair(
    folder: Path,
    *,
    pieces: Mapping[str, Sequence[Piece]] | None = None,
    fetch_more: FetchMore = no_more,
    progress: Callable[[float], object] = lambda _: None,
) -> Repaired:
    """Make the files in *folder* what the par2 sets in it say, as far as they belong together.

    *pieces* are, by file names relative to *folder*, the articles that lie on the disk as their
    CRC-32 wants; files that are not named in it are read. *progress* is called with the part
    that is done, several times a second while a program works: what it raises (no OSError) ends
    that, leaves the folder as it was, and goes through. May be called again at any time, also
    after a kill.

    Raises IncompletePost, with the numbers, when the recovery blocks do not suffice; StorageFull
    and ImportFailed. Files of no set are left alone, and nothing is said of them.
    """
    done = Repaired()
    known = dict(pieces or {})
    furthest = 0.0
    with translated(folder):
        remove_leftovers(folder)
        sets = sets_of(path for path in files_in(folder) if is_par2(path))
        for number, one in enumerate(sets):
            flaw = flaw_of(one)
            if flaw:
                done.ignored.append(f'"{one.name}": {flaw}')
                continue

            def part(fraction: float, number: int = number) -> None:
                nonlocal furthest
                furthest = max(furthest, (number + fraction) / len(sets))
                progress(furthest)

            strangers = [other for other in sets if other is not one and not flaw_of(other)]
            _Work(folder, one, strangers, known, fetch_more, part, done).run()
    progress(1.0)
    return done


def _visible(name: str) -> str:
    """Return *name* as a safe path of which no part begins with a dot: such are passed over."""
    return "/".join(safe_name(part.lstrip(". ")) for part in safe_path(name).split("/"))


class _Work:
    """The repair of one set."""

    def __init__(
        self,
        folder: Path,
        one: FolderSet,
        strangers: Sequence[FolderSet],
        pieces: dict[str, Sequence[Piece]],
        fetch_more: FetchMore,
        progress: Callable[[float], object],
        done: Repaired,
    ) -> None:
        self._folder = folder
        self._set = one
        self._pieces = pieces
        self._fetch_more = fetch_more
        self._progress = progress
        self._done = done
        others = [path for path in files_in(folder) if not is_par2(path)]
        self._found = matches(one, folder, others)
        self._extras = unclaimed(one, self._found, strangers, folder, others)
        self._mark = secrets.token_hex(6)

    def run(self) -> None:
        one = self._set
        if not self._found:
            self._done.ignored.append(f'"{one.name}": none of its files is in the post')
            return
        hurt: dict[str, int] = {}
        for file in one.files:
            self._progress(0.0)
            least = self._least(file)
            if least:
                hurt[file.name] = least
        broken = [file for file in one.files if file.name in hurt]
        if broken:
            self._check_room(broken)
            # With other files about, only par2 can tell what a file lacks that is not there whole.
            estimate = sum(hurt[file.name] for file in broken if self._is_all(file))
            self._fetch(estimate - len(one.exponents))
            if not self._repair(broken):
                return
        self._done.sets.append(one.name)
        self._done.blocks += len(one.exponents)
        for file in one.files:
            if file.name not in hurt and file.size:
                self._take_place(self._found[file.name], file, made=False)

    def _is_all(self, file: Described) -> bool:
        path = self._found.get(file.name)
        return not self._extras or (path is not None and path.stat().st_size == file.size)

    def _least(self, file: Described) -> int:
        """Return how many blocks it takes at least to make *file* whole; 0 if it is."""
        if not file.size:
            return 0
        path = self._found.get(file.name)
        if path is None:
            return -(-file.size // self._set.slice_size)
        pieces = self._pieces.get(self._name(path))
        size = path.stat().st_size
        if pieces is not None and file.slices:
            checked = check(
                file.size, self._set.slice_size, [one.crc32 for one in file.slices], pieces
            )
            return int(size != file.size) if checked.is_whole else checked.least
        return int(size != file.size or md5_of(path, lambda: self._progress(0.0)) != file.md5)

    def _check_room(self, broken: Iterable[Described]) -> None:
        wanted = sum(file.size for file in broken) + _RESERVE
        free = shutil.disk_usage(self._folder).free
        if free < wanted:
            raise StorageFull(
                f"a repair takes {wanted:,} bytes and {free:,} are free in {self._folder}"
            )

    def _fetch(self, blocks: int) -> bool:
        """Get *blocks* more recovery blocks; say whether any came."""
        if blocks <= 0:
            return False
        before = set(self._set.exponents)
        while self._fetch_more(self._set.set_id, blocks) > 0:
            paths = [path for path in files_in(self._folder) if is_par2(path)]
            for one in sets_of(paths):
                if one.set_id == self._set.set_id:
                    self._set.volumes, self._set.exponents = one.volumes, one.exponents
            if self._set.exponents > before:
                return True
            # What came is damaged itself: there may be others.
        return False

    def _repair(self, broken: Sequence[Described]) -> bool:
        """Make *broken* files whole; False if the set is seen to be of something else."""
        while True:
            with workroom(self._folder) as room:
                told = self._run_program(room)
                if told.verdict is Verdict.DONE:
                    self._adopt(room, broken, told)
                    return True
            probe(self._folder)
            if told.found == 0 and self._post_is_whole():
                self._done.ignored.append(f'"{self._set.name}": not a block of it is in the post')
                return False
            if told.verdict is Verdict.FAILED:
                raise ImportFailed(f'par2 cannot work with "{self._set.name}": {told.words}')
            if not self._fetch(told.lacking):
                raise IncompletePost(self._too_few(told.lacking, broken))

    def _post_is_whole(self) -> bool:
        return all(
            is_covered(path.stat().st_size, self._pieces.get(self._name(path), ()))
            for path in self._found.values()
        )

    def _too_few(self, lacking: int, broken: Sequence[Described]) -> str:
        there = len(self._set.exponents)
        more = f" and {len(broken) - 1:,} more" if len(broken) > 1 else ""
        return (
            f'"{self._set.name}" cannot repair "{broken[0].name}"{more}: '
            f"{there + lacking:,} recovery blocks are needed, {there:,} are there"
        )

    def _run_program(self, room: Path) -> Told:
        index = f"{self._mark}.par2"
        for number, path in enumerate(self._set.volumes):
            show(path, room / (f"{self._mark}.vol{number:05}.par2" if number else index))
        for name, path in self._found.items():
            show(path, room / name)
        extras = [extra_name(self._mark, number) for number, _ in enumerate(self._extras)]
        for name, path in zip(extras, self._extras, strict=True):
            show(path, room / name)
        largest = max(file.size for file in self._set.files)
        return par2_program.repair(room, index, extras, largest, self._progress)

    def _adopt(self, room: Path, broken: Iterable[Described], told: Told) -> None:
        """Take what par2 made in *room*, once all of it is what the set says."""
        made = [(self._made(room, file), file) for file in broken]
        for path, file in made:
            self._take_place(path, file, made=True)
        for number, path in enumerate(self._extras):
            blocks = told.used.get(extra_name(self._mark, number), 0)
            # What was put together of pieces, or of a damaged file, stands in their place.
            mostly = 2 * blocks * self._set.slice_size >= (path.stat().st_size if blocks else 1)
            if blocks < 0 or mostly:
                path.unlink()

    def _made(self, room: Path, file: Described) -> Path:

        def tick() -> None:
            self._progress(1.0)

        path = room / file.name
        if not path.is_file():
            # A name that is not UTF-8 is on the disk as the poster's bytes.
            alike = (one for one in files_in(room) if one.stat().st_size == file.size)
            path = next((one for one in alike if md5_of(one, tick) == file.md5), path)
        there = path.is_file() and path.stat().st_size == file.size
        if not there or md5_of(path, tick) != file.md5:
            raise ImportFailed(f'par2 said it had repaired "{file.name}", and it is not as it was')
        return path

    def _take_place(self, path: Path, file: Described, *, made: bool) -> None:
        """Put *path* where *file* belongs, and take away what stood for it before."""
        target = self._folder / _visible(file.name)
        before = self._found.get(file.name)
        if path.is_symlink():
            path = path.resolve()
        if path != target:
            if target.exists() and target != before:
                self._move_aside(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            if before is not None and before != target:
                before.unlink(missing_ok=True)
        self._found[file.name] = target
        name = self._name(target)
        (self._done.made if made else self._done.whole).append(name)
        pieces = self._pieces.pop(self._name(before), None) if before is not None else None
        self._pieces.pop(name, None)
        if pieces is not None and not made:
            self._pieces[name] = pieces
        if before is not None and before != target:
            self._done.renamed[self._name(before)] = name

    def _move_aside(self, path: Path) -> None:
        """Give another file's name free: that one may be of the set, and waiting for its own."""
        others = (path.with_name(numbered(path.name, number)) for number in count(2))
        aside = next(other for other in others if not other.exists())
        path.rename(aside)
        self._found = {name: aside if one == path else one for name, one in self._found.items()}
        self._extras = [aside if one == path else one for one in self._extras]
        pieces = self._pieces.pop(self._name(path), None)
        if pieces is not None:
            self._pieces[self._name(aside)] = pieces

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()
