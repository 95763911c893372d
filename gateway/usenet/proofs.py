"""Fetching a few articles to see whether those who say that they are there have them."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Mapping
from functools import partial

from gateway.errors import ArticleDamaged, ArticleMissing, GatewayError
from gateway.nzb.extents import Part
from gateway.usenet.flight import Fetch
from gateway.usenet.survey import Patience, Verdict

# Of what is claimed 1 % is fetched, at least 5 and at most 20 articles.
_SHARE, _LEAST, _MOST = 100, 5, 20
# Of what is disputed so many are: all holes of a film that is worth playing.
_DISPUTED = 64


def prove(
    fetch: Callable[[Part], Fetch], claimed: Mapping[int, Part], patience: Patience
) -> dict[int, Verdict]:
    """Return what fetching a few of *claimed* says of all, by index.

    If all of those that are fetched are there, the others are believed to be; if not, the others
    are UNKNOWN. Which ones are fetched is left to chance, so that another time others are.
    """
    count = min(len(claimed), max(_LEAST, min(_MOST, len(claimed) // _SHARE)))
    found = _fetched(fetch, claimed, count, patience)
    proven = all(verdict is Verdict.PRESENT for verdict in found.values())
    return dict.fromkeys(claimed, Verdict.PRESENT if proven else Verdict.UNKNOWN) | found


def settle(
    fetch: Callable[[Part], Fetch], disputed: Mapping[int, Part], patience: Patience
) -> dict[int, Verdict]:
    """Return what fetching says of parts that STAT says are there, and BODY has just refused.

    Of very many some are fetched; if all of those are there, the others are believed to be, and
    if not, the others are MISSING as before.
    """
    found = _fetched(fetch, disputed, min(len(disputed), _DISPUTED), patience)
    proven = all(verdict is Verdict.PRESENT for verdict in found.values())
    return dict.fromkeys(disputed, Verdict.PRESENT if proven else Verdict.MISSING) | found


def _fetched(
    fetch: Callable[[Part], Fetch], parts: Mapping[int, Part], count: int, patience: Patience
) -> dict[int, Verdict]:
    """Return what fetching *count* of *parts* says of those."""
    chosen = random.sample(list(parts), count)
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    fetches: dict[int, Fetch] = {}
    for index in chosen:
        fetches[index] = fetch(parts[index])
        fetches[index].add_done_callback(partial(_report, ended, index))
    found = dict.fromkeys(chosen, Verdict.UNKNOWN)
    while fetches and (left_s := patience.left_s()):
        try:
            index = ended.get(timeout=left_s)
        except queue.Empty:
            continue
        found[index] = _verdict(fetches.pop(index))
    for left in fetches.values():
        left.cancel()
    return found


def _report(ended: queue.SimpleQueue[int], index: int, _fetch: Fetch) -> None:
    ended.put(index)


def _verdict(fetch: Fetch) -> Verdict:
    try:
        fetch.result(0)
    except ArticleMissing:
        return Verdict.MISSING
    except ArticleDamaged:
        return Verdict.PRESENT  # it is there, in whatever state: what STAT says, too
    except GatewayError:
        return Verdict.UNKNOWN
    return Verdict.PRESENT
