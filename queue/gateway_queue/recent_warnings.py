"""The last warnings and errors of the program, for whoever asks the API (`RecentWarnings`)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_KEPT = 50
_TEXT_CHARS = 2000
OURS = ("gateway", "gateway_webdav", "gateway_queue")


@dataclass(frozen=True, slots=True)
class Told:
    """One record of the log; *time* in seconds since 1970, *origin* the file and its line."""

    level: str
    text: str
    time: int
    origin: str


class RecentWarnings(logging.Handler):
    """Keeps the last 50 records of WARNING and above; those of a fault without its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: deque[Told] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()[:_TEXT_CHARS]
        except Exception:  # noqa: BLE001 - as logging itself does: a bad record is no failure
            self.handleError(record)
            return
        origin = f"{record.filename}:{record.lineno}"
        self._told.append(Told(record.levelname, text, int(record.created), origin))

    @property
    def told(self) -> tuple[Told, ...]:
        """The records, the oldest first."""
        with self.lock or _nothing():
            return tuple(self._told)

    def clear(self) -> None:
        """Forget all of them."""
        with self.lock or _nothing():
            self._told.clear()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what our own parts tell the log, within the block."""
        loggers = [logging.getLogger(name) for name in OURS]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
