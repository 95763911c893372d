"""Numbers and words as SABnzbd writes them: sizes, ages, times left, names of states."""

from __future__ import annotations

from typing import TypeAlias

from gateway_queue.item import Priority, State

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Answer: TypeAlias = dict[str, Json]

# The version that we claim. Clients choose features by it and parse three numbers out of it.
VERSION = "4.5.5"

# Sonarr and Radarr know a fixed list of these words; any other breaks their whole poll.
STATUS_WORDS: dict[State, str] = {
    State.GRABBING: "Grabbing",
    State.QUEUED: "Queued",
    State.ANALYSING: "Checking",
    State.VERIFYING: "Verifying",
    State.DOWNLOADING: "Downloading",
    State.REPAIRING: "Repairing",
    State.UNPACKING: "Extracting",
    State.PAUSED: "Paused",
    State.COMPLETED: "Completed",
    State.FAILED: "Failed",
    State.DELETED: "Deleted",
}

PRIORITY_WORDS: dict[Priority, str] = {
    Priority.FORCE: "Force",
    Priority.HIGH: "High",
    Priority.NORMAL: "Normal",
    Priority.LOW: "Low",
}

# SABnzbd's words for what is wrong with a request.
NO_VALUE = "expects one parameter"
NO_VALUE2 = "expects two parameters"
INT_VALUE = "expects integer value"
NO_ITEM = "item does not exist"
NO_FILE = "no file given"
NO_PATH = "file does not exist"
NOT_IMPLEMENTED = "not implemented"

OK: Answer = {"status": True}

_UNITS = ("", "K", "M", "G", "T", "P")


def units(size: float, postfix: str = "") -> str:
    """Return *size* with a binary prefix: `302 KB`, `1.4 GB`; decimals from M on."""
    step = 0
    while size > 1023 and step < len(_UNITS) - 1:
        size /= 1024
        step += 1
    return f"{size:.{1 if step > 1 else 0}f} {_UNITS[step]}{postfix}".strip()


def megabytes(size: int) -> str:
    """Return *size* bytes in MiB with two decimals."""
    return f"{size / 2**20:.2f}"


def gigabytes(size: int) -> str:
    """Return *size* bytes in GiB with two decimals."""
    return f"{size / 2**30:.2f}"


def clock(seconds: float) -> str:
    """Return a time left as `H:MM:SS`, from a day on as `D:HH:MM:SS`."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}:{hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}"


def age(seconds: float) -> str:
    """Return a span in its largest unit: `1103d`, `5h`, `7m`."""
    whole = max(0, int(seconds))
    if whole >= 86_400:
        return f"{whole // 86_400}d"
    if whole >= 3_600:
        return f"{whole // 3_600}h"
    return f"{whole // 60}m"


def refusal(words: str) -> Answer:
    """Return the answer to what is not done, in *words*."""
    return {"status": False, "error": words}


def done(ids: list[str], key: str = "nzo_ids") -> Answer:
    """Return the answer to what was done to *ids*: SABnzbd's false means that there are none."""
    listed: list[Json] = list(ids)
    return {"status": bool(ids), key: listed}
