"""A news client as plain as can be, to ask the demo server what a test or a bench wants to know."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType
from typing import Self

import sabctools

_BUFFER = 256 * 1024


class PlainClient:
    """One blocking connection. `ask` returns one reply; `send` and `receive` do the halves.

    *sock* and *decoder* are there for whoever wants to go on without blocking.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Connect and take the greeting. *tls* must trust the name localhost."""
        sock = socket.create_connection((host, port), timeout=timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost")
        self.decoder = sabctools.Decoder(_BUFFER)
        self.greeting = self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, *commands: str) -> None:
        """Send these commands, all at once."""
        self.sock.sendall("".join(f"{each}\r\n" for each in commands).encode())

    def receive(self) -> sabctools.NNTPResponse:
        """Return the next reply. Raises EOFError when the server has hung up."""
        while True:
            for response in self.decoder:
                return response
            count = self.sock.recv_into(self.decoder)
            if not count:
                raise EOFError("the server has hung up")
            self.decoder.process(count)

    def ask(self, command: str) -> sabctools.NNTPResponse:
        """Return the reply to one command."""
        self.send(command)
        return self.receive()

    def code(self, command: str) -> int:
        """Return the reply's code."""
        return self.ask(command).status_code

    def body(self, message_id: str) -> bytes:
        """Return what an article carries. Raises ValueError if there is none, or a wrong CRC."""
        response = self.ask(f"BODY <{message_id}>")
        if response.status_code != 222 or response.crc is None:
            raise ValueError(f"no article, or a damaged one: {response.message}")
        return bytes(response.data or b"")

    def log_in(self, user: str, password: str) -> None:
        """Log in. Raises PermissionError when that is refused."""
        self.send(f"AUTHINFO USER {user}", f"AUTHINFO PASS {password}")
        for code in (381, 281):
            response = self.receive()
            if response.status_code != code:
                raise PermissionError(response.message)

    def hung_up(self) -> bool:
        """Wait for the server's next move, and say whether it was to end the connection."""
        try:
            self.receive()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        """Close the connection. May be called again."""
        self.sock.close()
