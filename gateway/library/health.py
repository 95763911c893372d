"""What is known about the health of a file: whether the articles behind its bytes are there.

Checks replace what an earlier one found by one rule (`FileHealth.after`): what could not be asked
is *unknown*, never missing, and wipes out no verdict. Nothing is deleted because of a check.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from gateway.library.check_times import CONFIRM_S, due_again, due_to_confirm, due_unanswered
from gateway.library.damage import NOT_JUDGED, Damage
from gateway.library.entries import FileEntry
from gateway.words import counted

_SHOWN_HOLES = 4


class Health(enum.StrEnum):
    """How a file stands."""

    HEALTHY = "healthy"  # every article is there
    DEGRADED = "degraded"  # every provider says that some of them are missing
    FAILED = "failed"  # every provider says so of half of them, or of more
    UNKNOWN = "unknown"  # never checked, or not every article could be asked for


@dataclass(frozen=True, slots=True, order=True)
class Hole:
    """Parts *first* to *last* (from 0, both missing) of a posted file of a file's layout."""

    posted: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Findings:
    """What one check of a file found: of *articles*, so many are *missing* and *unknown*.

    *holes* say where those are that are missing, in order; *reason* why any are unknown. Of the
    missing, those in *damaged* are there, but are not what was posted: only a *deep* check, which
    fetches every article, can tell.
    """

    articles: int
    missing: int = 0
    unknown: int = 0
    holes: tuple[Hole, ...] = ()
    reason: str = ""
    damaged: tuple[Hole, ...] = ()
    deep: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every article was told of."""
        return not self.unknown and not self.reason

    @property
    def health(self) -> Health:
        if self.missing:
            return _broken(self.missing, self.articles)
        return Health.HEALTHY if self.is_complete else Health.UNKNOWN

    def beside(self, known: tuple[Hole, ...]) -> Findings:
        """Return these findings with the holes that were *known* already, as holes."""
        parts = parts_of(self.holes) | parts_of(known)
        return replace(self, missing=len(parts), holes=holes(sorted(parts)))


@dataclass(frozen=True, slots=True)
class FileHealth:
    """What the checks of *file* have found, up to the latest of them.

    *verdict*, *missing* and *holes* are what the check of *decided_at* found; *unknown* and
    *reason* say what the latest, of *checked_at*, could not find out. Times are seconds since
    1970; *checked_at* 0: never checked, *decided_at* None: nothing has led to a verdict. Where a
    reader has met holes since the latest check, that is what *decided_at* says.

    The next check is due at *due_at*, 0: before all others. So many checks in a row left articles
    *unanswered*. *failed_at* is the first check of those in a row that found the file FAILED, and
    *confirmed_at* one an hour later or more that found the same; None unless it is FAILED, or
    while a provider was ill. *damaged* are those of the holes whose articles are there, but not
    as they were posted. *on_disk*: it was downloaded, and counts as one article.
    """

    file: FileEntry
    checked_at: float
    decided_at: float | None
    verdict: Health
    articles: int
    missing: int
    unknown: int
    reason: str
    holes: tuple[Hole, ...]
    on_disk: bool = False
    due_at: float = 0.0
    unanswered: int = 0
    failed_at: float | None = None
    confirmed_at: float | None = None
    damaged: tuple[Hole, ...] = ()
    damage: Damage = NOT_JUDGED

    @property
    def health(self) -> Health:
        """The outcome of the latest check: UNKNOWN where it left an older verdict in force."""
        is_latest = self.decided_at is not None and self.decided_at >= self.checked_at
        return self.verdict if is_latest else Health.UNKNOWN

    def would_confirm(self, findings: Findings, at: float) -> bool:
        """Say whether *findings* at *at* confirm that the file has FAILED, if they count."""
        return (
            findings.health is Health.FAILED
            and self.verdict is Health.FAILED
            and self._decides(findings)
            and not self.on_disk
            and self.failed_at is not None
            and self.confirmed_at is None
            and at >= self.failed_at + CONFIRM_S
        )

    def met(self, parts: Collection[tuple[int, int]], at: float) -> FileHealth | None:
        """Return what is known after a reader has met these missing *parts* at *at*.

        Each is (posted, part). None: nothing new.
        """
        if all(
            any(hole.posted == posted and hole.first <= part <= hole.last for hole in self.holes)
            for posted, part in parts
        ):
            return None
        found = sorted(parts_of(self.holes).union(parts))
        verdict = Health.FAILED if self.verdict is Health.FAILED else Health.DEGRADED
        return replace(
            self,
            # Later than the latest check, even if the clock has been set back.
            decided_at=max(at, math.nextafter(self.checked_at, math.inf)),
            verdict=verdict,
            missing=len(found),
            holes=holes(found),
            due_at=0.0,
        )

    def after(self, findings: Findings, at: float, *, is_sound: bool = True) -> FileHealth:
        """Return what is known after a check at *at* has found *findings*.

        A check that left articles unknown replaces the verdict only if it found more missing
        than was known: the others may be among those that it could not ask for. What was damaged
        stays so until a deep check finds it whole. Unless the check *is_sound*, which it is not
        while a provider is ill, it counts neither as first nor as second towards confirmation.
        """
        damaged = findings.damaged
        if self.damaged and not findings.deep:
            findings, damaged = findings.beside(self.damaged), self.damaged
        now = replace(
            self,
            checked_at=at,
            articles=findings.articles or self.articles,
            unknown=findings.unknown,
            reason=findings.reason,
            unanswered=0 if findings.is_complete else self.unanswered + 1,
        )
        if self._decides(findings):
            failed_at, confirmed_at = self._confirmation(findings, at, is_sound)
            now = replace(
                now,
                decided_at=at,
                verdict=findings.health,
                missing=findings.missing,
                holes=findings.holes,
                damaged=damaged,
                failed_at=failed_at,
                confirmed_at=confirmed_at,
            )
        return replace(now, due_at=now._due(at))

    def _decides(self, findings: Findings) -> bool:
        return findings.is_complete or findings.missing > self.missing

    def _confirmation(
        self, findings: Findings, at: float, is_sound: bool
    ) -> tuple[float | None, float | None]:
        if findings.health is not Health.FAILED:
            return None, None
        failed_at, confirmed_at = self.failed_at, self.confirmed_at
        if is_sound and self.would_confirm(findings, at):
            confirmed_at = at
        if self.verdict is not Health.FAILED or failed_at is None or failed_at > at:
            failed_at = at if is_sound else None
        return failed_at, confirmed_at

    def _due(self, at: float) -> float:
        published = self.file.release.created
        if self.unanswered:
            return due_unanswered(self.file.id, at, self.unanswered)
        if self.verdict is Health.FAILED and self.confirmed_at is None and not self.on_disk:
            return due_to_confirm(
                self.file.id, at if self.failed_at is None else self.failed_at, at
            )
        return due_again(self.file.id, published, at)

    def in_words(self) -> str:
        """Say what is known in one sentence, with its numbers."""
        if self.on_disk and self.health is not Health.UNKNOWN:
            return "on the disk" if self.health is Health.HEALTHY else "not on the disk any more"
        articles = counted(self.articles, "article")
        match self.health:
            case Health.HEALTHY:
                return f"{articles} present"
            case Health.FAILED:
                lost = "all" if self.missing == self.articles else f"{self.missing:,} of"
                return f"{lost} {articles} missing{self._damaged_in_words()}"
            case Health.DEGRADED:
                of = f" of {articles}" if self.articles else ""
                return (
                    f"{self.missing:,}{of} missing{self._damaged_in_words()} ({self._where()})"
                    + (self._not_told())
                )
            case Health.UNKNOWN:
                if not self.checked_at:
                    return "never checked"
                asked = f"{self.unknown:,} of {articles} unknown: " if self.unknown else ""
                return f"{asked}{self.reason}"

    def _damaged_in_words(self) -> str:
        count = sum(map(len, self.damaged))
        return f", {count:,} of them damaged" if count else ""

    def _where(self) -> str:
        where = _holes_in_words(self.holes)
        if self.damage.lost:
            where += f"; at {self.damage.where(self.file.size)} of the file"
        return where

    def _not_told(self) -> str:
        if self.decided_at is not None and self.decided_at > self.checked_at:
            return ", as a reader has found: not checked since"
        return f", {self.unknown:,} unknown: {self.reason}" if self.unknown else ""


def _broken(missing: int, articles: int) -> Health:
    return Health.FAILED if 2 * missing >= articles else Health.DEGRADED


def holes(missing: Iterable[tuple[int, int]]) -> tuple[Hole, ...]:
    """Return the holes that these articles make, (posted, part) each, in ascending order."""
    found: list[Hole] = []
    for posted, part in missing:
        if found and found[-1].posted == posted and found[-1].last == part - 1:
            found[-1] = replace(found[-1], last=part)
        else:
            found.append(Hole(posted, part, part))
    return tuple(found)


def parts_of(found: Iterable[Hole]) -> set[tuple[int, int]]:
    """Return the parts that lie in holes, (posted, part) each."""
    return {(hole.posted, part) for hole in found for part in range(hole.first, hole.last + 1)}


def pack_holes(found: Iterable[Hole]) -> str:
    """Return holes as text: "0:12,14-20;3:1" are 12 and 14 to 20 of file 0, and 1 of file 3."""
    texts: dict[int, list[str]] = {}
    for hole in found:
        span = f"{hole.first}" if hole.first == hole.last else f"{hole.first}-{hole.last}"
        texts.setdefault(hole.posted, []).append(span)
    return ";".join(f"{posted}:{','.join(spans)}" for posted, spans in texts.items())


def unpack_holes(text: str) -> tuple[Hole, ...]:
    """Return the holes that `pack_holes` made this text of. Raises ValueError if it did not."""
    found = []
    for one in text.split(";") if text else ():
        posted, _, spans = one.partition(":")
        for span in spans.split(","):
            first, _, last = span.partition("-")
            found.append(Hole(int(posted), int(first), int(last or first)))
    return tuple(found)


def _holes_in_words(found: tuple[Hole, ...]) -> str:
    # Counted from 1, as an NZB does.
    spans = []
    for hole in found[:_SHOWN_HOLES]:
        span = f"{hole.first + 1:,}"
        if len(hole) > 1:
            span += f"-{hole.last + 1:,}"
        spans.append(f"{span} of posted file {hole.posted + 1}" if found[-1].posted else span)
    more = ", ..." if len(found) > _SHOWN_HOLES else ""
    noun = "segment" if sum(map(len, found)) == 1 else "segments"
    return f"{noun} {', '.join(spans)}{more}"
