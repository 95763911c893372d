"""Figures with their noise: every one is a series, shown as median, smallest and largest."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured thing. *aim* is what its median should keep to; *at_most* says which way.

    A figure that is not *valid* was taken while the server was too slow to say anything.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    aim: float | None = None
    at_most: bool = False
    valid: bool = True

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """What to make of it, in a word."""
        if not self.valid:
            return "invalid"
        if self.aim is None:
            return ""
        kept = self.median <= self.aim if self.at_most else self.median >= self.aim
        return "kept" if kept else "missed"

    def row(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        aim = "" if self.aim is None else f"{'≤' if self.at_most else '≥'} {self.aim:g}"
        low, high = min(self.values), max(self.values)
        shown = [f"{value:.4g}" for value in (self.median, low, high)]
        return (self.name, *shown, self.unit, str(len(self.values)), aim, self.verdict)


_HEADINGS = ("figure", "median", "min", "max", "unit", "n", "aim", "")


@dataclass
class Results:
    """The figures of one run, and the machine they were taken on."""

    name: str
    figures: list[Figure] = field(default_factory=list)

    def add(
        self,
        name: str,
        unit: str,
        values: Iterable[float],
        *,
        aim: float | None = None,
        at_most: bool = False,
        valid: bool = True,
    ) -> None:
        """Take in a figure, and print it at once: a run takes minutes."""
        figure = Figure(name, unit, tuple(values), aim, at_most, valid)
        self.figures.append(figure)
        print(" ", "  ".join(cell for cell in figure.row() if cell), flush=True)

    def table(self) -> str:
        """Return all figures as a table of text."""
        rows = [_HEADINGS, *(figure.row() for figure in self.figures)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            first, *rest = (
                cell.ljust(width) if at in (0, 4, 7) else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join((first, *rest)).rstrip())
        return "\n".join(lines)

    def write(self) -> Path:
        """Write everything as JSON below bench/results, and return where."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        document: dict[str, Any] = {
            "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {
                "system": f"{platform.system()} {platform.release()} {platform.machine()}",
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
                "load": os.getloadavg(),
            },
            "figures": [
                {
                    "name": each.name,
                    "unit": each.unit,
                    "median": each.median,
                    "min": min(each.values),
                    "max": max(each.values),
                    "n": len(each.values),
                    "aim": each.aim,
                    "at_most": each.at_most,
                    "verdict": each.verdict,
                }
                for each in self.figures
            ],
        }
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        return path
