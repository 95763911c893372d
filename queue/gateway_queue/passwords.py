"""Whether a password is right, where the archive itself has nothing to tell it by.

RAR 4 tells nothing of a password that encrypts data alone, 7z not always: then a wrong one gives
bytes that are none. A small file shows it by its CRC-32, a film by how it begins.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.errors import ImportFailed, WrongPassword
from gateway.nzb.archive import Inner, Volume
from gateway.nzb.names import content_extension, split_extension
from gateway.nzb.nesting import view
from gateway_queue.contents import Kind, kind_of

# A file up to this size is read whole. Of others the beginning, which shows what they are.
_SMALL = 1 << 15
_HEAD = 1024
_LOOKED_AT = 3  # files of an archive; they share a password
# What can be told by its first bytes, without fail.
_CERTAIN = frozenset({".mkv", ".mka", ".webm", ".mp4", ".m4v", ".avi", ".wmv", ".flac"})
_WRONG = "not the password of anything"

T = TypeVar("T")
Reader = Callable[[str | None], list[Inner]]


def first(call: Callable[[str | None], T], passwords: Sequence[str]) -> T:
    """Return what *call* does with the first of *passwords* that it takes.

    Raises WrongPassword where it takes none, and what it raises otherwise.
    """
    refused: WrongPassword | None = None
    for password in _tried(passwords):
        try:
            return call(password)
        except WrongPassword as exc:
            refused = exc
    raise _refused(refused, passwords)


def read(reader: Reader, volumes: Sequence[Volume], passwords: Sequence[str]) -> list[Inner]:
    """Return what *reader* finds in *volumes* with the first of *passwords* that is right.

    One that nothing speaks against will do. Raises WrongPassword, and what the reader raises.
    """
    likely: list[Inner] | None = None
    refused: WrongPassword | None = None
    for password in _tried(passwords):
        try:
            found = reader(password)
        except WrongPassword as exc:
            refused = exc
            continue
        right = is_right(found, volumes)
        if right or (right is False and _tells(reader)):
            return found
        if right is None and likely is None:
            likely = found
    if likely is not None:
        return likely
    raise _refused(refused, passwords)


def _tried(passwords: Sequence[str]) -> Sequence[str | None]:
    return passwords or (None,)


def _refused(said: WrongPassword | None, passwords: Sequence[str]) -> WrongPassword:
    what = (
        said or "the archive is encrypted, and what the known password shows is none of its files"
    )
    return WrongPassword(
        f"{what} ({len(passwords)} are known)" if len(passwords) > 1 else f"{what}"
    )


def _tells(reader: Reader) -> bool:
    """Say whether *reader* would have noticed: then a film merely is not what its name says."""
    try:
        reader(_WRONG)
    except WrongPassword:
        return True
    return False


def is_right(found: Sequence[Inner], volumes: Sequence[Volume]) -> bool | None:
    """Say whether *found* were decrypted rightly; None where nothing tells.

    True as well when nothing is encrypted.
    """
    encrypted = [one for one in found if any(stretch.cipher for stretch in one.stretches)]
    if not encrypted:
        return True
    # What tells most, and costs least: names that promise a beginning, and small files.
    encrypted.sort(key=lambda one: (not _is_certain(one), one.size))
    for one in encrypted[:_LOOKED_AT]:
        right = _shows(one, volumes)
        if right is not None:
            return right
    return None


def _shows(one: Inner, volumes: Sequence[Volume]) -> bool | None:
    try:
        if one.size <= _SMALL and one.crc32 is not None:
            return zlib.crc32(view(one, volumes).read()) == one.crc32
        head = view(one, volumes).read(_HEAD)
    except ImportFailed:
        return None  # it is not there whole: its reader says so, or nobody can
    if content_extension(head):
        return True
    return False if _is_certain(one) else None


def _is_certain(one: Inner) -> bool:
    extension = split_extension(one.name)[1].lower()
    archive = kind_of([one.name]) in (Kind.RAR, Kind.SEVEN_ZIP)
    return extension in _CERTAIN or (archive and extension in (".rar", ".7z"))
