"""`rarfile`'s parsers of RAR 4 and RAR 5, with what is not wanted of a stranger's bytes taken out.

`rarfile.RarFile` would look for a signature in two megabytes, unpack comments by starting `unrar`,
and derive a key for every volume in slow Python. So its two parsers are driven directly, and with
the rule by which a volume costs little: what lies behind a file that goes on in the next volume
is not looked at, because only the end block is there, and that lies in another article.
"""

from __future__ import annotations

from typing import Any

import rarfile

from gateway.errors import ImportFailed, IncompletePost, UnsupportedArchive, WrongPassword
from gateway.nzb.archive import Volume
from gateway.nzb.rar_keys import RarKeys


class Collecting:
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
            raise ImportFailed(
                f'"{self._volume.name}" brings more entries than can be: '
                "damaged, or made to keep readers busy"
            )
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


class Rar4Parser(Collecting, rarfile.RAR3Parser):  # type: ignore[misc]
    def _parse_subblocks(self, _header: Any, _data: bytes, pos: int) -> int:
        return pos  # comments of RAR 2, which rarfile would have unpacked by a program

    def _decrypt_header(self, fd: Any) -> Any:
        salt = fd.read(8)
        if len(salt) < 8:
            return fd  # the end, where nothing is to be decrypted
        key, iv = self._keys.rar3(salt)
        return rarfile.HeaderDecrypt(fd, key, iv)

    def _is_cut(self) -> bool:
        return self._parse_error is not None  # RAR 2 had no end block

    def number(self) -> int | None:
        if self._main.flags & rarfile.RAR_MAIN_FIRSTVOLUME:
            return 0
        return None if self._end is None else self._end.endarc_volnr


class Rar5Parser(Collecting, rarfile.RAR5Parser):  # type: ignore[misc]
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


def _locked(name: str, keys: RarKeys) -> WrongPassword:
    why = "the known password does not open them" if keys.given else "no password is known"
    return WrongPassword(f'the headers of "{name}" are encrypted, and {why}')
