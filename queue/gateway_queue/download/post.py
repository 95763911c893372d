"""A post that is being downloaded: which of its files are data, which par2, and their names."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.errors import ImportFailed, InvalidNzb
from gateway.nzb import par2
from gateway.nzb.document import NzbFile
from gateway.nzb.names import is_obfuscated, safe_name, subject_name, subject_place
from gateway_queue.contents import Kind, kind_of
from gateway_queue.download.disk import PartialFiles
from gateway_queue.download.journal import Journal, Posted
from gateway_queue.download.scrutiny import doubted
from gateway_queue.download.under_way import Wanted
from gateway_queue.just_read import just_read
from gateway_queue.unpacking.distinct import Names

_VOLUME = re.compile(r"\.vol\d+[+-]\d+\.par2$", re.IGNORECASE)
_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Par2File:
    """A par2 file of the post: by the stem of its *name* it belongs to others. *size*: encoded.

    *set_id* is empty until something of it is on the disk.
    """

    number: int
    name: str
    size: int
    set_id: bytes

    @property
    def stem(self) -> str:
        """Return the name that it shares with the others of its set."""
        return _VOLUME.sub("", self.name).removesuffix(".par2").casefold()

    @property
    def is_volume(self) -> bool:
        """Whether its name says that it holds recovery blocks."""
        return _VOLUME.search(self.name) is not None


class PostFiles:
    """The files that an NZB lists, with what the journal knows of them by now."""

    def __init__(self, nzb: bytes, filename: str, journal: Journal, files: PartialFiles) -> None:
        """Raises InvalidNzb, ImportFailed."""
        parsed = just_read.take(nzb, filename=filename)
        if parsed.is_cut:
            # It may lack whole files, and the rest would pass for all that was posted.
            raise InvalidNzb(
                f"the NZB is cut off within or after its file {len(parsed.files)}: get it again"
            )
        self.listed: Sequence[NzbFile] = parsed.files
        self.passwords: Sequence[str] = parsed.passwords
        self._journal = journal
        self._files = files

    def names(self, number: int) -> list[str]:
        """Return what a file is called, the likeliest name first: it tells what kind it is."""
        subject = subject_name(self.listed[number].subject)
        names = [name for name in (self._known(number).name, subject) if name]
        return sorted(names, key=lambda name: (kind_of([name]) is Kind.PLAIN, is_obfuscated(name)))

    def openings(self) -> list[Wanted]:
        """Return the parts that tell what the files are: the first of each.

        But for volumes of recovery blocks, as far as subjects tell these: they may never be wanted.
        """
        return [
            Wanted(number, 0)
            for number, file in enumerate(self.listed)
            if file.segments and not _VOLUME.search(subject_name(file.subject))
        ]

    def ahead(self) -> Callable[[], Wanted | None]:
        """Return what gives, one by one, the parts of the data files, for whoever fetches ahead.

        In the order in which they are wanted. None: no more, or whether the next file is one of
        data will be told by its first part.
        """
        left = deque(
            number
            for number, file in enumerate(self.listed)
            if file.segments and kind_of([subject_name(file.subject)]) is not Kind.PAR2
        )
        is_alone = len(left) == 1
        parts: Iterator[Wanted] = iter(())

        def ahead() -> Wanted | None:
            nonlocal parts
            while (one := next(parts, None)) is None and left:
                name, head = subject_name(self.listed[left[0]].subject), self._head(left[0])
                is_told = is_alone or (name and not is_obfuscated(name))
                if not head and not is_told:
                    return None
                number = left.popleft()
                if kind_of(self.names(number), head) is not Kind.PAR2:
                    parts = self.parts(number)
            return one

        return ahead

    def parts(self, number: int) -> Iterator[Wanted]:
        """Give all parts of a file that the NZB lists."""
        return (Wanted(number, at) for at in range(len(self.listed[number].segments)))

    def split(self) -> tuple[list[int], list[Par2File]]:
        """Return the numbers of the data files, and the par2 files. Raises ImportFailed.

        As it was found at first: what tells it moves on.
        """
        told = self._journal.reached.get("split")
        if told is None:
            told = [
                [number, (self.names(number) or [""])[0], par2.set_id(head).hex() if head else ""]
                for number in range(len(self.listed))
                if kind_of(self.names(number), head := self._head(number)) is Kind.PAR2
            ]
            if len(told) == len(self.listed):
                raise ImportFailed("the post holds nothing but par2 files")
            self._journal.reach("split", told)
        par2s = [
            Par2File(
                number,
                name or f"{number:05d}.par2",
                self.listed[number].size,
                bytes.fromhex(set_id),
            )
            for number, name, set_id in told
        ]
        numbers = {one.number for one in par2s}
        return [number for number in range(len(self.listed)) if number not in numbers], par2s

    def lacking(self, number: int) -> int:
        """Return how many parts of a file are not on the disk."""
        return self.listed[number].parts - len(self._known(number).spans)

    def is_whole(self, number: int) -> bool:
        """Say whether the parts on the disk are all bytes of the file."""
        known, reached = self._known(number), 0
        for part in sorted(known.spans):
            span = known.spans[part]
            if span.begin != reached:
                return False
            reached = span.end
        return known.size is not None and reached == known.size

    def doubted(self, number: int) -> set[int]:
        """Return the parts of a file that are on the disk, and in doubt unless par2 proves them."""
        return doubted(self._journal.files, number)

    def safe_names(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return a name for each of these files: safe, and no two alike in any case of letters.

        A file keeps its name for good.
        """
        kept: dict[str, str] = self._journal.reached.get("names", {})
        new = [number for number in numbers if str(number) not in kept]
        if new:
            kept = dict(kept)
            given = Names()
            for name in kept.values():
                given.free(name)
            for number in new:
                names = self.names(number)
                # What begins with a dot is hidden, and passed over by who looks for files.
                name = safe_name((names[0] if names else f"{number:05d}").lstrip("."))
                kept[str(number)] = given.free(name)
            self._journal.reach("names", kept)
        return {number: kept[str(number)] for number in numbers}

    def places(self) -> dict[str, int]:
        """Return which one of the post each file is, by the name that it was given, if known."""
        named: dict[str, str] = self._journal.reached.get("names", {})
        told = {name: subject_place(self.listed[int(key)].subject) for key, name in named.items()}
        return {name: place for name, place in told.items() if place is not None}

    def weight(self, numbers: Sequence[int]) -> tuple[int, int, int]:
        """Return bytes of these files, as the NZB counts them: known, in all, and missing."""
        done = total = missing = 0
        for number in numbers:
            known = self._known(number)
            for segment in self.listed[number].segments:
                weight = segment.bytes or 1 << 20
                total += weight
                if segment.number - 1 in known.absent:
                    missing += weight
                    done += weight
                elif segment.number - 1 in known.spans:
                    done += weight
        return done, total, missing

    def _known(self, number: int) -> Posted:
        return self._journal.files.get(number) or Posted()

    def _head(self, number: int) -> bytes:
        span = self._known(number).spans.get(0)
        return b"" if span is None else self._files.head(number, min(_HEAD, span.length))


def smallest_of_sets(par2s: Sequence[Par2File]) -> list[int]:
    """Return of each set the smallest file, which has little else in it than what it tells."""
    smallest: dict[bytes | str, Par2File] = {}
    for one in sorted(par2s, key=lambda one: (one.is_volume, one.size)):
        smallest.setdefault(one.stem if one.is_volume or not one.set_id else one.set_id, one)
    # Where a set has a file that tells its id and volumes of the same stem, the former suffices.
    stems = {one.stem for key, one in smallest.items() if isinstance(key, bytes)}
    return [
        one.number for key, one in smallest.items() if isinstance(key, bytes) or key not in stems
    ]
