"""The composition root: builds every part from the settings, and closes them in reverse order."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
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
from gateway.lease_keeping import keeper_of, lease_store
from gateway.leases.keeper import Keeper
from gateway.library.catalogue import Library
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.library.overview import Overview
from gateway.library_checks import LibraryChecks
from gateway.news_accounts import accounts_of, client_of, slots_of
from gateway.page import checks, connections, leases, limits, replacements
from gateway.page import library as library_page
from gateway.page import queue as queue_page
from gateway.page import streams as open_streams
from gateway.page.api import Api
from gateway.queue_doors import QueueDoor
from gateway.queue_work import categories_of, changed, processor_of, removed, teller_of
from gateway.reload import put_in_force, rules_of
from gateway.settings import Settings
from gateway.signals import awaited
from gateway.slots import pool_of
from gateway.streams.streams import Streams
from gateway.usenet.rules import Sharing
from gateway.vod.figures import VodFigures
from gateway.vod_doors import catalogue_doors, vod_of
from gateway_queue.category import padded_folders
from gateway_queue.showing import Showing
from gateway_queue.store import JobStore

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
            categories = categories_of(settings)
            editions = Editions(
                database,
                padded_folders(categories.values()),
                report=lambda *hole: self.checks.holes.found(*hole),
                changed=lambda file: self.teller.ended(changed(file)),
            )
            library = Library(database, editions)
            stack.callback(library.close)
            library.finish_removals()
            self.leases = lease_store(settings)
            stack.callback(self.leases.close)
            self.keeper = keeper_of(settings, self.leases)
            # After all that hold leases: what is given back is closed by then.
            stack.callback(self.keeper.close)
            accounts = accounts_of(settings)
            usenet = client_of(settings, accounts, rules)
            after_usenet = stack.enter_context(ExitStack())
            stack.callback(usenet.close)
            slots = slots_of(settings, self.leases, usenet)
            if slots is not None:
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
            store = JobStore(database)
            self.teller = teller_of(settings)
            stack.callback(self.teller.stop)
            self.processor = processor_of(
                settings, store, categories, library, streams, usenet, self.teller.ended
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
                folders={name: rules.folder for name, rules in categories.items()},
                port=lambda: self.server.port,
            )
            self.vod = vod_of(settings, self.keeper, library, streams)
            providers = usenet.source.providers
            self.checks = LibraryChecks(settings, database, library, editions, usenet.source, stack)
            api = Api(
                [
                    *checks.endpoints(self.checks.asked, self.checks.replacements),
                    *replacements.endpoints(self.checks.replacements),
                    *connections.endpoints(providers),
                    *leases.endpoints(
                        self.leases, self.keeper, self.vod.viewings, self._caps, self.vod.end
                    ),
                    *library_page.endpoints(
                        library,
                        Overview(database),
                        lambda release: self.teller.ended(removed(release)),
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
            health_figures = HealthFigures(self.checks.health.status)
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
        self.checks.start()
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


def _not_ready(settings: Settings, keeper: Keeper) -> list[str]:
    reasons = []
    if not settings.providers:
        reasons.append("no provider is configured: set GATEWAY_PROVIDERS__MAIN__HOST and its login")
    if keeper.status().is_store_down:
        # Anyone may ask: the address of the server stands in the log.
        reasons.append("the lease store does not answer: see to the server of GATEWAY_REDIS_URL")
    return reasons
