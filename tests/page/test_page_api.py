"""The gateway's own API: every endpoint is described, and whatever goes wrong is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel, ConfigDict

from gateway.errors import PermitTimeout
from gateway.page.endpoint import BadRequest, Call, Endpoint, NotFound

Ask = Callable[..., Any]
MakeApi = Callable[[Sequence[Endpoint]], Ask]


@dataclass(frozen=True, slots=True)
class Film:
    """A film."""

    name: str
    minutes: int | None


@dataclass(frozen=True, slots=True)
class Films:
    films: tuple[Film, ...]


@dataclass(frozen=True, slots=True)
class Range:
    start: int = 0
    limit: int = 10


class Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    minutes: int | None = None


FILMS = {"Ärger": 90, "Kurz": 1}


def listing(call: Call) -> Films:
    window = call.query
    assert isinstance(window, Range)
    named = sorted(FILMS.items())[window.start : window.start + window.limit]
    return Films(tuple(Film(name, minutes) for name, minutes in named))


def one(call: Call) -> Film:
    name = call.parameters["name"]
    if name not in FILMS:
        raise NotFound(f"no film is called {name!r}")
    return Film(name, FILMS[name])


def change(call: Call) -> Film:
    change = call.body
    assert isinstance(change, Change)
    if "minutes" not in change.model_fields_set:
        raise BadRequest("nothing is to be changed")
    return Film(call.parameters["name"], change.minutes)


def busy(_call: Call) -> Film:
    raise PermitTimeout("no permit within 5 s")


def broken(_call: Call) -> Film:
    raise KeyError("a secret of the program")


ENDPOINTS = [
    Endpoint("GET", "/films", "List films", Films, listing, query=Range),
    Endpoint("GET", "/films/{name}", "Return one film", Film, one, refusals={404: "No such film"}),
    Endpoint("PATCH", "/films/{name}", "Change a film", Film, change, body=Change),
    Endpoint("GET", "/films/newest", "Return the newest film", Film, lambda _: Film("New", 1)),
    Endpoint("POST", "/busy", "Be busy", Film, busy, status=201),
    Endpoint("GET", "/broken", "Fail", Film, broken),
]


@pytest.fixture
def ask(serve_api: MakeApi) -> Ask:
    return serve_api(ENDPOINTS)


def test_an_endpoint_answers_with_json_of_its_type(ask: Ask) -> None:
    answer = ask("GET", "/films/%C3%84rger")
    assert (answer.status, answer.json) == (200, {"name": "Ärger", "minutes": 90})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_head_is_answered_like_get_without_the_body(ask: Ask) -> None:
    answer = ask("HEAD", "/films/Kurz")
    assert (answer.status, answer.text) == (200, "")
    assert answer.headers["content-length"] == str(len(ask("GET", "/films/Kurz").text))


def test_query_parameters_are_checked_and_converted(ask: Ask) -> None:
    assert [film["name"] for film in ask("GET", "/films?start=1&limit=5").json["films"]] == [
        "Ärger"
    ]
    answer = ask("GET", "/films?start=x")
    assert answer.status == 400
    assert answer.json["error"].startswith("start: input should be a valid integer")


def test_a_path_written_out_wins_over_one_with_a_parameter(ask: Ask) -> None:
    assert ask("GET", "/films/newest").json["name"] == "New"


def test_a_body_tells_what_is_null_from_what_was_left_out(ask: Ask) -> None:
    assert ask("PATCH", "/films/Kurz", {"minutes": None}).json == {"name": "Kurz", "minutes": None}
    answer = ask("PATCH", "/films/Kurz", {})
    assert (answer.status, answer.json) == (400, {"error": "nothing is to be changed"})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"minutes": "5"}, "minutes: input should be a valid integer"),
        ({"minuts": 5}, "minuts: extra inputs are not permitted"),
        ([], "input should be an object"),
        (b"{", "invalid JSON"),
        (b"", "invalid JSON"),
    ],
)
def test_a_body_of_another_form_is_refused_in_one_line(ask: Ask, body: object, words: str) -> None:
    answer = ask("PATCH", "/films/Kurz", body)
    assert answer.status == 400
    assert answer.json["error"].startswith(words)
    assert "\n" not in answer.json["error"]


def test_a_body_that_is_no_json_by_its_type_or_too_large_is_refused(ask: Ask) -> None:
    assert ask("PATCH", "/films/Kurz", {"minutes": 1}, content_type="text/plain").status == 415
    assert ask("PATCH", "/films/Kurz", {"minutes": 1}, content_type=None).status == 415
    answer = ask("PATCH", "/films/Kurz", b" " * 70_000)
    assert answer.status == 413
    assert answer.json["error"]


def test_what_is_not_there_is_404_and_a_wrong_method_405_with_those_that_are_right(
    ask: Ask,
) -> None:
    answer = ask("GET", "/nothing")
    assert (answer.status, list(answer.json)) == (404, ["error"])
    assert ask("GET", "").status == 404
    assert ask("GET", "/films/none").json == {"error": "no film is called 'none'"}
    answer = ask("DELETE", "/films/Kurz")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PATCH")
    assert list(answer.json) == ["error"]
    assert ask("POST", "/openapi.json").headers["allow"] == "GET, HEAD"


def test_an_error_that_passes_says_when_to_come_back(ask: Ask) -> None:
    answer = ask("POST", "/busy")
    assert (answer.status, answer.json) == (503, {"error": "no permit within 5 s"})
    assert int(answer.headers["retry-after"]) > 0


def test_a_fault_of_the_gateway_tells_no_trace(ask: Ask) -> None:
    answer = ask("GET", "/broken")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize("key", [None, "another"])
def test_nothing_is_answered_without_the_key(ask: Ask, key: str | None) -> None:
    for path in ("/films", "/nothing", "/openapi.json"):
        assert ask("GET", path, key=key).status == 403


def test_openapi_json_describes_every_endpoint_and_is_valid(ask: Ask) -> None:
    answer = ask("GET", "/openapi.json")
    assert answer.status == 200
    described = answer.json
    validate(described)
    assert described["openapi"] == "3.1.0"
    assert described["info"]["version"] == "1.2.3"
    assert described["servers"] == [{"url": "/api/gateway"}]
    listed = {(method.upper(), path) for path, ms in described["paths"].items() for method in ms}
    assert listed == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    (start, limit) = described["paths"]["/films"]["get"]["parameters"]
    assert (start["name"], start["in"], limit["name"]) == ("start", "query", "limit")
    assert described["components"]["schemas"]["Film"]["required"] == ["name", "minutes"]
    assert "404" in described["paths"]["/films/{name}"]["get"]["responses"]
