"""What a file is, by its names and its first bytes: plain, part of an archive, or par2."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from gateway.nzb.names import content_extension, split_extension


class Kind(enum.Enum):
    """What a file is good for."""

    PLAIN = "plain file"
    PAR2 = "par2"  # repairs others, and is nothing by itself
    RAR = "RAR"
    SEVEN_ZIP = "7z"
    ZIP = "ZIP"
    SPLIT = "split file"  # a piece of any other, of a 7z as of a film


# RAR's old volumes go from .rar over .r00 to .s00; anything may be cut into .001, .002, ...
_BY_NAME = (
    (re.compile(r"\.par2$", re.IGNORECASE), Kind.PAR2),
    (re.compile(r"\.(?:rar|[rs]\d{2,3})$", re.IGNORECASE), Kind.RAR),
    (re.compile(r"\.7z$", re.IGNORECASE), Kind.SEVEN_ZIP),
    (re.compile(r"\.(?:zip|z\d{2})$", re.IGNORECASE), Kind.ZIP),
    (
        re.compile(r"\.(?:[a-z][a-z0-9]{1,4}|7z)\.(?!(?:19|20)\d\d$)\d{3,4}$", re.IGNORECASE),
        Kind.SPLIT,
    ),
)
_BY_CONTENT = {
    ".par2": Kind.PAR2,
    ".rar": Kind.RAR,
    ".7z": Kind.SEVEN_ZIP,
    ".zip": Kind.ZIP,
}
_ARCHIVES = frozenset({Kind.RAR, Kind.SEVEN_ZIP, Kind.ZIP})
# Archives by their build, but what is inside of them is nobody's business.
_DOCUMENTS = frozenset(
    {".cbr", ".cbz", ".cb7", ".epub", ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".apk", ".jar"}
)


def kind_of(names: Iterable[str], head: bytes = b"") -> Kind:
    """Return what a file is that has these *names*, the best first, and begins with *head*.

    What it is called counts before what is in it: the first piece of a cut 7z begins as a 7z does.
    Only where it is called one archive and begins as another the beginning counts.
    """
    named = [name for name in names if name]
    begins = _BY_CONTENT.get(content_extension(head), Kind.PLAIN)
    for name in named:
        for pattern, kind in _BY_NAME:
            if pattern.search(name):
                is_other = kind in _ARCHIVES and begins in _ARCHIVES
                return begins if is_other else kind
    if any(split_extension(name)[1].lower() in _DOCUMENTS for name in named):
        return Kind.PLAIN
    return begins
