"""RAR 2 to 7: where the stored files of an archive lie in its volumes.

Nothing is unpacked, and next to nothing is read: the headers alone. Volumes may come in any order
and under any names, of several sets at once (`rar_sets`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.errors import ImportFailed, IncompletePost, UnsupportedArchive, WrongPassword
from gateway.nzb.archive import Cipher, Inner, Mac, Stretch, Volume
from gateway.nzb.extents import Run
from gateway.nzb.rar_headers import Encryption, Headers, Piece, read_headers
from gateway.nzb.rar_keys import RarKeys
from gateway.nzb.rar_sets import RarSet, arrange

_MOST_BLOCKS = 50_000  # of all volumes together: entries, and two to four blocks a volume
_BLOCK = 16  # of AES, in bytes

Ahead = Callable[[list[tuple[int, int]]], object]
_File = list[tuple[int, Piece]]  # of one file, the pieces and the indexes of their volumes


def read(
    volumes: Sequence[Volume], password: str | None, *, ahead: Ahead | None = None
) -> list[Inner]:
    """Return the stored files of all the archives that *volumes* make.

    What is read of each volume is its beginning, up to a file that goes on in the next. Where
    that does not tell the order, the ends of many are looked at one after the other: *ahead* is
    told before at which offset of which volume, for who can fetch all of them at once.

    Directories, links and older versions are left out. So are compressed files, as long as each
    is less than half as large as the largest file: a film's archive may hold a compressed .nfo.

    Raises UnsupportedArchive when a larger one is compressed, or encrypted in a way not known;
    WrongPassword when *password* does not open the headers, or the data of an archive that can
    tell; without either (RAR 4 tells nothing of data) only the files' CRC-32 or their first
    bytes show it. IncompletePost when a volume is missing or cut short, ImportFailed when the
    headers are damaged or contradict each other; and whatever the volumes' files raise.
    """
    keys = RarKeys(password)
    files = [file for one in _arranged(volumes, keys, ahead) for file in _files(one)]
    _refuse_compressed(files)
    return [_inner(file, keys) for file in files if _is_stored(file)]


def sets(
    volumes: Sequence[Volume], password: str | None, *, ahead: Ahead | None = None
) -> list[list[int]]:
    """Return the indexes of the volumes of each archive in order; some may be missing.

    Indexes that are in no set are recovery volumes, or copies of others. *ahead* is what it is to
    `read`. Raises as `read` does, but for what a set lacks or holds.
    """
    arranged = _arranged(volumes, RarKeys(password), ahead)
    return [[volume.index for volume in one.volumes] for one in arranged]


class Listed(NamedTuple):
    """A file in an archive as it is listed: *size* is None where the archive does not know.

    *link*: it has no bytes of its own, and stands for another file.
    """

    name: str
    size: int | None
    stored: bool
    encrypted: bool
    link: bool


def contents(volumes: Sequence[Volume], password: str | None) -> list[Listed]:
    """Return all files and links of all the archives that *volumes* make, compressed ones too.

    Older versions of a file are left out, and folders. Raises as `read` does, but for what is
    compressed, or encrypted behind headers that are not.
    """
    found = []
    for one in _arranged(volumes, RarKeys(password), None):
        links = {
            piece.name: piece for volume in one.volumes for piece in volume.pieces if piece.link
        }
        found += [
            Listed(name, None, piece.method == 0, piece.encryption is not None, link=True)
            for name, piece in links.items()
        ]
        for file in _files(one):
            first = file[0][1]
            found.append(
                Listed(
                    first.name,
                    first.size,
                    _is_stored(file),
                    first.encryption is not None,
                    link=False,
                )
            )
    return found


def _arranged(volumes: Sequence[Volume], keys: RarKeys, ahead: Ahead | None) -> list[RarSet]:
    def to_the_end(some: list[Headers]) -> list[Headers]:
        if ahead is not None:
            ahead([(one.index, one.end) for one in some])
        return _headers(volumes, [one.index for one in some], keys, to_the_end=True)

    return arrange(_headers(volumes, range(len(volumes)), keys), to_the_end)


def _headers(
    volumes: Sequence[Volume], indexes: Iterable[int], keys: RarKeys, *, to_the_end: bool = False
) -> list[Headers]:
    left = _MOST_BLOCKS
    headers: list[Headers] = []
    for index in indexes:
        found = read_headers(volumes[index], index, keys, limit=left, to_the_end=to_the_end)
        if found is not None:
            headers.append(found)
            left -= found.blocks
    return headers


def _files(archive: RarSet) -> Iterable[_File]:
    """Give what the volumes of *archive* hold, each file with all of its pieces.

    Raises IncompletePost, ImportFailed.
    """
    missing = archive.missing()
    if missing:
        raise IncompletePost(missing)
    file: _File = []
    for volume in archive.volumes:
        for piece in volume.pieces:
            before = file[-1][1] if file else None
            if piece.continued != (before is not None) or (
                before is not None and (before.name, before.size) != (piece.name, piece.size)
            ):
                raise ImportFailed(
                    f'the volumes of the RAR archive "{archive.name}" do not fit together: '
                    f'"{piece.name}" in "{volume.name}" does not go on from what is before it'
                )
            file.append((volume.index, piece))
            if not piece.goes_on:
                if not piece.hidden:
                    yield file
                file = []
    if file:
        raise ImportFailed(f'"{file[0][1].name}" has no end in the RAR archive "{archive.name}"')


def _size(file: _File) -> int:
    size = file[0][1].size
    return sum(piece.packed for _, piece in file) if size is None else size


def _is_stored(file: _File) -> bool:
    return all(piece.method == 0 for _, piece in file) or file[0][1].size == 0


def _refuse_compressed(files: Sequence[_File]) -> None:
    largest = max(map(_size, files), default=0)
    for file in files:
        if _is_stored(file) or 2 * _size(file) < largest:
            continue
        piece = next(piece for _, piece in file if piece.method)
        how = f"method m{piece.method}" if 0 < piece.method <= 5 else "an unknown method"
        solid = ", solid" if piece.solid else ""
        raise UnsupportedArchive(
            f'"{piece.name}" is compressed in its RAR archive ({how}{solid}) and cannot be '
            'streamed: a category with storage "download" would unpack it'
        )


def _inner(file: _File, keys: RarKeys) -> Inner:
    first, last = file[0][1], file[-1][1]
    size = _size(file)
    packed = sum(piece.packed for _, piece in file)
    encryption = first.encryption
    if any((piece.encryption is None) != (encryption is None) for _, piece in file):
        raise ImportFailed(f'"{first.name}" is encrypted in a part of its RAR volumes only')
    stretches: tuple[Stretch, ...] = ()
    if size:
        expected = size if encryption is None else -(-size // _BLOCK) * _BLOCK
        if packed != expected or (encryption is not None and first.size is None):
            raise ImportFailed(
                f'"{first.name}" states {size:,} bytes, which are {expected:,} in its '
                f"RAR archive: {packed:,} are there"
            )
        runs = tuple(
            Run(index, piece.offset, piece.packed) for index, piece in file if piece.packed
        )
        cipher = None if encryption is None else _cipher(first.name, encryption, keys)
        stretches = (Stretch(runs, size, cipher=cipher),)
    crc32, mac = last.crc32, None
    if last.is_mac:
        if crc32 is not None and encryption is not None and stretches:
            mac = Mac(encryption.salt, encryption.shift, crc32)
        crc32 = None
    return Inner(first.name, size, stretches, first.modified, crc32, mac)


def _cipher(name: str, encryption: Encryption, keys: RarKeys) -> Cipher:
    if not keys.given:
        raise WrongPassword(f'"{name}" is encrypted in its RAR archive, and no password is known')
    if not encryption.known:
        raise UnsupportedArchive(
            f'"{name}" is encrypted in its RAR archive as it was before RAR 2.9, or in a way '
            'not known: a category with storage "download" might unpack it'
        )
    if not encryption.iv:
        return keys.rar3(encryption.salt)
    if not keys.opens(encryption.check, encryption.salt, encryption.shift):
        raise WrongPassword(
            f'"{name}" is encrypted in its RAR archive, and the known password does not open it'
        )
    return Cipher(keys.rar5(encryption.salt, encryption.shift), encryption.iv)
