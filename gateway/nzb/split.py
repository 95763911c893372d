"""Files that were cut in pieces: `film.mkv.001`, `film.mkv.002`, ... or merely `.001`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from gateway.errors import ImportFailed, IncompletePost
from gateway.nzb.archive import Inner, Stretch, Volume
from gateway.nzb.extents import Run

_NUMBERED = re.compile(r"^(.*?)\.?(\d{3,5})$", re.DOTALL)
_SHOWN = 5


def sets(names: Sequence[str]) -> list[list[int]]:
    """Return the places of *names* by what they are pieces of, which stands before the number.

    In the order in which each is met first; one without a number is by itself. Works for the
    pieces of archives too (`film.7z.001`).
    """
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        match = _NUMBERED.match(name)
        # What no file is called keeps "film" apart from "film.001".
        found.setdefault(match[1].casefold() if match else f"{name}/", []).append(place)
    return list(found.values())


def ordered(names: Sequence[str]) -> list[int]:
    """Return the places of *names* in order of the numbers that they end in.

    Raises IncompletePost, which names the missing, when a number is left out, and ImportFailed
    for a name without one or a number that two have. What is missing at the end cannot be seen.
    """
    places: dict[int, int] = {}
    stems = []
    for place, name in enumerate(names):
        match = _NUMBERED.match(name)
        if match is None:
            raise ImportFailed(f'"{name}" has no number of a piece at its end')
        number = int(match[2])
        if number in places:
            raise ImportFailed(f'"{name}" and "{names[places[number]]}" are the same piece')
        places[number] = place
        stems.append((match[1], len(match[2])))
    if not places:
        return []
    first = 0 if 0 in places else 1
    wanted = max(places) + 1 - first
    if len(places) != wanted:
        gaps = (number for number in range(first, max(places)) if number not in places)
        lacking = islice(gaps, _SHOWN)
        stem, width = stems[0]
        shown = ", ".join(f'"{stem}.{number:0{width}}"' for number in lacking)
        more = ", ..." if wanted - len(places) > _SHOWN else ""
        raise IncompletePost(
            f"{wanted - len(places):,} of {wanted:,} pieces are not in the post: {shown}{more}"
        )
    return [places[number] for number in sorted(places)]


def read(volumes: Sequence[Volume], password: str | None = None) -> list[Inner]:  # noqa: ARG001
    """Return the one file that *volumes*, in any order, are the pieces of. Reads nothing.

    A run's `posted` is the place of the piece in *volumes*. Raises as `ordered` does.
    """
    order = ordered([volume.name for volume in volumes])
    if not order:
        return []
    name = _NUMBERED.sub(r"\1", volumes[order[0]].name)
    runs = tuple(Run(place, 0, volumes[place].size) for place in order)
    size = sum(run.length for run in runs)
    return [Inner(name, size, (Stretch(runs, size),))]
