"""The packed streams of a 7z archive: where they lie, and by what methods (7zFormat.txt).

py7zr reads the fields; what counts they claim is looked at before, as a packed header of a
hundred bytes may claim millions of anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, NamedTuple

from py7zr.archiveinfo import Folder, PackInfo, SubstreamsInfo, UnpackInfo, read_uint64
from py7zr.exceptions import Bad7zFile
from py7zr.properties import COMPRESSION_METHOD, PROPERTY

from gateway.errors import UnsupportedArchive

START = 32
"""The bytes before the first packed stream; offsets in the header count from behind them."""

_ENTRIES = 100_000

COPY: bytes = COMPRESSION_METHOD.COPY
AES: bytes = COMPRESSION_METHOD.CRYPT_AES256_SHA256
LZMA: bytes = COMPRESSION_METHOD.LZMA
LZMA2: bytes = COMPRESSION_METHOD.LZMA2
_NAMES: dict[bytes, str] = {
    LZMA: "LZMA",
    LZMA2: "LZMA2",
    COMPRESSION_METHOD.PPMD: "PPMd",
    COMPRESSION_METHOD.MISC_BZIP2: "BZip2",
    COMPRESSION_METHOD.MISC_DEFLATE: "Deflate",
    COMPRESSION_METHOD.MISC_DEFLATE64: "Deflate64",
    COMPRESSION_METHOD.MISC_ZSTD: "Zstandard",
    COMPRESSION_METHOD.MISC_BROTLI: "Brotli",
    COMPRESSION_METHOD.MISC_LZ4: "LZ4",
    COMPRESSION_METHOD.DELTA: "Delta",
    COMPRESSION_METHOD.P7Z_BCJ: "BCJ",
    COMPRESSION_METHOD.P7Z_BCJ2: "BCJ2",
    COMPRESSION_METHOD.BCJ: "BCJ",
    COMPRESSION_METHOD.BCJ_ARM: "ARM",
    COMPRESSION_METHOD.BCJ_ARMT: "ARMT",
    COMPRESSION_METHOD.BCJ_PPC: "PPC",
}


class Coder(NamedTuple):
    """A *method* with its *properties*, of which *size* bytes come out."""

    method: bytes
    properties: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A row of files that is stored as one stream: *length* bytes at *begin* of the archive.

    *coders* lead from what is stored to what is plain; *sizes* and *crcs* are of each file.
    """

    begin: int
    length: int
    coders: tuple[Coder, ...]
    sizes: tuple[int, ...]
    crcs: tuple[int | None, ...]

    @property
    def is_stored(self) -> bool:
        """Whether the files' bytes are there as they are, or merely encrypted."""
        return {coder.method for coder in self.coders} <= {COPY, AES}


def method_name(method: bytes) -> str:
    """Return the name of a coder's method for people."""
    return _NAMES.get(method) or f"method {method.hex()}"


def check_count(count: int) -> None:
    """Raise UnsupportedArchive for more entries than are read."""
    if count > _ENTRIES:
        raise UnsupportedArchive(
            f"the 7z archive claims {count:,} entries: more than {_ENTRIES:,} are not read"
        )


def read_streams(buffer: BinaryIO, end: int) -> tuple[Packed, ...]:
    """Read the description of streams that all lie before *end*.

    Raises UnsupportedArchive, and as py7zr does for bytes that are none.
    """
    packed = folders = files = None
    what = buffer.read(1)
    if what == PROPERTY.PACK_INFO:
        packed = PackInfo.retrieve(buffer)
        what = buffer.read(1)
    if what == PROPERTY.UNPACK_INFO:
        begin = buffer.tell()
        buffer.read(1)
        check_count(read_uint64(buffer))
        buffer.seek(begin)
        folders = UnpackInfo.retrieve(buffer)
        what = buffer.read(1)
    if what == PROPERTY.SUBSTREAMS_INFO and folders is not None:
        begin = buffer.tell()
        if buffer.read(1) == PROPERTY.NUM_UNPACK_STREAM:
            check_count(sum(read_uint64(buffer) for _ in folders.folders))
        buffer.seek(begin)
        files = SubstreamsInfo.retrieve(buffer, folders.numfolders, folders.folders)
        what = buffer.read(1)
    if what != PROPERTY.END:
        raise Bad7zFile(f"property {what!r} among the streams")
    if packed is None or folders is None:
        return ()
    return rows_of(packed, folders, files, end)


def rows_of(
    packed: PackInfo, unpacked: UnpackInfo, files: SubstreamsInfo | None, end: int
) -> tuple[Packed, ...]:
    """Return what these describe, all of it before *end*. Raises Bad7zFile."""
    folders: list[Folder] = unpacked.folders
    taken = sum(len(folder.packed_indices) for folder in folders)
    if len(packed.packsizes) != taken:
        raise Bad7zFile(f"{len(packed.packsizes)} streams where {taken} are used")
    counts = files.num_unpackstreams_folders if files else [1] * len(folders)
    if len(counts) != len(folders):
        raise Bad7zFile(f"files of {len(counts)} rows, where {len(folders)} are")
    lengths = iter(packed.packsizes)
    stated = iter(files.unpacksizes) if files and files.unpacksizes is not None else None
    digests = zip(files.digestsdefined, files.digests, strict=True) if files else iter(())
    begin = START + packed.packpos
    rows = []
    for folder, count in zip(folders, counts, strict=True):
        length = sum(islice(lengths, len(folder.packed_indices)))
        if begin + length > end:
            raise Bad7zFile(f"a stream of {length:,} bytes at {begin:,} of {end:,}")
        whole = folder.get_unpack_size()
        # py7zr has a size even for a row without a file.
        sizes = [whole] * count if stated is None else [next(stated) for _ in range(count or 1)]
        if count and (min(sizes) < 0 or sum(sizes) != whole):
            raise Bad7zFile(f"files of {sum(sizes):,} bytes in a row of {whole:,}")
        crcs = [crc if known else None for known, crc in islice(digests, count)]
        if count == 1 and folder.digestdefined:
            crcs = [folder.crc]
        coders = tuple(_coder(folder, number) for number in _chain(folder))
        crcs += [None] * (count - len(crcs))
        rows.append(Packed(begin, length, coders, tuple(sizes[:count]), tuple(crcs)))
        begin += length
    return tuple(rows)


def _coder(folder: Folder, number: int) -> Coder:
    coder = folder.coders[number]
    return Coder(coder["method"], coder["properties"] or b"", folder.unpacksizes[number])


def _chain(folder: Folder) -> Sequence[int]:
    """Return the numbers of the coders of *folder*, from what is stored to what is plain.

    In no order where one of them has several streams, as BCJ2 has: that is nothing stored.
    """
    every = range(len(folder.coders))
    if any(coder["numinstreams"] != 1 or coder["numoutstreams"] != 1 for coder in folder.coders):
        return every
    following = {bond.outcoder: bond.incoder for bond in folder.bindpairs}
    chain = list(folder.packed_indices)
    while len(chain) < len(every) and chain[-1] in following:
        chain.append(following[chain[-1]])
    if sorted(chain) != list(every):
        raise Bad7zFile(f"{len(every)} methods that are not bound to a row")
    return chain
