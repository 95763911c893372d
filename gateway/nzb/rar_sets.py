"""Which RAR volumes belong together, and in which order: by their headers, then by their names.

A post may hold several sets, in any order, under names that say nothing. What is certain comes
first: the number in the header, and that a file which is cut at the end of one volume goes on at
the beginning of the next. In RAR 4 the number stands behind the data, in another article; names
that agree with everything else spare the look at it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from gateway.nzb.rar_headers import Headers

_NEW = re.compile(r"(.*?)[. _-]?part(\d{1,6})\.(?:rar|exe|sfx)", re.IGNORECASE | re.DOTALL)
_OLD = re.compile(r"(.*)\.(?:(?:rar|exe|sfx)|([r-z])(\d\d))", re.IGNORECASE | re.DOTALL)
_BARE = re.compile(r"(.*)\.(\d{3,4})", re.DOTALL)
_DIGITS = re.compile(r"(\d+)")
_MOST_NAMED = 3  # of the missing volumes, in an error

ToTheEnd = Callable[[list[Headers]], list[Headers]]
_Cut = tuple[str, int | None] | None  # the file that is cut between two volumes


@dataclass(slots=True, eq=False)
class RarSet:
    """The volumes of one archive in order, each with its number from 0. Some may be missing."""

    volumes: list[Headers] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call it in an error: the part of the first volume's name that all share."""
        return _named(self.volumes[0].name)[0] or self.volumes[0].name

    @property
    def stem(self) -> str:
        """What the name of the last volume has in common with those of its set."""
        return _named(self.volumes[-1].name)[0]

    @property
    def is_open(self) -> bool:
        """Whether another volume may follow the last one."""
        return self.volumes[-1].more is not False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing: at the beginning, in between, at the end."""
        first, last = self.volumes[0], self.volumes[-1]
        return (
            self.numbers == [*range(len(self.numbers))]
            and not (first.pieces and first.pieces[0].continued)
            and not last.more
        )

    def missing(self) -> str:
        """Say in words which volumes are missing, "" if none is."""
        if self.is_whole:
            return ""
        absent: list[int] = []
        for before, number in pairwise([-1, *self.numbers]):
            absent += range(before + 1, min(number, before + 2 + _MOST_NAMED))
        if self.volumes[-1].more:
            absent.append(self.numbers[-1] + 1)
        some = [str(number + 1) for number in absent[:_MOST_NAMED]]
        more = " and more" if len(absent) > _MOST_NAMED else ""
        which, verb = f"volumes {', '.join(some)}{more}", "are"
        if len(some) < 2:
            which, verb = f"volume {some[0]}" if some else "the first volume", "is"
        there = len(self.volumes)
        return f'{which} of the RAR archive "{self.name}" {verb} missing: only {there} are there'

    def add(self, volume: Headers, number: int) -> None:
        self.volumes.append(volume)
        self.numbers.append(number)


def arrange(volumes: Sequence[Headers], to_the_end: ToTheEnd) -> list[RarSet]:
    """Return the sets that *volumes* make, in the order of their first volumes.

    *to_the_end* is called, at most once, with those whose number only the end block can tell; it
    returns them with what stands there.
    """
    sets = [RarSet([one], [0]) for one in volumes if not _is_part(one)]
    parts = _unique([one for one in volumes if _is_part(one)])
    clusters = _clusters(parts)
    whole = [one for one in clusters if one.is_whole]
    sets += whole
    taken = {one.index for each in whole for one in each.volumes}
    rest = [one for one in parts if one.index not in taken]
    if len(clusters) == len(whole) + 1 and len(clusters[-1].volumes) == len(rest) > 1:
        sets.append(clusters[-1])  # volumes are missing: the names tell which
    elif rest:
        sets += _by_number(rest, to_the_end)
    return _without_copies(sorted(sets, key=lambda one: min(v.index for v in one.volumes)))


def stems(names: Sequence[str]) -> list[list[int]]:
    """Return the places of *names* by what names of one set have in common."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(_named(name)[0].casefold(), []).append(place)
    return list(found.values())


def _is_part(volume: Headers) -> bool:
    cut = any(piece.continued or piece.goes_on for piece in volume.pieces)
    return volume.is_volume or cut


def _unique(volumes: Iterable[Headers]) -> list[Headers]:
    """Leave out a volume that is there twice under one name, as after a repost."""
    once: dict[object, Headers] = {}
    for volume in volumes:
        number = _named(volume.name)[1]
        # A name that does not fit what the volume is tells nothing: all may be called the same.
        tells = bool(number) or (number == 0 and _begins(volume) is None)
        once.setdefault(
            (volume.name.lower(), *_essence(0, volume)) if tells else volume.index, volume
        )
    return [*once.values()]


@lru_cache(maxsize=1 << 14)
def _named(name: str) -> tuple[str, int | None]:
    """Return what the names of a set have in common, and which number this one has from 0."""
    if match := _NEW.fullmatch(name):
        return match[1], int(match[2]) - 1
    if match := _OLD.fullmatch(name):
        letter, digits = match[2], match[3]
        return match[1], 0 if letter is None else _old_number(letter, digits)
    if match := _BARE.fullmatch(name):
        return match[1], int(match[2]) - 1
    return name, None


def _old_number(letter: str, digits: str) -> int:
    """Return the number of ".r00" (1), ".r99" (100), ".s00" (101) and so on."""
    return 1 + 100 * (ord(letter.lower()) - ord("r")) + int(digits)


def _begins(volume: Headers) -> _Cut:
    """Return the file that goes on at the beginning of *volume*."""
    first = volume.pieces[0] if volume.pieces else None
    return (first.name, first.size) if first and first.continued else None


def _ends(volume: Headers) -> _Cut:
    """Return the file that goes on after the end of *volume*."""
    last = volume.pieces[-1] if volume.pieces else None
    return (last.name, last.size) if last and last.goes_on else None


def _follows(before: Headers, after: Headers) -> bool:
    return (
        before.version == after.version
        and before.more is not False
        and not after.is_first
        and _ends(before) == _begins(after)
    )


# By names ------------------------------------------------------------------------------------


def _clusters(volumes: Iterable[Headers]) -> list[RarSet]:
    """Return the sets that the names tell and the headers do not contradict, the whole ones first.

    Of a name that fits no other volume nothing is made.
    """
    named: dict[tuple[int, str], list[tuple[int, Headers]]] = defaultdict(list)
    for volume in volumes:
        stem, number = _named(volume.name)
        if number is not None:
            named[volume.version, stem.lower()].append((number, volume))
    clusters = []
    for members in named.values():
        members.sort(key=lambda member: member[0])
        cluster = RarSet([volume for _, volume in members], [number for number, _ in members])
        if _agrees(cluster):
            clusters.append(cluster)
    return sorted(clusters, key=lambda one: not one.is_whole)


def _agrees(cluster: RarSet) -> bool:
    """Say whether the headers have nothing against the numbers that the names tell."""
    numbered = [*zip(cluster.numbers, cluster.volumes, strict=True)]
    return all(
        number >= 0 and volume.number in (None, number) for number, volume in numbered
    ) and all(
        m < n and (n > m + 1 or _follows(before, after))
        for (m, before), (n, after) in pairwise(numbered)
    )


# By headers ----------------------------------------------------------------------------------


def _by_number(volumes: Sequence[Headers], to_the_end: ToTheEnd) -> list[RarSet]:
    numbered = [one for one in volumes if one.number is not None]
    unnumbered = [one for one in volumes if one.number is None]
    looked = to_the_end(unnumbered) if unnumbered else []
    numbered += [one for one in looked if one.number is not None]
    numberless = [one for one in looked if one.number is None]
    names = Counter(_named(one.name) for one in numberless)
    stems = Counter(_named(one.name)[0] for one in numberless)
    chained: list[Headers] = []
    for one in numberless:
        stem, number = _named(one.name)
        if number is not None and number >= 0 and names[stem, number] == 1 < stems[stem]:
            numbered.append(replace(one, number=number))
        else:
            chained.append(one)
    return [*_numbered(numbered), *_chained(chained)]


def _numbered(volumes: Iterable[Headers]) -> list[RarSet]:
    """Put volumes together that know their number: each behind the one that it goes on from.

    Several sets may want the same volume; then names decide, and at last the order of posting.
    """
    sets: list[RarSet] = []
    open_at: dict[tuple[int, int, _Cut], list[RarSet]] = defaultdict(list)
    open_by_name: dict[tuple[int, str], RarSet] = {}
    open_by_cut: dict[tuple[int, _Cut], RarSet] = {}
    for volume in sorted(volumes, key=lambda one: (one.number or 0, one.index)):
        number, version = volume.number or 0, volume.version
        stem, cut = _named(volume.name)[0], _begins(volume)
        fitting = open_at[number - 1, version, cut] if number else []
        chosen = next((one for one in fitting if one.stem == stem), None)
        if chosen is None and fitting:
            chosen = fitting[0]
        if chosen is not None:
            fitting.remove(chosen)
        elif number:
            # Behind a gap, so that the error can say which volume is missing.
            chosen = open_by_name.get((version, stem)) or open_by_cut.get((version, cut))
            if chosen is not None and (chosen.numbers[-1] >= number - 1 or not chosen.is_open):
                chosen = None
        if chosen is None:
            chosen = RarSet()
            sets.append(chosen)
        chosen.add(volume, number)
        if chosen.is_open:
            ends = _ends(volume)
            open_at[number, version, ends].append(chosen)
            open_by_name[version, stem] = chosen
            open_by_cut[version, ends] = chosen
    return sets


def _chained(volumes: Iterable[Headers]) -> list[RarSet]:
    """Put volumes together that have no number at all (RAR 2), by the files that are cut.

    Of those in the middle of one file nothing but the name tells the order.
    """
    ordered = sorted(volumes, key=lambda one: (_natural(one.name), one.index))
    firsts = [one for one in ordered if _begins(one) is None]
    going_on: dict[tuple[int, _Cut], deque[Headers]] = defaultdict(deque)
    for rank in range(3):  # within the file, then where it ends and another is cut, then its end
        for one in ordered:
            cut = _begins(one)
            if cut is not None and rank == (2 if _ends(one) is None else _ends(one) != cut):
                going_on[one.version, cut].append(one)
    sets = []
    for first in firsts:
        chain = RarSet([first], [0])
        sets.append(chain)
        while following := going_on[first.version, _ends(chain.volumes[-1])]:
            chain.add(following.popleft(), len(chain.numbers))
    sets += [RarSet([one], [1]) for queue in going_on.values() for one in queue]
    return sets


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts "a9" before "a10"."""
    pieces = _DIGITS.split(name[:1000].lower())
    return [(int(piece), "") if odd % 2 else (0, piece) for odd, piece in enumerate(pieces)]


def _without_copies(sets: Sequence[RarSet]) -> list[RarSet]:
    """Drop sets that are not whole, and of which a whole one has every volume: posted twice."""
    known = {
        _essence(number, volume)
        for one in sets
        if one.is_whole
        for number, volume in zip(one.numbers, one.volumes, strict=True)
    }
    return [
        one
        for one in sets
        if one.is_whole or not known.issuperset(map(_essence, one.numbers, one.volumes))
    ]


def _essence(number: int, volume: Headers) -> tuple[object, ...]:
    return number, volume.version, volume.size, volume.pieces
