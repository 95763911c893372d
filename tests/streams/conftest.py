"""A source of articles in memory, whose answers a test holds back and lets go."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as AesCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import strategies as st

from gateway.errors import ArticleMissing, ConnectionLost, GatewayError
from gateway.nzb.archive import Cipher, Stretch
from gateway.nzb.extents import Part, PartTable, Run
from gateway.streams.decrypt import CipheredLayout
from gateway.streams.layout import Layout
from gateway.streams.source import Articles, Pending
from gateway.streams.streams import Stream, Streams
from gateway.usenet.articles import Body, Verdict
from gateway.usenet.workload import Reservation


@dataclass(eq=False)
class Parcel:
    """A fetch that a test completes."""

    part: Part
    reservation: Reservation | None
    demand: bool
    thread: int
    shelf: Shelf
    promoted: bool = False
    cancelled_by: int | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _callbacks: list[Callable[[Pending], None]] = field(default_factory=list)
    _body: Body | None = None
    _error: GatewayError | None = None

    @property
    def message_id(self) -> str:
        return self.part.message_ids[0]

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        return self.cancelled_by is not None

    def complete(self) -> None:
        """Answer with what the shelf has now."""
        if self.done:
            return
        self._error = self.shelf.errors.get(self.message_id)
        self._body = self.shelf.bodies.get(self.message_id)
        if self._error is None and self._body is None:
            self._error = ArticleMissing(f"no article {self.message_id}")
        with self.shelf.lock:
            self._done.set()
            callbacks = list(self._callbacks)
        for fn in callbacks:
            fn(self)

    def result(self, timeout_s: float) -> Body:
        if not self._done.wait(timeout_s):
            raise ConnectionLost(f"no answer within {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        assert self._body is not None
        return self._body

    def promote(self) -> None:
        with self.shelf.lock:
            self.promoted = True
            self.shelf.changed.notify_all()

    def cancel(self) -> None:
        with self.shelf.lock:
            if not self.done and not self.cancelled:
                self.cancelled_by = threading.get_ident()
            self.shelf.changed.notify_all()

    def add_done_callback(self, fn: Callable[[Pending], None], /) -> None:
        with self.shelf.lock:
            if not self.done:
                self._callbacks.append(fn)
                return
        fn(self)


class Shelf:
    """Articles in memory. Answers at once, unless `held`: then when the test says so."""

    def __init__(self) -> None:
        self.bodies: dict[str, Body] = {}
        self.errors: dict[str, GatewayError] = {}
        self.parcels: list[Parcel] = []
        self.held = False
        self.on_request: Callable[[Parcel], None] = lambda _: None
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._posts = itertools.count(1)

    @property
    def asked(self) -> list[str]:
        """The message-ids that were asked for, in that order."""
        with self.lock:
            return [parcel.message_id for parcel in self.parcels]

    def waiting(self) -> list[Parcel]:
        """Return what has not been answered nor given up."""
        with self.lock:
            return [parcel for parcel in self.parcels if not (parcel.done or parcel.cancelled)]

    def post(self, data: bytes, sizes: Sequence[int]) -> list[bytes]:
        """Post *data* in parts of *sizes*, and return the message-ids."""
        assert sum(sizes) == len(data)
        number, ids, begin = next(self._posts), [], 0
        for index, size in enumerate(sizes):
            mid = f"{number}.{index}@test"
            end = begin + size
            chunk = bytearray(data[begin:end])
            self.bodies[mid] = Body(chunk, begin, end, len(data), "a.bin", mid, "memory")
            ids.append(mid.encode())
            begin = end
        return ids

    def plain(self, data: bytes, part_size: int) -> Layout:
        """Post *data* in regular parts, and return the layout of a file that is all of it."""
        rest = len(data) % part_size
        sizes = [part_size] * (len(data) // part_size) + ([rest] if rest else [])
        table = PartTable.regular(self.post(data, sizes), len(data), part_size)
        return Layout([Run(0, 0, len(data))], [table])

    def encrypted(self, data: bytes, part_size: int, *, skip: int = 0) -> CipheredLayout:
        """Post *data* encrypted, *skip* bytes of something else before it."""
        cipher = Cipher(b"0123456789abcdef" * 2, bytes(range(16)))
        plain = bytes(skip) + data
        encryptor = AesCipher(AES(cipher.key), CBC(cipher.iv)).encryptor()
        ciphertext = encryptor.update(plain + b"\1" * (-len(plain) % 16))
        size, rest = len(ciphertext), len(ciphertext) % part_size
        sizes = [part_size] * (size // part_size) + ([rest] if rest else [])
        table = PartTable.regular(self.post(ciphertext, sizes), size, part_size)
        return CipheredLayout([Stretch((Run(0, 0, size),), len(data), skip, cipher)], [table])

    def request(
        self, part: Part, *, reservation: Reservation | None = None, demand: bool = True
    ) -> Parcel:
        parcel = Parcel(part, reservation, demand, threading.get_ident(), self)
        with self.lock:
            self.parcels.append(parcel)
            held = self.held
            self.changed.notify_all()
        self.on_request(parcel)
        if not held:
            parcel.complete()
        return parcel

    def body(self, part: Part, *, timeout_s: float, demand: bool = True) -> Body:
        return self.request(part, demand=demand).result(timeout_s)

    def exists(
        self,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        given_up: Callable[[], bool] | None = None,
    ) -> list[Verdict]:
        found = [part.message_ids[0] in self.bodies for part in parts]
        return [Verdict.PRESENT if there else Verdict.MISSING for there in found]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is looked at whenever something is asked or left."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout=20)

    def release(self) -> None:
        """Answer all that waits, and from now on at once."""
        with self.lock:
            self.held = False
            waiting = list(self.parcels)
        for parcel in waiting:
            parcel.complete()


@pytest.fixture(scope="session")
def make_shelf() -> Callable[[], Shelf]:
    return Shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@dataclass
class Opener:
    """Makes `Streams` with small numbers that a test may change, and closes them."""

    opened: list[Streams] = field(default_factory=list)

    def __call__(
        self,
        source: Articles,
        *,
        readahead_budget: int = 1 << 20,
        article_cache: int = 0,
        read_timeout_s: float = 20.0,
        connections: int = 8,
    ) -> Streams:
        streams = Streams(
            source,
            readahead_budget=readahead_budget,
            article_cache=article_cache,
            read_timeout_s=read_timeout_s,
            connections=lambda: connections,
        )
        self.opened.append(streams)
        return streams


@pytest.fixture
def make_streams() -> Iterator[Opener]:
    opener = Opener()
    yield opener
    for streams in opener.opened:
        streams.close()
        assert streams.budget.used == 0


ReadAlike = Callable[[Stream, io.BytesIO, int, st.DataObject], None]


@pytest.fixture(scope="session")
def read_alike() -> ReadAlike:
    """Give what reads a stream of so many bytes, and its bytes, by whatever calls are drawn."""

    def read_alike(stream: Stream, reference: io.BytesIO, size: int, data: st.DataObject) -> None:
        calls = st.sampled_from(["view", "read", "readinto", "seek", "near", "readall"])
        for _ in range(data.draw(st.integers(1, 25))):
            match data.draw(calls):
                case "view":
                    limit = data.draw(st.integers(1, 900))
                    view = stream.read_view(limit)
                    assert view.readonly
                    assert len(view) <= limit
                    assert bytes(view) == reference.read(len(view))
                    assert len(view) or not reference.read(1)
                case "read":
                    limit = data.draw(st.integers(0, 1500))
                    assert stream.read(limit) == reference.read(limit)
                case "readinto":
                    mine, other = bytearray(300), bytearray(300)
                    assert stream.readinto(mine) == reference.readinto(other)
                    assert mine == other
                case "readall":
                    assert stream.readall() == reference.read()
                case "seek":
                    to = data.draw(st.integers(0, size + 50))
                    assert stream.seek(to) == reference.seek(to)
                case "near":
                    to = max(0, stream.tell() + data.draw(st.integers(-40, 40)))
                    assert stream.seek(to) == reference.seek(to)
            assert stream.tell() == reference.tell()

    return read_alike
