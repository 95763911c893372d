"""The folder of a gateway's own files, held by one process at a time (`hold`)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import ConfigurationError

LOCK_FILE = "lock"


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Make *data_dir*, and keep every other gateway out of it for the block.

    Two gateways on one folder would each queue again what the other is at work on. The lock
    is the kernel's: it goes with the process, however that ends. Raises ConfigurationError.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigurationError(
            f"{data_dir / LOCK_FILE} cannot be written ({exc.strerror}): check the folder that "
            "GATEWAY_DATA_DIR names"
        ) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigurationError(
                f"another gateway is running on the folder {data_dir}: stop it, or set "
                "GATEWAY_DATA_DIR to a folder of its own"
            ) from exc
        yield
    finally:
        os.close(descriptor)
