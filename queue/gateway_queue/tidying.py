"""Which files of a post are published: what a category leaves out, and what it insists on.

Pure: names and sizes in, a decision out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from gateway.errors import ImportFailed
from gateway.nzb.media_types import media_type
from gateway_queue.category import SAMPLES, CategoryRules

_SAMPLE = re.compile(r"(?<![a-z0-9])sample(?![a-z0-9])", re.IGNORECASE)
# What is named as a sample and has more of the largest video than one part in so many is a film.
_SHARE = 10
_DISC_IMAGES = (".iso", ".img")


def wanted(names: Sequence[str], rules: CategoryRules) -> list[int]:
    """Return which of the files that a post lists under *names* are looked at, in their order.

    What is left out for its name alone needs not be there. Raises ImportFailed when none is left.
    """
    left = [index for index, name in enumerate(names) if not _is_named(name, rules)]
    if not left:
        raise _nothing_left(len(names), rules)
    return left


def kept(files: Sequence[tuple[str, int]], rules: CategoryRules) -> list[int]:
    """Return which of *files* are published, in their order.

    Each is the path within the release and the size in bytes. Raises ImportFailed when nothing
    is left, or no video and no audio where *rules* ask for one.
    """
    largest = max((size for path, size in files if _is_video(path)), default=0)
    left = [
        index
        for index, (path, size) in enumerate(files)
        if not _is_blocked(path, size, rules, largest)
    ]
    if not left:
        raise _nothing_left(len(files), rules)
    if rules.media_required and not any(_is_media(files[index][0]) for index in left):
        path, size = max((files[index] for index in left), key=lambda file: file[1])
        raise ImportFailed(
            f"the post holds no video and no audio file, the largest of its {len(left):,} is "
            f'"{_name(path)}" of {size:,} bytes: {_setting(rules)}MEDIA_REQUIRED=false takes '
            "such posts"
        )
    return left


def _is_blocked(path: str, size: int, rules: CategoryRules, largest: int) -> bool:
    if _is_named(path, rules):
        return True
    is_small = _SHARE * size < largest
    return SAMPLES in rules.blocklist and is_small and _is_video(path) and _is_named_sample(path)


def _is_named(path: str, rules: CategoryRules) -> bool:
    name = _name(path).lower()
    return any(fnmatchcase(name, one.lower()) for one in rules.blocklist if one != SAMPLES)


def _is_named_sample(path: str) -> bool:
    return _SAMPLE.search(path) is not None


def _is_video(path: str) -> bool:
    return media_type(path).startswith("video/")


def _is_media(path: str) -> bool:
    return media_type(path).startswith(("video/", "audio/")) or path.lower().endswith(_DISC_IMAGES)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _counted(files: int) -> str:
    return "its only file" if files == 1 else f"all its {files:,} files"


def _nothing_left(files: int, rules: CategoryRules) -> ImportFailed:
    return ImportFailed(
        f"nothing is left of the post: {_setting(rules)}BLOCKLIST names {_counted(files)}"
    )


def _setting(rules: CategoryRules) -> str:
    return f"GATEWAY_CATEGORIES__{rules.name.upper()}__"
