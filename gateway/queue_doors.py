"""The queue's door for indexers and *arr: SABnzbd's API and what it needs, from the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.keys import Keys as OwnKeys
from gateway.settings import Settings
from gateway.usenet.client import Account, UsenetClient
from gateway_queue.category import CategoryRules, Links
from gateway_queue.drop_folder import DropFolder
from gateway_queue.fetching import Fetcher
from gateway_queue.grabber import Grabber
from gateway_queue.grabs import Grabs
from gateway_queue.intake import Queue
from gateway_queue.processor import Processor
from gateway_queue.recent_warnings import RecentWarnings
from gateway_queue.sab_config import Setup
from gateway_queue.sab_servers import SabServer
from gateway_queue.sabnzbd import Keys, SabnzbdApi, Surroundings
from gateway_queue.store import JobStore
from gateway_queue.traffic import Traffic


class QueueDoor:
    """The queue for everybody who is no worker: `jobs`, and `api`, SABnzbd's, over it.

    *categories* are those that exist. What it starts ends with *stack*.
    """

    def __init__(
        self,
        settings: Settings,
        keys: OwnKeys,
        store: JobStore,
        processor: Processor,
        usenet: UsenetClient,
        accounts: Sequence[Account],
        categories: Mapping[str, CategoryRules],
        stack: ExitStack,
    ) -> None:
        warnings = RecentWarnings()
        stack.enter_context(warnings.listening())
        self._traffic = Traffic(store.database, usenet.source.providers)
        stack.callback(self._traffic.stop)
        fetcher = Fetcher(
            allowed=settings.addurl_private, agent=f"NZB-Gateway/{version('nzb-gateway')}"
        )
        self._grabber = Grabber(Grabs(store), fetcher, processor.wake, clock=store.clock)
        stack.callback(self._grabber.stop)
        self.jobs = Queue(store, processor, grab=self._grabber.wake)
        by_name = {account.name: account for account in accounts}
        servers = tuple(SabServer(by_name[one.name], one) for one in usenet.source.providers)
        setup = Setup(
            settings.mount_dir,
            settings.data_dir,
            {name: rules.folder for name, rules in categories.items()},
            [name for name, rules in categories.items() if rules.links is Links.NONE],
            ignores_history_limit=settings.ignore_history_limit,
        )
        self.api = SabnzbdApi(
            self.jobs,
            setup,
            Surroundings(servers, self._traffic, warnings, settings.drop_dir),
            Keys(keys.api_key, keys.nzb_key, (keys.webdav_user, keys.webdav_password)),
            as_text=settings.sabnzbd_errors == "text",
        )
        self._drop_folder: DropFolder | None = None
        if settings.drop_dir is not None:
            _make(settings.drop_dir)
            self._drop_folder = DropFolder(settings.drop_dir, self.jobs, setup.category)
            stack.callback(self._drop_folder.stop)

    def start(self) -> None:
        """Begin to fetch what was added by its address, to count, and to look for what is put."""
        if self._drop_folder is not None:
            self._drop_folder.start()
        self._grabber.start()
        self._traffic.start()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            f"GATEWAY_DROP_DIR={folder} cannot be made: {exc.strerror}"
        ) from exc
