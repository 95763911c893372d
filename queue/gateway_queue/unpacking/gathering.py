"""What a program has unpacked, looked at piece by piece: plain files, or none of it."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from gateway.errors import ImportFailed


def gather(out: Path, archive: str) -> list[Path]:
    """Return the files below *out*, in order, once nothing else is there.

    A link to a file within becomes that file, any other link within goes. Rights are those of
    new files, whatever the archive wants. Raises ImportFailed for links that lead outside of
    *out*, by name or by being one file with another there, and for devices, pipes and sockets.
    """
    found: list[tuple[Path, os.stat_result]] = []
    file_mode, folder_mode = _modes(out)
    for parent, folders, files in os.walk(out):
        here = Path(parent)
        for name in [*folders, *files]:
            status = (here / name).lstat()
            if stat.S_ISDIR(status.st_mode):
                (here / name).chmod(folder_mode)  # so that it can be walked into
            elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                found.append((here / name, status))
            else:
                raise ImportFailed(f'"{archive}" has made something that is no file: {name!r}')
    regular = [(path, status) for path, status in found if stat.S_ISREG(status.st_mode)]
    names = Counter(status.st_ino for _, status in regular)
    for path, status in regular:
        if status.st_nlink != names[status.st_ino]:
            raise ImportFailed(
                f'"{archive}" has made a link to a file outside of it: {path.name!r}'
            )
        path.chmod(file_mode)
    paths = [path for path, _ in regular]
    root = os.path.realpath(out)
    for path, status in found:
        if stat.S_ISLNK(status.st_mode) and _is_file_within(path, root, archive):
            paths.append(path)
    return sorted(paths)


def _is_file_within(link: Path, root: str, archive: str) -> bool:
    """Make *link* the file that it leads to, if that is one; say whether."""
    named = os.path.normpath(link.parent / link.readlink())
    real = os.path.realpath(link)
    for path in (named, real):
        folder, name = os.path.split(path)
        if not f"{os.path.realpath(folder)}{os.sep}{name}{os.sep}".startswith(f"{root}{os.sep}"):
            raise ImportFailed(
                f'"{archive}" has made a link that leads outside of it: {link.name!r}'
            )
    link.unlink()
    if not os.path.isfile(real) or os.path.islink(real):  # noqa: PTH113, PTH114
        return False
    link.hardlink_to(real)
    return True


def _modes(out: Path) -> tuple[int, int]:
    """Return the rights that new files and folders get here."""
    folder, file = out / ".folder", out / ".file"
    folder.mkdir()
    file.touch()
    try:
        return stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(folder.stat().st_mode)
    finally:
        file.unlink()
        folder.rmdir()


def measure(out: Path) -> tuple[int, int]:
    """Return how many files lie below *out* and their bytes; follows no link."""
    files = total = 0
    stack = [os.fspath(out)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        files += 1
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # what is being written comes and goes
            continue
    return files, total
