"""What looks after the library, built from the settings: checks, met holes, replacements."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from gateway.library.by_name import named
from gateway.library.catalogue import Library
from gateway.library.check_agenda import CheckAgenda
from gateway.library.check_records import CheckRecords
from gateway.library.database import Database
from gateway.library.editions import Editions
from gateway.settings import Settings
from gateway.usenet.articles import ArticleSource
from gateway_queue.checks import HealthChecks
from gateway_queue.health import Examiner
from gateway_queue.health_worker import HealthWorker
from gateway_queue.met_holes import MetHoles
from gateway_queue.replacing.arr import ArrOverHttp
from gateway_queue.replacing.asking import ArrReplacements
from gateway_queue.replacing.store import ReplacementStore
from gateway_queue.replacing.worker import ReplacementWorker


class LibraryChecks:
    """The checks and what follows: `health` checks, `holes` hears of readers, `replacing` tells.

    `asked` and `replacements` are for people. What it starts ends with *stack*.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        library: Library,
        editions: Editions,
        source: ArticleSource,
        stack: ExitStack,
    ) -> None:
        records, agenda = CheckRecords(database, editions), CheckAgenda(database)
        outbox = ReplacementStore(database)
        self.replacing = ReplacementWorker(outbox, _replacers(settings), brake=self._braked)
        stack.callback(self.replacing.stop)
        providers = len(source.providers)
        self.health = HealthWorker(
            Examiner(source, providers=providers),
            library,
            records,
            agenda,
            # Nobody to ask: it would be found out that nothing can be.
            scheduled=settings.health_checks and providers > 0,
            checked=lambda file_id: self.holes.checked(file_id),
            on_confirmed=self.replacing.wake,
        )
        self.holes = MetHoles(library, records, self.health.check_soon)
        stack.callback(self.holes.stop)
        stack.callback(self.health.stop)
        self.asked = HealthChecks(library, records, agenda, self.health)
        self.replacements = ArrReplacements(outbox, self.replacing, partial(named, library))

    def start(self) -> None:
        """Begin to check, to tell *arrs what has failed for certain, and to hear of holes."""
        self.health.start()
        self.replacing.start()
        self.holes.start()

    def _braked(self) -> str:
        """Return why what the checks have found is not to be believed; empty: it is."""
        braked = self.health.braked()
        return "" if braked is None else braked.reason


def _replacers(settings: Settings) -> list[ArrOverHttp]:
    """Return who is told what has failed for certain."""
    return [
        ArrOverHttp(name, one.kind, one.url, one.api_key.get_secret_value())
        for name, one in settings.arr.items()
        if one.replace and one.kind != "lidarr"
    ]
