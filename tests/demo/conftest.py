"""A client that speaks plain NNTP by hand, and nntplib as an independent one."""

from __future__ import annotations

import random
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType

import pytest
import sabctools

from gateway.demo import NewsServer


class RawClient:
    """A blocking client. `ask` returns one reply; `send` and `receive` do the halves."""

    def __init__(self, server: NewsServer, tls: ssl.SSLContext | None = None) -> None:
        sock = socket.create_connection((server.host, server.port), timeout=20)
        self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost")
        self.decoder = sabctools.Decoder(256 * 1024)
        self.greeting = self.receive()

    def send(self, *commands: str) -> None:
        self.sock.sendall("".join(f"{each}\r\n" for each in commands).encode())

    def receive(self) -> sabctools.NNTPResponse:
        """Return the next reply. Raises EOFError when the server has hung up."""
        while True:
            for response in self.decoder:
                return response
            count = self.sock.recv_into(self.decoder)
            if not count:
                raise EOFError
            self.decoder.process(count)

    def ask(self, command: str) -> sabctools.NNTPResponse:
        self.send(command)
        return self.receive()

    def code(self, command: str) -> int:
        return self.ask(command).status_code

    def body(self, message_id: str) -> bytes:
        response = self.ask(f"BODY <{message_id}>")
        assert response.status_code == 222
        return bytes(response.data or b"")

    def hung_up(self) -> bool:
        """Say whether the server ends the connection instead of saying more."""
        try:
            self.receive()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        self.sock.close()


Dial = Callable[..., RawClient]


@pytest.fixture
def dial() -> Iterator[Dial]:
    """A function that connects to a server: dial(server, tls=None)."""
    with ExitStack() as stack:

        def connect(server: NewsServer, tls: ssl.SSLContext | None = None) -> RawClient:
            client = RawClient(server, tls)
            stack.callback(client.close)
            return client

        yield connect


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer() as server:
        yield server


@pytest.fixture(scope="session")
def nntplib() -> ModuleType:
    """The standard library's client; from Python 3.13 on it comes as standard-nntplib."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import nntplib
    return nntplib


@pytest.fixture
def contents() -> bytes:
    """Bytes with everything that yEnc must escape, not a multiple of anything."""
    return bytes(range(256)) * 300 + b"\x04" * 1000 + random.Random(1).randbytes(123_457)
