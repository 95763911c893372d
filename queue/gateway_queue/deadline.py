"""An end to what takes too long, whatever the other side does (`cut_after`)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_after(sock: socket.socket | None, left_s: float) -> Iterator[None]:
    """Cut *sock* after *left_s*: whoever sends a byte now and then passes every other time-out.

    Taken when the connection is there: it no longer has its socket once the last answer has begun.
    """

    def cut() -> None:
        with suppress(OSError):  # it is closed already
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, left_s), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
