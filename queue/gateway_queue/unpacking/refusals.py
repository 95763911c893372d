"""What the programs that unpack mean when they fail, as errors of ours."""

from __future__ import annotations

import re
import signal

from gateway.errors import (
    GatewayError,
    ImportFailed,
    IncompletePost,
    StorageFull,
    UnsupportedArchive,
    WrongPassword,
)
from gateway_queue.unpacking.running import Ended

_FULL = re.compile(r"no space left|disk full|disk quota", re.IGNORECASE)
_PASSWORD = re.compile(
    r"wrong password|incorrect password|password is incorrect|requires a password"
    r"|missing or wrong password|enter password",
    re.IGNORECASE,
)
_SHORT = re.compile(r"unexpected end of|cannot find volume|missing volume", re.IGNORECASE)
_DAMAGED = re.compile(r"crc failed|data error|checksum|headers error|corrupt", re.IGNORECASE)
_FILE_TOO_LARGE = -signal.SIGXFSZ  # it wanted to write more than its listing says


def refusal(program: str, archive: str, ended: Ended, password: str | None) -> GatewayError:
    """Return what it means that *program* ended so on *archive* with this *password*."""
    said = ended.said
    if _FULL.search(said):
        return StorageFull(f'the disk became full while {program} unpacked "{archive}"')
    if ended.code == _FILE_TOO_LARGE:
        return ImportFailed(f'"{archive}" becomes more than it says: it was not unpacked')
    if _PASSWORD.search(said):
        known = "the known password does not open it" if password else "no password is known"
        return WrongPassword(f'"{archive}" is encrypted, and {known}')
    words = ended.last_words
    if _SHORT.search(said):
        return IncompletePost(f'"{archive}" ends too early: a volume is missing or cut short')
    if _DAMAGED.search(said):
        return ImportFailed(f'"{archive}" is damaged, says {program}: {words}')
    return UnsupportedArchive(f'{program} cannot unpack "{archive}": {words}')
