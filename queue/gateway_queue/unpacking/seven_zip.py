"""7-Zip on 7z and ZIP archives: what they hold, and out with it.

A password goes through the standard input, where no list of processes shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gateway.errors import ImportFailed
from gateway_queue.unpacking import programs
from gateway_queue.unpacking.bounds import Entry, Nature
from gateway_queue.unpacking.refusals import refusal
from gateway_queue.unpacking.running import Limits, run

_MODE = re.compile(r"([-dlpscb])[-r][-w][-xsS][-r][-w][-xsS][-r][-w][-xtT]$")
_NATURES = {"-": Nature.FILE, "d": Nature.FOLDER, "l": Nature.LINK}
_LONGEST_LINE = 20_000


def listing(
    first: Path, password: str | None, name: str, most: int, tick: Callable[[], object]
) -> list[Entry]:
    """Return what the archive lists whose first volume is *first*; call it *name* in errors.

    Raises WrongPassword where the listing is encrypted, ImportFailed for more than *most* entries.
    """
    lines = _Lines(most, name)

    def heard(said: str) -> None:
        lines.heard(said)
        tick()

    command: list[str | Path] = [_program(), "l", "-slt", "-sccUTF-8", "--", first]
    ended = run(
        command,
        folder=first.parent,
        limits=Limits(file_size=0),
        tick=heard,
        feed=_answer(password),
    )
    if ended.code not in (0, 1):  # 1: it warns of something
        raise refusal("7z", name, ended, password)
    lines.heard("\n\n")
    return lines.entries


def extract(
    first: Path, out: Path, password: str | None, name: str, total: int, tick: Callable[[], object]
) -> None:
    """Unpack into *out* the archive whose first volume is *first*. Raises what it means."""
    command: list[str | Path] = [
        _program(),
        "x",
        "-y",
        "-bd",
        "-bb0",
        "-aou",
        "-sccUTF-8",
        f"-o{out}",
        "--",
        first,
    ]
    ended = run(
        command,
        folder=out,
        limits=Limits(file_size=total),
        tick=lambda _: tick(),
        feed=_answer(password),
    )
    if ended.code not in (0, 1):
        raise refusal("7z", name, ended, password)


def _program() -> Path:
    program = programs.seven_zip()
    if program is None:
        raise ImportFailed("nothing on this machine unpacks 7z and ZIP archives: install 7zip")
    return program


def _answer(password: str | None) -> list[bytes]:
    return [] if password is None else [f"{password}\n".encode()]


class _Lines:
    """Entries out of what `7z l -slt` prints: "Name = value", and an empty line after each."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._rest = ""
        self._begun = False
        self._fields: dict[str, str] = {}
        self.entries: list[Entry] = []

    def heard(self, said: str) -> None:
        *lines, self._rest = (self._rest + said).split("\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in lines:
            if line == "----------":
                self._begun = True
            elif not self._begun:
                continue
            elif " = " in line:
                field, _, value = line.partition(" = ")
                self._fields.setdefault(field, value)
            elif not line and "Path" in self._fields:
                self.entries.append(_entry(self._fields))
                self._fields = {}
                if len(self.entries) > self._most:
                    raise ImportFailed(
                        f'"{self._name}" holds more than {self._most:,} files: no more are unpacked'
                    )


def _entry(fields: dict[str, str]) -> Entry:
    size = fields.get("Size", "")
    attributes = fields.get("Attributes", "")
    mode = _MODE.search(attributes)
    nature = _NATURES.get(mode[1], Nature.DEVICE) if mode else Nature.FILE
    if fields.get("Folder") == "+" or attributes.startswith("D"):
        nature = Nature.FOLDER
    if fields.get("Symbolic Link") or fields.get("Hard Link"):
        nature = Nature.LINK
    return Entry(
        fields["Path"],
        int(size) if size.isdigit() else None,
        nature,
        encrypted=fields.get("Encrypted") == "+",
    )
