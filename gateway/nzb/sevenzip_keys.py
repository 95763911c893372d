"""Keys of encrypted 7z archives: the coder 7zAES, which is AES-256 in CBC mode."""

from __future__ import annotations

from py7zr.helpers import calculate_key

from gateway.errors import ImportFailed, UnsupportedArchive, WrongPassword
from gateway.nzb.archive import Cipher

_PLAIN_KEY = 0x3F  # this power stands for a key that is the password itself
_MOST_CYCLES_POWER = 24
# 7-Zip takes 2**19 rounds and one salt for a whole archive. An archive that takes a new salt for
# each of its files is made to keep us busy.
_MOST_ROUNDS = 1 << (_MOST_CYCLES_POWER + 1)


class Keys:
    """Makes ciphers of a *password* and the properties of coders. One for each archive."""

    def __init__(self, password: str | None) -> None:
        self._password = password
        self._made: dict[tuple[int, bytes], bytes] = {}
        self._rounds = 0

    def cipher(self, properties: bytes) -> Cipher:
        """Return the cipher of a coder with these *properties*.

        Raises WrongPassword where no password was given, UnsupportedArchive where the key would
        take minutes, ImportFailed for properties that mean nothing.
        """
        power, salt, iv = _parameters(properties)
        if self._password is None:
            raise WrongPassword("the 7z archive is encrypted, and no password was given")
        key = self._made.get((power, salt))
        if key is None:
            rounds = 1 if power == _PLAIN_KEY else 1 << power
            self._rounds += rounds
            if self._rounds > _MOST_ROUNDS or rounds > 1 << _MOST_CYCLES_POWER:
                raise UnsupportedArchive(
                    f"the keys of the 7z archive would take {self._rounds:,} rounds of SHA-256: "
                    f"more than {_MOST_ROUNDS:,} are not made"
                )
            secret = self._password.encode("utf-16-le", "surrogatepass")
            key = self._made[power, salt] = calculate_key(secret, power, salt, "sha256")
        return Cipher(key, iv)


def _parameters(properties: bytes) -> tuple[int, bytes, bytes]:
    """Return the power of two of the rounds, the salt, and the iv filled up to a block."""
    first = properties[0] if properties else 0
    sizes = properties[1] if first & 0xC0 and len(properties) > 1 else 0
    salt_size = (first >> 7) + (sizes >> 4)
    iv_size = (first >> 6 & 1) + (sizes & 0x0F)
    begin = 2 if first & 0xC0 else 1
    if not properties or len(properties) != begin + salt_size + iv_size:
        raise ImportFailed(
            f"the 7z archive's encryption has parameters of {len(properties)} bytes that make no "
            "sense"
        )
    salt, iv = properties[begin : begin + salt_size], properties[begin + salt_size :]
    return first & 0x3F, salt, iv.ljust(16, b"\0")
