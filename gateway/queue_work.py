"""The queue's work, built from the settings: imports, downloads, and who is told of their end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from gateway.library.catalogue import Library
from gateway.library.entries import FileEntry, Release
from gateway.settings import Settings
from gateway.settings_parts import CategorySettings
from gateway.streams.streams import Streams
from gateway.usenet.client import UsenetClient
from gateway.usenet.workload import Workload
from gateway_queue.category import (
    CategoryRules,
    Duplicates,
    Links,
    OnMissing,
    Storage,
    Verify,
    rules_of,
)
from gateway_queue.download.downloads import Downloads
from gateway_queue.download.landing import check_folders
from gateway_queue.importer import Importer
from gateway_queue.item import Item, State
from gateway_queue.listeners import Arr, Rclone
from gateway_queue.processor import Processor
from gateway_queue.store import JobStore
from gateway_queue.telling import Ended, Listener, Teller
from gateway_queue.unpacking.unpack import unpack
from gateway_queue.verifier import Verifier

log = logging.getLogger(__name__)


def categories_of(settings: Settings) -> dict[str, CategoryRules]:
    """Return the rules of each category, by its name."""
    return {name: _rules(name, one) for name, one in settings.categories.items()}


def teller_of(settings: Settings) -> Teller:
    """Return what tells others of an end: first the mount that the *arrs look into."""
    rclone, found = settings.rclone, list[Listener]()
    if rclone.url is not None:
        password = rclone.password.get_secret_value() if rclone.password else None
        found.append(Rclone(rclone.url, rclone.username, password))
    found += [
        Arr(name, one.kind, one.url, one.api_key.get_secret_value())
        for name, one in settings.arr.items()
    ]
    return Teller(found)


def processor_of(
    settings: Settings,
    store: JobStore,
    categories: Mapping[str, CategoryRules],
    library: Library,
    streams: Streams,
    usenet: UsenetClient,
    tell: Callable[[Ended], None],
) -> Processor:
    """Return what works off the items of *store*; *tell* is told of each that has ended."""

    def ended(item: Item) -> None:
        folder = rules_of(categories, item.category).folder
        tell(Ended(folder, item.name, completed=item.state is State.COMPLETED))

    verifier = Verifier(usenet.source, providers=len(settings.providers))
    return Processor(
        store,
        Importer(streams.source, library, verifier, rules=categories),
        settings.max_concurrent_items,
        downloads=_downloads(settings, streams, library, categories, usenet),
        ended=ended,
        connections=lambda: _shares_in_words(usenet),
    )


def removed(release: Release) -> Ended:
    """Return what mounts are told of a release that has gone."""
    return Ended(release.category, release.name, completed=True, removed=True)


def changed(file: FileEntry) -> Ended:
    """Return what others are told when *file* has got other bytes."""
    return Ended(file.release.category, file.release.name, completed=True, changed=file.id)


def _rules(name: str, category: CategorySettings) -> CategoryRules:
    return CategoryRules(
        name,
        category.dir,
        Verify(category.verify),
        Links(category.links),
        Duplicates(category.duplicates),
        tuple(pattern for pattern in category.blocklist if pattern != "none"),
        category.media_required,
        Storage(category.storage),
        OnMissing(category.on_missing),
    )


def _downloads(
    settings: Settings,
    streams: Streams,
    library: Library,
    categories: Mapping[str, CategoryRules],
    usenet: UsenetClient,
) -> Downloads | None:
    """Return what downloads, if any category wants that."""
    if not any(rules.storage is Storage.DOWNLOAD for rules in categories.values()):
        return None
    if settings.complete.exists() or not library.holds(settings.complete):
        check_folders(settings.incomplete, settings.complete)
    else:
        # To make it anew would fill the disk below its mount point.
        log.error(
            '[Queue] GATEWAY_COMPLETE_DIR: "%s" is not there, and releases of the library lie in '
            "it: downloads wait. Mount its disk, or make the folder, and start again",
            settings.complete,
        )
    return Downloads(
        streams.source.without_keeping(),
        library,
        settings.incomplete,
        settings.complete,
        unpack,
        rules=categories,
        providers=len(settings.providers),
        connections=usenet.connections,
    )


def _shares_in_words(usenet: UsenetClient) -> str:
    seen = [pool.permits.snapshot() for pool in usenet.pools.values()]
    return (
        f"TotalConnections={sum(permits.total for permits in seen)} "
        f"MaxQueueConnections={sum(permits.cap[Workload.QUEUE] for permits in seen)} "
        f"GuaranteedToStreams={sum(permits.guarantee[Workload.STREAM] for permits in seen)}"
    )
