"""CRC-32 put together: of a whole from its parts, without their bytes."""

from __future__ import annotations

import sabctools


def joined(first: int, second: int, length: int) -> int:
    """Return the CRC-32 of two runs of bytes, one behind the other.

    *first* and *second* are theirs, *length* is how long the second is.
    """
    return sabctools.crc32_combine(first, second, length) if length else first


def without_zeros(crc32: int, zeros: int) -> int:
    """Return the CRC-32 of what *crc32* is of when the *zeros* null bytes at its end go."""
    return sabctools.crc32_zero_unpad(crc32, zeros) if zeros else crc32
