"""What holes mean for whoever wants to play a file: which bytes are lost, and whether it plays.

A judgement by the kind of container, from where the bytes lie: nothing of them is read.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from gateway.streams.padding import LIMITS, Gap, Kind, container_of

# So many spans of lost bytes are kept and so many shown: a file with more of them plays no more.
_KEPT, _SHOWN = LIMITS.in_all, 4

_AVI = {".avi", ".divx"}

# Where a container says what is in it; MP4 at its beginning or its end, as its writer liked.
_HEAD = 1 << 20
_INDEX = 0.02  # an index is a small part of the file


class Playable(enum.StrEnum):
    """Whether a file plays. Where bytes are lost that takes a category whose ON_MISSING is pad."""

    WHOLE = "whole"  # nothing is lost
    GAPS = "gaps"  # with gaps
    NO = "no"
    UNKNOWN = ""  # nobody has looked


@dataclass(frozen=True, slots=True)
class Damage:
    """What is lost of a file: *lost_bytes*, in these spans (the first of them), and what follows.

    *why* says in words what the judgement rests on.
    """

    lost: tuple[tuple[int, int], ...] = ()
    lost_bytes: int = 0
    playable: Playable = Playable.UNKNOWN
    why: str = ""

    def where(self, size: int) -> str:
        """Say where in the file of *size* bytes it is, in percent of it."""
        spans = [_percent(span, size) for span in self.lost[:_SHOWN]]
        return ", ".join(spans) + (", ..." if len(self.lost) > _SHOWN else "")


NOT_JUDGED = Damage()
WHOLE = Damage(playable=Playable.WHOLE)


def judge(name: str, size: int, gaps: Sequence[Gap]) -> Damage:
    """Return what it means for file *name* of *size* bytes that it has these *gaps*, and no others.

    In ascending order.
    """
    if not gaps:
        return WHOLE
    obstacle = _too_much(gaps, size)
    playable, why = (Playable.NO, obstacle) if obstacle else _by_container(name, size, gaps)
    spans = tuple((gap.begin, gap.end) for gap in gaps[:_KEPT])
    return Damage(spans, sum(map(len, gaps)), playable, why)


def pack_spans(spans: Iterable[tuple[int, int]]) -> str:
    """Return spans as text: "0-700;900-1200"."""
    return ";".join(f"{begin}-{end}" for begin, end in spans)


def unpack_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return the spans that `pack_spans` made this text of. Raises ValueError if it did not."""
    found = []
    for one in text.split(";") if text else ():
        begin, end = one.split("-")
        found.append((int(begin), int(end)))
    return tuple(found)


def _too_much(gaps: Sequence[Gap], size: int) -> str:
    longest = max(gaps, key=lambda gap: gap.articles)
    if LIMITS.is_too_long(longest):
        return (
            f"{longest.articles:,} articles in a row are missing, and at most {LIMITS.in_a_row} "
            "may be made up"
        )
    return LIMITS.refusal(gaps, size)


def _by_container(name: str, size: int, gaps: Sequence[Gap]) -> tuple[Playable, str]:
    head = gaps[0].begin < min(_HEAD, size)
    tail = gaps[-1].end > size * (1 - _INDEX)
    container = container_of(name, b"")
    match None if container is None else container.kind:
        case Kind.TS:
            return Playable.GAPS, "each of its packets stands on its own"
        case Kind.MATROSKA if head:
            return Playable.NO, "it begins with what says which tracks are in it"
        case Kind.MATROSKA if tail:
            return Playable.GAPS, "at its end, where the index for seeking may be hit"
        case Kind.MATROSKA:
            return Playable.GAPS, "players go on at the next cluster"
        case Kind.MP4 if head or tail:
            return Playable.NO, "an MP4 has its index, without which nothing plays, at either end"
        case Kind.MP4:
            return Playable.GAPS, "its index, at either end, is whole"
    if PurePath(name).suffix.lower() in _AVI:
        return Playable.NO, "what is missing of an AVI is not made up"
    return Playable.NO, "a file of this kind is of use only when it is whole"


def _percent(span: tuple[int, int], size: int) -> str:
    begin, end = (f"{100 * one / size:.1f}" for one in span)
    return f"{begin} %" if begin == end else f"{begin}-{end} %"
