"""Files of releases that lie on the disk, when their releases go."""

from __future__ import annotations

import errno
import logging
from itertools import islice
from pathlib import Path

log = logging.getLogger(__name__)


def remove_from_disk(path: Path, folder: str) -> None:
    """Remove a file that lies in *folder* of its release, and what it leaves empty of that."""
    try:
        path.unlink(missing_ok=True)
        for parent in islice(path.parents, folder.count("/") + 1 + bool(folder)):
            parent.rmdir()
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            log.warning("[Library] a removed release stays on the disk: %s", exc)
