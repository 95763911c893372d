"""`/library`: releases with what is known of them; their NZBs; their removal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from gateway.library.by_name import named
from gateway.library.catalogue import Library
from gateway.library.entries import Release
from gateway.library.health import Health
from gateway.library.overview import Overview
from gateway.library.summaries import Details, KnownFile, Order, Summary
from gateway.library.summaries import Wanted as WantedReleases
from gateway.nzb.unwrapping import ending_of
from gateway.page.check_views import PlayableName
from gateway.page.endpoint import BadRequest, Call, Document, Endpoint, NotFound

log = logging.getLogger(__name__)

HealthName = Literal["healthy", "degraded", "failed", "unknown"]
LinksName = Literal["none", "waiting", "gone"]
_MOST = 1000


@dataclass(frozen=True, slots=True)
class KeyView:
    """By what links name a file: `.ids/…/<id>`, its *number* for players, its path on the disk."""

    id: str
    number: int
    disk: str | None


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release. *size* is bytes; times are seconds since 1970, null if it never happened.

    *health*: the worst verdict of its files. *on_disk* of its *files* were downloaded, the bytes
    of the others are on Usenet. *links*: "waiting", *links_left* of those that its import made lie
    in `completed-symlinks`; "gone", all were taken away by *links_gone_at*, into a library or for
    good, which is not known here; "none", there were none, or none are known. *last_read*: to the
    hour, by anybody, scanners too. *keys* only where they are asked for.
    """

    id: int
    category: str
    name: str
    added: float
    files: int
    size: int
    on_disk: int
    health: HealthName
    links: LinksName
    links_left: int
    links_gone_at: float | None
    last_read: float | None
    password: bool
    keys: tuple[KeyView, ...] | None


@dataclass(frozen=True, slots=True)
class LibraryView:
    """*next*: send it as `after` for the following releases; null: these are the last.

    *now*: the time of the gateway, by which all others are.
    """

    releases: tuple[ReleaseView, ...]
    next: str | None
    now: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """*pattern* is looked for in names, in any case; with `*` or `?` it is the whole name.

    With a slash in it, it is "category/name". *release*: the name or "category/name" of one
    release, as it is; it cannot be told together with others. *unlinked*: those whose links are
    "gone". *unread_since*: added before that time and not read since. *sort* "added": the newest
    first.
    """

    pattern: str | None = None
    release: str | None = None
    category: str | None = None
    health: HealthName | None = None
    unlinked: bool = False
    unread_since: float | None = None
    sort: Literal["name", "added"] = "name"
    keys: bool = False
    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=_MOST)] = 100


@dataclass(frozen=True, slots=True)
class FileView:
    """A file. *disk*: where it lies if it was downloaded; null: its bytes are on Usenet.

    *health* is the verdict in force, *words* what the latest check came to. *playable* and *why*:
    whether it plays with its holes, as in `/checks`.
    """

    path: str
    size: int
    id: str
    number: int
    disk: str | None
    health: HealthName
    words: str
    playable: PlayableName
    why: str
    checked_at: float | None
    last_read: float | None


@dataclass(frozen=True, slots=True)
class DetailsView:
    """All that is known of a release.

    *contents* are its files, *left* the paths of its links below `completed-symlinks`. Its NZB has
    *nzb_size* bytes, and takes *nzb_stored* in the library. *jobs*: ids in the history.
    """

    release: ReleaseView
    contents: tuple[FileView, ...]
    left: tuple[str, ...]
    nzb_size: int
    nzb_stored: int
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemovedView:
    """What is gone: so many *files* of *size* bytes, and all links to them."""

    category: str
    name: str
    files: int
    size: int


def endpoints(
    library: Library,
    overview: Overview,
    removed: Callable[[Release], None],
    *,
    clock: Callable[[], float] = time.time,
) -> list[Endpoint]:
    """Return what shows *library*, over which *overview* looks, and removes from it.

    *removed* is told of what has gone.
    """

    def show(call: Call) -> LibraryView:
        wanted = call.query
        assert isinstance(wanted, Wanted)
        library.flush_reads()
        if wanted.release is not None:
            ids = [release.id for release in named(library, wanted.release)]
            return LibraryView(tuple(map(_release, overview.of(ids))), None, clock())
        asked = WantedReleases(
            wanted.pattern,
            wanted.category,
            None if wanted.health is None else Health(wanted.health),
            wanted.unlinked,
            wanted.unread_since,
            Order(wanted.sort),
        )
        try:
            page = overview.page(asked, after=wanted.after, limit=wanted.limit, keys=wanted.keys)
        except ValueError as exc:
            raise BadRequest(f"after: {exc}") from exc
        views = tuple(_release(one, keys=wanted.keys) for one in page.found)
        return LibraryView(views, page.after, clock())

    def details(call: Call) -> DetailsView:
        release = find(call)
        library.flush_reads()
        known = overview.details(release.id)
        if known is None:
            raise _gone(call)
        return _details(known, len(library.nzb(release)))

    def nzb(call: Call) -> Document:
        release = find(call)
        content = library.nzb(release)
        return Document(release.name + ending_of(content), content)

    def remove(call: Call) -> RemovedView:
        release = find(call)
        gone = library.remove_files(release)
        removed(release)
        log.warning(
            "[Library] removed: '%s/%s' (files: %d, bytes: %d), and all links to it",
            release.category,
            release.name,
            gone.files,
            gone.size,
        )
        return RemovedView(release.category, release.name, gone.files, gone.size)

    def find(call: Call) -> Release:
        text = call.parameters["id"]
        # SQLite's largest number has 19 digits.
        release = (
            library.release_by_id(int(text))
            if text.isascii() and text.isdigit() and len(text) < 19
            else None
        )
        if release is None:
            raise _gone(call)
        return release

    missing = {404: "There is no such release (any more)"}
    return [
        Endpoint(
            "GET",
            "/library",
            "List the releases of the library, with what is known of them",
            LibraryView,
            show,
            query=Wanted,
            refusals={404: "There is no such release; the sentence has names that are like it"},
        ),
        Endpoint(
            "GET",
            "/library/{id}",
            "Tell all that is known of a release and its files",
            DetailsView,
            details,
            refusals=missing,
        ),
        Endpoint(
            "GET",
            "/library/{id}/nzb",
            "Return the NZB that a release was made of, as it came",
            Document,
            nzb,
            refusals=missing,
            content_type="application/x-nzb",
        ),
        Endpoint(
            "DELETE",
            "/library/{id}",
            "Remove a release, its links, and what was downloaded of it; who reads it, reads on",
            RemovedView,
            remove,
            refusals=missing,
        ),
    ]


def _gone(call: Call) -> NotFound:
    return NotFound(f"no release has the id {call.parameters['id']!r} (any more)")


def _release(one: Summary, *, keys: bool = False) -> ReleaseView:
    return ReleaseView(
        one.id,
        one.category,
        one.name,
        one.added,
        one.files,
        one.size,
        one.on_disk,
        one.health.value,
        one.links.value,
        one.links_left,
        one.links_gone_at,
        one.last_read,
        one.has_password,
        tuple(KeyView(key.id, key.number, key.disk) for key in one.keys) if keys else None,
    )


def _details(known: Details, nzb_size: int) -> DetailsView:
    return DetailsView(
        _release(known.summary),
        tuple(map(_file, known.files)),
        known.links,
        nzb_size,
        known.nzb_stored,
        known.jobs,
    )


def _file(one: KnownFile) -> FileView:
    known = one.health
    return FileView(
        known.file.path,
        known.file.size,
        known.file.id,
        one.number,
        one.disk,
        known.verdict.value,
        known.in_words(),
        known.damage.playable.value,
        known.damage.why,
        known.checked_at or None,
        one.last_read,
    )
