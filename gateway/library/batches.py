"""Many ids, in as many statements as they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = 500  # ids in one statement: SQLite takes some 30,000, older ones 999


def batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Give *ids* in order, no more at a time than one statement takes."""
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
