"""Connections that are dialled when the gateway is stopping already."""

from __future__ import annotations

from gateway.demo import NewsServer
from gateway.usenet.connection import Connection, Server, State
from gateway.usenet.reactor import Reactor


def test_connections_that_come_after_the_end_are_all_closed(server: NewsServer) -> None:
    reactor = Reactor()
    reactor.stop()
    late = [Connection(Server("main", server.host, server.port)) for _ in range(3)]
    for connection in late:
        connection.dial(5.0)
        reactor.adopt(connection, lambda *_: None)

    assert [connection.state for connection in late] == [State.CLOSED] * 3
