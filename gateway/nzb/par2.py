"""par2 files (Parity Volume Set Specification 2.0): what they tell of the files they protect.

A par2 file is a row of packets, each with its own length and MD5; those that describe files are
repeated in every par2 file of a set. Nothing is believed but whole packets whose MD5 is right, so
whatever is damaged, cut off or lies is passed over, and the rest counts.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MAGIC = b"PAR2\0PKT"
_HEADER = struct.Struct("<8sQ16s16s16s")  # magic, length, MD5 of all that follows, set, type
_MAIN = b"PAR 2.0\0Main\0\0\0\0"
_FILE = b"PAR 2.0\0FileDesc"
_NAME = b"PAR 2.0\0UniFileN"
_SLICES = b"PAR 2.0\0IFSC\0\0\0\0"
_RECOVERY = b"PAR 2.0\0RecvSlic"
_TOLD = struct.Struct("<16s16s16sQ")  # id, MD5, MD5 of the first 16 KiB, size
_SLICE = struct.Struct("<16sI")
_MOST_FILES = 32_768  # of a set; what the specification's recovery data can protect
_NAME_BYTES = 4096  # a name longer than this is none
_HASHED = 4  # times the length of a file: packets that lie in one another are an attack


class Slice(NamedTuple):
    """The checksums of one slice of a file; the last one is filled up with zeros."""

    md5: bytes
    crc32: int


@dataclass(slots=True)
class Described:
    """A file of a set, as it was before it was posted. *md5_16k* is that of its first 16 KiB."""

    name: str
    size: int
    md5: bytes
    md5_16k: bytes
    slices: tuple[Slice, ...] = ()


@dataclass(slots=True)
class Par2Set:
    """A set: what its par2 files told of it. *slice_size* is 0 where nothing told it.

    *protected* are the ids of the files that its recovery blocks are of; it may name others.
    """

    slice_size: int = 0
    protected: frozenset[bytes] = frozenset()
    files: dict[bytes, Described] = field(default_factory=dict)


def read(contents: Iterable[bytes]) -> dict[bytes, Par2Set]:
    """Return by their ids the sets that these par2 files, or beginnings of them, tell of.

    Raises nothing, whatever the bytes.
    """
    found: dict[bytes, Par2Set] = {}
    names: dict[tuple[bytes, bytes], str] = {}
    slices: dict[tuple[bytes, bytes], tuple[Slice, ...]] = {}
    for set_id, kind, body in (packet for data in contents for packet in _packets(data)):
        one = found.setdefault(set_id, Par2Set())
        if kind == _MAIN and len(body) >= 8:
            one.slice_size = int.from_bytes(body[:8], "little")
            count = min(int.from_bytes(body[8:12], "little"), _MOST_FILES)
            ids = body[12 : 12 + 16 * count]
            one.protected = frozenset(ids[at : at + 16] for at in range(0, len(ids), 16))
        elif kind == _FILE and len(body) > _TOLD.size:
            file_id, md5, md5_16k, size = _TOLD.unpack_from(body)
            if len(one.files) < _MOST_FILES:
                name = _text(body[_TOLD.size : _TOLD.size + _NAME_BYTES])
                one.files.setdefault(file_id, Described(name, size, md5, md5_16k))
        elif kind == _NAME:
            names[set_id, body[:16]] = body[16 : 16 + _NAME_BYTES].decode("utf-16-le", "replace")
        elif kind == _SLICES:
            whole = len(body) - (len(body) - 16) % _SLICE.size
            slices[set_id, body[:16]] = tuple(
                Slice(md5, crc) for md5, crc in _SLICE.iter_unpack(body[16:whole])
            )
    for set_id, one in found.items():
        for file_id, file in one.files.items():
            file.name = names.get((set_id, file_id), file.name).rstrip("\0")
            file.slices = slices.get((set_id, file_id), ())
    return found


def set_id(head: bytes) -> bytes:
    """Return the id of the set that the par2 file is of which begins with *head*."""
    return head[32:48] if head.startswith(MAGIC) else b""


def recovery_blocks(data: bytes) -> dict[bytes, set[int]]:
    """Return the exponents of the recovery blocks in a par2 file, by the sets that they are of.

    They are not looked at, only passed: what is wrong with one shows when it is used.
    """
    found: dict[bytes, set[int]] = {}
    at = data.find(MAGIC)
    while 0 <= at <= len(data) - _HEADER.size:
        _, length, _, set_id, kind = _HEADER.unpack_from(data, at)
        end = at + length
        if length < _HEADER.size or length % 4 or end > len(data):
            at = data.find(MAGIC, at + len(MAGIC))
            continue
        if kind == _RECOVERY and length > _HEADER.size + 4:
            exponent = int.from_bytes(data[at + _HEADER.size : at + _HEADER.size + 4], "little")
            found.setdefault(set_id, set()).add(exponent)
        at = data.find(MAGIC, end)
    return found


def _packets(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give the set, the kind and the contents of each whole packet in *data*."""
    at, hashed = data.find(MAGIC), 0
    while 0 <= at <= len(data) - _HEADER.size and hashed <= _HASHED * len(data):
        _, length, md5, set_id, kind = _HEADER.unpack_from(data, at)
        end = at + length
        # Recovery data is most of a file, and is not looked at: what counts is told elsewhere.
        if length >= _HEADER.size and length % 4 == 0 and end <= len(data):
            if kind not in (_MAIN, _FILE, _NAME, _SLICES):
                at = data.find(MAGIC, end)
                continue
            after_md5 = memoryview(data)[at + 32 : end]
            hashed += length
            if hashlib.md5(after_md5, usedforsecurity=False).digest() == md5:
                yield set_id, kind, data[at + _HEADER.size : end]
                at = data.find(MAGIC, end)
                continue
        at = data.find(MAGIC, at + len(MAGIC))


def _text(name: bytes) -> str:
    """Return a name that the specification wants in ASCII, and that comes in anything."""
    name = name.split(b"\0", 1)[0]
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp1252", "replace")
