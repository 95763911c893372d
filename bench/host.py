"""What the host of a virtual machine takes of it for others: its *steal*.

It is no program's doing, but a line that is as fast as the machine loses what is taken.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


class Steal:
    """Counts from when it is made. A system that does not tell of steal has none.

    Source: proc(5), /proc/stat.
    """

    def __init__(self) -> None:
        self._began, self._before_s = time.monotonic(), _steal_s()

    def share(self) -> float:
        """Return how much of all processors' time the host has taken since."""
        all_s = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return (_steal_s() - self._before_s) / all_s


def _steal_s() -> float:
    try:
        total = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        return int(total.split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
