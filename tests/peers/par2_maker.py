"""par2 sets, made by the two programs that there are."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gateway_queue.unpacking import programs

TURBO, CLASSIC = "turbo", "classic"


def create(
    folder: Path, name: str, files: list[str], *options: str, program: str = TURBO
) -> list[Path]:
    """Make in *folder* the set *name*.par2 of *files* there; return its par2 files."""
    known = set(folder.iterdir())
    turbo = programs.par2()
    assert turbo is not None
    path = str(turbo) if program == TURBO else "par2"
    command = [path, "create", "-q", "-q", *options, "--", f"{name}.par2", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(set(folder.iterdir()) - known)
