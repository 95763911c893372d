"""Releases as people name them: "name" or "category/name"."""

from __future__ import annotations

import difflib
from itertools import chain, islice

from gateway.errors import NotInLibrary
from gateway.library.catalogue import Library
from gateway.library.entries import Release

# Among so many releases a name is looked for that is like one that does not exist.
_COMPARED = 20_000
_OFFERED = 3


def named(library: Library, name: str) -> list[Release]:
    """Return the releases of this name: one of each category that has it.

    Raises NotInLibrary, with names that are like it, if there is none.
    """
    category, slash, rest = name.partition("/")  # no release has a slash in its name
    places = [(category, rest)] if slash else [(one, name) for one in library.categories()]
    candidates = (library.release(*place) for place in places)
    if found := [release for release in candidates if release is not None]:
        return found
    raise NotInLibrary(_unknown(library, name))


def _unknown(library: Library, name: str) -> str:
    releases = chain.from_iterable(map(library.releases, library.categories()))
    names = {one.name.casefold(): one.name for one in islice(releases, _COMPARED)}
    wanted = name.rpartition("/")[2].casefold()
    near = [key for key in names if wanted and wanted in key][:_OFFERED]
    near = near or difflib.get_close_matches(wanted, names, _OFFERED)
    offered = " or ".join(f"'{names[key]}'" for key in near)
    return f"no release is called '{name}'" + (f": perhaps {offered}" if offered else "")
