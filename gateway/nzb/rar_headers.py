"""The headers of one RAR volume, read by `rarfile`'s parsers and by nothing else of it.

`rarfile.RarFile` would do more than is wanted of a stranger's bytes: it looks for a signature in
two megabytes, unpacks comments by starting `unrar`, and derives a key for every volume in slow
Python. So its two parsers are driven directly, with those steps taken out, and with the rule by
which a volume costs little: what lies behind a file that goes on in the next volume is not
looked at, because only the end block is there, and that lies in another article.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import rarfile

from gateway.errors import ImportFailed, IncompletePost, UnsupportedArchive, WrongPassword
from gateway.nzb.archive import Volume
from gateway.nzb.rar_keys import RarKeys

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
    *hidden* are directories, links and older versions. *crc32* is the whole file's in its last
    piece only.
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
    encryption: Encryption | None
    crc32: int | None
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
    kind = _Rar4 if version == 4 else _Rar5
    parser = kind(volume, keys, start, limit=limit, to_the_end=to_the_end)
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


class _Collecting:
    """What the parsers of both versions are to do differently; to be put before one of them."""

    # Of rarfile's parser.
    _main: Any
    _hdrenc_main: Any
    _parse_error: str | None

    def __init__(
        self, volume: Volume, keys: RarKeys, start: int, *, limit: int, to_the_end: bool
    ) -> None:
        # The parser wants to know that there is a password; what needs it is overridden below.
        password = "given" if keys.given else None
        parse: Any = super().__init__
        parse(volume.file, password, True, "windows-1252", False, None, start, True)
        self.files: list[Any] = []
        self.blocks = 0
        self._volume = volume
        self._keys = keys
        self._limit = limit
        self._to_the_end = to_the_end
        self._stopped = False
        self._end: Any = None
        self._opened = False  # a header behind the main one was understood

    @property
    def main(self) -> Any:
        return self._main

    def parse(self) -> None:
        parse: Any = super()
        parse.parse()

    def _parse_header(self, fd: Any) -> Any:
        if self._stopped:
            return None
        parse: Any = super()
        return parse._parse_header(fd)

    def process_entry(self, _fd: Any, item: Any) -> None:
        """Keep *item*; rarfile's own would read comments, and start a program to unpack them."""
        self.blocks += 1
        if self.blocks > self._limit:
            raise ImportFailed(f'"{self._volume.name}" brings more entries than can be: {_MANY}')
        end = item.data_offset + item.add_size
        if end > self._volume.size:
            raise IncompletePost(
                f'"{self._volume.name}" is cut short: '
                f"it has {self._volume.size:,} bytes, and its headers name {end:,}"
            )
        self._opened |= item is not self._hdrenc_main and self._is_locked(item)
        if item.type == rarfile.RAR_BLOCK_FILE:
            self.files.append(item)
            goes_on = bool(item.flags & rarfile.RAR_FILE_SPLIT_AFTER)
            self._stopped = goes_on and not self._to_the_end
        elif item.type == rarfile.RAR_BLOCK_ENDARC:
            self._end = item

    def _is_locked(self, item: Any) -> bool:
        """Say whether *item* came out of an encrypted header."""
        if self._hdrenc_main is not None:
            return True
        main = self._main
        return main is not None and item is not main and main.flags & rarfile.RAR_MAIN_PASSWORD > 0

    def refuse_if_locked(self) -> None:
        """Raise WrongPassword if headers are encrypted and not one of them could be read."""
        locked = self._hdrenc_main is not None or (
            self._main is not None and self._main.flags & rarfile.RAR_MAIN_PASSWORD
        )
        if locked and not self._opened:
            raise _locked(self._volume.name, self._keys)

    def check_end(self) -> None:
        """Raise unless the headers were read up to where they end, or need not be."""
        self.refuse_if_locked()
        if self._main is None:
            raise ImportFailed(f'"{self._volume.name}" has no main header: damaged or cut short')
        if self._end is None and not self._stopped and self._is_cut():
            last = self._parse_error or "no end of archive"
            raise ImportFailed(f'the headers of "{self._volume.name}" break off: {last}')

    def _is_cut(self) -> bool:
        raise NotImplementedError

    def number(self) -> int | None:
        raise NotImplementedError

    def more(self) -> bool | None:
        if self.files and self.files[-1].flags & rarfile.RAR_FILE_SPLIT_AFTER:
            return True
        if self._end is None:
            return None
        return bool(self._end.flags & rarfile.RAR_ENDARC_NEXT_VOLUME)


class _Rar4(_Collecting, rarfile.RAR3Parser):  # type: ignore[misc]
    def _parse_subblocks(self, _header: Any, _data: bytes, pos: int) -> int:
        return pos  # comments of RAR 2, which rarfile would have unpacked by a program

    def _decrypt_header(self, fd: Any) -> Any:
        key, iv = self._keys.rar3(fd.read(8))
        return rarfile.HeaderDecrypt(fd, key, iv)

    def _is_cut(self) -> bool:
        return self._parse_error is not None  # RAR 2 had no end block

    def number(self) -> int | None:
        if self._main.flags & rarfile.RAR_MAIN_FIRSTVOLUME:
            return 0
        return None if self._end is None else self._end.endarc_volnr


class _Rar5(_Collecting, rarfile.RAR5Parser):  # type: ignore[misc]
    def _gen_key(self, shift: int, salt: bytes) -> bytes:
        return self._keys.rar5(salt, shift)

    def _check_password(self, check: bytes, shift: int, salt: bytes) -> None:
        if not self._keys.opens(check, salt, shift):
            raise _locked(self._volume.name, self._keys)

    def _parse_encryption_block(self, header: Any, data: bytes, pos: int) -> Any:
        algorithm, _ = rarfile.load_vint(data, pos)
        if algorithm != rarfile.RAR5_XENC_CIPHER_AES256:
            raise UnsupportedArchive(
                f'the headers of "{self._volume.name}" are encrypted in a way '
                f"that is not known (algorithm {algorithm})"
            )
        return super()._parse_encryption_block(header, data, pos)

    def _parse_file_xtime(self, header: Any, data: bytes, pos: int) -> None:
        try:
            super()._parse_file_xtime(header, data, pos)
        except (ValueError, OverflowError, OSError):
            header.mtime = None  # a year that no calendar has is no reason to lose the file

    def _is_cut(self) -> bool:
        return True  # RAR 5 always writes an end block

    def number(self) -> int | None:
        if not self._main.flags & rarfile.RAR_MAIN_VOLUME:
            return None
        number: int | None = self._main.main_volume_number
        return number or 0


_MANY = "damaged, or made to keep readers busy"


def _locked(name: str, keys: RarKeys) -> WrongPassword:
    why = "the known password does not open them" if keys.given else "no password is known"
    return WrongPassword(f'the headers of "{name}" are encrypted, and {why}')


def _piece(item: Any, version: int) -> Piece:
    hidden = item.is_dir() or item.is_symlink() or item.file_redir is not None
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
        encryption=_encryption(item, version) if item.needs_password() else None,
        crc32=None if is_mac else item.CRC,
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
