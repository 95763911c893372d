"""What is learned while bytes flow, on its way to the disk: noted, and written together later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from gateway.errors import StorageError

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


class WrittenLater(Generic[K, V]):
    """Values by key, the last of each; written *delay_s* after the first of them was noted.

    *words* say what they are, for the log; *thread* is the name of the thread that writes.
    """

    def __init__(
        self,
        write: Callable[[Mapping[K, V]], None],
        *,
        words: str,
        thread: str,
        delay_s: float = 5.0,
    ) -> None:
        self._write = write
        self._words = words
        self._thread = thread
        self._delay_s = delay_s
        # Under the lock: a timer runs or is about to exactly while there are values to write.
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # taken before the other one
        self._values: dict[K, V] = {}
        self._timer: threading.Timer | None = None
        self._closed = False

    def note(self, key: K, value: V) -> None:
        """Have *value* written soon. Quick; called from the threads that stream."""
        with self._lock:
            if self._closed:
                return
            self._values[key] = value
            if self._timer is None:
                self._timer = threading.Timer(self._delay_s, self.flush)
                self._timer.name = self._thread
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write what waits; all that was noted before is on the disk when it returns.

        A failure is logged: it costs no byte of a file.
        """
        with self._writing:
            with self._lock:
                values, self._values = self._values, {}
                timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            if not values:
                return
            try:
                self._write(values)
            except StorageError as error:
                log.warning("%s not stored (%d of them): %s", self._words, len(values), error)

    def close(self) -> None:
        """Write what waits, and take nothing more."""
        with self._lock:
            self._closed = True
            timer = self._timer
        self.flush()
        if timer is not None and timer is not threading.current_thread():
            timer.join()
