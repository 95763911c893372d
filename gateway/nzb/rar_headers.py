"""What the headers of one RAR volume say, as values."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import rarfile

from gateway.errors import ImportFailed, UnsupportedArchive
from gateway.nzb.archive import Volume
from gateway.nzb.rar_keys import RarKeys
from gateway.nzb.rar_parsers import Rar4Parser, Rar5Parser

_PARSERS = {4: Rar4Parser, 5: Rar5Parser}

_RAR4 = b"Rar!\x1a\x07\x00"
_RAR5 = b"Rar!\x1a\x07\x01\x00"
_RECOVERY = b"Rar!\x1aRev"  # a .rev file of RAR 5: repairs volumes, and is none
_RAR1 = b"RE~^"
# A self-extracting archive has the RAR behind a program.
_PROGRAMS = (b"MZ", b"\x7fELF")
_PROGRAM_NAMES = (".exe", ".sfx")
_LONGEST_PROGRAM = 1 << 20

_UNKNOWN_SIZES = (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)  # what RAR 4 states where it does not know
_OLDEST_AES = 29  # the version needed to extract what RAR 2.9 and later encrypt

# What rarfile lets through where bytes make no sense.
_NONSENSE = (rarfile.Error, struct.error, ValueError, ArithmeticError, LookupError)


class Encryption(NamedTuple):
    """How a file is encrypted. *shift* and *check* are RAR 5's; *known* says whether by AES."""

    known: bool
    salt: bytes
    iv: bytes = b""
    shift: int = 0
    check: bytes | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What one volume holds of a file: *packed* bytes from *offset* on.

    *size* is the whole file's, None where the archive does not know. *method* is 0 for stored,
    up to 5. *goes_on* and *continued*: a piece is in the next volume, or in the one before.
    *hidden* are directories, links and older versions, *link* those among them that lead to
    another file. *crc32* is the whole file's in its last piece only; *is_mac*: it is a MAC of it.
    """

    name: str
    size: int | None
    offset: int
    packed: int
    method: int
    solid: bool
    continued: bool
    goes_on: bool
    hidden: bool
    link: bool
    encryption: Encryption | None
    crc32: int | None
    is_mac: bool
    modified: float | None


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers of the volume number *index* of a call say.

    *version* is 4 or 5. *number* is counted from 0, None where it is not told, or where its place
    was not looked at. *more*: another volume follows; None where that is not told.
    """

    index: int
    name: str
    size: int
    version: int
    is_volume: bool
    is_first: bool
    number: int | None
    more: bool | None
    pieces: tuple[Piece, ...]
    blocks: int

    @property
    def end(self) -> int:
        """Where the data of the last piece ends."""
        return max((piece.offset + piece.packed for piece in self.pieces), default=0)


def read_headers(
    volume: Volume, index: int, keys: RarKeys, *, limit: int, to_the_end: bool = False
) -> Headers | None:
    """Return the headers of *volume*, None if it is a recovery volume.

    Without *to_the_end*, reading stops at a file that goes on in the next volume: in RAR 4 the
    volume's number comes after it. *limit* is how many blocks there may be.

    Raises WrongPassword when the headers are encrypted and *keys* do not open them,
    UnsupportedArchive, ImportFailed when they are damaged, IncompletePost when they tell of more
    than the volume has; and whatever its file raises.
    """
    found = _signature(volume)
    if found is None:
        return None
    version, start = found
    parser = _PARSERS[version](volume, keys, start, limit=limit, to_the_end=to_the_end)
    try:
        parser.parse()
    except _NONSENSE as exc:
        parser.refuse_if_locked()
        raise ImportFailed(f'the headers of "{volume.name}" are damaged: {exc}') from exc
    parser.check_end()
    main = parser.main
    return Headers(
        index,
        volume.name,
        volume.size,
        version,
        is_volume=bool(main.flags & rarfile.RAR_MAIN_VOLUME),
        is_first=version == 4 and bool(main.flags & rarfile.RAR_MAIN_FIRSTVOLUME),
        number=parser.number(),
        more=parser.more(),
        pieces=tuple(_piece(item, version) for item in parser.files),
        blocks=parser.blocks,
    )


def _signature(volume: Volume) -> tuple[int, int] | None:
    """Return the version of RAR and where it begins; None for a recovery volume."""
    volume.file.seek(0)
    head = volume.file.read(16)
    if head.startswith(_RECOVERY):
        return None
    if head.startswith(_PROGRAMS) or volume.name.lower().endswith(_PROGRAM_NAMES):
        volume.file.seek(0)
        program = volume.file.read(_LONGEST_PROGRAM)
        places = [(program.find(mark), v) for mark, v in ((_RAR4, 4), (_RAR5, 5))]
        found = sorted((place, v) for place, v in places if place >= 0)
        if found:
            return found[0][1], found[0][0]
    if head.startswith(_RAR4):
        return 4, 0
    if head.startswith(_RAR5):
        return 5, 0
    if head.startswith(_RAR1):
        raise UnsupportedArchive(f'"{volume.name}" is of RAR 1.4, which nothing here can read')
    raise ImportFailed(f'"{volume.name}" is no RAR volume: it begins with {head[:8].hex(" ")}')


def _piece(item: Any, version: int) -> Piece:
    link = item.is_symlink() or item.file_redir is not None
    hidden = item.is_dir() or link
    is_mac = False
    if version == 5:
        hidden = hidden or item.file_version is not None
        known = not item.file_flags & rarfile.RAR5_FILE_FLAG_UNKNOWN_SIZE
        is_mac = bool(item.file_encryption[1] & rarfile.RAR5_XENC_TWEAKED)
    else:
        hidden = hidden or bool(item.flags & rarfile.RAR_FILE_VERSION)
        known = item.file_size not in _UNKNOWN_SIZES
    return Piece(
        item.filename,
        item.file_size if known else None,
        item.data_offset,
        item.add_size,
        item.compress_type - rarfile.RAR_M0,
        solid=bool(item.flags & rarfile.RAR_FILE_SOLID),
        continued=bool(item.flags & rarfile.RAR_FILE_SPLIT_BEFORE),
        goes_on=bool(item.flags & rarfile.RAR_FILE_SPLIT_AFTER),
        hidden=hidden,
        link=link,
        encryption=_encryption(item, version) if item.needs_password() else None,
        crc32=item.CRC,
        is_mac=is_mac,
        modified=_modified(item),
    )


def _encryption(item: Any, version: int) -> Encryption:
    if version == 4:
        return Encryption(item.extract_version >= _OLDEST_AES, item.salt or b"")
    algorithm, _, shift, salt, iv, check = item.file_encryption
    return Encryption(algorithm == rarfile.RAR5_XENC_CIPHER_AES256, salt, iv, shift, check)


def _modified(item: Any) -> float | None:
    """Return when the file was last changed. RAR 4 tells local time of nobody knows where."""
    moment: datetime | None = item.mtime
    if moment is None and item.date_time is not None:
        moment = rarfile.to_datetime(item.date_time)
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
