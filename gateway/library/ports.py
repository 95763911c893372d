"""What the faces need of each other: protocols that the queue implements and `app` hands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueuedDocument:
    """An NZB that waits for its import, as the folder of its category shows it.

    *name* is its file name, safe for a path; *size* is the document's in bytes, *added* in
    seconds since 1970.
    """

    nzo_id: str
    name: str
    category: str
    size: int
    added: float


class Intake(Protocol):
    """Where NZBs are handed in."""

    def add(
        self,
        document: bytes,
        *,
        filename: str,
        category: str,
        priority: int = 0,
        password: str | None = None,
    ) -> str:
        """Queue *document* and return its id: it is on the disk by then, come what may.

        A document that is XML but no usable NZB is taken, and fails in the history. Raises
        NotXml for anything else, StorageFull when the disk is full.
        """
        ...

    def pending(self, category: str) -> Sequence[QueuedDocument]:
        """Return what *category* has in the queue, in the queue's order."""
        ...

    def remove(self, nzo_id: str) -> bool:
        """Take an item out of the queue, at work or not; False if there is none of that id."""
        ...
