"""Writes RAR 4 and RAR 5 archives of stored files as RARLAB's `rar -m0` does; nothing free does.

Single or in volumes, in both namings, with encrypted data or headers. From RARLAB's own
description of RAR 5, from what `unrar` takes for RAR 4, and from archives of the wild: sizes are
padded numbers, names of RAR 4 have backslashes, encrypted data is one stream that volumes cut at
any byte, and only a file's last piece has a checksum of the whole (in RAR 5 a MAC of it, where
the data is encrypted and the headers are not). 7z and libarchive check what comes out.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from zlib import crc32

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

MODIFIED = 1_600_000_001  # an odd second: the old time field of RAR 4 has none


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to put in, or a directory. Or, in RAR 5 alone, a symbolic link to *target*.

    *old_version*: an earlier version of a file, which an archive may keep. For archives that
    lie: *method* above 0 says that the data is compressed, *size* states another one, and
    *size_is_unknown* states none, as for data from a pipe.
    """

    name: str
    data: bytes = b""
    is_directory: bool = False
    target: str | None = None
    old_version: bool = False
    method: int = 0
    size: int | None = None
    size_is_unknown: bool = False
    modified: int = MODIFIED

    @property
    def stated_size(self) -> int:
        return len(self.data) if self.size is None else self.size


@dataclass(frozen=True, slots=True)
class Options:
    """How an archive is made. *volume_size*: cut into volumes of so many bytes.

    *numbered*: volumes of RAR 4 tell their number and an end, as all but the oldest do. *shift*:
    keys of RAR 5 take 2**shift rounds; RARLAB's 15 would make tests slow.
    """

    volume_size: int | None = None
    password: str | None = None
    encrypt_headers: bool = False
    comment: bytes = b""
    old_names: bool = False
    numbered: bool = True
    shift: int = 4


class _Format(Protocol):
    """What the two formats write differently. Lengths do not depend on the numbers written."""

    def opening(self, number: int) -> bytes: ...
    def packed(self, index: int, entry: Entry) -> bytes: ...
    def header(
        self, index: int, entry: Entry, piece: bytes, *, continued: bool, goes_on: bool
    ) -> bytes: ...
    def closing(self, number: int, volume: bytes, *, more: bool) -> bytes: ...


def rar4(
    entries: Sequence[Entry], options: Options = Options(), stem: str = "archive"
) -> list[tuple[str, bytes]]:
    """Return names and bytes of the volumes, in order."""
    return _named(_volumes(_Rar4(options), entries, options.volume_size), options, stem)


def rar5(
    entries: Sequence[Entry], options: Options = Options(), stem: str = "archive"
) -> list[tuple[str, bytes]]:
    """Return names and bytes of the volumes, in order."""
    return _named(_volumes(_Rar5(options), entries, options.volume_size), options, stem)


def _volumes(form: _Format, entries: Sequence[Entry], size: int | None) -> list[bytes]:
    volumes: list[bytes] = []
    body = empty = form.opening(0)
    for index, entry in enumerate(entries):
        packed = form.packed(index, entry)
        at, goes_on, continued = 0, True, False
        while goes_on:
            room = len(packed)
            if size is not None:
                header = form.header(index, entry, b"", continued=continued, goes_on=True)
                closing = form.closing(len(volumes), body, more=True)
                room = size - len(body) - len(header) - len(closing)
            if room < 0 or room < 16 <= len(packed):
                assert body != empty, "volumes too small for their headers"
                volumes.append(body + form.closing(len(volumes), body, more=True))
                body = empty = form.opening(len(volumes))
                continue
            piece = packed[at : at + room]
            at += len(piece)
            goes_on = at < len(packed)
            body += form.header(index, entry, piece, continued=continued, goes_on=goes_on) + piece
            continued = True
    return [*volumes, body + form.closing(len(volumes), body, more=False)]


def _named(volumes: list[bytes], options: Options, stem: str) -> list[tuple[str, bytes]]:
    if options.volume_size is None:
        return [(f"{stem}.rar", volumes[0])]
    if not options.old_names:
        width = len(str(len(volumes)))
        return [(f"{stem}.part{n:0{width}}.rar", one) for n, one in enumerate(volumes, 1)]
    endings = ["rar", *(f"{chr(ord('r') + n // 100)}{n % 100:02}" for n in range(len(volumes)))]
    return [(f"{stem}.{end}", one) for end, one in zip(endings, volumes, strict=False)]


def _encrypted(key: bytes, iv: bytes, data: bytes) -> bytes:
    return Cipher(AES(key), CBC(iv)).encryptor().update(data + bytes(-len(data) % 16))


def _made_up(what: str, length: int) -> bytes:
    """Return what is random in other people's archives, the same in every run."""
    return hashlib.sha256(what.encode()).digest()[:length]


# RAR 4 ---------------------------------------------------------------------------------------


@lru_cache
def rar3_key(password: str, salt: bytes) -> tuple[bytes, bytes]:
    """Return key and iv. Beyond 28 characters RAR mixes a bug of its own in: not done here."""
    seed = password.encode("utf-16-le") + salt
    assert len(seed) <= 64
    digest, iv = hashlib.sha1(), b""
    for turn in range(16):
        first, *rest = (n.to_bytes(3, "little") for n in range(turn << 14, (turn + 1) << 14))
        digest.update(seed + first)
        iv += digest.digest()[-1:]
        digest.update(seed + seed.join(rest))
    words = struct.unpack(">4L", digest.digest()[:16])
    return struct.pack("<4L", *words), iv


class _Rar4:
    _MAIN, _FILE, _SERVICE, _END = 0x73, 0x74, 0x7A, 0x7B

    def __init__(self, options: Options) -> None:
        self._options = options
        self._salt = _made_up("salt of RAR 4", 8) if options.password else b""
        self._key = rar3_key(options.password, self._salt) if options.password else (b"", b"")

    def _block(self, kind: int, flags: int, rest: bytes, *, locked: bool = True) -> bytes:
        block = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        block = struct.pack("<H", crc32(block) & 0xFFFF) + block
        if self._options.encrypt_headers and locked:
            return self._salt + _encrypted(*self._key, block)
        return block

    def opening(self, number: int) -> bytes:
        options = self._options
        flags = 0x80 if options.encrypt_headers else 0
        if options.volume_size is not None:
            flags |= 0x01 | (0 if options.old_names else 0x10)
            flags |= 0x100 if number == 0 and options.numbered else 0
        opening = b"Rar!\x1a\x07\x00" + self._block(self._MAIN, flags, bytes(6), locked=False)
        if options.comment and number == 0:
            comment = options.comment
            fixed = self._fixed(len(comment), len(comment), crc32(comment), 0, 0x30, 3, 0)
            opening += self._block(self._SERVICE, 0x8000, fixed + b"CMT") + comment
        return opening

    def packed(self, index: int, entry: Entry) -> bytes:
        return _encrypted(*self._key, entry.data) if self._options.password else entry.data

    def header(
        self, index: int, entry: Entry, piece: bytes, *, continued: bool, goes_on: bool
    ) -> bytes:
        name = entry.name.replace("/", "\\")
        flags = 0x9020 | (0x01 if continued else 0) | (0x02 if goes_on else 0)
        flags |= 0xE0 if entry.is_directory else 0
        flags |= 0x0800 if entry.old_version else 0
        size = 0xFFFF_FFFF_FFFF_FFFF if entry.size_is_unknown else entry.stated_size
        flags |= 0x0100 if size >> 32 else 0
        high = struct.pack("<LL", 0, size >> 32) if size >> 32 else b""
        encoded = name.encode("ascii", "replace")
        if not name.isascii():
            flags |= 0x0200
            wide = name.encode("utf-16-le")
            # A byte for four characters that says: both bytes of each follow. 0: the high byte.
            quads = (b"\xaa" + wide[at : at + 8] for at in range(0, len(wide), 8))
            encoded += b"\x00\x00" + b"".join(quads)
        extra = b""
        if self._options.password:
            flags |= 0x0404
            extra = self._salt
        crc = crc32(piece if goes_on else entry.data)
        mode = 0o40755 if entry.is_directory else 0o100644
        fixed = self._fixed(
            len(piece),
            size & 0xFFFF_FFFF,
            crc,
            _dos_time(entry.modified),
            0x30 + entry.method,
            len(encoded),
            mode,
        )
        odd = 0x4000 if entry.modified % 2 else 0
        times = struct.pack("<H", 0x8000 | odd)  # the time of change, and no fractions of it
        return self._block(self._FILE, flags, fixed + high + encoded + extra + times)

    def _fixed(
        self, packed: int, size: int, crc: int, time: int, method: int, name: int, mode: int
    ) -> bytes:
        return struct.pack("<LLBLLBBHL", packed, size, 3, crc, time, 29, method, name, mode)

    def closing(self, number: int, volume: bytes, *, more: bool) -> bytes:
        if self._options.volume_size is None:
            return self._block(self._END, 0x4000, b"")
        if not self._options.numbered:
            return b""
        flags = 0x400E | (0x01 if more else 0)
        rest = struct.pack("<LH", crc32(volume), number) + bytes(7)
        return self._block(self._END, flags, rest)


def _dos_time(seconds: int) -> int:
    """Return a time of 1980 to 2107, in UTC."""
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    date = (year - 1980) << 9 | month << 5 | day
    return date << 16 | hour << 11 | minute << 5 | second // 2


# RAR 5 ---------------------------------------------------------------------------------------


def vint(number: int, length: int = 1) -> bytes:
    """Return *number* in seven bits a byte, padded to *length* bytes."""
    groups: list[int] = []
    while number or len(groups) < length:
        groups.append(number & 0x7F)
        number >>= 7
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


class _Rar5:
    _MAIN, _FILE, _SERVICE, _LOCK, _END = 1, 2, 3, 4, 5
    _EXTRA, _DATA, _SKIP, _BEFORE, _AFTER = 1, 2, 4, 8, 16

    def __init__(self, options: Options) -> None:
        self._options = options
        self._blocks = 0
        if options.password:
            self._salt = _made_up("salt of RAR 5", 16)
            rounds = 1 << options.shift
            self._key, self._mac, check = (
                hashlib.pbkdf2_hmac("sha256", options.password.encode(), self._salt, n)
                for n in (rounds, rounds + 16, rounds + 32)
            )
            folded = bytearray(8)
            for place, byte in enumerate(check):
                folded[place % 8] ^= byte
            self._check = bytes(folded) + hashlib.sha256(folded).digest()[:4]

    def _block(self, kind: int, flags: int, rest: bytes, *, locked: bool = True) -> bytes:
        block = vint(kind) + vint(flags) + rest
        block = vint(len(block), 2 if len(block) > 100 else 1) + block
        block = struct.pack("<L", crc32(block)) + block
        if self._options.encrypt_headers and locked:
            self._blocks += 1
            iv = _made_up(f"iv of block {self._blocks}", 16)
            return iv + _encrypted(self._key, iv, block)
        return block

    def opening(self, number: int) -> bytes:
        options = self._options
        opening = b"Rar!\x1a\x07\x01\x00"
        if options.encrypt_headers:
            lock = vint(0) + vint(1) + bytes([options.shift]) + self._salt + self._check
            opening += self._block(self._LOCK, 0, lock, locked=False)
        flags = 0 if options.volume_size is None else 0x03 if number else 0x01
        locator = vint(1) + vint(1) + vint(0, 5)  # where quick-open data lies: nowhere
        locator = vint(len(locator)) + locator
        numbered = vint(number) if flags & 0x02 else b""
        rest = vint(len(locator)) + vint(flags) + numbered + locator
        opening += self._block(self._MAIN, self._EXTRA | self._SKIP, rest)
        if options.comment and number == 0:
            opening += self._service("CMT", options.comment + b"\0") + options.comment + b"\0"
        return opening

    def _service(self, name: str, data: bytes) -> bytes:
        flags = self._DATA | (self._SKIP if name == "QO" else 0)
        rest = vint(len(data), 3) + vint(0x04) + vint(len(data), 3) + vint(0)
        rest += struct.pack("<L", crc32(data)) + vint(0, 2) + vint(1)
        return self._block(self._SERVICE, flags, rest + vint(len(name)) + name.encode())

    def packed(self, index: int, entry: Entry) -> bytes:
        if not self._options.password or not entry.data:
            return entry.data
        return _encrypted(self._key, self._iv(index), entry.data)

    def _iv(self, index: int) -> bytes:
        return _made_up(f"iv of file {index}", 16)

    def header(
        self, index: int, entry: Entry, piece: bytes, *, continued: bool, goes_on: bool
    ) -> bytes:
        flags = self._DATA | (self._BEFORE if continued else 0) | (self._AFTER if goes_on else 0)
        crc = crc32(piece if goes_on else entry.data)
        records = []
        if self._options.password and entry.data:
            with_mac = not self._options.encrypt_headers and not goes_on
            if with_mac:
                crc = self._as_mac(crc)
            lock = vint(1) + vint(0) + vint(3 if with_mac else 1) + bytes([self._options.shift])
            records.append(lock + self._salt + self._iv(index) + self._check)
        if entry.old_version:
            records.append(vint(4) + vint(0) + vint(1))
        if entry.target is not None:
            target = entry.target.encode()
            records.append(vint(5) + vint(1) + vint(0) + vint(len(target)) + target)
        extra = b"".join(vint(len(record)) + record for record in records)
        kind = (0x01 if entry.is_directory else 0x04) | (0x08 if entry.size_is_unknown else 0)
        mode = 0o40755 if entry.is_directory else 0o100644
        rest = vint(len(extra)) if extra else b""
        rest += vint(len(piece), 4) + vint(kind | 0x02) + vint(entry.stated_size, 4) + vint(mode)
        rest += struct.pack("<L", entry.modified)
        rest += b"" if entry.is_directory else struct.pack("<L", crc)
        name = entry.name.encode()
        rest += vint(entry.method << 7, 2) + vint(1) + vint(len(name)) + name + extra
        return self._block(self._FILE, flags | (self._EXTRA if extra else 0), rest)

    def _as_mac(self, crc: int) -> int:
        digest = hmac.digest(self._mac, struct.pack("<L", crc), "sha256")
        folded = 0
        for (word,) in struct.iter_unpack("<L", digest):
            folded ^= word
        return folded

    def closing(self, number: int, volume: bytes, *, more: bool) -> bytes:
        closing = b""
        if not self._options.encrypt_headers:
            # Repeats headers, for who lists an archive; only its place matters here.
            data = bytes(23)
            closing = self._service("QO", data) + data
        closing += self._block(self._END, self._SKIP, vint(1 if more else 0))
        return closing + (b"" if self._options.volume_size is None else bytes(7))
