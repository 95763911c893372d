"""The password and the key of the gateway: given, or made once and kept in the data folder.

A secret that was made lies in a file of its own, readable by its owner only. It appears there
whole or not at all, and whoever comes second, in this process or another, gets that of the first.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from gateway.errors import ConfigurationError
from gateway.settings import Settings

PASSWORD_FILE = "webdav-password"  # noqa: S105 - the name of the file
API_KEY_FILE = "api-key"

# Typed on remote controls: no letters that look alike. 16 of 31 are 79 bits.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_PASSWORD_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A secret in force. *file* is where it is kept, None if a setting gave it."""

    value: str = field(repr=False)
    file: Path | None


@dataclass(frozen=True, slots=True)
class Keys:
    """All that admits anybody. *nzb_key* admits to adding only, None: nobody by that."""

    webdav_user: str
    webdav_password: str = field(repr=False)
    api_key: str = field(repr=False)
    nzb_key: str | None = field(repr=False)

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Return those that *settings* give, and make those that are lacking.

        Raises ConfigurationError if one can be neither read nor kept.
        """
        return cls(
            settings.webdav_user,
            webdav_password(settings.data_dir, _text(settings.webdav_password)).value,
            api_key(settings.data_dir, _text(settings.api_key)).value,
            _text(settings.nzb_key),
        )


def webdav_password(data_dir: Path, given: str | None) -> Kept:
    """Return the password of the WebDAV user: *given*, or the one kept, made if there is none."""
    return _keep(data_dir / PASSWORD_FILE, given, _make_password)


def api_key(data_dir: Path, given: str | None) -> Kept:
    """Return the API key: *given*, or the one kept in *data_dir*, made if there is none."""
    return _keep(data_dir / API_KEY_FILE, given, _make_key)


def kept(file: Path) -> str | None:
    """Return the secret kept in *file*, None if none was made yet.

    Raises ConfigurationError if it cannot be read or is empty.
    """
    try:
        value = file.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{file} is not text: remove it, and a new one is made") from exc
    except OSError as exc:
        raise ConfigurationError(
            f"{file} cannot be read ({exc.strerror}): run as its owner"
        ) from exc
    if not value:
        raise ConfigurationError(f"{file} is empty: remove it, and a new one is made")
    return value


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _keep(file: Path, given: str | None, make: Callable[[], str]) -> Kept:
    if given is not None:
        return Kept(given, None)
    value = kept(file)
    if value is None:
        try:
            _write_once(file, make())
        except OSError as exc:
            raise ConfigurationError(
                f"{file} cannot be written ({exc.strerror}): make its folder writable or set "
                "GATEWAY_DATA_DIR"
            ) from exc
        value = kept(file)
        if value is None:
            raise ConfigurationError(f"{file} was removed as soon as it was made")
    return Kept(value, file)


def _write_once(file: Path, value: str) -> None:
    """Put *value* into *file* unless it exists; never half of it, even after a power cut."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(value + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # A link, unlike a renaming, does not replace what another process put there meanwhile.
            file.hardlink_to(draft)
        except FileExistsError:
            return
        except OSError:
            if file.exists():
                return
            draft.replace(file)  # a file system without links
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make_password() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_PASSWORD_LENGTH))


def _make_key() -> str:
    return secrets.token_hex(16)  # the form of SABnzbd's; some of its clients check it
