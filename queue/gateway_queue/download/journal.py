"""What of a post is on the disk: a file of lines, one for each article (`Journal`).

An article's line is written right after its bytes, with their CRC-32, and a line `synced` once the
bytes of all lines before it are on the disk for certain. So after an unclean end

    before the last `synced`   is on the disk, also if the machine lost its power
    behind it                  was written, and is there if only the program died: whoever opens
                               the journal reads those bytes back and compares their CRC-32

and what has no line was in flight. Each line begins with a checksum of the rest; what follows the
first one that is damaged, or not whole, was never said.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gateway_queue.download.disk import sync_folder, translated

_VERSION = 1


class Span(NamedTuple):
    """*length* bytes at *begin* of a posted file, which came in one article; *crc* is CRC-32."""

    begin: int
    length: int
    crc: int

    @property
    def end(self) -> int:
        return self.begin + self.length


@dataclass(slots=True)
class Posted:
    """What is known of a posted file: *name* and *size* as its articles state them.

    *spans* are the parts (from 0) that were written, *absent* those that every provider lacks.
    Of some of what was written it is known that the article bore another name (*names*), or
    that it stated no checksum (*unsummed*).
    """

    name: str = ""
    size: int | None = None
    spans: dict[int, Span] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    unsummed: set[int] = field(default_factory=set)


# Says whether the bytes of a span of the posted file of that number are on the disk.
ReadBack = Callable[[int, Span], bool]


class Journal:
    """The journal of one download in the file *path*. For one thread.

    *nzb* names the document: a journal of another one is begun anew. *files* has an entry for each
    posted file that something is known of, *reached* the names of the steps that were reached.
    """

    def __init__(self, path: Path, nzb: str, read_back: ReadBack) -> None:
        """Open it, or begin it. Raises StorageError, StorageFull."""
        self.files: dict[int, Posted] = {}
        self.reached: dict[str, Any] = {}
        self.read_back = 0  # bytes that were held against their checksums
        self.unsynced: set[int] = set()  # files of which some were: nobody has synced these bytes
        self._size = 0
        self._lines = 0
        with translated(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._load(nzb, read_back)
                sync_folder(path.parent)
            except BaseException:
                os.close(self._fd)
                raise

    @property
    def lines(self) -> int:
        """Return how many lines there are: what `synced` wants to be told."""
        return self._lines

    def posted(self, number: int) -> Posted:
        """Return what is known of the posted file *number*."""
        return self.files.setdefault(number, Posted())

    def begun(self, number: int, name: str, size: int) -> None:
        """Write down what the articles of a posted file state of it."""
        self._append(["file", number, name, size])

    def written(self, number: int, part: int, span: Span) -> None:
        """Write down that the bytes of *part* (from 0) have been written."""
        self._append(["part", number, part, *span])

    def odd(self, number: int, part: int, name: str, *, summed: bool) -> None:
        """Write down of *part* that its article has another *name*, or no checksum."""
        self._append(["odd", number, part, name, summed])

    def lost(self, number: int, part: int) -> None:
        """Write down that *part* is not to be counted on, whatever was written."""
        self._append(["lost", number, part])

    def anew(self, number: int) -> None:
        """Write down that what is there of a file is not of it, and what it states neither."""
        self._append(["anew", number])

    def lacks(self, number: int, part: int) -> None:
        """Write down that every provider lacks *part*."""
        self._append(["absent", number, part])

    def reach(self, step: str, value: Any = True) -> None:
        """Write down that *step* was reached, with what there is to say of it; on the disk then."""
        self._append(["reached", step, value])
        self.sync()

    def synced(self, lines: int) -> None:
        """Write down that the bytes of the first *lines* lines are on the disk."""
        self._append(["synced", lines])

    def sync(self) -> None:
        """Have all lines on the disk."""
        with translated("the journal"):
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the file. Any number of times."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, entry: list[Any]) -> None:
        text = json.dumps(entry, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        with translated("the journal"):
            if os.write(self._fd, line) != len(line):
                # Half a line would hide all that are written behind it when there is room again.
                os.ftruncate(self._fd, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(line)
        self._lines += 1
        self._take(entry)

    def _load(self, nzb: str, read_back: ReadBack) -> None:
        head = ["nzb", _VERSION, nzb]
        safe = 0
        entries: list[list[Any]] = []
        with os.fdopen(os.dup(self._fd), "rb") as file:
            for line in file:
                entry = _parse(line)
                if entry is None or (not entries and entry != head):
                    break
                self._size += len(line)
                entries.append(entry)
                if entry[0] == "synced":
                    safe = int(entry[1])
        os.ftruncate(self._fd, self._size)
        self._lines = len(entries)
        if not entries:
            self._append(head)
        lost = []
        for at, entry in enumerate(entries):
            self._take(entry)
            if at >= safe and entry[0] == "part":
                _, number, part, *fields = entry
                span = Span(*fields)
                self.read_back += span.length
                if read_back(number, span):
                    self.unsynced.add(number)
                else:
                    lost.append((number, part))
        for number, part in lost:
            # Said, since a later `synced` would vouch for the line that it takes back.
            self.lost(number, part)

    def _take(self, entry: list[Any]) -> None:
        match entry:
            case ["file", number, name, size]:
                posted = self.posted(number)
                posted.name, posted.size = name, size
            case ["part", number, part, *span]:
                posted = self.posted(number)
                posted.absent.discard(part)
                posted.spans[part] = Span(*span)
            case ["lost", number, part]:
                posted = self.posted(number)
                posted.spans.pop(part, None)
                posted.names.pop(part, None)
                posted.unsummed.discard(part)
            case ["odd", number, part, name, summed]:
                posted = self.posted(number)
                if name:
                    posted.names[part] = name
                if not summed:
                    posted.unsummed.add(part)
            case ["anew", number]:
                self.files[number] = Posted(absent=self.posted(number).absent)
            case ["absent", number, part]:
                self.posted(number).absent.add(part)
            case ["reached", step, value]:
                self.reached[step] = value


def _parse(line: bytes) -> list[Any] | None:
    """Return what *line* says, None if it is damaged or not whole."""
    check, space, text = line.rstrip(b"\n").partition(b" ")
    if not space or not line.endswith(b"\n"):
        return None
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, list) and entry else None


def landing_of(path: Path) -> object:
    """Return what the journal *path* says of where its download has landed, None if nothing."""
    found = None
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            entry = _parse(line)
            if entry is None:
                break
            if entry[:2] == ["reached", "landing"]:
                found = entry[2]
    return found
