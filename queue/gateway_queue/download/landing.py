"""A download takes its place: in COMPLETE_DIR as a whole, then in the library (`Landing`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from gateway.errors import ConfigurationError, ImportFailed, StorageGone
from gateway.library.catalogue import Library
from gateway.library.entries import NewFile, NewRelease, Release
from gateway.nzb.names import (
    content_extension,
    has_known_extension,
    is_obfuscated,
    safe_name,
    split_extension,
)
from gateway_queue.category import CategoryRules, rules_of
from gateway_queue.download.disk import translated
from gateway_queue.download.job import Job
from gateway_queue.duplicates import refuse_duplicate
from gateway_queue.tidying import kept
from gateway_queue.unpacking.placing import fail, place
from gateway_queue.unpacking.workroom import remove

# The largest file is what a release is about if it is so many times larger than any other.
_LARGER = 3


class Landing:
    """Puts downloads where they belong: below *complete*, and into *library*."""

    def __init__(
        self,
        complete: Path,
        library: Library,
        rules: Mapping[str, CategoryRules],
        clock: Callable[[], float],
    ) -> None:
        self._complete = complete
        self._library = library
        self._rules = rules
        self._clock = clock

    def land(self, job: Job, nzb: bytes) -> tuple[Callable[[Connection], Release], int]:
        """Move what *job* has unpacked into its category's folder, as a whole.

        Returns what publishes it within a transaction, and its size in bytes. May be called
        again. Raises ImportFailed where nothing is left that the category wants, or it has such a
        release already, StorageFull and StorageError.
        """
        rules = rules_of(self._rules, job.item.category)
        refuse_duplicate(self._library, rules, job.item)
        target = self.landed(job.journal.reached.get("landing"))
        if target is None or job.unpacked.exists():
            self._check_there(job)
            _tidy(job.unpacked, job.item.name, rules)
            target = self._move(job, rules)
        with translated(target):
            files = [_new_file(target, path) for path in _files(target)]
        new = NewRelease(
            rules.folder,
            job.item.name,
            self._clock(),
            nzb,
            (),
            tuple(files),
            next(iter(job.passwords), None),
            rules.links.kind,
            job.item.id,
        )
        return partial(self._publish, job, rules, new), sum(file.size for file in files)

    def landed(self, path: object) -> Path | None:
        """Return the folder that a journal names as landed, if it is there, and ours."""
        if not isinstance(path, str):
            return None
        target = Path(path)
        return target if self._complete in target.parents and target.is_dir() else None

    def take_back(self, path: object) -> None:
        """Remove what has landed, for certain, and is in no release."""
        target = self.landed(path)
        if target is not None and not self._library.holds(target):
            remove(target)

    def _check_there(self, job: Job) -> None:
        """Raise StorageGone or ImportFailed unless there is something to move."""
        if job.unpacked.exists():
            return
        place = Path(job.journal.reached.get("landing", job.unpacked))
        if not self._complete.is_dir() or self._complete.stat().st_dev != _device(job.folder):
            raise StorageGone(
                f'"{place}" is not there, and has been: is the disk of "{self._complete}" mounted?'
            )
        raise ImportFailed(f'what was downloaded has gone from "{place}" before it was published')

    def _move(self, job: Job, rules: CategoryRules) -> Path:
        def say(target: Path) -> None:
            # First: whoever finds it there after a kill must know whose it is.
            job.journal.reach("landing", str(target))

        parent = self._complete / safe_name(rules.folder)
        return place(job.unpacked, parent, job.item.name, before=say)

    def _publish(self, job: Job, rules: CategoryRules, new: NewRelease, tx: Connection) -> Release:
        refuse_duplicate(self._library, rules, job.item, tx)
        return self._library.publish(tx, new)


def check_folders(incomplete: Path, complete: Path) -> None:
    """Make both folders, and see that a download can move from one to the other at one stroke.

    Raises ConfigurationError.
    """
    probe, moved = incomplete / ".probe", complete / ".probe"
    for folder, setting in ((incomplete, "INCOMPLETE_DIR"), (complete, "COMPLETE_DIR")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".probe").touch()
        except OSError as exc:
            raise ConfigurationError(
                f'GATEWAY_{setting}: "{folder}" cannot be written: {exc.strerror or exc}'
            ) from exc
    try:
        probe.replace(moved)
    except OSError as exc:
        raise ConfigurationError(
            f'GATEWAY_INCOMPLETE_DIR: "{incomplete}" and "{complete}" are not on one file system, '
            "so that a download could not appear in its place as a whole: put it beside "
            "GATEWAY_COMPLETE_DIR"
        ) from exc
    finally:
        probe.unlink(missing_ok=True)
        moved.unlink(missing_ok=True)


def _device(folder: Path) -> int:
    with translated(folder):
        return folder.stat().st_dev


def _tidy(folder: Path, job: str, rules: CategoryRules) -> None:
    """Remove from *folder* what the category does not want, and give the main file its name.

    Raises ImportFailed. May be called again.
    """
    with translated(folder):
        paths = _files(folder)
        sizes = [path.stat().st_size for path in paths]
        names = [path.relative_to(folder).as_posix() for path in paths]
        left = {names[index] for index in kept([*zip(names, sizes, strict=True)], rules)}
        for path, name in zip(paths, names, strict=True):
            if name not in left:
                path.unlink()
        for parent, _, _ in os.walk(folder, topdown=False):
            if Path(parent) != folder:
                with suppress(OSError):  # there is something in it
                    Path(parent).rmdir()
        _name_main(folder, job)


def _name_main(folder: Path, job: str) -> None:
    """Call what the release is about by its name, if that is disguised, and what goes with it."""
    paths = sorted(_files(folder), key=lambda path: path.stat().st_size)
    main = paths[-1]
    if len(paths) > 1 and main.stat().st_size < _LARGER * paths[-2].stat().st_size:
        return
    stem, extension = split_extension(main.name)
    if not is_obfuscated(main.name):
        return
    if not has_known_extension(extension):
        with main.open("rb") as file:
            extension = content_extension(file.read(1024)) or extension
    for path in main.parent.iterdir():
        rest = extension if path == main else path.name.removeprefix(stem)
        target = path.with_name(safe_name(job + rest))
        if (path == main or path.name.startswith(f"{stem}.")) and not target.exists():
            path.rename(target)


def _new_file(target: Path, path: Path) -> NewFile:
    with translated(path):
        found = path.stat()
    folder = path.parent.relative_to(target).as_posix()
    return NewFile(
        path.name,
        found.st_size,
        folder="" if folder == "." else folder,
        modified=found.st_mtime,
        disk=path,
    )


def _files(folder: Path) -> list[Path]:
    """Return all files below *folder*, in order; no links. Raises OSError."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path
