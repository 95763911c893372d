"""Offsets that streams have learned, on their way to the disk.

Every article of an irregular post teaches something, several hundred a second in a fast stream;
each write of its table costs an fsync and the whole table. So tables are noted here and written
together a few seconds later. What a crash loses in between is learned again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.library.later import WrittenLater
from gateway.nzb.extents import PartTable


class LearnedOffsets(WrittenLater[int, PartTable]):
    """Tables with news, by their posted file's id; written *delay_s* after the first of them."""

    def __init__(
        self, write: Callable[[Mapping[int, PartTable]], None], *, delay_s: float = 5.0
    ) -> None:
        super().__init__(write, words="learned offsets", thread="learned-offsets", delay_s=delay_s)
