"""The replacements, as the database keeps them: the outbox of all that an *arr is to be told.

Every step is one transaction that begins by making sure that the replacement still stands where
the caller believes it to. What is about to be sent is written down before, together with its
place within the limits; so a crash at any moment loses nothing and passes no limit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from gateway.library.entries import Release
from gateway.library.health import Health
from gateway.library.replacement import UNFINISHED, Replacement, Step
from gateway.library.schema import checks, files, release_jobs, releases, replacements
from gateway_queue.replacing.known import COLUMNS, Known, replacement_of, sent_since
from gateway_queue.replacing.limits import DAY_S, Over, Sent

# An attempt takes less: eight requests that each come to their time-out.
_CLAIM_S = 300.0

# How far in the future each may lie.
_AHEAD = (
    (replacements.c.sent, 0.0),
    (replacements.c.claimed_until, _CLAIM_S),
    (replacements.c.not_before, DAY_S),
)

_failed = sa.and_(checks.c.verdict == Health.FAILED.value, checks.c.confirmed_at.is_not(None))
_unfinished = replacements.c.step.in_([step.value for step in UNFINISHED])
# None of the *arrs that were asked has grabbed it.
_unknown = sa.and_(replacements.c.step == Step.NOBODY.value, replacements.c.sent.is_(None))


class Moved(Exception):
    """The replacement is not where the caller left it: somebody else is at work on it."""


class ReplacementStore(Known):
    """The replacements in *database*. Safe to use from any thread; all raise StorageError."""

    # What is to be done ----------------------------------------------------------------------

    def gather(self, now: float) -> int:
        """Write down every release of which a failure is confirmed; say how many are new.

        Each once. Those that wait and have turned out not to have failed are forgotten.
        """
        failed_file = (
            sa.select(sa.literal(1))
            .join_from(files, checks, checks.c.file_id == files.c.id)
            .where(files.c.release_id == replacements.c.release_id, _failed)
        )
        well_again = sa.delete(replacements).where(
            replacements.c.step == Step.WAITING.value,
            replacements.c.by_hand.is_(False),
            ~failed_file.exists(),
        )
        # What counts for no limit any more, and is shown nowhere.
        long_ago = sa.delete(replacements).where(
            ~_unfinished,
            replacements.c.ended < now - DAY_S,
            replacements.c.release_id.is_(None) | (replacements.c.step == Step.REFUSED.value),
        )
        known = sa.select(sa.literal(1)).where(
            replacements.c.release_id == releases.c.id, replacements.c.step != Step.REFUSED.value
        )
        new = (
            sa.select(
                releases.c.id,
                release_jobs.c.nzo_id,
                releases.c.category,
                releases.c.name,
                sa.func.min(checks.c.confirmed_at),
            )
            .join_from(checks, files, checks.c.file_id == files.c.id)
            .join(releases, files.c.release_id == releases.c.id)
            .join(release_jobs, release_jobs.c.release_id == releases.c.id)
            .where(_failed, ~known.exists())
            .group_by(releases.c.id, release_jobs.c.nzo_id, releases.c.category, releases.c.name)
        )
        insert = sa.insert(replacements).from_select(
            ["release_id", "nzo_id", "category", "name", "asked"], new, include_defaults=False
        )
        try:
            with self._database.begin() as tx:
                for column, longest_s in _AHEAD:
                    # The clock was ahead once: nothing waits for it to be there again.
                    late = sa.update(replacements).where(column > now + longest_s)
                    tx.execute(late.values({column.name: now}))
                tx.execute(well_again)
                tx.execute(long_ago)
                return tx.execute(insert).rowcount
        except IntegrityError:
            return 0  # another gateway gathers at this moment

    def ask(self, release: Release, nzo_id: str, now: float) -> Replacement:
        """Write down that somebody wants *release* replaced, and return what is to be done.

        One that is under way already is now wanted by somebody, and is tried at once.
        """
        ours = replacements.c.release_id == release.id
        hurry = (
            sa.update(replacements)
            .where(ours, _unfinished | _unknown)
            .values(
                by_hand=True,
                not_before=0.0,
                # What nobody knew: somebody else may be configured by now.
                step=sa.case((_unknown, Step.WAITING.value), else_=replacements.c.step),
                ended=None,
                answer="",
            )
            .returning(*COLUMNS)
        )
        insert = sa.insert(replacements).returning(*COLUMNS)
        values = {
            "release_id": release.id,
            "nzo_id": nzo_id,
            "category": release.category,
            "name": release.name,
            "by_hand": True,
            "asked": now,
        }
        with self._database.begin() as tx:
            row = tx.execute(hurry).one_or_none()
            return replacement_of(row or tx.execute(insert, values).one())

    def claim(self, now: float, *, anew: bool = True) -> Replacement | None:
        """Take the next one up, for as long as an attempt may take; None: nothing is due.

        First what somebody asked for, then the failure that was confirmed first. Not *anew*: only
        what somebody asked for, or what is begun.
        """
        due = sa.and_(
            _unfinished, replacements.c.not_before <= now, replacements.c.claimed_until <= now
        )
        first = sa.select(replacements.c.id).where(due)
        if not anew:
            first = first.where(
                replacements.c.by_hand.is_(True) | (replacements.c.step != Step.WAITING.value)
            )
        first = (
            first.order_by(replacements.c.by_hand.desc(), replacements.c.asked, replacements.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        claimed = (
            sa.update(replacements)
            .where(replacements.c.id == first.scalar_subquery(), due)
            .values(claimed_until=now + _CLAIM_S)
            .returning(*COLUMNS)
        )
        with self._database.begin() as tx:
            row = tx.execute(claimed).one_or_none()
        return None if row is None else replacement_of(row)

    def next_due(self) -> float | None:
        """Return when the next one may be claimed, None if none is unfinished."""
        # Not greatest(), which SQLite calls max().
        later = sa.case(
            (replacements.c.not_before > replacements.c.claimed_until, replacements.c.not_before),
            else_=replacements.c.claimed_until,
        )
        with self._database.read() as tx:
            due: float | None = tx.scalar(sa.select(sa.func.min(later)).where(_unfinished))
        return due

    def begin_anew(self, arrs: Collection[str]) -> None:
        """Try all at once that wait; and again what nobody knew, if others are configured now.

        *arrs* are the names of those that are.
        """
        unfinished = sa.update(replacements).where(_unfinished).values(not_before=0.0)
        again = (
            sa.update(replacements)
            .where(_unknown, replacements.c.known_to != _joined(arrs))
            .where(replacements.c.release_id.is_not(None))
            .values(step=Step.WAITING.value, ended=None, answer="", not_before=0.0)
        )
        with self._database.begin() as tx:
            tx.execute(unfinished)
            tx.execute(again)

    # One replacement -------------------------------------------------------------------------

    def identify(self, one: Replacement, arr: str, titles: Collection[str], title: str) -> None:
        """Write down who has grabbed it, and as what."""
        self._change(one, arr=arr, titles=_joined(titles), title=title)

    def admit(
        self,
        one: Replacement,
        step: Step,
        now: float,
        over: Callable[[Sequence[Sent]], Over | None],
        longest_s: float,
    ) -> Replacement | Over:
        """Put *one* on *step*, to be sent something now, unless *over* says that is too much.

        *over* gets what was sent for the others within the last *longest_s*; nothing comes
        between its look and the step.
        """
        with self._database.begin() as tx:
            reached = over(sent_since(tx, now - longest_s, one.id))
            if reached is not None:
                return reached
            return _changed(tx, one, step=step.value, sent=now, note="")

    def advance(self, one: Replacement, step: Step, **values: Any) -> Replacement:
        """Put *one* on *step*. Raises Moved."""
        return self._change(one, step=step.value, **values)

    def finish(self, one: Replacement, step: Step, answer: str, now: float) -> Replacement:
        """Put *one* on *step*, its last, with what came of it. Raises Moved."""
        return self._change(
            one, step=step.value, ended=now, answer=answer, note="", claimed_until=0.0
        )

    def nobody(
        self, one: Replacement, answer: str, now: float, asked: Collection[str]
    ) -> Replacement:
        """End *one*, which none of those *asked* has grabbed. Raises Moved."""
        return self._change(
            one,
            step=Step.NOBODY.value,
            ended=now,
            answer=answer,
            note="",
            known_to=_joined(asked),
            claimed_until=0.0,
        )

    def put_off(self, one: Replacement, note: str, until: float, *, failed: bool) -> Replacement:
        """Let *one* wait, for the reason in *note*. *failed*: that was an attempt. Raises Moved."""
        return self._change(
            one,
            note=note,
            not_before=until,
            attempts=one.attempts + failed,
            claimed_until=0.0,
        )

    def _change(self, one: Replacement, **values: Any) -> Replacement:
        with self._database.begin() as tx:
            return _changed(tx, one, **values)


def _changed(tx: Connection, one: Replacement, **values: Any) -> Replacement:
    update = (
        sa.update(replacements)
        .where(replacements.c.id == one.id, replacements.c.step == one.step.value)
        .values(**values)
        .returning(*COLUMNS)
    )
    row = tx.execute(update).one_or_none()
    if row is None:
        raise Moved
    return replacement_of(row)


def _joined(names: Collection[str]) -> str:
    return " ".join(sorted(names))
