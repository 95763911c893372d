"""How releases stand with their *arrs, and whether files play, as the commands show it."""

from __future__ import annotations

from typing import Any

from gateway.terminal import moment


def standing_in_words(standing: dict[str, Any]) -> str:
    """Return how a release stands, with its times."""
    one = standing["replacement"]
    if one is None:
        return str(standing["words"])
    title = f"{one['title']}: " if one["title"] else ""
    told = f" ({moment(one['told'])})" if one["told"] is not None else ""
    again = f"; again at {moment(one['not_before'])}" if one["not_before"] else ""
    return f"{title}{standing['words']}{told}{again}"


def plays_in_words(file: dict[str, Any]) -> str:
    """Say whether a DEGRADED file plays, and why; nothing of others, or where nobody has looked."""
    if file["health"] != "degraded":
        return ""
    match file["playable"]:
        case "gaps":
            return f"plays with gaps, where ON_MISSING is pad: {file['why']}"
        case "no":
            return f"does not play: {file['why']}"
        case _:
            return ""
