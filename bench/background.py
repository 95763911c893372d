"""What competes for connections in a bench: an import that downloads, health checks, viewers."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from gateway.errors import GatewayError
from gateway.nzb.extents import Part, PartTable, Run
from gateway.streams.layout import Layout
from gateway.streams.streams import Streams
from gateway.usenet.articles import ArticleSource, Fetch
from gateway.usenet.permits import ExtendedSemaphore, PermitsSnapshot
from gateway.usenet.workload import Reservation, Workload, new_stream, scope

_PATIENCE_S = 60.0


class Posted(Protocol):
    """A posted file, as `gateway.demo.PostedFile` describes it."""

    @property
    def size(self) -> int: ...
    @property
    def message_ids(self) -> tuple[str, ...]: ...


def layout_of(posted: Posted, part_size: int) -> Layout:
    """Return the layout of a file that is all of *posted*."""
    ids = [message_id.encode() for message_id in posted.message_ids]
    table = PartTable.regular(ids, posted.size, part_size)
    return Layout([Run(0, 0, posted.size)], [table])


class Load:
    """Work on threads of its own, between `with` and its end. *failures* counts what went wrong."""

    def __init__(self, threads: int) -> None:
        self.stopping = threading.Event()
        self.failures = 0
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"{type(self).__name__}")
            for number in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.interrupt()
        for thread in self._threads:
            thread.join()

    def interrupt(self) -> None:
        """Wake threads that wait for something else than `stopping`."""

    def work(self, number: int) -> None:
        """Do a little, in thread *number*, again and again."""
        raise NotImplementedError

    def _run(self, number: int) -> None:
        while not self.stopping.is_set():
            try:
                self.work(number)
            except (GatewayError, ValueError):  # a stream that is closed under its reader
                self.failures += not self.stopping.is_set()


class Downloads(Load):
    """A queue that wants *outstanding* articles of *parts* at a time, over and over."""

    def __init__(self, source: ArticleSource, parts: Sequence[Part], outstanding: int) -> None:
        super().__init__(1)
        self._source = source
        self._parts = itertools.cycle(parts)
        self._reservation = Reservation(Workload.QUEUE, new_stream().stream)
        self._places = threading.Semaphore(outstanding)
        self._lock = threading.Lock()
        self._asked: set[Fetch] = set()

    def work(self, number: int) -> None:  # noqa: ARG002 - Load
        self._places.acquire()
        if self.stopping.is_set():
            return
        fetch = self._source.request(next(self._parts), reservation=self._reservation, demand=False)
        with self._lock:
            self._asked.add(fetch)
        fetch.add_done_callback(self._arrived)

    def interrupt(self) -> None:
        self._places.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        with self._lock:
            asked, self._asked = self._asked, set()
        for fetch in asked:
            fetch.cancel()

    def _arrived(self, fetch: Fetch) -> None:
        with self._lock:
            self._asked.discard(fetch)
        try:
            fetch.result(0.0)
        except GatewayError:
            self.failures += not self.stopping.is_set()
        self._places.release()


class Checks(Load):
    """Health checks: *threads* that each have *batches* of 100 STATs wait at a time."""

    def __init__(
        self, source: ArticleSource, parts: Sequence[Part], threads: int = 10, batches: int = 5
    ) -> None:
        super().__init__(threads)
        self._source = source
        self._count = 100 * batches
        self._parts = (list(parts) * (1 + self._count // len(parts)))[: self._count]

    def work(self, number: int) -> None:  # noqa: ARG002 - Load
        with scope(Reservation(Workload.HEALTH)):
            self._source.exists(self._parts, timeout_s=_PATIENCE_S)


class Viewers(Load):
    """*count* streams, each read as fast as it goes through a stretch of *layout* of its own."""

    def __init__(self, streams: Streams, layout: Layout, count: int) -> None:
        super().__init__(count)
        self._streams = streams
        self._layout = layout
        self._stretch = layout.size // count
        self.bytes = [0] * count

    def work(self, number: int) -> None:
        begin = number * self._stretch
        stop = begin + self._stretch
        with self._streams.open(self._layout, stop=stop, reservation=new_stream()) as stream:
            stream.seek(begin)
            while not self.stopping.is_set() and (view := stream.read_view(1 << 20)):
                self.bytes[number] += len(view)


class Watch:
    """Looks at the books of *permits* all the time, and weighs what it sees by how long it was so.

    *whenever*: which moments count. May be entered again: what is seen adds up.
    """

    def __init__(
        self,
        permits: ExtendedSemaphore,
        whenever: Callable[[PermitsSnapshot], bool] = lambda seen: any(seen.waiting.values()),
    ) -> None:
        self.seconds = 0.0
        self.busy_s = 0.0
        self.held_s = dict.fromkeys(Workload, 0.0)
        self.most_busy = 0
        self._permits = permits
        self._whenever = whenever
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> float:
        """Return how many permits were held, on average over time."""
        return self.busy_s / self.seconds if self.seconds else 0.0

    def held(self, workload: Workload) -> float:
        """Return how many of them *workload* held."""
        return self.held_s[workload] / self.seconds if self.seconds else 0.0

    def __enter__(self) -> Self:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._look, name="Watch")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        seen, at = self._permits.snapshot(), time.perf_counter()
        while not self._stopping.wait(0.001):
            next_seen, now = self._permits.snapshot(), time.perf_counter()
            busy = seen.total - seen.free
            self.most_busy = max(self.most_busy, busy)
            if self._whenever(seen):
                self.seconds += now - at
                self.busy_s += busy * (now - at)
                for workload, held in seen.held.items():
                    self.held_s[workload] += held * (now - at)
            seen, at = next_seen, now


def wait_until(holds: Callable[[], bool], timeout_s: float = _PATIENCE_S) -> None:
    """Wait until *holds*, looking every few milliseconds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {timeout_s:g} s")
        time.sleep(0.005)
