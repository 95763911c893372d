"""What was read of an NZB when it came, for who works on it a moment later.

A large NZB takes most of a second to parse, and is parsed as it is added: to say what it lists. An
item that is claimed at once is not parsed again, if it is the same document under the same name.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import sha256

from gateway.nzb import document
from gateway.nzb.document import Nzb

# A part takes some 250 bytes: at most 50 MB are kept, and as a rule for moments only.
_DOCUMENTS, _PARTS = 8, 200_000


class JustRead:
    """The last few documents that were read. Safe to use from any thread."""

    def __init__(self, *, documents: int = _DOCUMENTS, parts: int = _PARTS) -> None:
        self._documents = documents
        self._parts = parts
        self._lock = threading.Lock()
        # The oldest first, by the digest of the document and by its name.
        self._kept: OrderedDict[tuple[bytes, str], tuple[Nzb, int]] = OrderedDict()

    def read(self, nzb: bytes, *, filename: str) -> Nzb:
        """Return what *nzb* says, and keep it for `take`. Raises as `document.parse`."""
        parsed = document.parse(nzb, filename=filename)
        listed = sum(len(file.segments) for file in parsed.files)
        if listed <= self._parts:
            key = (sha256(nzb).digest(), filename)
            with self._lock:
                self._kept[key] = (parsed, listed)
                self._kept.move_to_end(key)
                self._make_room()
        return parsed

    def take(self, nzb: bytes, *, filename: str) -> Nzb:
        """Return what *nzb* says, and keep it no longer. Raises as `document.parse`."""
        key = (sha256(nzb).digest(), filename)
        with self._lock:
            parsed, _ = self._kept.pop(key, (None, 0))
        return document.parse(nzb, filename=filename) if parsed is None else parsed

    def _make_room(self) -> None:
        while (
            len(self._kept) > self._documents
            or sum(listed for _, listed in self._kept.values()) > self._parts
        ):
            self._kept.popitem(last=False)


just_read = JustRead()
"""The one of this process. What is in it follows from the documents alone."""
