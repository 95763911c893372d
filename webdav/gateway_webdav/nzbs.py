"""The queue as a folder per category: put an NZB there and it is queued, delete it and it is not.

While it waits it can be read back, and moved into another category.

Clients look after what they put: rclone asks for its size and calls the upload failed if it is
gone, which it may be, once imported. Finder and Windows put an empty file first, lock it,
and then put the document; Finder puts a `._` file beside it. So what was put lately is
remembered here, in memory, for a while.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.errors import GatewayError, StorageError
from gateway.library.ports import Intake, QueuedDocument
from gateway_webdav.tree import BytesReader, File, Folder, Node, Reader

_SUFFIXES = (".nzb", ".nzb.gz", ".nzb.bz2", ".nzb.zip")
_REMEMBERED_S = 600.0
_REMEMBERED = 1000
_APPENDAGE = 64 << 10


class NotAccepted(GatewayError):
    """What was put cannot stand in this folder."""

    http_status = 403


class NotQueued(GatewayError):
    """What was put has left the queue."""

    http_status = 404


class TooLarge(GatewayError):
    """What was put is larger than any NZB."""

    http_status = 413


@dataclass(frozen=True, slots=True)
class _Upload:
    """What a client has put: *nzo_id* is empty for what was not queued."""

    name: str
    size: int
    at: float
    digest: str
    nzo_id: str = ""
    content: bytes | None = None  # of what is not queued


class NzbTree:
    """The queue of *intake* as folders, one for each of *categories*. Safe from any thread."""

    def __init__(
        self,
        intake: Intake,
        categories: Sequence[str],
        created: float,
        *,
        limit: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take documents of at most *limit* bytes."""
        self._intake = intake
        self._categories = tuple(categories)
        self._created = created
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._uploads: dict[tuple[str, str], _Upload] = {}  # in the order of putting

    def find(self, parts: Sequence[str]) -> Node | None:
        """Return what lies at *parts*, counted from the tree's own folder."""
        match parts:
            case []:
                return Folder("nzbs", self._created, self._folders)
            case [category] if category in self._categories:
                return self._folder(category)
            case [category, name] if category in self._categories:
                return self._file(category, name)
        return None

    def check_name(self, name: str) -> None:
        """Raise NotAccepted unless something called *name* may be put into a category."""
        if not (name.lower().endswith(_SUFFIXES) or is_appendage(name)):
            raise NotAccepted(f"{name!r} is no NZB: put files ending in {', '.join(_SUFFIXES)}")

    def put_empty(self, category: str, name: str) -> None:
        """Show *name* in *category* as an empty file, until its document comes."""
        self.check_name(name)
        self._remember(category, _Upload(name, 0, self._clock(), "", content=b""))

    def put(self, category: str, name: str, document: bytes) -> None:
        """Queue *document*; in place of the one of that name, if it still waits.

        The very same document again changes nothing. Raises InvalidNzb, TooLarge, NotAccepted.
        """
        self.check_name(name)
        if not document:
            self.put_empty(category, name)
            return
        digest = hashlib.sha256(document).hexdigest()
        if is_appendage(name):
            if len(document) > _APPENDAGE:
                raise TooLarge(f"{name!r} holds {len(document)} bytes and is no NZB")
            upload = _Upload(name, len(document), self._clock(), digest, content=document)
            self._remember(category, upload)
            return
        before = self._upload(category, name)
        if before is not None and before.digest == digest:
            return
        replaced = before.nzo_id if before else self._queued_id(category, name)
        nzo_id = self._intake.add(document, filename=name, category=category)
        upload = _Upload(name, len(document), self._clock(), digest, nzo_id)
        self._remember(category, upload)
        if replaced:
            self._intake.remove(replaced)

    def delete(self, category: str, name: str) -> None:
        """Take *name* out of the queue and out of the folder."""
        before = self._forget(category, name)
        nzo_id = before.nzo_id if before else self._queued_id(category, name)
        if nzo_id:
            self._intake.remove(nzo_id)

    def move(self, category: str, name: str, onto: Sequence[str]) -> None:
        """Put *name* into another category, in place of what waits there: (category, name) *onto*.

        Raises NotAccepted.
        """
        match onto:
            case [other, same] if other in self._categories and same == name:
                pass
            case _:
                raise NotAccepted(
                    f"{name!r} can be moved to another category in /nzbs, and keeps its name"
                )
        upload = self._upload(category, name)
        nzo_id = upload.nzo_id if upload else self._queued_id(category, name)
        replaced = self._queued_id(other, name)
        if nzo_id and not self._intake.categorize([nzo_id], other):
            raise NotQueued(_has_left(name))
        if replaced:
            self._intake.remove(replaced)
        if upload is not None:
            self._forget(category, name)
            self._remember(other, upload)

    def forget_empty(self, category: str, name: str) -> None:
        """Take *name* out of the folder if its document never came."""
        upload = self._upload(category, name)
        if upload is not None and not upload.size:
            self._forget(category, name)

    # -- showing ---------------------------------------------------------------------------------

    def _folders(self) -> Iterator[Node]:
        for category in sorted(self._categories):
            yield self._folder(category)

    def _folder(self, category: str) -> Folder:
        return Folder(category, self._created, partial(self._files, category))

    def _files(self, category: str) -> Iterator[Node]:
        pending = self._intake.pending(category)
        queued = {document.nzo_id for document in pending}
        names = {document.name for document in pending}
        for document in pending:
            yield self._queued(document)
        self._prune()
        with self._lock:
            uploads = [upload for (where, _), upload in self._uploads.items() if where == category]
        for upload in uploads:
            if upload.nzo_id not in queued and upload.name not in names:
                yield self._uploaded(upload)

    def _file(self, category: str, name: str) -> File | None:
        upload = self._upload(category, name)
        if upload is not None:
            return self._uploaded(upload)
        if is_appendage(name):
            return None  # asked for beside every file: not worth a look into the queue
        for document in self._intake.pending(category):
            if document.name == name:
                return self._queued(document)
        return None

    def _queued_id(self, category: str, name: str) -> str:
        documents = self._intake.pending(category)
        return next((document.nzo_id for document in documents if document.name == name), "")

    def _uploaded(self, upload: _Upload) -> File:
        return File(
            upload.name,
            upload.size,
            upload.at,
            upload.at,
            upload.digest[:32] or "empty",
            partial(self._read, upload.nzo_id, upload.name)
            if upload.content is None
            else partial(BytesReader, upload.content),
        )

    def _queued(self, document: QueuedDocument) -> File:
        etag = f"{document.nzo_id}-{document.size}"
        read = partial(self._read, document.nzo_id, document.name)
        return File(document.name, document.size, document.added, document.added, etag, read)

    def _read(self, nzo_id: str, name: str, start: int, stop: int) -> Reader:
        try:
            document = self._intake.document(nzo_id)
        except StorageError as exc:
            raise NotQueued(_has_left(name)) from exc
        return BytesReader(document, start, stop)

    # -- remembering -----------------------------------------------------------------------------

    def _upload(self, category: str, name: str) -> _Upload | None:
        self._prune()
        with self._lock:
            return self._uploads.get((category, name))

    def _remember(self, category: str, upload: _Upload) -> None:
        with self._lock:
            self._uploads.pop((category, upload.name), None)
            self._uploads[category, upload.name] = upload

    def _forget(self, category: str, name: str) -> _Upload | None:
        with self._lock:
            return self._uploads.pop((category, name), None)

    def _prune(self) -> None:
        expired = self._clock() - _REMEMBERED_S
        with self._lock:
            while self._uploads:
                key, oldest = next(iter(self._uploads.items()))
                if oldest.at > expired and len(self._uploads) <= _REMEMBERED:
                    break
                del self._uploads[key]


def is_appendage(name: str) -> bool:
    """Say whether *name* is one of those that macOS puts, and looks for, beside every file."""
    return name.startswith("._") or name == ".DS_Store"


def _has_left(name: str) -> str:
    return f"{name!r} has left the queue: the history says what became of it"
