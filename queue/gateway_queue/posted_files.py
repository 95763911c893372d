"""Posted files as files to read and seek in, for the readers of archives.

They read headers: a few bytes in the first article, in the last, in between. What has been
fetched of a post is kept on one `Shelf`, and what a reader is about to look at in many files can be
fetched at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from gateway.errors import UnsupportedArchive
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Part, PartTable, Run
from gateway.nzb.names import subject_name
from gateway.nzb.positions import Positioned
from gateway.streams.layout import Layout, Search
from gateway.usenet.articles import Body
from gateway_queue.analysis import Opening
from gateway_queue.contents import Kind, kind_of
from gateway_queue.inspection import Inspection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_ARTICLES = 5_000
"""So many articles are fetched to look into the archives of one post: more is an attack."""

# Of an article that is read somewhere, so much from there on is kept, and so much in all.
_WINDOW = 1 << 16
_KEPT = 64 << 20


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted file: as the NZB lists it, as its first article shows it, and its layout.

    *real_name* is what the post's par2 files call it, "" if they do not, and *real_md5* its MD5
    as they have it.
    """

    listed: NzbFile
    opening: Opening
    table: PartTable
    real_name: str = ""
    real_md5: bytes | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return what it is called, by whoever is to be believed first: not made safe."""
        given = (self.real_name,) if self.real_name else (self.opening.name, self.subject_name)
        return tuple(name for name in given if name)

    @property
    def subject_name(self) -> str:
        return subject_name(self.listed.subject)

    @property
    def kind(self) -> Kind:
        return kind_of(self.names, self.opening.head)

    @property
    def name(self) -> str:
        """Return the likeliest name that tells what kind of volume it is."""
        telling = (name for name in self.names if kind_of([name]) is not Kind.PLAIN)
        return next(telling, self.names[0] if self.names else "")


class Shelf:
    """What has been fetched of *posted*, the files of a post, and what fetches more of them.

    *articles* counts what was fetched, *kept* the bytes that are kept beside the openings.
    """

    def __init__(self, inspection: Inspection, posted: Sequence[Posted]) -> None:
        self.posted = posted
        self.articles = 0
        self._inspection = inspection
        self._layouts: dict[int, Layout] = {}
        # Windows of posted files, the oldest first: which file, where it begins, its bytes.
        self._windows: dict[int, list[tuple[int, bytes]]] = {}
        self._order: deque[tuple[int, tuple[int, bytes]]] = deque()
        self.kept = 0
        self._current: tuple[int, int, bytearray] = (-1, 0, bytearray())

    def file(self, index: int) -> BinaryIO:
        """Return the posted file of that *index*, to read and seek in.

        Raises IncompletePost where an article is missing, ArticleDamaged, ProviderError where that
        is not known, LetGo, and UnsupportedArchive after MOST_ARTICLES.
        """
        return cast("BinaryIO", _PostedFile(self, index))

    def prefetch(self, places: Iterable[tuple[int, int]]) -> None:
        """Fetch at once what is not here yet of *places*: indexes of files, and offsets in them.

        Raises as `file` does.
        """
        wanted: dict[tuple[int, int], tuple[int, int, Search]] = {}
        for index, offset in places:
            if offset < self.posted[index].table.size and not self._held(index, offset):
                search = self._search(index, offset)
                wanted.setdefault((index, search.piece.segment), (index, offset, search))
        looked = list(wanted.values())
        parts = [search.piece.extent.part for _, _, search in looked]
        for number, body in self._fetch(parts, [index for index, _, _ in looked]):
            index, offset, search = looked[number]
            # Where the guess was wrong, whoever reads there looks on.
            if search.learn(body.begin, body.end):
                self._keep(index, offset, body)

    def read(self, index: int, offset: int) -> bytes | memoryview:
        """Return some bytes from *offset* on, at least one: as many as are here."""
        held = self._held(index, offset)
        if held:
            return held
        search = self._search(index, offset)
        while True:
            ((_, body),) = self._fetch([search.piece.extent.part], [index])
            if search.learn(body.begin, body.end):
                break
        self._keep(index, offset, body)
        self._current = (index, body.begin, body.data)
        return memoryview(body.data)[offset - body.begin :]

    def _held(self, index: int, offset: int) -> bytes | memoryview:
        head = self.posted[index].opening.head
        if offset < len(head):
            return memoryview(head)[offset:]
        at, begin, data = self._current
        if at == index and begin <= offset < begin + len(data):
            return memoryview(data)[offset - begin :]
        for start, window in self._windows.get(index, ()):
            if start <= offset < start + len(window):
                return memoryview(window)[offset - start :]
        return b""

    def _keep(self, index: int, offset: int, body: Body) -> None:
        # From there on, and where little follows what lies before it: an archive's end.
        begin = max(0, min(offset - body.begin, len(body.data) - _WINDOW))
        window = (body.begin + begin, bytes(body.data[begin : begin + _WINDOW]))
        self._windows.setdefault(index, []).append(window)
        self._order.append((index, window))
        self.kept += len(window[1])
        while self.kept > _KEPT:
            index, window = self._order.popleft()
            self._windows[index].remove(window)
            self.kept -= len(window[1])

    def _search(self, index: int, offset: int) -> Search:
        layout = self._layouts.get(index)
        if layout is None:
            table = self.posted[index].table
            layout = self._layouts[index] = Layout([Run(0, 0, table.size)], [table])
        return Search(layout, offset)

    def _fetch(self, parts: Sequence[Part], indexes: Sequence[int]) -> Iterable[tuple[int, Body]]:
        self.articles += len(parts)
        if self.articles > MOST_ARTICLES:
            raise UnsupportedArchive(
                f"to look into the archives of the post would take more than {MOST_ARTICLES:,} "
                'articles: a category with storage "download" would unpack it'
            )
        return self._inspection.bodies(parts, [self.posted[index].name for index in indexes])


class _PostedFile(Positioned):
    def __init__(self, shelf: Shelf, index: int) -> None:
        super().__init__(shelf.posted[index].table.size)
        self._shelf = shelf
        self._index = index

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        target = target[: max(0, self._size - self._position)]
        filled = 0
        while filled < len(target):
            found = self._shelf.read(self._index, self._position)
            taken = min(len(found), len(target) - filled)
            target[filled : filled + taken] = found[:taken]
            filled += taken
            self._position += taken
        return filled
