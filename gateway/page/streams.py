"""`GET /streams`: what is being read at this moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.page.endpoint import Call, Endpoint
from gateway.streams.file_stream import StreamInfo
from gateway.streams.streams import Streams
from gateway.usenet.provider import Provider
from gateway.usenet.workload import Reservation


@dataclass(frozen=True, slots=True)
class StreamView:
    """One open file. *position*, *size* and *read_ahead* are bytes.

    *stream* is its number in /connections; *permits*: what it holds there at this moment.
    """

    stream: int
    workload: str
    name: str
    position: int
    size: int
    read_ahead: int
    opened: datetime
    permits: int


@dataclass(frozen=True, slots=True)
class StreamsView:
    """What is open, the oldest first. *read_ahead* bytes are charged to all of them together."""

    streams: tuple[StreamView, ...]
    read_ahead: int
    read_ahead_budget: int


def endpoints(streams: Streams, providers: Sequence[Provider]) -> list[Endpoint]:
    """Return what tells of *streams*, which read from *providers*."""

    def show(_call: Call) -> StreamsView:
        held = _held(providers)
        views = tuple(_stream(info, held[info.reservation]) for info in streams.active())
        return StreamsView(views, streams.budget.used, streams.budget.total)

    return [Endpoint("GET", "/streams", "Tell what is being read", StreamsView, show)]


def _held(providers: Sequence[Provider]) -> Counter[Reservation]:
    held: Counter[Reservation] = Counter()
    for provider in providers:
        for use in provider.pool.permits.uses():
            held[use.reservation] += use.held
    return held


def _stream(info: StreamInfo, permits: int) -> StreamView:
    return StreamView(
        info.reservation.stream,
        info.reservation.workload.name.lower(),
        info.name,
        info.position,
        info.size,
        info.readahead,
        info.opened,
        permits,
    )
