"""What an archive holds, as stretches of the volumes that it was read from.

Only stored contents can be shown: their bytes lie in the volumes as they are, or encrypted. A
reader of a format (`rar`, `sevenzip`, ...) takes the volumes as files and returns `Inner` values;
where a volume is itself a stretch of another archive, `Inner` values are put together.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from gateway.nzb.extents import Run


class Cipher(NamedTuple):
    """AES in CBC mode without padding; a *key* of 16 or 32 bytes, an *iv* of 16."""

    key: bytes
    iv: bytes

    def __repr__(self) -> str:
        return f"Cipher(AES-{8 * len(self.key)}-CBC)"


@dataclass(frozen=True, slots=True)
class Stretch:
    """*length* bytes from *skip* on of what *runs*, put together, hold.

    With a *cipher*, of what they hold once decrypted: the runs are then one stream of whole
    blocks of 16 bytes, cut between volumes at any byte.
    """

    runs: tuple[Run, ...]
    length: int
    skip: int = 0
    cipher: Cipher | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """One file of an archive: *file* can be read and sought in, as cheaply as at its first bytes.

    Every other place costs an article, so a reader reads no more than the headers.
    """

    name: str
    size: int
    file: BinaryIO = field(repr=False)


class Mac(NamedTuple):
    """What RAR 5 states in place of an encrypted file's CRC-32: a *folded* HMAC of it.

    Its key comes of the password, *salt* and *shift* (`RarKeys.mac`).
    """

    salt: bytes
    shift: int
    folded: int

    def fits(self, crc32: int, key: bytes) -> bool:
        """Say whether *crc32* is that of the file."""
        folded = 0
        digest = hmac.digest(key, struct.pack("<L", crc32), "sha256")
        for (word,) in struct.iter_unpack("<L", digest):
            folded ^= word
        return folded == self.folded


@dataclass(frozen=True, slots=True)
class Inner:
    """A file in an archive. The stretches put together are its *size* bytes.

    *name* is its path, with "/", as the archive has it: not made safe. A run's `posted` is the
    index of a volume, in the order in which the volumes were given. *modified* is in seconds
    since 1970. *crc32* is that of the whole plain file, where the archive states it; or *mac* says
    of a CRC-32 whether it is the right one, where the archive keeps it from who has no password.
    """

    name: str
    size: int
    stretches: tuple[Stretch, ...]
    modified: float | None = None
    crc32: int | None = None
    mac: Mac | None = None
