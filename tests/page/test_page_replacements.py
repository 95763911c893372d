"""What the API tells of releases that are to be replaced, over a real library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.errors import NotInLibrary
from gateway.library.replacement import NotReplaceable, Replacement, Standing, Step, TooMany
from gateway.page import check_views, replacements
from gateway.page.endpoint import Endpoint

Ask = Callable[..., Any]

WAITING = Replacement(
    id=5,
    release_id=1,
    nzo_id="SABnzbd_nzo_secret",
    category="movies",
    name="Film",
    by_hand=True,
    step=Step.WAITING,
    asked=10.0,
)
TOLD = replace(
    WAITING,
    step=Step.TOLD,
    arr="tv",
    titles="episode:7",
    title="The Show S01E01",
    sent=20.0,
    marked=20.0,
    ended=21.0,
    answer="marked as failed; searches again",
    not_before=15.0,
)


class Desk:
    """Where releases are replaced: answers what a test says."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.told: list[str] = []

    def tell(self, name: str) -> Replacement:
        self.told.append(name)
        if self.refusal is not None:
            raise self.refusal
        return WAITING

    def standings(self, release_ids: Collection[int]) -> Mapping[int, Standing]:
        raise AssertionError(f"nobody asks for how {release_ids} stand")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def ask(desk: Desk, serve_api: Callable[[Sequence[Endpoint]], Ask]) -> Ask:
    return serve_api(replacements.endpoints(desk))


def test_a_release_is_told_of_by_its_name_and_what_is_done_is_answered(
    ask: Ask, desk: Desk
) -> None:
    answer = ask("POST", "/checks/tell", {"release": "movies/Film"})
    assert answer.status == 202
    assert answer.json == {
        "id": 5,
        "step": "waiting",
        "by_hand": True,
        "arr": "",
        "title": "",
        "asked": 10.0,
        "told": None,
        "answer": "",
        "note": "",
        "not_before": None,
    }
    assert desk.told == ["movies/Film"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (NotInLibrary("no release is called 'x'"), 404),
        (NotReplaceable("no Sonarr or Radarr is configured"), 409),
        (TooMany("3 replacements of it have been asked for within 6 hours"), 429),
    ],
)
def test_a_refusal_is_one_sentence(ask: Ask, desk: Desk, refusal: Exception, status: int) -> None:
    desk.refusal = refusal
    answer = ask("POST", "/checks/tell", {"release": "x"})
    assert (answer.status, answer.json) == (status, {"error": str(refusal)})


@pytest.mark.parametrize("body", [{}, {"release": ""}, {"release": 5}, {"release": "x", "all": 1}])
def test_what_names_no_release_is_refused_and_nobody_is_told(
    ask: Ask, desk: Desk, body: object
) -> None:
    assert ask("POST", "/checks/tell", body).status == 400
    assert desk.told == []


def test_nobody_tells_without_the_key(ask: Ask, desk: Desk) -> None:
    assert ask("POST", "/checks/tell", {"release": "x"}, key=None).status == 403
    assert desk.told == []


def test_it_is_described_and_the_description_is_valid(ask: Ask) -> None:
    description = ask("GET", "/openapi.json").json
    validate(description)
    assert {"202", "404", "409", "429"} <= {
        *description["paths"]["/checks/tell"]["post"]["responses"]
    }


def test_a_release_is_shown_with_how_it_stands(desk: Desk) -> None:
    assert replacements.standing_view(None) is None
    view = replacements.standing_view(Standing("no *arr is configured"))
    assert view == replacements.StandingView("no *arr is configured", None)
    view = replacements.standing_view(Standing("'tv' was told: marked as failed", TOLD))
    assert view is not None
    assert view.replacement == replacements.ReplacementView(
        5,
        "told",
        True,
        "tv",
        "The Show S01E01",
        10.0,
        20.0,
        "marked as failed; searches again",
        "",
        None,
    )
    assert check_views.ReleaseView("movies", "Film", (), view).standing == view
