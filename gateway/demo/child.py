"""A demo server that runs in a process of its own, and ends with whoever started it."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

_STOP_S = 10.0


class Child:
    """`python -m` *module* with *arguments*; it prints its host and port as JSON when it listens.

    It ends when its standard input does: by `stop`, at the end of `with`, or with this process.
    """

    def __init__(self, module: str, arguments: list[str]) -> None:
        self._module = module
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter, no shell)
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        try:
            where = self.answer()
        except BaseException:
            self.stop()
            raise
        self.host: str = where["host"]
        self.port: int = where["port"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process. May be called again."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tell(self, order: dict[str, Any]) -> None:
        """Write *order* to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return the object that it prints next. Raises ValueError for one that is an error."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer
