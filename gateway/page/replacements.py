"""`POST /checks/tell`: has an *arr replace a release; and how a replacement is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.library.ports import Replacements
from gateway.library.replacement import Replacement, Standing
from gateway.page.endpoint import Call, Endpoint

StepName = Literal["waiting", "marking", "searching", "told", "nobody", "refused"]


@dataclass(frozen=True, slots=True)
class ReplacementView:
    """What has become of the replacement of a release. Times are seconds since 1970.

    *step*: "waiting" (nothing was sent), "marking", "searching", "told", "nobody" (no *arr that is
    configured has grabbed it), "refused" (asked for too often). *by_hand*: somebody has asked.
    *arr* is the name of the *arr, *title* what that calls it; empty while they are not known.
    *asked*: since when the failure is confirmed, or when somebody asked; *told*: when it was told
    last. *note*: why it waits, until *not_before*. *answer*: what came of it.
    """

    id: int
    step: StepName
    by_hand: bool
    arr: str
    title: str
    asked: float
    told: float | None
    answer: str
    note: str
    not_before: float | None


@dataclass(frozen=True, slots=True)
class StandingView:
    """Whether an *arr was told, in *words*, or why not. *replacement* null: there is none."""

    words: str
    replacement: ReplacementView | None


class Tell(BaseModel):
    """*release*: "name" or "category/name"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Annotated[str, Field(min_length=1, max_length=1000)]


def endpoints(replacements: Replacements) -> list[Endpoint]:
    """Return what has releases replaced."""

    def tell(call: Call) -> ReplacementView:
        assert isinstance(call.body, Tell)
        return _view(replacements.tell(call.body.release))

    return [
        Endpoint(
            "POST",
            "/checks/tell",
            "Have the *arr that grabbed a release mark it as failed, and search for another",
            ReplacementView,
            tell,
            body=Tell,
            status=202,
            refusals={
                404: "There is no such release; the sentence has names that are like it",
                409: "No *arr can be told of it, or nothing is told at present",
                429: "It has been asked for too often, or too many have been asked for",
            },
        )
    ]


def standing_view(standing: Standing | None) -> StandingView | None:
    """Return *standing* as the API shows it."""
    if standing is None:
        return None
    one = standing.replacement
    return StandingView(standing.words, None if one is None else _view(one))


def _view(one: Replacement) -> ReplacementView:
    return ReplacementView(
        one.id,
        one.step.value,
        one.by_hand,
        one.arr,
        one.title,
        one.asked,
        one.sent,
        one.answer,
        one.note,
        one.not_before if one.note and not one.is_finished else None,
    )
