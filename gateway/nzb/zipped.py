"""ZIP archives whose contents are stored (APPNOTE.TXT), zip64 too, in one file or cut.

Read are the end, the table of contents there, and the header before each file: only it says
where the file begins. What the two say of a file must agree.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import BinaryIO, cast

from gateway.errors import GatewayError, ImportFailed, UnsupportedArchive
from gateway.nzb.archive import Inner, Stretch, Volume
from gateway.nzb.nesting import row_of, view
from gateway.nzb.stretches import Chain

_LIMIT = 8 << 20  # of the table of contents: 100,000 files with names of 30 letters
_ENTRIES = 100_000
_LOCAL = struct.Struct("<4s5H3I2H")  # APPNOTE 4.3.7
_ENCRYPTED, _LATER, _MASKED = 0x1, 0x8, 0x2060  # flags: APPNOTE 4.4.4
_METHODS = {  # APPNOTE 4.4.5
    8: "Deflate",
    9: "Deflate64",
    12: "BZip2",
    14: "LZMA",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
}
_WINZIP_AES = 99
_ZIP64 = 0xFFFFFFFF
_OTHERWISE = 'can be streamed: a category of storage "download" unpacks it'
# What zipfile raises for bytes that are no ZIP.
_UNREADABLE = (
    zipfile.BadZipFile,
    ArithmeticError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
)


def read(volumes: Sequence[Volume], password: str | None = None) -> list[Inner]:  # noqa: ARG001
    """Return the files in the archive that *volumes*, in their order, are the pieces of.

    Empty files are among them. Folders and links are left out; so are compressed files, as long
    as each is less than half as large as the largest file.

    Raises UnsupportedArchive where a larger one is compressed, anything is encrypted, by whatever
    password, or there are absurdly many entries, and ImportFailed for what is cut off, lies, or
    is no ZIP.
    """
    row = row_of(volumes)
    file = view(row, volumes)
    try:
        archive = zipfile.ZipFile(cast("BinaryIO", _Bounded(file)))
    except GatewayError:
        raise
    except _UNREADABLE as exc:
        raise ImportFailed(f"the ZIP cannot be read, its end may be missing: {exc}") from exc
    entries = archive.infolist()
    if len(entries) > _ENTRIES:
        raise UnsupportedArchive(
            f"the ZIP has {len(entries):,} entries: more than {_ENTRIES:,} are not read"
        )
    files = [entry for entry in entries if not _is_special(entry)]
    largest = max((entry.file_size for entry in files), default=0)
    for entry in files:
        _refuse(entry, largest)
    # In the order of their bytes, so that small ones are found in one article.
    begins = {}
    reached = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < reached:
            raise ImportFailed(f'the ZIP lies: "{entry.filename}" is within another file')
        begin = begins[entry] = _begin(file, entry)
        reached = begin + entry.compress_size
        if reached > archive.start_dir:
            raise ImportFailed(
                f'the ZIP lies: "{entry.filename}" ends at byte {reached:,}, behind all files'
            )
    chain = Chain.of_volumes(volume.size for volume in volumes)
    stored = (entry for entry in files if entry.compress_type == zipfile.ZIP_STORED)
    return [_inner(entry, chain, begins[entry]) for entry in stored]


class _Bounded:
    """*file* for zipfile, which would read a table of contents of any size that is claimed."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > _LIMIT:
            raise UnsupportedArchive(f"the ZIP's table of contents has {size:,} bytes: too many")
        return self._file.read(_LIMIT if size < 0 else size)


def _refuse(entry: zipfile.ZipInfo, largest: int) -> None:
    name = entry.filename
    if entry.compress_type == _WINZIP_AES:
        raise UnsupportedArchive(f'"{name}" is encrypted with WinZip AES: no such ZIP {_OTHERWISE}')
    if entry.flag_bits & _ENCRYPTED:
        raise UnsupportedArchive(f'"{name}" is encrypted (ZipCrypto): no such ZIP {_OTHERWISE}')
    if entry.flag_bits & _MASKED:
        raise UnsupportedArchive(
            f'"{name}" is a patch, or strongly encrypted: nothing such is read'
        )
    if entry.volume:
        raise UnsupportedArchive(
            f"the ZIP is cut into disks (.z01, .z02): no such ZIP {_OTHERWISE}"
        )
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size != entry.file_size:
            raise ImportFailed(
                f'the ZIP lies: "{name}" has {entry.file_size:,} bytes, stored as '
                f"{entry.compress_size:,}"
            )
    elif 2 * entry.file_size >= largest:
        method = _METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        raise UnsupportedArchive(
            f'"{name}" is compressed ({method}), and only what is stored {_OTHERWISE}'
        )


def _begin(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of *entry* begin, as the header before them says."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise ImportFailed(f'the ZIP lies: "{entry.filename}" is behind its end')
    signature, _, flags, method, _, _, crc, stored, plain, names, extra = _LOCAL.unpack(header)
    # Zeros stand for what follows the data, and a size may be too large for its field.
    later = {0} if flags & _LATER else set()
    agrees = (
        signature == b"PK\3\4"
        and method == entry.compress_type
        and not (flags ^ entry.flag_bits) & (_ENCRYPTED | _MASKED)
        and crc in {entry.CRC} | later
        and stored in {entry.compress_size, _ZIP64} | later
        and plain in {entry.file_size, _ZIP64} | later
    )
    if not agrees:
        raise ImportFailed(
            f'the ZIP lies: "{entry.filename}" has another header than the table of contents says'
        )
    return entry.header_offset + _LOCAL.size + int(names) + int(extra)


def _inner(entry: zipfile.ZipInfo, chain: Chain, begin: int) -> Inner:
    size = entry.file_size
    stretches = (Stretch(chain.cut(begin, size), size),) if size else ()
    name = entry.filename.replace("\\", "/")
    return Inner(name, size, stretches, _modified(entry), entry.CRC)


def _is_special(entry: zipfile.ZipInfo) -> bool:
    """Say whether it is a folder, a link or a device."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return entry.filename.endswith("/") or kind not in (0, stat.S_IFREG)


def _modified(entry: zipfile.ZipInfo) -> float | None:
    try:
        # A clock on some wall, nobody says where.
        return datetime(*entry.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return None
