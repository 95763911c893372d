"""Names for files that come from several places, no two of which any system takes for one."""

from __future__ import annotations

from gateway.nzb.names import folded, numbered


class Names:
    """Names that are given away, without regard to case: of files, and of folders."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def free(self, wanted: str) -> str:
        """Return *wanted*, or it with numbers where a name in it is one of something else."""
        path = ""
        parts = wanted.split("/")
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            name, again = f"{path}{part}", 1
            while folded(name) in self._files or (last and folded(name) in self._folders):
                again += 1
                name = f"{path}{numbered(part, again, folder=not last)}"
            (self._files if last else self._folders).add(folded(name))
            path = f"{name}/"
        return path[:-1]
