"""What lies in the kernel between this side and a client: bytes not taken, bytes not read."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios

_SO_NWRITE = 0x1024  # <sys/socket.h> of macOS


def unsent(sock: socket.socket) -> int:
    """Return how many bytes sent to the peer its system has not acknowledged (SIOCOUTQ).

    0 where the system does not tell.
    """
    try:
        if sys.platform == "darwin":
            return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
        return _ask(sock, termios.TIOCOUTQ)
    except OSError:
        return 0


def unread(sock: socket.socket) -> int:
    """Return how many bytes have come from the peer that nobody has read (FIONREAD)."""
    return _ask(sock, termios.FIONREAD)


def _ask(sock: socket.socket, question: int) -> int:
    answer = fcntl.ioctl(sock.fileno(), question, bytes(4))
    count: int = struct.unpack("i", answer)[0]
    return count
