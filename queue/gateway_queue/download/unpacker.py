"""What a download wants of whoever opens archives (`Unpack`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Unpack(Protocol):
    """What opens archives: `gateway_queue.unpacking.unpack.unpack`."""

    def __call__(
        self,
        folder: Path,
        target: Path,
        *,
        passwords: Sequence[str],
        places: Mapping[str, int],
        progress: Callable[[float], object],
    ) -> Sequence[Path]:
        """Put what the files in *folder* hold into *target*, and return where it is.

        *places* say of files there which ones of their post they are, as far as that is known.
        """
        ...
