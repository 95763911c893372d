"""Ports for servers that must be told theirs before they bind it."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to clients and to servers that ask for any (32768 and more on
# Linux, 49152 and more elsewhere): none of them comes between the question and the answer's use.
_PORTS = range(20_000, 32_000)
_CHOICE = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment, another one each time."""
    while True:
        port = _CHOICE.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
