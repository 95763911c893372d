"""From an NZB to the files in it: their names, where their bytes lie, and whether all is there.

A post of plain files is shown as it is; par2 volumes are left out. Of each file one article is
fetched, of irregular ones two; whether the others are there is asked without fetching them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ImportFailed,
    IncompletePost,
    InvalidNzb,
    ProviderError,
    UnsupportedArchive,
)
from gateway.library.catalogue import Library
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.nzb import document
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Part, PartTable, Run
from gateway.nzb.names import choose_name, subject_name
from gateway.streams.source import Articles, Pending
from gateway.usenet.articles import Body
from gateway_queue.analysis import (
    Arrivals,
    Opening,
    learned_table,
    opening,
    part_of,
    regular_table,
)
from gateway_queue.category import CategoryRules, Duplicates, rules_of
from gateway_queue.contents import Kind, kind_of
from gateway_queue.item import Item
from gateway_queue.ticket import Ticket
from gateway_queue.tidying import kept
from gateway_queue.verifier import Verifier, sample

# A dead post shows in a few articles of its largest files, before anything is fetched of it.
_PROBED_FILES, _PROBED_ARTICLES = 3, 5


@dataclass(frozen=True, slots=True)
class Planned:
    """A file that is to be published: *posted* as the NZB has it, *table* as its articles say."""

    name: str
    posted: NzbFile
    table: PartTable


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be published of an item; *present* are the articles that have been seen."""

    item: Item
    nzb: bytes
    password: str | None
    files: Sequence[Planned]
    present: frozenset[str]

    @property
    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(file.table.size for file in self.files)


class Importer:
    """Imports what *source* has into *library*. One for all workers.

    *rules* has for each category what it asks of its releases; one that is not listed asks the
    usual. Waits for at most *patience_s* for the next of the articles that it has asked for.
    """

    def __init__(
        self,
        source: Articles,
        library: Library,
        verifier: Verifier,
        *,
        rules: Mapping[str, CategoryRules] | None = None,
        patience_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._library = library
        self._verifier = verifier
        self._rules = rules or {}
        self._patience_s = patience_s
        self._clock = clock

    def analyse(self, item: Item, nzb: bytes, ticket: Ticket) -> Plan:
        """Return what the post is made of, by the first article of each file.

        Raises ImportFailed where it can never be shown, any other GatewayError where it cannot
        now, and LetGo.
        """
        rules = rules_of(self._rules, item.category)
        if rules.duplicates is Duplicates.FAIL and self._library.is_taken(rules.folder, item.name):
            raise _duplicate(rules, item)
        parsed = document.parse(nzb, filename=item.filename)
        if parsed.is_cut:
            # It may lack whole files, and the rest would pass for all that was posted.
            raise InvalidNzb(
                f"the NZB is cut off within or after its file {len(parsed.files)}: get it again"
            )
        posted = [file for file in parsed.files if _subject_kind(file) is not Kind.PAR2]
        if not posted:
            raise ImportFailed("the post holds nothing but par2 files")
        _refuse_gaps(posted)
        present: set[str] = set()
        openings = self._openings(posted, present, ticket)
        files, kinds = [], []
        for file, first in zip(posted, openings, strict=True):
            kind = kind_of((first.name, subject_name(file.subject)), first.head)
            if kind is not Kind.PAR2:
                files.append((file, first))
                kinds.append((kind, first.size))
        _refuse_archives(kinds)
        tables = self._tables(files, present, ticket)
        planned = []
        for (file, first), table in zip(files, tables, strict=True):
            name = choose_name(
                yenc=first.name, subject=file.subject, job=item.name, head=first.head
            )
            planned.append(Planned(name, file, table))
        planned = [
            planned[index]
            for index in kept([(file.name, file.table.size) for file in planned], rules)
        ]
        password = item.password or parsed.password
        return Plan(item, nzb, password, planned, frozenset(present))

    def verify(self, plan: Plan, ticket: Ticket) -> None:
        """Make sure that a sample of the articles of each file is there.

        Raises IncompletePost, any other GatewayError where that is not known, and LetGo.
        """
        posted = [file.posted for file in plan.files]
        parts = [part for file in posted for part in _sampled(file)]
        self._survey(parts, posted, plan.present, ticket)

    def publisher(self, plan: Plan) -> Callable[[Connection], Release]:
        """Return what publishes *plan* within a transaction that it is given."""
        posted = tuple(NewPosted(file.name, file.table) for file in plan.files)
        files = tuple(
            NewFile(
                file.name,
                file.table.size,
                (Run(index, 0, file.table.size),),
                modified=file.posted.date,
            )
            for index, file in enumerate(plan.files)
        )
        rules = rules_of(self._rules, plan.item.category)
        release = NewRelease(
            rules.folder,
            plan.item.name,
            self._clock(),
            plan.nzb,
            posted,
            files,
            plan.password,
            rules.links.kind,
        )
        return partial(self._publish, plan.item, rules, release)

    def _publish(
        self, item: Item, rules: CategoryRules, new: NewRelease, tx: Connection
    ) -> Release:
        # Asked again: it may have been queued twice, and the other one was published meanwhile.
        if rules.duplicates is Duplicates.FAIL and self._library.is_taken(
            rules.folder, item.name, tx
        ):
            raise _duplicate(rules, item)
        return self._library.publish(tx, new)

    def _openings(
        self, posted: Sequence[NzbFile], present: set[str], ticket: Ticket
    ) -> list[Opening]:
        """Return what the first article of each file tells."""
        found: dict[int, Opening] = {}
        firsts = [part_of(file, 0) for file in posted]
        with Arrivals(self._source, firsts, patience_s=self._patience_s) as arrivals:
            # While they are on their way: a dead post shows in a few of its articles.
            largest = sorted(posted, key=lambda file: file.size, reverse=True)[:_PROBED_FILES]
            probes = [part for file in largest for part in _sampled(file, most=_PROBED_ARTICLES)]
            unsure: ProviderError | None = None
            try:
                self._survey(probes, posted, frozenset(), ticket)
            except ProviderError as exc:
                unsure = exc  # whoever fetches is told why
            present.update(part.message_ids[0] for part in probes)
            for index, fetch in arrivals.each(ticket):
                body = self._body(fetch, posted, index, ticket)
                found[index] = opening(body, subject_name(posted[index].subject))
                present.add(firsts[index].message_ids[0])
        if unsure is not None:
            raise unsure
        return [found[index] for index in range(len(posted))]

    def _tables(
        self, files: Sequence[tuple[NzbFile, Opening]], present: set[str], ticket: Ticket
    ) -> list[PartTable]:
        """Return the layout of each file, by its last article where the first does not tell it."""
        tables = {
            index: table
            for index, (file, first) in enumerate(files)
            if (table := regular_table(file, first)) is not None
        }
        open_ = [index for index in range(len(files)) if index not in tables]
        posted = [files[index][0] for index in open_]
        lasts = [part_of(files[index][0], -1, size=files[index][1].size) for index in open_]
        with Arrivals(self._source, lasts, patience_s=self._patience_s) as arrivals:
            for number, fetch in arrivals.each(ticket):
                body = self._body(fetch, posted, number, ticket)
                file, first = files[open_[number]]
                tables[open_[number]] = learned_table(
                    subject_name(file.subject) or first.name, file, first, (body.begin, body.end)
                )
                present.add(lasts[number].message_ids[0])
        return [tables[index] for index in range(len(files))]

    def _body(self, fetch: Pending, posted: Sequence[NzbFile], index: int, ticket: Ticket) -> Body:
        """Return what *fetch*, which is done, has brought for the file of that *index*."""
        name = subject_name(posted[index].subject) or f"file {index + 1}"
        try:
            return fetch.result(0)
        except ArticleMissing as exc:
            # How much more is missing is soon asked, and says more than the one that is known to.
            parts = [part for file in posted for part in _sampled(file)]
            self._survey(parts, posted, frozenset(), ticket)
            raise IncompletePost(f'"{name}": {exc}') from exc
        except ArticleDamaged as exc:
            raise ArticleDamaged(f'"{name}": {exc}') from exc

    def _survey(
        self,
        parts: Sequence[Part],
        posted: Sequence[NzbFile],
        present: frozenset[str],
        ticket: Ticket,
    ) -> None:
        """Make sure that *parts*, a sample of *posted* of which some are *present*, are there."""
        asked = [part for part in parts if part.message_ids[0] not in present]
        total = sum(file.parts for file in posted)
        self._verifier.verify(asked, ticket, total=total, known=len(parts) - len(asked))


def _duplicate(rules: CategoryRules, item: Item) -> ImportFailed:
    return ImportFailed(
        f'"{rules.folder}" has a release called "{item.name}" already: remove it first, or set '
        f"GATEWAY_CATEGORIES__{rules.name.upper()}__DUPLICATES=increment"
    )


def _sampled(file: NzbFile, *, most: int | None = None) -> list[Part]:
    return [part_of(file, index) for index in sample(len(file.segments), most=most)]


def _subject_kind(file: NzbFile) -> Kind:
    return kind_of((subject_name(file.subject),))


def _refuse_gaps(posted: Sequence[NzbFile]) -> None:
    gaps, total = sum(file.gaps for file in posted), sum(file.parts for file in posted)
    if gaps:
        verb = "is" if gaps == 1 else "are"
        raise IncompletePost(f"{gaps:,} of {total:,} articles {verb} not listed in the NZB")


def _refuse_archives(kinds: Sequence[tuple[Kind, int]]) -> None:
    """Refuse a post that is an archive, whatever small files lie beside it."""
    total = sum(size for _, size in kinds)
    packed = [(kind, size) for kind, size in kinds if kind is not Kind.PLAIN]
    if 2 * sum(size for _, size in packed) > total:
        names = " and ".join(sorted({kind.value for kind, _ in packed}))
        raise UnsupportedArchive(
            f"its contents are an archive ({names}, {len(packed):,} of {len(kinds):,} files), "
            "and this version shows plain files only"
        )
