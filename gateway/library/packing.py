"""How the library keeps what would be many rows: documents, part tables and runs, as bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from gateway.errors import StorageError
from gateway.nzb.extents import PartTable, Run

# A part table of 50 GB is read within milliseconds as long as it need not be inflated. Message-ids
# are mostly random (zlib halves them at best), so only long ones are worth it: with these
# figures a segment takes at most some 60 bytes here, beside some 30 in its document.
_INFLATED_BYTES_PER_PART = 60
_ZLIB_HEAD = 0x78  # a packed table begins with its version, 1
_RUN = struct.Struct("<IQQ")
_RUNS_VERSION = b"\x01"


def pack_document(document: bytes) -> bytes:
    """Return *document* compressed: an NZB becomes 30 to 45 bytes a segment."""
    return zlib.compress(document, 6)


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


def pack_runs(runs: Sequence[Run]) -> bytes:
    """Return *runs* as bytes, 20 for each."""
    packed = (_RUN.pack(run.posted, run.offset, run.length) for run in runs)
    return _RUNS_VERSION + b"".join(packed)


def unpack_runs(packed: bytes) -> tuple[Run, ...]:
    """Return the runs that `pack_runs` made these bytes of. Raises StorageError."""
    try:
        if packed[:1] != _RUNS_VERSION:
            raise struct.error(f"version {packed[:1]!r}")
        return tuple(Run(*fields) for fields in _RUN.iter_unpack(packed[1:]))
    except struct.error as error:
        raise StorageError(f"stored runs of {len(packed)} bytes are damaged: {error}") from error
