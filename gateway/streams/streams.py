"""Opens streams, and knows which are open (`Streams`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from gateway.errors import NoCapacity
from gateway.streams.budget import Budget
from gateway.streams.cache import CachedSource
from gateway.streams.decrypt import CipheredLayout, DecryptingStream
from gateway.streams.file_stream import FileStream, StreamInfo
from gateway.streams.holes import Holes
from gateway.streams.layout import Layout
from gateway.streams.on_disk import DiskFile, DiskStream, FileLayout
from gateway.streams.source import Articles
from gateway.usenet.workload import Reservation, current, new_stream

Stream = FileStream | DecryptingStream | DiskStream


class Streams:
    """All streams over one source of articles, with the two budgets that they share.

    Safe to use from any thread. Whatever else reads articles asks `source`, so that all profit
    from one cache.
    """

    def __init__(
        self,
        source: Articles,
        *,
        readahead_budget: int,
        article_cache: int,
        read_timeout_s: float,
        connections: Callable[[], int],
    ) -> None:
        """*readahead_budget* and *article_cache* are bytes for the whole process.

        *read_timeout_s* is for how long a read waits for an article; *connections* says how many
        there are to keep busy, and is asked when a stream opens.
        """
        self.source = CachedSource(source, article_cache)
        self.budget = Budget(readahead_budget)
        self._read_timeout_s = read_timeout_s
        self._connections = connections
        self._lock = threading.Lock()
        # What is open, in the order of opening: what reads articles, and what readers have.
        self._open: dict[FileStream | DiskStream, Stream] = {}
        self._closed = False

    def open(
        self,
        layout: FileLayout,
        *,
        stop: int | None = None,
        reservation: Reservation | None = None,
        name: str = "",
        holes: Holes | None = None,
    ) -> Stream:
        """Return a stream of *layout* at position 0; the caller closes it. Fetches nothing.
        *stop* is where the range ends that is asked for (None: the file). The stream keeps
        *reservation*, or else the one in force here, or else one of a viewer; where that names
        no stream yet, it gets an id of its own. *holes* is told of what cannot be had, and says
        what then. Raises NoCapacity after `close`, and NotOnDisk.
        """
        asker = reservation or current() or new_stream()
        if not asker.stream:
            asker = replace(asker, stream=new_stream().stream)
        reader: FileStream | DiskStream
        if isinstance(layout, DiskFile):
            stream: Stream
            stream = reader = DiskStream(layout, asker, stop=stop, name=name, on_close=self._forget)
        elif isinstance(layout, CipheredLayout):
            reader = carrier = self._reader(
                layout.carrier, layout.carried(stop), asker, name, holes
            )
            stream = DecryptingStream(layout, carrier, stop=stop)
        else:
            stream = reader = self._reader(layout, stop, asker, name, holes)
        with self._lock:
            if not self._closed:
                self._open[reader] = stream
                return stream
        stream.close()
        raise NoCapacity(f'no stream of "{name}": the gateway is stopping')

    def _reader(
        self,
        layout: Layout,
        stop: int | None,
        reservation: Reservation,
        name: str,
        holes: Holes | None,
    ) -> FileStream:
        return FileStream(
            layout,
            self.source,
            reservation,
            self.budget,
            stop=stop,
            read_timeout_s=self._read_timeout_s,
            connections=self._connections(),
            name=name,
            holes=holes,
            on_close=self._forget,
        )

    def active(self) -> list[StreamInfo]:
        """Return what is open now, the oldest first."""
        with self._lock:
            streams = list(self._open.values())
        return [stream.info() for stream in streams]

    def close(self) -> None:
        """Close every stream, and open no more. Readers that wait get an error at once."""
        with self._lock:
            self._closed = True
            streams = list(self._open.values())
        for stream in streams:
            stream.close()

    def _forget(self, reader: FileStream | DiskStream) -> None:
        with self._lock:
            self._open.pop(reader, None)
