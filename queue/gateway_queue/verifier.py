"""Whether a post's articles are there: a sample of each file, asked by STAT.

Present, missing and unknown are counted apart. Missing, which every provider has said, is a
verdict; unknown never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import IncompletePost, ProviderError
from gateway.nzb.extents import Part
from gateway.streams.source import Articles
from gateway.usenet.articles import Verdict
from gateway_queue.ticket import Ticket

# Of each file 1 %, at least 5 and at most 200 articles; the first and the last always.
_SHARE, _LEAST, _MOST = 100, 5, 200
# So many articles are asked for between two looks at the ticket.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Tally:
    """What a check found: *asked* of *total* articles were asked for, and so many lacked."""

    total: int
    asked: int
    missing: int
    unknown: int


def sample(articles: int, *, most: int | None = None) -> list[int]:
    """Return which articles, from 0, to ask for of a file of so many: evenly spread."""
    count = min(articles, max(_LEAST, min(_MOST, -(-articles // _SHARE))), most or articles)
    if count < 2:
        return list(range(count))
    return [index * (articles - 1) // (count - 1) for index in range(count)]


class Verifier:
    """Asks *source*, for at most *timeout_s* in one go. *providers* is how many it asks."""

    def __init__(self, source: Articles, *, providers: int, timeout_s: float = 60.0) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._whom = "the provider" if providers == 1 else f"all {providers} providers"

    def verify(self, parts: Sequence[Part], ticket: Ticket, *, total: int, known: int = 0) -> Tally:
        """Ask for *parts*, a sample of a post of *total* articles; *known* of them are there.

        Raises IncompletePost with numbers when any is missing, ProviderError when none is, but
        some are unknown, and LetGo.
        """
        verdicts: list[Verdict] = []
        for start in range(0, len(parts), _BATCH):
            ticket.check()
            batch = parts[start : start + _BATCH]
            verdicts += self._source.exists(batch, timeout_s=self._timeout_s)
        tally = Tally(
            total,
            known + len(parts),
            verdicts.count(Verdict.MISSING),
            verdicts.count(Verdict.UNKNOWN),
        )
        if tally.missing:
            raise IncompletePost(f"{_of(tally)} missing from {self._whom}")
        if tally.unknown:
            raise ProviderError(
                f"{tally.unknown:,} of {tally.asked:,} articles could not be checked: "
                "a provider did not answer"
            )
        return tally


def _of(tally: Tally) -> str:
    verb = "is" if tally.missing == 1 else "are"
    if tally.asked == tally.total:
        return f"{tally.missing:,} of {tally.total:,} articles {verb}"
    return f"{tally.missing:,} of {tally.asked:,} articles checked (of {tally.total:,}) {verb}"
