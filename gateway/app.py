"""The composition root: builds every part from the settings, and closes them in reverse order."""

from __future__ import annotations

import logging
import signal
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Self

from gateway.data_dir import hold
from gateway.dav_door import dav_door
from gateway.errors import ConfigurationError
from gateway.http.auth import ApiKey, RequireApiKey
from gateway.http.clients import TrustedProxies
from gateway.http.guard import HostGuard, PathGuard
from gateway.http.health_metrics import HealthFigures
from gateway.http.lease_metrics import LeaseFigures
from gateway.http.metrics import Figures, make_metrics_app
from gateway.http.router import Router
from gateway.http.scope import RequestScope
from gateway.http.server import Server
from gateway.http.streaming import StreamingBodies
from gateway.http.viewer_metrics import ViewerFigures
from gateway.http.wire import Timeouts
from gateway.keys import Keys
from gateway.leases.held import OnStoreError
from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.library.by_name import named
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.library.entries import FileEntry, Release
from gateway.library.overview import Overview
from gateway.page import checks, connections, leases, limits, replacements
from gateway.page import library as library_page
from gateway.page import queue as queue_page
from gateway.page import streams as open_streams
from gateway.page.api import Api
from gateway.queue_doors import QueueDoor
from gateway.reload import put_in_force, rules_of
from gateway.settings import Settings
from gateway.settings_parts import CategorySettings, ProviderSettings
from gateway.signals import awaited
from gateway.slots import ProviderSlots, SlotTimes, pool_of
from gateway.streams.streams import Streams
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.rules import Sharing
from gateway.usenet.workload import Workload
from gateway.vod.figures import VodFigures
from gateway.vod_doors import catalogue_doors, vod_of
from gateway_queue.category import (
    CategoryRules,
    Duplicates,
    Links,
    OnMissing,
    Storage,
    Verify,
    padded_folders,
)
from gateway_queue.category import rules_of as rules_of_category
from gateway_queue.checks import HealthChecks
from gateway_queue.download.downloads import Downloads
from gateway_queue.download.landing import check_folders
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker
from gateway_queue.importer import Importer
from gateway_queue.item import Item, State
from gateway_queue.listeners import Arr, Rclone
from gateway_queue.met_holes import MetHoles
from gateway_queue.processor import Processor
from gateway_queue.replacing.arr import ArrOverHttp
from gateway_queue.replacing.asking import ArrReplacements
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker
from gateway_queue.showing import Showing
from gateway_queue.store import JobStore
from gateway_queue.telling import Ended, Listener, Teller
from gateway_queue.unpacking.unpack import unpack
from gateway_queue.verifier import Verifier

log = logging.getLogger(__name__)


class Gateway:
    """The whole program. `start` opens the doors, `stop` closes them and then all behind them.

    Raises ConfigurationError, in words for whoever wrote the settings, when a part cannot be
    built; nothing is left open then.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        with ExitStack() as stack:
            stack.enter_context(hold(settings.data_dir))
            self.keys = Keys.load(settings)
            rules = rules_of(settings)
            database = Database(settings.database)
            stack.callback(database.close)
            categories = {name: _rules(name, one) for name, one in settings.categories.items()}
            editions = Editions(
                database,
                padded_folders(categories.values()),
                report=lambda *hole: self.holes.found(*hole),
                changed=lambda file: self.teller.ended(_changed(file)),
            )
            library = Library(database, editions)
            stack.callback(library.close)
            library.finish_removals()
            self.leases = _lease_store(settings)
            stack.callback(self.leases.close)
            self.keeper = Keeper(
                self.leases,
                ttl_s=settings.lease_ttl,
                heartbeat_s=settings.lease_ttl / 4,
                grace_s=settings.grace,
                on_store_error=OnStoreError(settings.on_store_error),
            )
            # After all that hold leases: what is given back is closed by then.
            stack.callback(self.keeper.close)
            accounts = [_account(name, one) for name, one in settings.providers.items()]
            usenet = UsenetClient(
                accounts,
                rules.make(),
                # Time enough within a read for a second provider to be asked, and a third.
                stall_s=settings.read_timeout / 3,
                connect_timeout_s=min(10.0, settings.read_timeout / 3),
            )
            after_usenet = stack.enter_context(ExitStack())
            stack.callback(usenet.close)
            if settings.redis_url is not None:
                slots = ProviderSlots(
                    self.leases,
                    usenet.pools.values(),
                    times=SlotTimes(settings.lease_ttl),
                    on_store_error=OnStoreError(settings.on_store_error),
                )
                # Given back when their connections are closed.
                after_usenet.callback(slots.close)
            self.sharing = Sharing(usenet, rules)
            streams = Streams(
                usenet.source,
                readahead_budget=settings.readahead_budget,
                article_cache=settings.article_cache,
                read_timeout_s=settings.read_timeout,
                connections=usenet.connections,
            )
            stack.callback(streams.close)
            folders = {name: category.folder for name, category in categories.items()}
            store = JobStore(database)
            verifier = Verifier(usenet.source, providers=len(settings.providers))
            importer = Importer(streams.source, library, verifier, rules=categories)
            self.teller = Teller(_listeners(settings))
            stack.callback(self.teller.stop)

            def ended(item: Item) -> None:
                folder = rules_of_category(categories, item.category).folder
                is_there = item.state is State.COMPLETED
                self.teller.ended(Ended(folder, item.name, completed=is_there))

            self.processor = Processor(
                store,
                importer,
                settings.max_concurrent_items,
                downloads=_downloads(settings, streams, library, categories, usenet),
                ended=ended,
                connections=lambda: _shares_in_words(usenet),
            )
            stack.callback(self.processor.stop)
            # A worker that waits for a silent provider ends when the connections do.
            after_usenet.callback(self.processor.stop, 1.0)
            self.queue = QueueDoor(
                settings, self.keys, store, self.processor, usenet, accounts, categories, stack
            )
            self.jobs = self.queue.jobs
            dav = dav_door(
                settings,
                self.keys,
                database,
                library,
                streams,
                self.jobs,
                folders=folders,
                port=lambda: self.server.port,
            )
            self.vod = vod_of(settings, self.keeper, library, streams)
            providers = usenet.source.providers
            records = CheckRecords(database, editions)
            agenda = CheckAgenda(database)
            outbox = ReplacementStore(database)
            self.replacing = ReplacementWorker(outbox, _replacers(settings), brake=self._braked)
            stack.callback(self.replacing.stop)
            self.health = HealthWorker(
                Examiner(usenet.source, providers=len(providers)),
                library,
                records,
                agenda,
                # Nobody to ask: it would be found out that nothing can be.
                scheduled=settings.health_checks and bool(providers),
                checked=lambda file_id: self.holes.checked(file_id),
                on_confirmed=self.replacing.wake,
            )
            self.holes = MetHoles(library, records, self.health.check_soon)
            stack.callback(self.holes.stop)
            stack.callback(self.health.stop)
            asked = HealthChecks(library, records, agenda, self.health)
            replacing = ArrReplacements(outbox, self.replacing, partial(named, library))
            api = Api(
                [
                    *checks.endpoints(asked, replacing),
                    *replacements.endpoints(replacing),
                    *connections.endpoints(providers),
                    *leases.endpoints(
                        self.leases, self.keeper, self.vod.viewings, self._caps, self.vod.end
                    ),
                    *library_page.endpoints(
                        library,
                        Overview(database),
                        lambda release: self.teller.ended(_removed(release)),
                    ),
                    *limits.endpoints(self.sharing, providers),
                    *queue_page.endpoints(Showing(self.jobs)),
                    *open_streams.endpoints(streams, providers),
                ],
                version=version("nzb-gateway"),
            )
            figures = Figures(
                providers,
                streams,
                queue=store.counts,
                responses=lambda: self.server.serving,
                version=version("nzb-gateway"),
            )
            self.streaming = StreamingBodies.beside(settings.responses, suspend_s=settings.suspend)
            lease_figures = LeaseFigures(self.leases, self.keeper, self._caps)
            viewer_figures = ViewerFigures(self.streaming, lambda: self.server.watchdog)
            health_figures = HealthFigures(self.health.status)
            vod_figures = VodFigures(self.vod.tally.snapshot, lambda: self.vod.admission.waiting)
            metrics = make_metrics_app(
                figures, lease_figures, viewer_figures, vod_figures, health_figures
            )
            key = ApiKey(self.keys.api_key)
            doors = Router(
                {
                    "/dav": dav,
                    "/api/gateway": RequireApiKey(api, key),
                    "/metrics": RequireApiKey(metrics, key),
                    "/api": self.queue.api,
                    "/sabnzbd/api": self.queue.api,
                    **catalogue_doors(settings, library, self.leases, stack),
                    **(self.vod.doors if self.vod.users else {}),
                },
                not_ready=lambda: _not_ready(settings, self.keeper),
            )
            guarded = HostGuard(PathGuard(doors), settings.host, settings.allowed_hosts)
            self.server = Server(
                RequestScope(guarded, self.streaming),
                settings.host,
                settings.port,
                responses=settings.responses,
                timeouts=Timeouts(suspend_s=settings.suspend, pause_s=settings.abandon),
                trusted_proxies=TrustedProxies(settings.trusted_proxies),
            )
            self._parts = stack.pop_all()

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        """Serve. Raises ConfigurationError when the port cannot be had."""
        self.server.start()
        self.teller.start()
        self.processor.start()
        self.queue.start()
        self.health.start()
        self.replacing.start()
        self.holes.start()
        log.info("NZB Gateway listens on %s", self.url)
        log.info("`nzb-gateway config` says where the WebDAV password and the API key are kept")
        if self.settings.vod.profiles and not self.settings.vod.users:
            log.warning("nobody may watch VOD: set GATEWAY_VOD__USERS__<name>__PASSWORD")
        if not self.settings.providers:
            log.warning("no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST")

    def reload(self, read: Callable[[], Settings]) -> None:
        """Put what *read* returns in force, as far as that goes without a restart.

        Raises nothing: what is wrong with the settings is told in the log, and changes nothing.
        """
        try:
            restart = put_in_force(self.settings, read(), self.sharing)
        except ConfigurationError as exc:
            said = "; ".join(str(exc).splitlines())
            log.error("settings were read again, and nothing has changed: %s", said)
            return
        log.info("settings were read again")
        if restart:
            log.warning("restart to change: %s", ", ".join(restart))

    def stop(self) -> None:
        """Let running responses finish for as long as DRAIN says, then close everything."""
        self.keeper.drain()
        self.streaming.drain()
        self.server.stop(self.settings.drain)
        self._parts.close()

    def _braked(self) -> str:
        """Return why what the checks have found is not to be believed; empty: it is."""
        braked = self.health.braked()
        return "" if braked is None else braked.reason

    def _caps(self) -> Mapping[str, int]:
        """Return the cap of every pool of leases that is known here."""
        if self.settings.redis_url is None:
            return self.keeper.caps()
        connections = self.sharing.connections().items()
        return {**self.keeper.caps(), **{pool_of(name): most for name, most in connections}}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.server.stop(0.0)
            self._parts.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve(settings: Settings, read: Callable[[], Settings]) -> int:
    """Run the gateway until SIGTERM or SIGINT; return the exit code.

    At SIGHUP the settings that *read* returns are put in force.
    """
    with (
        awaited(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as next_signal,
        Gateway(settings) as gateway,
    ):
        while (came := next_signal()) == signal.SIGHUP:
            gateway.reload(read)
        log.info("stopping: %s", came.name)
    return 0


def _account(name: str, provider: ProviderSettings) -> Account:
    return Account(
        name,
        provider.host,
        provider.effective_port,
        _tls(name, provider) if provider.tls else None,
        provider.username,
        provider.password.get_secret_value() if provider.password else None,
        provider.connections,
        provider.priority,
        provider.backup,
    )


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


def _removed(release: Release) -> Ended:
    """Return what mounts are told of a release that has gone."""
    return Ended(release.category, release.name, completed=True, removed=True)


def _changed(file: FileEntry) -> Ended:
    """Return what others are told when *file* has got other bytes."""
    return Ended(file.release.category, file.release.name, completed=True, changed=file.id)


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
    check_folders(settings.incomplete, settings.complete)
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


def _listeners(settings: Settings) -> list[Listener]:
    """Return who is told that something has ended: first the mount that the others look into."""
    rclone, found = settings.rclone, list[Listener]()
    if rclone.url is not None:
        password = rclone.password.get_secret_value() if rclone.password else None
        found.append(Rclone(rclone.url, rclone.username, password))
    found += [
        Arr(name, one.kind, one.url, one.api_key.get_secret_value())
        for name, one in settings.arr.items()
    ]
    return found


def _replacers(settings: Settings) -> list[ArrOverHttp]:
    """Return who is told what has failed for certain."""
    return [
        ArrOverHttp(name, one.kind, one.url, one.api_key.get_secret_value())
        for name, one in settings.arr.items()
        if one.replace and one.kind != "lidarr"
    ]


def _tls(name: str, provider: ProviderSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not provider.tls_verify:
        log.warning("%s: the certificate is not verified (TLS_VERIFY is false)", name)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not context.cert_store_stats()["x509_ca"]:
        raise ConfigurationError(
            "this machine has no certificates of authorities to verify a provider's by: "
            "install ca-certificates"
        )
    return context


def _lease_store(settings: Settings) -> LeaseStore:
    if settings.redis_url is None:
        return MemoryLeases(ttl_s=settings.lease_ttl)
    try:
        return RedisLeases.from_url(
            settings.redis_url.get_secret_value(),
            ttl_s=settings.lease_ttl,
            recover_s=settings.lease_ttl / 2,
        )
    except ConfigurationError as exc:
        raise ConfigurationError(f"GATEWAY_REDIS_URL: {exc}") from exc


def _not_ready(settings: Settings, keeper: Keeper) -> list[str]:
    reasons = []
    if not settings.providers:
        reasons.append("no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST and its login")
    if keeper.status().is_store_down:
        # Anyone may ask: the address of the server stands in the log.
        reasons.append("the lease store does not answer: see to the server of GATEWAY_REDIS_URL")
    return reasons


def _shares_in_words(usenet: UsenetClient) -> str:
    seen = [pool.permits.snapshot() for pool in usenet.pools.values()]
    return (
        f"TotalConnections={sum(permits.total for permits in seen)} "
        f"MaxQueueConnections={sum(permits.cap[Workload.QUEUE] for permits in seen)} "
        f"GuaranteedToStreams={sum(permits.guarantee[Workload.STREAM] for permits in seen)}"
    )
