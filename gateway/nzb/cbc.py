"""AES in CBC mode, from any block on (NIST SP 800-38A, 6.2).

A block is decrypted with nothing but the key and the 16 bytes of ciphertext before it. So what
lies at an offset takes the blocks that hold it and one more; only the stream's own first block
takes the cipher's iv.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher as AesCipher
from cryptography.hazmat.primitives.ciphers import CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.nzb.archive import Cipher

BLOCK = 16


def needed(begin: int, end: int) -> tuple[int, int]:
    """Return which bytes of ciphertext show the plain bytes [begin, end): whole blocks."""
    return max(0, begin // BLOCK - 1) * BLOCK, -(-end // BLOCK) * BLOCK


def decryptor(cipher: Cipher, before: bytes = b"") -> CipherContext:
    """Return what decrypts on from the 16 bytes of ciphertext *before*, or from the start.

    It takes ciphertext cut at any byte and gives whole blocks.
    """
    return AesCipher(AES(cipher.key), CBC(before or cipher.iv)).decryptor()


def decrypt(cipher: Cipher, ciphertext: bytes, begin: int, at: int, length: int) -> bytes:
    """Return *length* plain bytes from *at* on.

    *ciphertext* is what `needed` names for them, *begin* where that lies in its stream.
    """
    before, blocks = (ciphertext[:BLOCK], ciphertext[BLOCK:]) if begin else (b"", ciphertext)
    skip = at - begin - len(before)
    return decryptor(cipher, before).update(blocks)[skip : skip + length]
