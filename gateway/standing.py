"""How a release stands with its *arr, as the commands show it."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def standing_in_words(standing: dict[str, Any]) -> str:
    """Return how a release stands, with its times."""
    one = standing["replacement"]
    if one is None:
        return str(standing["words"])
    title = f"{one['title']}: " if one["title"] else ""
    told = f" ({_time(one['told'])})" if one["told"] is not None else ""
    again = f"; again at {_time(one['not_before'])}" if one["not_before"] else ""
    return f"{title}{standing['words']}{told}{again}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"
