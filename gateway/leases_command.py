"""`nzb-gateway leases`: what the gateway's API tells of leases, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from gateway.terminal import UNKNOWN, span, table

_VIEWING = ("session", "state", "user", "content", "client", "profile", "age", "offset")


def show(found: dict[str, Any], out: TextIO) -> None:
    """Print *found*, the answer of `GET /leases`."""
    pools = [(one["name"], str(one["count"]), _cap(one["cap"])) for one in found["pools"]]
    sessions = [row for one in found["sessions"] for row in _session(one)]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        (f"Pools: {len(pools)}", ("pool", "sessions", "of"), pools),
        (
            f"Sessions: {len(found['sessions'])}",
            (*_VIEWING, "pools"),
            sessions,
        ),
    ]
    if slots := [(one["pool"], one["owner"], str(one["held"])) for one in found["slots"]]:
        tables.append(("Connections to providers", ("pool", "gateway", "held"), slots))
    if without := found["without_lease"]:
        heading = f"Without a slot: {len(without)}"
        tables.append((heading, _VIEWING, [_viewing(one) for one in without]))
    for heading, columns, rows in tables:
        print(heading, file=out)
        for line in table(columns, rows) if rows else ():
            print(f"  {line}", file=out)


def _session(session: dict[str, Any]) -> Iterator[Sequence[str]]:
    """Give a row for each request of a session; one if only its grace is left."""
    who = [_text(session[name]) for name in ("user", "content", "client", "profile")]
    pools = " ".join(session["pools"])
    if not session["refs"]:
        yield (session["session"], f"grace {session['grace_s']:g}s", *who, *[UNKNOWN] * 2, pools)
    for ref in session["refs"]:
        state = ref["ending"] or _text(ref["state"] or (None if ref["here"] else "elsewhere"))
        yield (session["session"], state, *who, _age(ref["age_s"]), _text(ref["offset"]), pools)


def _viewing(one: dict[str, Any]) -> Sequence[str]:
    return (*(_text(one[name]) for name in _VIEWING[:-2]), _age(one["age_s"]), _text(one["offset"]))


def _cap(cap: int | None) -> str:
    return UNKNOWN if cap is None else str(cap or "unlimited")


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def _age(seconds: float | None) -> str:
    return span(None if seconds is None else int(seconds))
