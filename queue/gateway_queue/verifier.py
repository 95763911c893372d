"""Whether a post's articles are there: a sample of each file, or all, by STAT; or by fetching all.

Present, missing and unknown are counted apart. Missing, which every provider has said, is a
verdict; unknown never is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.errors import ArticleDamaged, ImportFailed, IncompletePost, ProviderError
from gateway.nzb.extents import Part, PartTable
from gateway.streams.source import Articles
from gateway.usenet.articles import Verdict
from gateway.words import are
from gateway_queue.category import Verify
from gateway_queue.deep_reading import Reading, read_through
from gateway_queue.ticket import Ticket

# Of each file 1 %, at least 5 and at most 200 articles; the first and the last always.
_SHARE, _LEAST, _MOST = 100, 5, 200
# So many articles are asked for in one go: between two goes the line is idle for a round trip.
_GO = 10_000


@dataclass(frozen=True, slots=True)
class Tally:
    """What a check found: *asked* of *total* articles were asked for, and so many lacked."""

    total: int
    asked: int
    missing: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Sought:
    """A posted file that is to be whole. *md5* is what the post's par2 files say, if they do."""

    name: str
    table: PartTable
    md5: bytes | None = None


def sample(articles: int, *, most: int | None = None) -> list[int]:
    """Return which articles, from 0, to ask for of a file of so many: evenly spread."""
    count = min(articles, max(_LEAST, min(_MOST, -(-articles // _SHARE))), most or articles)
    if count < 2:
        return list(range(count))
    return [index * (articles - 1) // (count - 1) for index in range(count)]


def exceeds(share: float, missing: int, asked: int, total: int) -> bool:
    """Say whether more than this *share* of *total* articles is missing, as far as a sample tells.

    *missing* of the *asked* were: by chance, it would be more than three standard deviations off.
    Where the share is nothing, one that is missing is enough.
    """
    if not missing or share <= 0:
        return missing > 0
    found = missing / asked
    variance = found * (1 - found) / asked * (1 - asked / total)
    return found - 3 * math.sqrt(max(0.0, variance)) > share


class Verifier:
    """Asks *source*, which asks so many *providers*.

    Waits for at most *timeout_s* for 10,000 answers to STAT, and for any one article.
    """

    def __init__(self, source: Articles, *, providers: int, timeout_s: float = 60.0) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._whom = "the provider" if providers == 1 else f"all {providers} providers"

    def verify_post(
        self,
        posted: Sequence[Sought],
        how: Verify,
        ticket: Ticket,
        *,
        present: frozenset[str] = frozenset(),
    ) -> Tally:
        """Make sure that *posted* are whole, as well as *how* says.

        *present* are articles that have been fetched: they are not asked for. DEEP asks for all,
        so that what is not whole is not fetched, and then fetches all: sizes, offsets, CRC-32 and
        MD5 have to be right. Raises as `verify`; ArticleDamaged; ImportFailed for a wrong MD5.
        """
        total = sum(len(file.table) for file in posted)
        known = 0

        def asked() -> Iterator[Part]:
            nonlocal known
            for file in posted:
                count = len(file.table)
                for index in sample(count) if how is Verify.SAMPLE else range(count):
                    part = file.table.part(index)
                    if present.isdisjoint(part.message_ids):
                        yield part
                    else:
                        known += 1

        tally = self._count(asked(), ticket)
        tally = Tally(total, tally.asked + known, tally.missing, tally.unknown)
        self._judge(tally)
        if how is Verify.DEEP:
            self._read(posted, total, ticket)
        return tally

    def verify(self, parts: Iterable[Part], ticket: Ticket, *, total: int, known: int = 0) -> Tally:
        """Ask for *parts*, a sample of a post of *total* articles; *known* of them are there.

        Raises IncompletePost with numbers when any is missing, ProviderError when none is, but
        some are unknown, and LetGo.
        """
        tally = self._count(parts, ticket)
        tally = Tally(total, tally.asked + known, tally.missing, tally.unknown)
        self._judge(tally)
        return tally

    def _count(self, parts: Iterable[Part], ticket: Ticket) -> Tally:
        """Ask for *parts*. Once nobody answers at all, the rest is not asked for, and unknown."""
        asked = missing = unknown = 0
        rest = iter(parts)
        while go := list(islice(rest, _GO)):
            ticket.check()
            verdicts = self._source.exists(
                go, timeout_s=self._timeout_s, given_up=lambda: ticket.cancelled
            )
            ticket.check()
            lacking = verdicts.count(Verdict.UNKNOWN)
            asked += len(go)
            missing += verdicts.count(Verdict.MISSING)
            unknown += lacking
            if lacking == len(go):
                left = sum(1 for _ in rest)
                asked += left
                unknown += left
        return Tally(asked, asked, missing, unknown)

    def _judge(self, tally: Tally) -> None:
        if tally.missing:
            answered = tally.asked - tally.unknown
            words = _of(tally.missing, answered, tally.total, "checked")
            raise IncompletePost(f"{words} missing from {self._whom}")
        if tally.unknown:
            raise ProviderError(
                f"{tally.unknown:,} of {tally.asked:,} articles could not be checked: "
                "a provider did not answer"
            )

    def _read(self, posted: Sequence[Sought], total: int, ticket: Ticket) -> None:
        files = [(file.table, file.md5) for file in posted]
        read = read_through(self._source, files, ticket, patience_s=self._timeout_s)
        if read.missing:
            words = _of(read.missing, read.read, total, "fetched")
            raise IncompletePost(f"{words} missing from {self._whom}")
        if read.damaged:
            words = _of(read.damaged, read.read, total, "fetched")
            raise ArticleDamaged(f"{words} damaged at {self._whom}: {read.reason}")
        if read.unknown:
            raise ProviderError(
                f"{read.unknown:,} of {read.read:,} articles could not be fetched: {read.reason}"
            )
        _judge_digests(posted, read)


def _judge_digests(posted: Sequence[Sought], read: Reading) -> None:
    if not read.differing:
        return
    first = posted[read.differing[0]].name
    others = len(read.differing) - 1
    more = f" (nor {others:,} more of its files)" if others else ""
    raise ImportFailed(
        f'"{first}" is not what the par2 files of the post describe{more}: every article is as it '
        "was posted, but the MD5 of the file differs"
    )


def _of(count: int, among: int, total: int, done: str) -> str:
    if among == total:
        return f"{count:,} of {total:,} articles {are(count)}"
    return f"{count:,} of {among:,} articles {done} (of {total:,}) {are(count)}"
