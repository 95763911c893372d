"""What a bare client has of a shaped line: without it, figures say more about the machine."""

from __future__ import annotations

import itertools
import selectors
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gateway.demo import PlainClient

BATCH = 100


@contextmanager
def connections(
    host: str, port: int, count: int, login: tuple[str, str]
) -> Iterator[list[PlainClient]]:
    """Give so many connections, logged in."""
    with ExitStack() as stack:
        links = [stack.enter_context(PlainClient(host, port)) for _ in range(count)]
        for link in links:
            link.log_in(*login)
        yield links


def stats_per_s(links: Sequence[PlainClient], message_ids: Iterable[str], seconds: float) -> float:
    """Return how many STATs a second get their answers, *BATCH* in flight on each connection.

    As many as a batch are sent when the last answer is in: each takes a round trip.
    """
    ids = itertools.cycle(message_ids)
    with selectors.DefaultSelector() as selector:
        left: dict[PlainClient, int] = {}

        def send(link: PlainClient) -> None:
            link.send(*(f"STAT <{message_id}>" for message_id in itertools.islice(ids, BATCH)))
            left[link] = BATCH

        for link in links:
            selector.register(link.sock, selectors.EVENT_READ, link)
        began = time.perf_counter()
        answered = 0
        for link in links:
            send(link)
        while left:
            for key, _ in selector.select():
                link = key.data
                link.decoder.process(link.sock.recv_into(link.decoder))
                for response in link.decoder:
                    if response.status_code != 223:
                        raise ValueError(f"{response.message}: that article should be there")
                    left[link] -= 1
                    answered += 1
                if left[link]:
                    continue
                if time.perf_counter() - began < seconds:
                    send(link)
                else:
                    del left[link]
                    selector.unregister(link.sock)
        return answered / (time.perf_counter() - began)


def round_trip_s(link: PlainClient, message_id: str) -> float:
    """Return after how many seconds a single STAT is answered."""
    began = time.perf_counter()
    link.ask(f"STAT <{message_id}>")
    return time.perf_counter() - began
