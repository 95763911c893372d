"""7-Zip, as Debian has it: a second opinion on archives, and the maker of many."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NAMES = "7zz|7z"
"""For `pytest.mark.system`: Debian 12 calls it 7zz, later ones 7z."""

RAR_NAMES = "7z"
"""For what is to open RAR: Debian's 7zz cannot, the 7z of p7zip-full can."""


def run(*arguments: str | Path, cwd: Path, names: str = NAMES) -> str:
    """Run 7-Zip with *arguments* in the folder *cwd*, and return what it prints."""
    program = next(filter(None, map(shutil.which, names.split("|"))))
    done = subprocess.run(
        [program, *arguments, "-bd", "-y"], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
