"""From an NZB to the files in it: their names, where their bytes lie, and whether all is there.

A post of plain files is shown as it is, and of archives what is stored in them; par2 volumes are
left out. Of each file one article is fetched, of irregular ones and of archives one or two more;
whether the others are there is asked without fetching them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection

from gateway.errors import ImportFailed, IncompletePost, InvalidNzb
from gateway.library.catalogue import Library
from gateway.library.entries import NewFile, NewPosted, NewRelease, Release
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Run
from gateway.nzb.names import subject_name
from gateway.streams.source import Articles
from gateway.words import are
from gateway_queue.category import CategoryRules, rules_of
from gateway_queue.contents import Kind, kind_of
from gateway_queue.duplicates import refuse_duplicate
from gateway_queue.inspection import Inspection
from gateway_queue.item import Item
from gateway_queue.just_read import just_read
from gateway_queue.naming import published
from gateway_queue.opened import opened
from gateway_queue.opening import Found, Unpacker
from gateway_queue.posted_files import Posted
from gateway_queue.ticket import Ticket
from gateway_queue.tidying import kept, wanted
from gateway_queue.verifier import Sought, Verifier


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be published of an item: *files*, whose runs number *posted*.

    *present* are the articles that have been seen.
    """

    item: Item
    nzb: bytes
    password: str | None = field(repr=False)
    posted: Sequence[Posted]
    files: Sequence[NewFile]
    present: frozenset[str]

    @property
    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(file.size for file in self.files)


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
        refuse_duplicate(self._library, rules, item)
        parsed = just_read.take(nzb, filename=item.filename)
        if parsed.is_cut:
            # It may lack whole files, and the rest would pass for all that was posted.
            raise InvalidNzb(
                f"the NZB is cut off within or after its file {len(parsed.files)}: get it again"
            )
        listed = [file for file in parsed.files if not _is_par2(file)]
        if not listed:
            raise ImportFailed("the post holds nothing but par2 files")
        names = [subject_name(file.subject) for file in listed]
        listed = [listed[index] for index in wanted(names, rules)]
        par2s = [file for file in parsed.files if _is_par2(file)]
        _refuse_gaps(listed)
        inspection = Inspection(
            self._source, self._verifier, listed, ticket, patience_s=self._patience_s
        )
        shelf = opened(inspection, par2s)
        passwords = [*dict.fromkeys(filter(None, (item.password, *parsed.passwords)))]
        found = Unpacker(shelf, passwords).unpack()
        if not found:
            raise ImportFailed("the archives of the post hold no files")
        paths = published(found, shelf.posted, item.name)
        sizes = [one.inner.size for one in found]
        left = kept([*zip(paths, sizes, strict=True)], rules)
        files, posted = _files([(paths[index], found[index]) for index in left], shelf.posted)
        password = passwords[0] if passwords else None
        return Plan(item, nzb, password, posted, files, frozenset(inspection.present))

    def verify(self, plan: Plan, ticket: Ticket) -> None:
        """Make sure that the posted files are whole, as well as their category wants to know it.

        Raises IncompletePost, any other ImportFailed where what is there is wrong, any other
        GatewayError where that is not known, and LetGo.
        """
        how = rules_of(self._rules, plan.item.category).verify
        sought = [Sought(one.name, one.table, one.real_md5) for one in plan.posted]
        self._verifier.verify_post(sought, how, ticket, present=plan.present)

    def publisher(self, plan: Plan) -> Callable[[Connection], Release]:
        """Return what publishes *plan* within a transaction that it is given."""
        rules = rules_of(self._rules, plan.item.category)
        release = NewRelease(
            rules.folder,
            plan.item.name,
            self._clock(),
            plan.nzb,
            tuple(NewPosted(one.name, one.table) for one in plan.posted),
            tuple(plan.files),
            plan.password,
            rules.links.kind,
            plan.item.id,
        )
        return partial(self._publish, plan.item, rules, release)

    def _publish(
        self, item: Item, rules: CategoryRules, new: NewRelease, tx: Connection
    ) -> Release:
        refuse_duplicate(self._library, rules, item, tx)
        return self._library.publish(tx, new)


def _files(
    found: Sequence[tuple[str, Found]], posted: Sequence[Posted]
) -> tuple[list[NewFile], list[Posted]]:
    """Return what is *found* at its path, and those of *posted* that it needs."""
    touched = sorted({run.posted for _, one in found for run in _runs(one)})
    numbers = {index: number for number, index in enumerate(touched)}
    files = []
    for path, one in found:
        folder, _, name = path.rpartition("/")
        stretches = tuple(
            replace(
                piece,
                runs=tuple(replace(run, posted=numbers[run.posted]) for run in piece.runs),
            )
            for piece in one.inner.stretches
        )
        modified = one.inner.modified
        files.append(
            NewFile(name, one.inner.size, folder=folder, modified=modified, stretches=stretches)
        )
    return files, [posted[index] for index in touched]


def _runs(one: Found) -> Iterator[Run]:
    return (run for piece in one.inner.stretches for run in piece.runs)


def _is_par2(file: NzbFile) -> bool:
    return kind_of((subject_name(file.subject),)) is Kind.PAR2


def _refuse_gaps(posted: Sequence[NzbFile]) -> None:
    gaps, total = sum(file.gaps for file in posted), sum(file.parts for file in posted)
    if gaps:
        raise IncompletePost(f"{gaps:,} of {total:,} articles {are(gaps)} not listed in the NZB")
