"""`nzb-gateway library list`: releases as a table or as JSON, while they come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from gateway.api_client import ApiClient
from gateway.link_scan import Reached, check_roots, scan
from gateway.terminal import day, shown, size
from gateway.words import counted

ALL, NOT_ALL = 0, 4
"""Exit codes: it is so; not all folders could be looked into, so that some may be linked there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What `list` is asked for; see `gateway.library_arguments`."""

    pattern: str | None = None
    category: str | None = None
    health: str | None = None
    unlinked: bool = False
    unread_for: float | None = None
    sort: str = "name"
    roots: tuple[Path, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether it is asked for the whole library."""
        return not (self.pattern or self.category or self.health or self.unlinked) and (
            self.unread_for is None
        )


def show_list(
    client: ApiClient,
    asked: Asked,
    *,
    mount_dir: PurePosixPath,
    complete: Path,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Print the releases that are *asked* for; return the exit code.

    Links lead below *mount_dir*, or to *complete*, where downloads lie. Raises RootMissing,
    Refused, Unreachable.
    """
    if asked.roots:
        check_roots(asked.roots)
        # What is added or imported from now on may be linked where it was looked already.
        began = client.library(limit=1)["now"]
        reached = Reached(mount_dir, complete)
        seen = scan(asked.roots, reached)
        for warning in seen.warnings:
            print(f"nzb-gateway: {shown(warning)}", file=err)
        left_out = _LeftOut()
        found = _unreached(_pages(client, asked, keys=True), reached, began, left_out)
    else:
        reached, seen, left_out = None, None, None
        found = _pages(client, asked, keys=False)
    releases = _begun(_sorted(found, asked.sort))
    number = total = 0
    if as_json:
        number = _print_json(releases, out)
    else:
        print(_ROW.format(*_HEADS), file=out)
        for release in releases:
            number += 1
            total += release["size"]
            print(shown(_row(release)), file=out)
        print(f"{counted(number, 'release')}, {size(total)}", file=out)
    if reached is None or seen is None or left_out is None:
        return ALL
    for line in left_out.lines():
        if as_json:
            print(f"nzb-gateway: {line}", file=err)
        else:
            print(line, file=out)
    if not as_json:
        links = f"{counted(seen.links, 'link')} into the library"
        nowhere = f", {reached.leads_nowhere():,} of them to nothing" if asked.is_all else ""
        where = counted(len(asked.roots), "folder")
        print(f"{links} found in {where}{nowhere}", file=out)
    return NOT_ALL if seen.warnings else ALL


def _pages(client: ApiClient, asked: Asked, *, keys: bool) -> Iterator[dict[str, Any]]:
    query: dict[str, str | int] = {
        "sort": "added" if asked.sort == "added" else "name",
    }
    for name in ("pattern", "category", "health"):
        if (value := getattr(asked, name)) is not None:
            query[name] = value
    if asked.unlinked:
        query["unlinked"] = "true"
    if asked.unread_for is not None:
        query["unread_since"] = repr(time.time() - asked.unread_for)
    if keys:
        query["keys"] = "true"
    return client.releases(**query)


@dataclass(slots=True)
class _LeftOut:
    """How many releases no link was found to, of which that says nothing."""

    waiting: int = 0
    new: int = 0

    def lines(self) -> Iterator[str]:
        if self.waiting:
            whose = f"{counted(self.waiting, 'release')} whose links still wait to be imported"
            yield f"not listed: {whose} (in completed-symlinks)"
        if self.new:
            yield f"not listed: {counted(self.new, 'release')} added or imported during the look"


def _unreached(
    releases: Iterable[dict[str, Any]], reached: Reached, began: float, left_out: _LeftOut
) -> Iterator[dict[str, Any]]:
    for release in releases:
        if reached.leads_to(release):
            continue
        if release["links"] == "waiting":
            left_out.waiting += 1
        elif max(release["added"], release["links_gone_at"] or 0.0) >= began:
            left_out.new += 1
        else:
            yield {**release, "keys": None}


def _begun(releases: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Return *releases*, the first of which has come: where none can, nothing is printed yet."""
    following = iter(releases)
    first = list(islice(following, 1))
    return chain(first, following)


def _sorted(releases: Iterable[dict[str, Any]], by: str) -> Iterable[dict[str, Any]]:
    # By name and by date they come in their order; the others want all of it first.
    if by == "size":
        return sorted(releases, key=lambda one: -int(one["size"]))
    if by == "read":
        return sorted(releases, key=lambda one: (one["last_read"] or 0.0, one["added"]))
    return releases


_ROW = "{:<10}  {:>5}  {:>7}  {:<8}  {:<7}  {:<10}  {}"
_HEADS = ("ADDED", "FILES", "SIZE", "HEALTH", "LINKS", "LAST READ", "RELEASE")


def _row(release: dict[str, Any]) -> str:
    return _ROW.format(
        day(release["added"]),
        f"{release['files']:,}",
        size(release["size"]),
        release["health"].upper(),
        release["links"],
        day(release["last_read"]),
        f"{release['category']}/{release['name']}{' (on the disk)' if release['on_disk'] else ''}",
    )


def _print_json(releases: Iterable[dict[str, Any]], out: TextIO) -> int:
    """Print an array, a release on each line, as they come."""
    number = 0
    out.write("[")
    for number, release in enumerate(releases, 1):
        out.write(",\n" if number > 1 else "\n")
        out.write(json.dumps(release, ensure_ascii=False))
    out.write("\n]\n")
    return number
