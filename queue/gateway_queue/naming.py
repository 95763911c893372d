"""What the files of a release are called: by par2, by their posters, by the job."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.nzb.names import (
    choose_name,
    content_extension,
    has_known_extension,
    is_obfuscated,
    safe_path,
    split_extension,
)
from gateway_queue.opening import Found
from gateway_queue.posted_files import Posted

# The largest file is what a release is about if it is so many times larger than any other.
_LARGER = 3
# Where players look for files of certain names, nothing may be called otherwise.
_DISC = frozenset({"VIDEO_TS", "AUDIO_TS", "BDMV"})


def published(files: Sequence[Found], posted: Sequence[Posted], job: str) -> list[str]:
    """Return the path of each of *files*, which are some of *posted* or lie in them.

    A file in an archive is called what the archive says; the one that the release is about takes
    the name of the *job* if its own is disguised, and what is called like it goes with it.
    """
    paths = [
        _posted_name(posted[one.posted], job)
        if one.posted is not None
        else safe_path(one.inner.name) or "_"
        for one in files
    ]
    main = _main(files)
    if main is not None and files[main].posted is None:
        stem, extension = split_extension(paths[main].rpartition("/")[2])
        if is_obfuscated(stem + extension):
            if not has_known_extension(extension):
                files[main].file.seek(0)
                extension = content_extension(files[main].file.read(1024)) or extension
            paths = [
                _renamed(path, stem, job, extension if index == main else "")
                for index, path in enumerate(paths)
            ]
    return paths


def _posted_name(one: Posted, job: str) -> str:
    return choose_name(
        par2=one.real_name,
        yenc=one.opening.name,
        subject=one.listed.subject,
        job=job,
        head=one.opening.head,
    )


def _main(files: Sequence[Found]) -> int | None:
    """Return the index of what the release is about, None if it is about several files."""
    sizes = [one.inner.size for one in files]
    if not sizes or any(_DISC & set(one.inner.name.upper().split("/")) for one in files):
        return None
    main = sizes.index(max(sizes))
    others = sizes[:main] + sizes[main + 1 :]
    return main if _LARGER * max(others, default=0) <= sizes[main] else None


def _renamed(path: str, stem: str, job: str, extension: str) -> str:
    """Return *path* with *job* for *stem*, with *extension* if that is given, else its own."""
    folder, slash, name = path.rpartition("/")
    if extension:
        return f"{folder}{slash}{job}{extension}"
    if name.startswith(f"{stem}."):
        return f"{folder}{slash}{job}{name.removeprefix(stem)}"
    return path
