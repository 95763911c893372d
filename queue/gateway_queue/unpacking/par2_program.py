"""par2 (par2cmdline-turbo) run on a folder, and what it says of it."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ImportFailed, StorageFull
from gateway_queue.unpacking import programs
from gateway_queue.unpacking.running import Limits, run


def extra_name(mark: str, number: int) -> str:
    """Return the name of a file that the set does not name, and that may hold what it lacks.

    *mark* are 12 hexadecimal digits that no name of the set begins with.
    """
    return f"{mark}.{number:06}"


# MiB for its buffers, half of the machine's otherwise; and threads, whose stacks take memory too.
_LIMITS = ("-m512", f"-t{min(8, os.cpu_count() or 1)}")
_SLACK = 1 << 20
_LACKS = re.compile(r"^You need (\d{1,6}) more recovery blocks", re.MULTILINE)
_HAS = re.compile(r"^You have (\d{1,6}) out of \d{1,6} data blocks available", re.MULTILINE)
_USED = re.compile(
    r'^File: "([0-9a-f]{12}\.\d{6})" - (?:is a match for|found (\d{1,6}) of \d{1,6} data blocks)',
    re.MULTILINE,
)
_PERCENT = re.compile(r"([A-Z][a-z]+): (\d{1,3}\.\d)%")
_STAGES = {"Loading": (0.0, 0.05), "Scanning": (0.05, 0.4), "Repairing": (0.4, 0.9)}
_AGAIN = (0.9, 1.0)  # scanning what was made


class Verdict(enum.Enum):
    """What par2 did."""

    DONE = "every file of the set is there"
    LACKS_BLOCKS = "it takes more recovery blocks"
    FAILED = "it could not"


@dataclass(frozen=True, slots=True)
class Told:
    """*lacking* recovery blocks; *found* data blocks; *used*: blocks in extra files, by name.

    A file that is another one as it stands counts as -1 blocks. *words* is the last line.
    """

    verdict: Verdict
    lacking: int
    found: int
    used: dict[str, int]
    words: str


def repair(
    work: Path, index: str, extras: Sequence[str], largest: int, progress: Callable[[float], object]
) -> Told:
    """Have par2 repair what the set *index*, a file in *work*, names; *work* is absolute.

    *largest* is the size of its largest file. *progress* gets what part is done; what it raises
    ends par2 and goes through. Raises StorageFull, ImportFailed where there is no par2.
    """
    program = programs.par2()
    if program is None:
        raise ImportFailed("there is no par2 on this machine to repair with: install par2")
    progressing = _Progress(progress)
    ended = run(
        [program, "repair", *_LIMITS, f"-B{work}", "--", index, *extras],
        folder=work,
        limits=Limits(file_size=largest + _SLACK),
        tick=progressing.heard,
    )
    lacks, has = _LACKS.search(ended.said), _HAS.search(ended.said)
    used: dict[str, int] = {}
    for match in _USED.finditer(progressing.lines):
        used[match[1]] = int(match[2] or -1)
    verdict = Verdict.FAILED
    if ended.code == 0:
        verdict = Verdict.DONE
    elif lacks is not None:
        verdict = Verdict.LACKS_BLOCKS
    elif "No space left on device" in ended.said:
        raise StorageFull("the disk became full while par2 repaired")
    return Told(
        verdict,
        int(lacks[1]) if lacks else 0,
        int(has[1]) if has else -1,
        used,
        ended.last_words,
    )


class _Progress:
    """Makes one fraction, which only grows, of par2's percentages; keeps its lines on files."""

    _MOST = 4 << 20

    def __init__(self, progress: Callable[[float], object]) -> None:
        self._progress = progress
        self._done = 0.0
        self._rest = ""
        self.lines = ""

    def heard(self, said: str) -> None:
        *lines, self._rest = (self._rest + said).split("\n")
        self._rest = self._rest[-10_000:]
        for line in lines:
            if line.startswith("File: ") and len(self.lines) < self._MOST:
                self.lines += line[:10_000] + "\n"
        for match in _PERCENT.finditer(said):
            begin, end = _STAGES.get(match[1], _AGAIN)
            if match[1] == "Scanning" and self._done >= _STAGES["Repairing"][0]:
                begin, end = _AGAIN
            self._done = max(self._done, begin + (end - begin) * min(float(match[2]), 100.0) / 100)
        self._progress(self._done)
