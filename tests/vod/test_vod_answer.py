"""What a provider's answer is held against, as values: no provider does all of it wrong at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from gateway.errors import FilmChanged
from gateway.http.ranges import Entity
from gateway.vod.answer import Asked, accept

ASKED = Asked("seven", "movie 4711")


@dataclass(frozen=True)
class Part:
    """Bytes 100 to 999 of a film, as a provider that knows no If-Range sends them."""

    headers: Mapping[str, str]
    status: int = 206


def part(total: int = 1000, etag: str | None = '"one"') -> Part:
    tag = {} if etag is None else {"ETag": etag}
    return Part({"Content-Range": f"bytes 100-{total - 1}/{total}", **tag})


def film(total: int = 1000, etag: str | None = "one") -> Entity:
    return Entity(total, "video/x-matroska", etag, None)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (part(), film()),
        (part(etag=None), film()),
        (part(), film(etag=None)),
        (part(etag='W/"one"'), film()),
    ],
)
def test_a_film_is_gone_on_with_if_nothing_says_that_it_is_another(
    answer: Part, known: Entity
) -> None:
    got = accept(ASKED, answer, 100, None, known)
    assert (got.entity.length, got.stop, got.skip) == (1000, 1000, 0)


@pytest.mark.parametrize(
    ("answer", "known"), [(part(etag='"two"'), film()), (part(total=1001), film())]
)
def test_a_part_of_another_film_is_not_taken_for_the_rest_of_this_one(
    answer: Part, known: Entity
) -> None:
    with pytest.raises(FilmChanged, match="movie 4711 of the VOD account 'seven' is another one"):
        accept(ASKED, answer, 100, None, known)
