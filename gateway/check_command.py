"""`nzb-gateway check`: asks the running gateway for a check, and shows what it comes to.

Or what the checks of a release came to so far (`--history`), or what is due (`--status`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from gateway.api_client import ApiClient, Unreachable
from gateway.standing import plays_in_words, standing_in_words
from gateway.terminal import day, moment
from gateway.words import counted

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
        found.update(file["health"] for file in release["files"])
        for line in _lines(release):
            print(shown(line), file=out)
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
                lacking = f"{one['missing']:,} of {counted(one['articles'], 'article')} missing"
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


def status(
    client: ApiClient, releases: Sequence[str], *, out: TextIO, shown: Callable[[str], str]
) -> int:
    """Show what is due, and whether files are checked by themselves; return the exit code.

    Of *releases* what is known already, and when their files are due.
    """
    for release in _results(client, releases) if releases else ():
        for line in _lines(release, with_times=True):
            print(shown(line), file=out)
    schedule = client.checks(limit=0)["schedule"]
    if releases:
        _show_stopped(schedule, out)
        return HEALTHY
    found = schedule["files"]
    by_health = ", ".join(f"{found[health]:,} {health}" for health in _ORDER if found[health])
    print(f"{counted(sum(found.values()), 'file')}{': ' if by_health else ''}{by_health}", file=out)
    if schedule["on"] and schedule["next_due"] is not None:
        print(f"{schedule['overdue']:,} overdue, next due {moment(schedule['next_due'])}", file=out)
    _show_stopped(schedule, out)
    return HEALTHY


def _show_stopped(schedule: dict[str, Any], out: TextIO) -> None:
    if not schedule["on"]:
        print("no file is checked by itself (GATEWAY_HEALTH_CHECKS, or no provider)", file=out)
    if (brake := schedule["brake"]) is not None:
        print(f"stopped until {moment(brake['until'])}: {brake['reason']}", file=out)


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
        articles = counted(running["articles"], "article")
        line += f"; {running['done']:,} of {articles} of {running['path']}"
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


def _lines(release: dict[str, Any], *, with_times: bool = False) -> Iterator[str]:
    """Give what is known of a release, file by file; *with_times* of their checks."""
    yield f"{release['category']}/{release['name']}"
    width = min(60, max((len(file["path"]) for file in release["files"]), default=0))
    for file in release["files"]:
        yield f"  {file['health'].upper():<8}  {file['path'].ljust(width)}  {_words(file)}"
        more = [plays_in_words(file)]
        if with_times:
            more.append(_times(file))
        yield from (f"            {words}" for words in more if words)
    if release["standing"] is not None:
        yield f"  {standing_in_words(release['standing'])}"


def _times(file: dict[str, Any]) -> str:
    due = "before all others" if file["due_at"] is None else moment(file["due_at"])
    checked = "" if file["checked_at"] is None else f"checked {moment(file['checked_at'])}, "
    return f"{checked}due {due}"


def _words(file: dict[str, Any]) -> str:
    words = str(file["words"])
    if file["health"] == "unknown" and file["decided_at"] is not None:
        words += f" (before: {file['verdict'].upper()}, {day(file['decided_at'])})"
    if file["health"] == "failed" and file["confirmed_at"] is not None:
        words += f", confirmed {moment(file['confirmed_at'])}"
    return words
