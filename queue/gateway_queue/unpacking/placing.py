"""A finished folder moved to where people see it: at once, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from gateway.errors import StorageError, StorageGone
from gateway.nzb.names import numbered, safe_name
from gateway_queue.download.disk import sync_folder, translated

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
_MOST = 1000


def place(
    folder: Path, parent: Path, name: str, *, before: Callable[[Path], object] = lambda _: None
) -> Path:
    """Move *folder* into *parent* as *name*, and return where it is; it is on the disk then.

    *parent* is made if it is not there. The name is made safe, and numbered if something has it
    already: nothing is overwritten, but an empty folder. *before* is told each place before it is
    tried. All that is in *folder*, and its new place, are synced: after a power cut it is whole
    where it was, or whole where it is.

    Raises StorageGone where *parent* is on another file system, and leaves nothing there;
    StorageFull, StorageError.
    """
    with translated(parent):
        _check_disk(folder, parent)
        parent.mkdir(parents=True, exist_ok=True)
        sync(folder)
        target = _rename(folder, parent, safe_name(name), before)
        sync_folder(parent)
    return target


def _rename(folder: Path, parent: Path, name: str, before: Callable[[Path], object]) -> Path:
    for number in range(1, _MOST):
        target = parent / (name if number == 1 else numbered(name, number, folder=True))
        before(target)
        try:
            # A folder takes the place of an empty folder and of nothing else: POSIX, rename().
            folder.rename(target)
        except OSError as exc:
            if exc.errno == errno.EXDEV:
                raise _apart(folder, parent) from exc
            if exc.errno not in _TAKEN:
                raise
        else:
            return target
    raise StorageError(f"{_MOST:,} folders in {parent} are called {name!r} already")


def _check_disk(folder: Path, parent: Path) -> None:
    # Below a mount point whose disk is away lies another one: nothing of ours is to be seen there.
    there = next(path for path in (parent, *parent.parents) if path.exists())
    if there.stat().st_dev != folder.stat().st_dev:
        raise _apart(folder, parent)


def _apart(folder: Path, parent: Path) -> StorageGone:
    return StorageGone(
        f"{folder} and {parent} are on two file systems, and what is downloaded can only be moved "
        "within one: is the disk mounted?"
    )


def sync(folder: Path) -> None:
    """Have all files and folders in *folder* written to the disk, and itself. Raises OSError."""
    for here, _, files in os.walk(folder, topdown=False, onerror=fail):
        for name in files:
            _sync(Path(here) / name)
        _sync(Path(here))


def fail(exc: OSError) -> None:
    """Raise *exc*: for `os.walk`, which passes over what it cannot read."""
    raise exc


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # a file system that cannot sync folders
            raise
    finally:
        os.close(handle)
