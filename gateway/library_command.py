"""`nzb-gateway library show` and `rm`: one release after another, over the gateway's API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from gateway.api_client import ApiClient, Refused
from gateway.standing import plays_in_words
from gateway.terminal import day, moment, shown, size
from gateway.vod.film import FIRST_ID
from gateway.words import counted

_LINKS = "completed-symlinks"


def show(client: ApiClient, names: Sequence[str], *, as_json: bool, out: TextIO) -> int:
    """Print all that is known of releases; all of those that have a name. Raises Refused."""
    found = [client.release(one["id"]) for name in names for one in client.named(name)]
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False), file=out)
        return 0
    for one in found:
        for line in _lines(one):
            print(shown(line), file=out)
    return 0


def remove(
    client: ApiClient, names: Sequence[str], *, yes: bool, answers: TextIO, out: TextIO
) -> int:
    """Say what goes with releases, ask if *yes* does not say so, and remove them.

    Nobody is asked where *answers* is no terminal. Raises Refused, before anything is removed
    where a name means none, or more than one.
    """
    ids = list(dict.fromkeys(the_one(client, name)["id"] for name in names))
    found = [client.release(release_id) for release_id in ids]
    for one in found:
        for line in _what_goes(one):
            print(shown(line), file=out)
    if not yes:
        if not answers.isatty():
            raise Refused(
                f"nothing was removed: there is nobody to ask. Add --yes to remove "
                f"{counted(len(found), 'release')}"
            )
        print(f"Remove {counted(len(found), 'release')} for good? [y/N] ", end="", file=out)
        out.flush()
        if answers.readline().strip().lower() not in {"y", "yes"}:
            print("nothing was removed", file=out)
            return 1
    for one in found:
        gone = client.remove_release(one["release"]["id"])
        words = f"{counted(gone['files'], 'file')}, {size(gone['size'])}"
        print(shown(f"removed {gone['category']}/{gone['name']}: {words}"), file=out, flush=True)
    return 0


def the_one(client: ApiClient, name: str) -> dict[str, Any]:
    """Return the release of this name. Raises Refused if there are several."""
    found = client.named(name)
    if len(found) > 1:
        places = " or ".join(f"'{one['category']}/{one['name']}'" for one in found)
        raise Refused(f"{len(found)} releases are called '{name}': write {places}")
    return found[0]


def _lines(found: dict[str, Any]) -> Iterator[str]:
    release = found["release"]
    yield f"{release['category']}/{release['name']}"
    yield f"  added      {moment(release['added'])}"
    contents = f"{counted(release['files'], 'file')}, {size(release['size'])}"
    yield f"  contents   {contents}, {_where(release)}"
    yield f"  health     {release['health'].upper()}"
    yield f"  links      {_links_in_words(release)}"
    for path in found["left"]:
        yield f"             {_LINKS}/{path}"
    yield f"  last read  {_read(release['last_read'])}"
    yield f"  password   {'known' if release['password'] else 'none'}"
    stored = f"{found['nzb_stored']:,} in the library"
    yield f"  NZB        {found['nzb_size']:,} bytes, {stored}"
    if found["jobs"]:
        yield f"  job        {', '.join(found['jobs'])}"
    for file in found["contents"]:
        yield f"  {file['path']}"
        yield f"    {file['size']:,} bytes, {file['health'].upper()}: {file['words']}"
        if plays := plays_in_words(file):
            yield f"    {plays}"
        if file["disk"] is not None:
            yield f"    on the disk: {file['disk']}"
        place = f".ids/{'/'.join(file['id'][:3])}/{file['id']}"
        yield f"    {place}, for players {FIRST_ID + file['number']}"
        yield f"    last read: {_read(file['last_read'])}"


def _where(release: dict[str, Any]) -> str:
    if not release["on_disk"]:
        return "on Usenet"
    if release["on_disk"] == release["files"]:
        return "on the disk"
    return f"{release['on_disk']:,} of them on the disk"


def _links_in_words(release: dict[str, Any]) -> str:
    match release["links"]:
        case "waiting":
            return f"{counted(release['links_left'], 'link')} to be imported"
        case "gone":
            at = release["links_gone_at"]
            when = "" if at is None else f", the last one {moment(at)}"
            return f"all taken away{when}: into a library or for good, which is not known here"
        case _:
            return "none were left, or none are known"


def _read(at: float | None) -> str:
    return "not since it was added" if at is None else f"{moment(at)} or within the hour after"


def _what_goes(found: dict[str, Any]) -> Iterator[str]:
    release = found["release"]
    yield f"{release['category']}/{release['name']}"
    yield (
        f"  added {day(release['added'])}, {counted(release['files'], 'file')}, "
        f"{size(release['size'])}, and the NZB"
    )
    for file in found["contents"]:
        disk = "" if file["disk"] is None else f", on the disk: {file['disk']}"
        yield f"  {file['path']}, {size(file['size'])}{disk}"
    for path in found["left"]:
        yield f"  link {_LINKS}/{path}"
    if release["links"] == "gone":
        yield "  links in a library, if there are any, will lead nowhere"
