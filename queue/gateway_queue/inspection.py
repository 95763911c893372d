"""One post being looked at: its first articles, where its parts begin, what is there of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.errors import (
    ArticleDamaged,
    ArticleMissing,
    ImportFailed,
    IncompletePost,
    ProviderError,
)
from gateway.nzb.document import NzbFile
from gateway.nzb.extents import Part, PartTable
from gateway.nzb.names import subject_name
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
from gateway_queue.ticket import Ticket
from gateway_queue.verifier import Verifier, sample

# A dead post shows in a few articles of its largest files, before anything is fetched of it.
_PROBED_FILES, _PROBED_ARTICLES = 3, 5
# Openings of so many bytes are kept whole; of a post of more files, the beginnings.
_KEPT = 64 << 20
_KEPT_LEAST = 1024


class Inspection:
    """What is asked about *posted*, the files of a post that matter.

    *present* are the articles that have been seen, and that nobody need ask for. Everything here
    raises LetGo once *ticket* is cancelled, and waits for at most *patience_s* for the next of
    the articles that it has asked for, under the reservation in force.
    """

    def __init__(
        self,
        source: Articles,
        verifier: Verifier,
        posted: Sequence[NzbFile],
        ticket: Ticket,
        *,
        patience_s: float,
    ) -> None:
        self.posted = posted
        self.ticket = ticket
        self.present: set[str] = set()
        self._source = source
        self._verifier = verifier
        self._patience_s = patience_s

    def openings(self, extra: Sequence[NzbFile] = ()) -> tuple[list[Opening], list[Opening | None]]:
        """Return what the first article of each file tells, and of *extra* where it can be had.

        Raises IncompletePost, any other GatewayError where something is not known.
        """
        posted, found = [*self.posted, *extra], dict[int, Opening]()
        firsts = [part_of(file, 0) for file in posted]
        room = _KEPT
        with Arrivals(self._source, firsts, patience_s=self._patience_s) as arrivals:
            # While they are on their way: a dead post shows in a few of its articles.
            largest = sorted(self.posted, key=lambda file: file.size, reverse=True)[:_PROBED_FILES]
            probes = [part for file in largest for part in sampled(file, most=_PROBED_ARTICLES)]
            unsure: ProviderError | None = None
            try:
                self._survey(probes)
            except ProviderError as exc:
                unsure = exc  # whoever fetches is told why
            self.present.update(part.message_ids[0] for part in probes)
            for index, fetch in arrivals.each(self.ticket):
                name = name_of(posted[index], index)
                if index < len(self.posted):
                    first = opening(self._body(fetch, name), name)
                else:
                    try:
                        first = opening(fetch.result(0), name)
                    except (ArticleDamaged, ArticleMissing, ImportFailed):
                        continue
                if room < len(first.head):
                    first = first.shortened(_KEPT_LEAST)
                room -= len(first.head)
                found[index] = first
                self.present.add(firsts[index].message_ids[0])
        if unsure is not None:
            raise unsure
        count = len(self.posted)
        told = [found.get(count + number) for number in range(len(extra))]
        return [found[index] for index in range(count)], told

    def tables(self, files: Sequence[tuple[NzbFile, Opening]]) -> list[PartTable]:
        """Return the layout of each file, by its last article where the first does not tell it."""
        tables = {
            index: table
            for index, (file, first) in enumerate(files)
            if (table := regular_table(file, first)) is not None
        }
        open_ = [index for index in range(len(files)) if index not in tables]
        lasts = [part_of(files[index][0], -1, size=files[index][1].size) for index in open_]
        names = [name_of(files[index][0], index) for index in open_]
        for number, body in self.bodies(lasts, names):
            file, first = files[open_[number]]
            name = subject_name(file.subject) or first.name
            bounds = (body.begin, body.end)
            tables[open_[number]] = learned_table(name, file, first, bounds)
        return [tables[index] for index in range(len(files))]

    def bodies(self, parts: Sequence[Part], names: Sequence[str]) -> Iterator[tuple[int, Body]]:
        """Fetch *parts* of files of these *names* at once; give each, numbered, as it comes.

        Raises IncompletePost where one is missing, ArticleDamaged, ProviderError.
        """
        with Arrivals(self._source, parts, patience_s=self._patience_s) as arrivals:
            for number, fetch in arrivals.each(self.ticket):
                body = self._body(fetch, names[number])
                self.present.add(parts[number].message_ids[0])
                yield number, body

    def _body(self, fetch: Pending, name: str) -> Body:
        """Return what *fetch*, which is done, has brought for the file called *name*."""
        try:
            return fetch.result(0)
        except ArticleMissing as exc:
            # How much more is missing is soon asked, and says more than the one that is known to.
            self._survey([part for file in self.posted for part in sampled(file)])
            raise IncompletePost(f'"{name}": {exc}') from exc
        except ArticleDamaged as exc:
            raise ArticleDamaged(f'"{name}": {exc}') from exc

    def _survey(self, parts: Sequence[Part]) -> None:
        total = sum(file.parts for file in self.posted)
        self._verifier.verify(parts, self.ticket, total=total)


def name_of(file: NzbFile, index: int) -> str:
    """Return what to call *file*, the one of that *index*, in an error."""
    return subject_name(file.subject) or f"file {index + 1}"


def sampled(file: NzbFile, *, most: int | None = None) -> list[Part]:
    """Return the parts of *file* that stand for all of them."""
    return [part_of(file, index) for index in sample(len(file.segments), most=most)]
