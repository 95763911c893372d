"""`nzb-gateway check`: asks the running gateway for a check, and shows what it comes to.

Or what the checks of a release came to so far (`--history`), or what is due (`--status`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from gateway.api_client import ApiClient, Unreachable
from gateway.standing import standing_in_words
from gateway.terminal import counted, day, moment

_POLL_S = 0.5
HEALTHY, BROKEN, UNKNOWN = 0, 3, 4
"""Exit codes: every file is healthy; some are degraded or failed; else some are unknown."""

_ORDER = ("healthy", "degraded", "failed", "unknown")


def check(
    client: ApiClient,
    releases: Sequence[str],
    *,
    deep: bool = False,
    wait: bool,
    out: TextIO,
    err: TextIO,
    shown: Callable[[str], str],
) -> int:
    """Have *releases*, or the whole library, checked; return the exit code.

    *deep*: by fetching every article. *wait*: until the end, the progress on *err* if that is a
    terminal; otherwise nothing is known yet, and the code is 0. *shown* makes text of strangers
    fit for a terminal.
    """
    request = client.start_check(releases, deep=deep)
    if not request["files"]:
        print("nothing to check: the library holds no file", file=out)
        return HEALTHY
    if not wait:
        print(
            f"{counted(request['files'], 'file')} will be checked; "
            f"{client.place}/api/gateway/checks tells what is found",
            file=out,
        )
        return HEALTHY
    _wait(client, request["id"], err, shown)
    found: Counter[str] = Counter()
    for release in _results(client, releases):
        print(shown(f"{release['category']}/{release['name']}"), file=out)
        width = max((len(file["path"]) for file in release["files"]), default=0)
        for file in release["files"]:
            found[file["health"]] += 1
            name = shown(file["path"].ljust(min(width, 60)))
            print(f"  {file['health'].upper():<8}  {name}  {shown(_words(file))}", file=out)
            if file["health"] == "degraded" and (plays := _plays(file)):
                print(f"            {shown(plays)}", file=out)
        if release["standing"] is not None:
            print(f"  {shown(standing_in_words(release['standing']))}", file=out)
    by_health = ", ".join(f"{found[health]:,} {health}" for health in _ORDER if found[health])
    print(f"{counted(found.total(), 'file')}: {by_health}", file=out)
    brake = client.checks(limit=0)["schedule"]["brake"]
    if brake is not None:
        print(f"no file is checked by itself at present: {brake['reason']}", file=err)
    if found["degraded"] or found["failed"]:
        return BROKEN
    return UNKNOWN if found["unknown"] else HEALTHY


def history(
    client: ApiClient, releases: Sequence[str], *, out: TextIO, shown: Callable[[str], str]
) -> int:
    """Show what the checks of *releases* came to, the latest first; return the exit code."""
    for release in releases:
        for file in client.check_history(release):
            name = f"{file['category']}/{file['release']}/{file['path']}"
            print(shown(name) + ("" if file["checks"] else ": no check on record"), file=out)
            for one in file["checks"]:
                lacking = f"{one['missing']:,} of {one['articles']:,} articles missing"
                if one["unknown"]:
                    lacking += f", {one['unknown']:,} unknown"
                how = "deep, " if one["deep"] else ""
                why = f": {shown(one['reason'])}" if one["reason"] else ""
                print(
                    f"  {moment(one['at'])}  {one['health'].upper():<8}  {lacking}"
                    f" ({how}{one['took_s']:.1f} s){why}",
                    file=out,
                )
    return HEALTHY


def status(client: ApiClient, *, out: TextIO) -> int:
    """Show what is due, and whether files are checked by themselves; return the exit code."""
    schedule = client.checks(limit=0)["schedule"]
    found = schedule["files"]
    by_health = ", ".join(f"{found[health]:,} {health}" for health in _ORDER if found[health])
    print(f"{counted(sum(found.values()), 'file')}{': ' if by_health else ''}{by_health}", file=out)
    brake = schedule["brake"]
    if not schedule["on"]:
        print("no file is checked by itself (GATEWAY_HEALTH_CHECKS, or no provider)", file=out)
    elif schedule["next_due"] is not None:
        print(f"{schedule['overdue']:,} overdue, next due {moment(schedule['next_due'])}", file=out)
    if brake is not None:
        print(f"stopped until {moment(brake['until'])}: {brake['reason']}", file=out)
    return HEALTHY


def _wait(client: ApiClient, request_id: str, err: TextIO, shown: Callable[[str], str]) -> None:
    """Wait until the request is finished. Raises Unreachable when the gateway forgot it."""
    is_terminal = err.isatty()
    try:
        while True:
            status = client.checks(limit=0)
            ours = [one for one in status["requests"] if one["id"] == request_id]
            if not ours:
                raise Unreachable(
                    "the gateway was started anew in the middle of the check: run the command again"
                )
            if ours[0]["finished"]:
                return
            if is_terminal:
                err.write(f"\r\x1b[K{shown(_progress(ours[0], status['running']))[:78]}")
                err.flush()
            time.sleep(_POLL_S)
    finally:
        if is_terminal:
            err.write("\r\x1b[K")
            err.flush()


def _progress(request: dict[str, Any], running: dict[str, Any] | None) -> str:
    line = f"{request['done']:,} of {counted(request['files'], 'file')} checked"
    if running is not None and running["asked"]:
        line += f"; {running['done']:,} of {running['articles']:,} articles of {running['path']}"
    return line


def _results(client: ApiClient, releases: Sequence[str]) -> Iterator[dict[str, Any]]:
    if not releases:
        after: int | None = 0
        while after is not None:
            page = client.checks(after=after)
            yield from page["results"]
            after = page["next"]
        return
    seen = set()
    for name in releases:
        for release in client.checks(release=name)["results"]:
            key = (release["category"], release["name"])
            if key not in seen:
                seen.add(key)
                yield release


def _words(file: dict[str, Any]) -> str:
    words = str(file["words"])
    if file["health"] == "unknown" and file["decided_at"] is not None:
        words += f" (before: {file['verdict'].upper()}, {day(file['decided_at'])})"
    if file["health"] == "failed" and file["confirmed_at"] is not None:
        words += f", confirmed {moment(file['confirmed_at'])}"
    return words


def _plays(file: dict[str, Any]) -> str:
    """Say whether a file with holes plays, and why; nothing where nobody has looked."""
    match file["playable"]:
        case "gaps":
            return f"plays with gaps, where ON_MISSING is pad: {file['why']}"
        case "no":
            return f"does not play: {file['why']}"
        case _:
            return ""
