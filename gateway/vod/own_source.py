"""Files of the own library behind the same doors: NZBs in place of an account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from gateway.errors import FileChanged, FilmChanged, NoSuchFilm, ProtocolError
from gateway.http.ranges import Entity
from gateway.http.wsgi import Chunk
from gateway.leases.lease import Pool
from gateway.library.entries import FileEntry
from gateway.nzb.media_types import media_type
from gateway.streams.holes import Holes
from gateway.streams.on_disk import FileLayout
from gateway.vod.film import FIRST_ID, Film
from gateway.vod.sources import Reader, Source
from gateway.vod.users import VodUser

_LOOKS = 3


class Stream(Protocol):
    def seek(self, offset: int, /) -> int: ...

    def read_view(self, limit: int, /) -> memoryview: ...

    def close(self) -> None: ...


class StreamOpener(Protocol):
    """`gateway.streams.Streams`, as far as this package needs it."""

    def open(
        self,
        layout: FileLayout,
        *,
        stop: int | None = None,
        name: str = "",
        holes: Holes | None = None,
    ) -> Stream: ...


class Catalogue(Protocol):
    """`gateway.library.Library`, as far as this package needs it."""

    def file_by_number(self, number: int) -> FileEntry | None: ...

    def file_by_id(self, file_id: str) -> FileEntry | None: ...

    def note_read(self, file_id: str) -> None: ...

    def layout(self, file_id: str) -> FileLayout: ...

    def holes(self, file: FileEntry, layout: FileLayout) -> Holes: ...


class OwnLibrary:
    """Files of the library, which need no account: a user's slot and one of all suffice."""

    def __init__(self, library: Catalogue, streams: StreamOpener, *, max_streams: int) -> None:
        self.library, self.streams = library, streams
        self.everybody = Pool("global", max_streams)

    def source(self, film: Film, user: VodUser) -> Source:
        """Return where *user* gets *film*, numbered from FIRST_ID on. Raises NoSuchFilm."""
        entry = self.library.file_by_number(film.number - FIRST_ID)
        if entry is None:
            raise NoSuchFilm(f"the library has no file with the number {film.number - FIRST_ID}")
        return _LibrarySource(self, entry, user)


class _LibrarySource:
    def __init__(self, own: OwnLibrary, entry: FileEntry, user: VodUser) -> None:
        self._own, self._entry, self._user = own, entry, user
        self.words = f"{entry.release.name}/{entry.path}"

    def candidates(self) -> Sequence[tuple[Pool, ...]]:
        return [(self._user.pool, self._own.everybody)]

    def probes(self) -> Sequence[tuple[Pool, ...]]:
        return []

    def name(self, _place: int, /) -> str | None:
        return None

    def known(self) -> Entity:
        entry = self._entry
        modified = datetime.fromtimestamp(entry.modified, UTC)
        return Entity(entry.size, media_type(entry.name), entry.etag, modified)

    def learn(self, _use: Callable[[Reader], object], /) -> Entity:
        return self.known()

    def open(
        self,
        _place: int,
        start: int,
        stop: int | None,
        resumed: Entity | None,
        use: Callable[[Reader], object],
        /,
    ) -> tuple[Reader, Entity]:
        stream = self._open(stop, resumed)
        reader = _LibraryReader(stream)
        use(reader)
        reader.stream.seek(start)
        return reader, self.known()

    def _open(self, stop: int | None, resumed: Entity | None) -> Stream:
        library, entry = self._own.library, self._entry
        library.note_read(entry.id)
        for _ in range(_LOOKS):
            layout = library.layout(entry.id)
            try:
                holes = library.holes(entry, layout)
            except FileChanged as exc:
                if resumed is not None:
                    raise FilmChanged(str(exc)) from exc
                found = library.file_by_id(entry.id)
                if found is None:
                    raise NoSuchFilm(f"{self.words} is not in the library any more") from exc
                entry = self._entry = found
                continue
            return self._own.streams.open(layout, stop=stop, name=self.words, holes=holes)
        raise FileChanged(f"{self.words} changes again and again: ask again")


class _LibraryReader:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def read(self, limit: int, /) -> Chunk:
        try:
            view = self.stream.read_view(limit)
        except ValueError as exc:  # closed in another thread
            raise ProtocolError(f"the library's stream was closed: {exc}") from exc
        if not view:
            raise ProtocolError("the library's file ended early")
        return view

    def close(self) -> None:
        self.stream.close()
