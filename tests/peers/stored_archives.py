"""Archives that only store, made by py7zr, zipfile and the writer of RAR, cut into volumes.

Each maker takes files as (name, bytes) and returns volumes as (name, bytes), so that what one
made another can pack.
"""

from __future__ import annotations

import io
import zipfile

import py7zr
import rar_writer
from py7zr.properties import FILTER_COPY, FILTER_CRYPTO_AES256_SHA256

Named = list[tuple[str, bytes]]


def cut(name: str, data: bytes, size: int) -> Named:
    """Return *data* in pieces of *size* bytes: `name.001`, `name.002`, ..."""
    begins = range(0, len(data), size)
    return [(f"{name}.{n:03}", data[at : at + size]) for n, at in enumerate(begins, 1)]


def in_7z(files: Named, size: int, password: str | None = None) -> Named:
    """Pack into one stream, and encrypt it and the header if there is a *password*."""
    filters = [{"id": FILTER_COPY}, {"id": FILTER_CRYPTO_AES256_SHA256}][: 2 if password else 1]
    target = io.BytesIO()
    with py7zr.SevenZipFile(
        target, "w", filters=filters, password=password, header_encryption=bool(password)
    ) as archive:
        for name, data in files:
            archive.writestr(data, name)
    return cut("archive.7z", target.getvalue(), size)


def in_zip(files: Named, size: int, password: str | None = None) -> Named:
    """Pack; there is no stored ZIP with a password that could be shown."""
    assert password is None
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return cut("archive.zip", target.getvalue(), size)


def in_rar5(files: Named, size: int, password: str | None = None) -> Named:
    """Pack under the new names of volumes, and encrypt data and headers."""
    options = rar_writer.Options(size, password, encrypt_headers=bool(password))
    return rar_writer.rar5([rar_writer.Entry(name, data) for name, data in files], options)


def in_rar4(files: Named, size: int, password: str | None = None) -> Named:
    """Pack under the old names of volumes, and encrypt the data alone."""
    options = rar_writer.Options(size, password, old_names=True)
    return rar_writer.rar4([rar_writer.Entry(name, data) for name, data in files], options)
