"""7z archives whose contents are stored: method Copy, encrypted or not, in one file or cut.

Of an archive its first 32 bytes and its header are read, and of an encrypted one 32 bytes more.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, BinaryIO

from gateway.errors import ImportFailed, UnsupportedArchive, WrongPassword
from gateway.nzb.archive import Cipher, Inner, Stretch, Volume
from gateway.nzb.cbc import BLOCK, decrypt
from gateway.nzb.nesting import row_of, view
from gateway.nzb.sevenzip_header import Header, read_header
from gateway.nzb.sevenzip_keys import Keys
from gateway.nzb.sevenzip_streams import AES, COPY, Packed, method_name
from gateway.nzb.stretches import Chain, take

_Content = tuple[Stretch, int | None] | None  # a file's bytes and their CRC; None: compressed
_DIRECTORY = 0x10  # Windows' attribute
_UNIX = 0x8000  # the upper 16 bits are the mode of Unix
_FILETIME_1970 = 11_644_473_600


def read(volumes: Sequence[Volume], password: str | None = None) -> list[Inner]:
    """Return the files in the archive that *volumes*, in their order, are the pieces of.

    Empty files are among them. Folders and links are left out; so are compressed files, as long
    as each is less than half as large as the largest file.

    Raises UnsupportedArchive where a larger one is compressed or there are absurdly many
    entries, IncompletePost where volumes are missing at the end, and ImportFailed for a header
    that lies or is none. WrongPassword where the password shows to be wrong: always where the
    header is encrypted, of data alone in 15 of 16 archives; else only a file's CRC-32 or its
    first bytes show it.
    """
    row = row_of(volumes)
    file, keys = view(row, volumes), Keys(password)
    header = read_header(file, row.size, keys)
    _refuse_compressed(header.streams)
    archive = Chain(run for stretch in row.stretches for run in stretch.runs)
    rows = [_Row(one, archive, keys) if one.is_stored else one for one in header.streams]
    _check_password(file, [one for one in rows if isinstance(one, _Row) and one.cipher])
    return [*_inners(header, (content for one in rows for content in _contents(one)))]


def _refuse_compressed(streams: Sequence[Packed]) -> None:
    largest = max((size for one in streams for size in one.sizes), default=0)
    for one in streams:
        if one.is_stored or 2 * max(one.sizes, default=-1) < largest:
            continue
        methods = (coder.method for coder in one.coders if coder.method not in (COPY, AES))
        raise UnsupportedArchive(
            f"the 7z archive is compressed ({' and '.join(map(method_name, methods))}) and cannot "
            'be streamed: a category of storage "download" unpacks it'
        )


def _contents(row: _Row | Packed) -> Iterator[_Content]:
    return row.contents() if isinstance(row, _Row) else repeat(None, len(row.sizes))


class _Row:
    """Where the files of one packed stream lie."""

    def __init__(self, packed: Packed, archive: Chain, keys: Keys) -> None:
        self.packed = packed
        self.cipher: Cipher | None = None
        if [coder.method for coder in packed.coders].count(AES) > 1:
            raise UnsupportedArchive("the 7z archive is encrypted twice over")
        size = sum(packed.sizes)
        for method, properties, unpacked in packed.coders:
            if method == AES:
                self.cipher = keys.cipher(properties)
            if not size <= unpacked <= packed.length:
                raise ImportFailed(
                    f"the 7z archive states sizes that cannot be: {unpacked:,} bytes of "
                    f"{packed.length:,} that are stored, for files of {size:,}"
                )
        self.padding = packed.length - size
        fits = 0 <= self.padding < BLOCK and not packed.length % BLOCK
        if packed.sizes and not (fits if self.cipher else self.padding == 0):
            raise ImportFailed(
                f"the 7z archive states sizes that cannot be: {size:,} bytes of files, "
                f"{packed.length:,} that are stored"
            )
        self._stretch = Stretch(archive.cut(packed.begin, packed.length), size, cipher=self.cipher)

    def contents(self) -> Iterator[_Content]:
        """Give the bytes of each file, and their CRC."""
        row, begin = Chain(self._stretch.runs), 0
        for size, crc in zip(self.packed.sizes, self.packed.crcs, strict=True):
            yield take(self._stretch, begin, size, row), crc
            begin += size


def _check_password(file: BinaryIO, rows: Sequence[_Row]) -> None:
    """Raise WrongPassword where zeros should fill up the last block, and do not.

    Nothing else tells without reading a whole file, and where nothing is to be filled up,
    nothing does. The last row ends where the header begins: to look at it costs no article more.
    """
    telling = [row for row in rows if row.padding and row.packed.sizes]
    if not telling:
        return
    row = max(telling, key=lambda row: (min(row.padding, 4), row.packed.begin))
    assert row.cipher is not None
    length = row.packed.length
    begin = max(0, length - 2 * BLOCK)
    file.seek(row.packed.begin + begin)
    end = decrypt(row.cipher, file.read(length - begin), begin, length - row.padding, row.padding)
    if any(end):
        raise WrongPassword("none of the known passwords opens the 7z archive")


def _inners(header: Header, contents: Iterable[_Content]) -> Iterator[Inner]:
    remaining, empty_files = iter(contents), iter(header.empty_files)
    for entry in header.entries:
        name, modified = entry.get("filename", ""), _modified(entry)
        if entry["emptystream"]:
            # A folder, unless it is said to be a file.
            if next(empty_files, False) and not _is_special(entry):
                yield Inner(name, 0, (), modified, 0)
            continue
        try:
            content = next(remaining)
        except StopIteration:
            raise ImportFailed("the 7z archive names more files than it has") from None
        if content is not None and not _is_special(entry):
            stretch, crc = content
            yield Inner(name, stretch.length, (stretch,) if stretch.length else (), modified, crc)
    if any(True for _ in remaining):
        raise ImportFailed("the 7z archive has more files than it names")


def _is_special(entry: dict[str, Any]) -> bool:
    """Say whether it is a folder, a link or a device."""
    attributes = entry.get("attributes") or 0
    mode = stat.S_IFMT(attributes >> 16) if attributes & _UNIX else 0
    return bool(attributes & _DIRECTORY) or mode not in (0, stat.S_IFREG)


def _modified(entry: dict[str, Any]) -> float | None:
    time = entry.get("lastwritetime")
    return None if time is None else int(time) / 10_000_000 - _FILETIME_1970
