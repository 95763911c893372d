"""Sizes and times as people write them: `256MiB`, `20s`."""

from __future__ import annotations

import enum
import re

_SIZES = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip
_TIMES = {"": 1.0, "MS": 0.001, "S": 1.0, "M": 60.0, "MIN": 60.0, "H": 3600.0, "D": 86400.0}
_NUMBER = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>[A-Za-z]*)")


def parse_size(text: object) -> object:
    """Return the bytes that *text* says (`256MiB`, `1.5 GB`, `4096`); no text is passed on.

    Raises ValueError.
    """
    if not isinstance(text, str):
        return text
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match["unit"].upper() not in _SIZES:
        raise ValueError("is not a size: write a number with its unit, as 256MiB")
    return int(float(match["number"]) * _SIZES[match["unit"].upper()])


def parse_duration(text: object) -> object:
    """Return the seconds that *text* says (`20s`, `500ms`, `5m`, `2h`); no text is passed on.

    Raises ValueError.
    """
    if not isinstance(text, str):
        return text
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match["unit"].upper() not in _TIMES:
        raise ValueError("is not a time: write a number with its unit, as 20s")
    return float(match["number"]) * _TIMES[match["unit"].upper()]


class Unit(enum.Enum):
    """What a number counts, and how it is written so that it can be read again."""

    SIZE = "bytes"
    DURATION = "seconds"

    def write(self, value: float) -> str:
        """Return *value* in the largest unit that divides it."""
        if self is Unit.DURATION:
            if value and value % _TIMES["D"] == 0:
                return f"{value / _TIMES['D']:g}d"
            return f"{value:g}s" if value >= 1 or not value else f"{value * 1000:g}ms"
        for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value and value % size == 0:
                return f"{int(value) // size}{unit}"
        return f"{int(value)}B"
