"""The header of a 7z archive (7zFormat.txt): read whole, within bounds, before anything is made.

It lies at the end; 32 bytes at the beginning say where. It may be packed and encrypted itself.
"""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from py7zr.archiveinfo import FilesInfo, HeaderStreamsInfo, SignatureHeader, read_uint64
from py7zr.compressor import SevenZipDecompressor
from py7zr.exceptions import ArchiveError, Bad7zFile
from py7zr.helpers import calculate_crc32
from py7zr.properties import MAGIC_7Z, PROPERTY

from gateway.errors import ImportFailed, IncompletePost, UnsupportedArchive, WrongPassword
from gateway.nzb.cbc import BLOCK, decryptor
from gateway.nzb.sevenzip_keys import Keys
from gateway.nzb.sevenzip_streams import (
    AES,
    COPY,
    LZMA,
    LZMA2,
    START,
    Packed,
    check_count,
    method_name,
    read_streams,
    rows_of,
)

_LIMIT = 16 << 20  # of a header, packed or not: 100,000 files with names of 50 letters
_LEVELS = 4  # of headers packed in headers; 7-Zip makes one
_DICTIONARY = 64 << 20
# What py7zr and the libraries under it raise for bytes that are no header.
_UNREADABLE = (
    ArchiveError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the archive has: *entries* as py7zr describes them, *streams* in their order."""

    streams: tuple[Packed, ...]
    entries: Sequence[dict[str, Any]]
    empty_files: Sequence[bool]


def read_header(file: BinaryIO, size: int, keys: Keys) -> Header:
    """Return the header of the archive in *file*, which has *size* bytes.

    Raises IncompletePost where the file ends before the archive does, WrongPassword,
    UnsupportedArchive for a header that is packed as 7-Zip never would, ImportFailed for
    anything that is no header.
    """
    begin, length, crc = _start(file, size)
    if not length:
        return Header((), (), ())
    file.seek(begin)
    header = file.read(length)
    if calculate_crc32(header) != crc:
        raise ImportFailed("the header of the 7z archive is damaged: its CRC does not match")
    encrypted = False
    try:
        for _ in range(_LEVELS):
            if header[:1] != PROPERTY.ENCODED_HEADER:
                return _parse(header, begin)
            header, by_password = _unpack(file, begin, header, keys)
            encrypted |= by_password
    except _UNREADABLE as exc:
        if encrypted:
            raise _wrong() from exc
        raise ImportFailed(f"the header of the 7z archive cannot be read: {exc}") from exc
    raise UnsupportedArchive(f"the header of the 7z archive is packed more than {_LEVELS} times")


def _wrong() -> WrongPassword:
    return WrongPassword("none of the known passwords opens the header of the 7z archive")


def _start(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Return where the header begins, its length and its CRC."""
    file.seek(0)
    start = file.read(START)
    if start[: len(MAGIC_7Z)] != MAGIC_7Z:
        raise ImportFailed(f"no 7z archive: begins with {start[:6]!r}")
    if len(start) < START:
        raise IncompletePost(f"the 7z archive ends within its first {START} bytes")
    try:
        found = SignatureHeader.retrieve(io.BytesIO(start))
    except _UNREADABLE as exc:
        raise ImportFailed(f"the beginning of the 7z archive is damaged: {exc}") from exc
    if calculate_crc32(start[12:]) != found.startheadercrc:
        raise ImportFailed("the beginning of the 7z archive is damaged: its CRC does not match")
    begin, length = START + found.nextheaderofs, found.nextheadersize
    if length > _LIMIT:
        raise UnsupportedArchive(f"the header of the 7z archive has {length:,} bytes: too many")
    if begin + length > size:
        raise IncompletePost(
            f"the 7z archive has {begin + length:,} bytes, of which its volumes have {size:,}: "
            "the last of them are missing"
        )
    return begin, length, found.nextheadercrc


def _unpack(file: BinaryIO, end: int, header: bytes, keys: Keys) -> tuple[bytes, bool]:
    """Return the header that the streams in *header* hold, and whether it was encrypted."""
    buffer = io.BytesIO(header[1:])
    info = HeaderStreamsInfo.retrieve(buffer)
    if info.packinfo is None or info.unpackinfo is None:
        raise Bad7zFile("a packed header without a stream")
    (stream,) = rows_of(info.packinfo, info.unpackinfo, None, end)
    (folder,) = info.unpackinfo.folders
    file.seek(stream.begin)
    data, encrypted = file.read(min(stream.length, _LIMIT)), False
    for method, properties, unpacked in stream.coders:
        if unpacked > _LIMIT:
            raise UnsupportedArchive(
                f"the header of the 7z archive has {unpacked:,} bytes once unpacked: too many"
            )
        if method == AES:
            encrypted = True
            cipher = keys.cipher(properties)
            data = decryptor(cipher).update(data[: len(data) // BLOCK * BLOCK])[:unpacked]
        elif method in (LZMA, LZMA2):
            try:
                data = _decompress(method, properties, data, unpacked)
            except _UNREADABLE as exc:
                if encrypted:
                    raise _wrong() from exc
                raise
        elif method != COPY:
            raise UnsupportedArchive(
                f"the header of the 7z archive is compressed with {method_name(method)}"
            )
    if folder.digestdefined and folder.crc != calculate_crc32(data):
        if encrypted:
            raise _wrong()
        raise Bad7zFile("its CRC does not match")
    return data, encrypted


def _decompress(method: bytes, properties: bytes, data: bytes, size: int) -> bytes:
    if method == LZMA:
        (dictionary,) = struct.unpack_from("<I", properties, 1)
    else:
        dictionary = (2 | properties[0] & 1) << (properties[0] // 2 + 11)
    if dictionary > _DICTIONARY:
        raise Bad7zFile(f"a header with a dictionary of {dictionary:,} bytes")
    coder = {"method": method, "properties": properties, "numinstreams": 1, "numoutstreams": 1}
    decompressor = SevenZipDecompressor([coder], len(data), [size], None)
    packed, plain = io.BytesIO(data), bytearray()
    while len(plain) < size:
        more = decompressor.decompress(packed, max_length=size - len(plain))
        if not more and packed.tell() == len(data):
            raise Bad7zFile(f"it ends after {len(plain):,} of {size:,} bytes")
        plain += more
    return bytes(plain)


def _parse(header: bytes, end: int) -> Header:
    buffer = io.BytesIO(header)
    if buffer.read(1) != PROPERTY.HEADER:
        raise Bad7zFile("it is no header")
    streams: tuple[Packed, ...] = ()
    entries: Sequence[dict[str, Any]] = ()
    empty_files: Sequence[bool] = ()
    what = buffer.read(1)
    if what == PROPERTY.MAIN_STREAMS_INFO:
        streams = read_streams(buffer, end)
        what = buffer.read(1)
    if what == PROPERTY.FILES_INFO:
        _check_files(buffer)
        found = FilesInfo.retrieve(buffer)
        entries, empty_files = found.files, found.emptyfiles
        what = buffer.read(1)
    if what != PROPERTY.END:
        raise Bad7zFile(f"property {what!r} where it should end")
    return Header(streams, entries, empty_files)


def _check_files(buffer: BinaryIO) -> None:
    """Look through what follows without reading it: every property once, so many entries."""
    begin = buffer.tell()
    check_count(read_uint64(buffer))
    seen = {PROPERTY.END}
    while (what := buffer.read(1)) not in seen:
        if what != PROPERTY.DUMMY:
            seen.add(what)
        buffer.seek(read_uint64(buffer), io.SEEK_CUR)
    if what != PROPERTY.END:
        raise Bad7zFile(f"property {what!r} comes twice")
    buffer.seek(begin)
