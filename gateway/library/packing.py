"""How the library keeps what would be many rows: documents, part tables, stretches, as bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from gateway.errors import StorageError
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.extents import PartTable, Run

# A part table of 50 GB is read within milliseconds as long as it need not be inflated. Message-ids
# are mostly random (zlib halves them at best), so only long ones are worth it: with these
# figures a segment takes at most some 60 bytes here, beside some 30 in its document.
_INFLATED_BYTES_PER_PART = 60
_ZLIB_HEAD = 0x78  # a packed table begins with its version, 1
_RUN = struct.Struct("<IQQ")
# Version 1 is runs and nothing else: what is not encrypted. Version 2 is stretches: how many runs
# each has, its length, what it skips, and how long its key is; then the key and the iv, if it has
# one, and its runs.
_RUNS, _STRETCHES = b"\x01", b"\x02"
_STRETCH = struct.Struct("<IQQB")
_IV = 16


def pack_document(document: bytes) -> bytes:
    """Return *document* compressed: an NZB becomes 30 to 50 bytes a segment."""
    # Level 1: level 6 gains 5 to 9 % and takes twice as long, partly while the library is locked.
    return zlib.compress(document, 1)


def unpack_document(packed: bytes) -> bytes:
    """Return the document that `pack_document` compressed. Raises StorageError."""
    try:
        return zlib.decompress(packed)
    except zlib.error as error:
        raise StorageError(f"a stored NZB is damaged: {error}") from error


def pack_table(table: PartTable) -> bytes:
    """Return *table* as bytes, compressed where its message-ids are long."""
    packed = table.pack()
    if len(packed) > _INFLATED_BYTES_PER_PART * len(table):
        # Level 1: higher ones gain 2 % of random letters and take three times as long.
        return min(packed, zlib.compress(packed, 1), key=len)
    return packed


def unpack_table(packed: bytes) -> PartTable:
    """Return the table that `pack_table` made these bytes of. Raises StorageError."""
    try:
        return PartTable.unpack(zlib.decompress(packed) if packed[0] == _ZLIB_HEAD else packed)
    except (ValueError, IndexError, zlib.error) as error:
        raise StorageError(f"a stored part table is damaged: {error}") from error


def pack_stretches(stretches: Sequence[Stretch]) -> bytes:
    """Return *stretches* as bytes: 20 for each run, and 21 to 69 for each that is encrypted."""
    if all(one.cipher is None and not one.skip for one in stretches):
        return _RUNS + b"".join(_pack_runs(one.runs) for one in stretches)
    packed = [_STRETCHES]
    for one in stretches:
        key, iv = one.cipher or (b"", b"")
        packed.append(_STRETCH.pack(len(one.runs), one.length, one.skip, len(key)) + key + iv)
        packed.append(_pack_runs(one.runs))
    return b"".join(packed)


def _pack_runs(runs: Sequence[Run]) -> bytes:
    return b"".join(_RUN.pack(run.posted, run.offset, run.length) for run in runs)


def unpack_stretches(packed: bytes) -> tuple[Stretch, ...]:
    """Return what `pack_stretches` made these bytes of; neighbours not encrypted may be one.

    Raises StorageError.
    """
    try:
        if packed[:1] == _RUNS:
            runs = _unpack_runs(packed[1:])
            return (Stretch(runs, sum(run.length for run in runs)),) if runs else ()
        if packed[:1] != _STRETCHES:
            raise struct.error(f"version {packed[:1]!r}")
        return tuple(_unpack_stretches(packed))
    except struct.error as error:
        raise StorageError(f"stored runs of {len(packed)} bytes are damaged: {error}") from error


def _unpack_stretches(packed: bytes) -> Iterator[Stretch]:
    at = len(_STRETCHES)
    while at < len(packed):
        count, length, skip, key_size = _STRETCH.unpack_from(packed, at)
        at += _STRETCH.size
        cipher = None
        if key_size:
            key, iv = struct.unpack_from(f"{key_size}s{_IV}s", packed, at)
            at += key_size + _IV
            cipher = Cipher(key, iv)
        runs = _unpack_runs(packed[at : at + count * _RUN.size])
        at += count * _RUN.size
        if len(runs) != count:
            raise struct.error(f"{len(runs)} of {count} runs")
        yield Stretch(runs, length, skip, cipher)


def _unpack_runs(packed: bytes) -> tuple[Run, ...]:
    return tuple(Run(*fields) for fields in _RUN.iter_unpack(packed))
