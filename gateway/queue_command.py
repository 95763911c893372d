"""`nzb-gateway queue`: what waits, how far it is, how it ended; and what people do with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from gateway.api_client import ApiClient, Refused
from gateway.terminal import UNKNOWN, shown, size, span, table
from gateway.words import counted

_COLUMNS = ("JOB", "STATE", "CATEGORY", "PRIORITY", "%", "DONE", "OF", "SPEED", "LEFT", "NAME")
_PAGE = 1000
PRIORITIES = {"low": -1, "normal": 0, "high": 1, "force": 2}


def show(client: ApiClient, history: int, *, as_json: bool, out: TextIO) -> int:
    """Print the queue, and of the history the last *history* jobs."""
    queue = _whole_queue(client)
    ended = client.history(limit=history)
    if as_json:
        print(
            json.dumps({"queue": queue, "history": ended}, indent=2, ensure_ascii=False), file=out
        )
        return 0
    print(f"Queue: {queue['total']:,} ({_in_words(queue)})", file=out)
    if queue["jobs"]:
        rows = [_queued(job, queue) for job in queue["jobs"]]
        for line in table(_COLUMNS, rows):
            print(f"  {line}", file=out)
    print(f"History: {ended['total']:,}", file=out)
    for job in ended["jobs"]:
        remark = f"  ({shown(job['failure'])})" if job["failure"] else ""
        print(
            f"  {job['nzo_id']}  {job['state']:<9}  {job['category']:<13}  {size(job['size']):>7}  "
            f"{shown(job['name'])}{remark}",
            file=out,
        )
    return 0


def act(client: ApiClient, action: str, names: Sequence[str], out: TextIO) -> int:
    """Pause, resume or remove ("rm") jobs, or pause and resume the whole queue if none is named.

    Raises Refused, before anything is done where a name means no job, or more than one.
    """
    verb = {"pause": "paused", "resume": "resumed", "rm": "removed"}[action]
    if not names:
        client.act(action)
        print(f"the queue was {verb}", file=out)
        return 0
    jobs = _named(client, names)
    done = client.act("delete" if action == "rm" else action, [job["nzo_id"] for job in jobs])
    code = 0
    for job in jobs:
        if job["nzo_id"] in done:
            print(shown(f"{verb} {job['name']}"), file=out)
        else:
            code = 1
            print(shown(f"{job['name']} was not {verb}: it is {job['state']}"), file=out)
    return code


def prioritize(client: ApiClient, level: str, names: Sequence[str], out: TextIO) -> int:
    """Give jobs the priority *level*, one of PRIORITIES. Raises Refused."""
    jobs = _named(client, names)
    client.prioritize([job["nzo_id"] for job in jobs], PRIORITIES[level])
    for job in jobs:
        print(shown(f"{job['name']} has priority {level}"), file=out)
    return 0


def _whole_queue(client: ApiClient) -> dict[str, Any]:
    """Return the whole queue as if it were one page."""
    found = client.queue(limit=_PAGE)
    while len(found["jobs"]) < found["total"]:
        more = client.queue(start=len(found["jobs"]), limit=_PAGE)
        if not more["jobs"]:
            break  # something was taken out of it meanwhile
        found["jobs"] += more["jobs"]
    return found


def _named(client: ApiClient, names: Sequence[str]) -> list[dict[str, Any]]:
    jobs = _whole_queue(client)["jobs"]
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        these = [job for job in jobs if name in (job["nzo_id"], job["name"])]
        if not these:
            raise Refused(f"no job of the queue is called '{name}', and none has that id")
        if len(these) > 1:
            ids = ", ".join(job["nzo_id"] for job in these)
            raise Refused(f"{counted(len(these), 'job')} are called '{name}': name one of {ids}")
        found[these[0]["nzo_id"]] = these[0]
    return list(found.values())


def _in_words(queue: dict[str, Any]) -> str:
    if queue["paused"]:
        left = queue["pause_left_s"]
        return "paused" if left is None else f"paused for {span(left)}"
    if not queue["jobs"]:
        return "idle"
    speed = f" at {size(queue['speed'])}/s" if queue["speed"] else ""
    return f"{size(queue['left'])} of {size(queue['size'])} left{speed}"


def _queued(job: dict[str, Any], queue: dict[str, Any]) -> Sequence[str]:
    done, total, state = job["done"], job["total"], job["state"]
    part = speed = left = UNKNOWN
    if state in {"repairing", "unpacking"} and job["step"] is not None:
        part = f"{100 * job['step']:.0f}"
    elif total is not None:
        part = f"{100 * done // (total or 1)}"
        speed, left = f"{size(job['speed'])}/s", span(job["left_s"])
    why = ", ".join(_remarks(job, queue))
    return (
        job["nzo_id"],
        state,
        job["category"],
        job["priority"],
        part,
        UNKNOWN if done is None else size(done),
        size(job["size"] if total is None else total),
        speed,
        left,
        f"{job['name']}{f'  ({why})' if why else ''}",
    )


def _remarks(job: dict[str, Any], queue: dict[str, Any]) -> Iterator[str]:
    if job["missing"]:
        yield f"{size(job['missing'])} missing"
    if job["note"]:
        yield job["note"]
    wait = job["not_before"] - queue["now"]
    if job["state"] in {"queued", "grabbing"} and wait > 0:
        yield f"again in {span(wait)}"
    if job["state"] == "queued" and queue["paused"] and job["priority"] != "force":
        yield "the queue is paused"
