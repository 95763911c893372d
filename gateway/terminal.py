"""Words for whoever sits at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

UNKNOWN = "-"


def shown(text: str) -> str:
    """Return *text*, which a stranger wrote, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def size(count: float) -> str:
    """Return *count* bytes in a unit in which it has three digits or so: "7.52 GB"."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            number = count / one
            return f"{number:.{max(0, 3 - len(f'{number:.0f}'))}f} {unit}"
    return f"{count:.0f} B"


def day(seconds: float | None) -> str:
    """Return the day of a time in seconds since 1970, here."""
    return UNKNOWN if seconds is None else f"{_local(seconds):%Y-%m-%d}"


def moment(seconds: float) -> str:
    """Return the day and the minute of a time in seconds since 1970, here."""
    return f"{_local(seconds):%Y-%m-%d %H:%M}"


def span(seconds: float | None) -> str:
    """Return how long something takes: "1:02:03", "2:03"."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give *rows* under *columns*, each as wide as it has to be, fit for a terminal."""
    lines = [columns, *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
