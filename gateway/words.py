"""Counts in words, as logs, errors and commands say them."""

from __future__ import annotations


def counted(number: int, one: str) -> str:
    """Return "1 file" or "2,000 files"."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def are(number: int) -> str:
    """Return the verb for so many: "is" or "are"."""
    return "is" if number == 1 else "are"
