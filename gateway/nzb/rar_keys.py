"""Keys of encrypted RAR archives, derived from a password once for each salt.

A derivation is made slow on purpose, and an archive states how slow (RAR 5) and how often (a
salt for each file): `RarKeys` bounds what one archive can cost.
"""

from __future__ import annotations

import hashlib

import sabctools

from gateway.errors import UnsupportedArchive, WrongPassword
from gateway.nzb.archive import Cipher

_LONGEST_PASSWORD = 127  # characters in UTF-16: RAR cuts what is longer
_RAR3_COST = 1 << 16  # the fixed derivation of RAR 4 takes as long as so many rounds of RAR 5's
_MOST_ROUNDS = 1 << 26  # 15 to 25 s; RARLAB asks for twice 2**15 for each salt

_CHECK_BYTES = 8
_CHECK_SUM_BYTES = 4


class RarKeys:
    """The keys that *password* gives; none at all without one.

    What asks for a key raises WrongPassword when there is no password, UnsupportedArchive when
    the archive asks for more derivations than anybody would wait for.
    """

    def __init__(self, password: str | None) -> None:
        self._password = _cut(password) if password else None
        self._rounds = 0
        self._rar3: dict[bytes, Cipher] = {}
        self._rar5: dict[tuple[bytes, int], bytes] = {}

    @property
    def given(self) -> bool:
        """Whether there is a password at all."""
        return self._password is not None

    def rar3(self, salt: bytes) -> Cipher:
        """Return key and iv for *salt*, which is empty or of 8 bytes (RAR 2.9 to 4)."""
        cipher = self._rar3.get(salt)
        if cipher is None:
            password = self._spend(_RAR3_COST)
            key, iv = sabctools.rarfile_rar3_s2k(password, salt)  # type: ignore[no-untyped-call]
            cipher = Cipher(key, iv)
            self._rar3[salt] = cipher
        return cipher

    def rar5(self, salt: bytes, shift: int) -> bytes:
        """Return the key of 32 bytes for *salt* after 2**\\ *shift* rounds (RAR 5)."""
        return self._pbkdf2(salt, 1 << _bounded(shift))

    def mac(self, salt: bytes, shift: int) -> bytes:
        """Return the key of what RAR 5 states in place of checksums, for *salt* and *shift*."""
        return self._pbkdf2(salt, (1 << _bounded(shift)) + 16)

    def opens(self, check: bytes | None, salt: bytes, shift: int) -> bool:
        """Say whether the password fits *check*, the 12 bytes that a header has to tell it by.

        True as well when there is nothing to tell it by.
        """
        if check is None or len(check) != _CHECK_BYTES + _CHECK_SUM_BYTES:
            return True
        value, checksum = check[:_CHECK_BYTES], check[_CHECK_BYTES:]
        if hashlib.sha256(value).digest()[:_CHECK_SUM_BYTES] != checksum:
            return True  # the check value itself is damaged: unrar ignores it too
        folded = bytearray(_CHECK_BYTES)
        for place, byte in enumerate(self._pbkdf2(salt, (1 << _bounded(shift)) + 32)):
            folded[place % _CHECK_BYTES] ^= byte
        return bytes(folded) == value

    def _pbkdf2(self, salt: bytes, rounds: int) -> bytes:
        key = self._rar5.get((salt, rounds))
        if key is None:
            password = self._spend(rounds).encode()
            key = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
            self._rar5[salt, rounds] = key
        return key

    def _spend(self, rounds: int) -> str:
        if self._password is None:
            raise WrongPassword("the RAR archive is encrypted, and no password is known")
        self._rounds += rounds
        if self._rounds > _MOST_ROUNDS:
            raise UnsupportedArchive(
                f"the RAR archive wants {self._rounds:,} rounds of key derivation "
                f"and more: {_MOST_ROUNDS:,} are the limit"
            )
        return self._password


def _bounded(shift: int) -> int:
    if 1 << min(shift, 64) > _MOST_ROUNDS:
        raise UnsupportedArchive(
            f"the RAR archive wants 2**{shift} rounds of key derivation: "
            f"{_MOST_ROUNDS:,} are the limit"
        )
    return shift


def _cut(password: str) -> str:
    wide = password.encode("utf-16-le", "replace")
    return wide[: 2 * _LONGEST_PASSWORD].decode("utf-16-le", "ignore")
