"""API and metrics of the whole program, as its doors show them and its pages describe them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.app import Gateway
from gateway.settings import load

DOCS = Path(__file__).parents[2] / "docs"
KEY = "the-key-of-the-tests"

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Ask a gateway with one provider, at which nobody listens."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "GATEWAY_PORT": "0",
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_PROVIDERS__MAIN__HOST": "127.0.0.1",
        "GATEWAY_PROVIDERS__MAIN__PORT": "1",
    }
    with Gateway(load(None, environ)) as gateway:

        def ask(path: str, method: str = "GET", key: str = KEY) -> tuple[int, str]:
            link = http.client.HTTPConnection("127.0.0.1", gateway.server.port, timeout=30)
            try:
                link.request(method, path, headers={"X-Api-Key": key})
                response = link.getresponse()
                return response.status, response.read().decode()
            finally:
                link.close()

        yield ask


def described(ask: Ask) -> Any:
    status, text = ask("/api/gateway/openapi.json")
    assert status == 200
    return json.loads(text)


def test_the_description_is_valid_and_every_get_of_it_answers(ask: Ask) -> None:
    document = described(ask)
    validate(document)
    for path, methods in document["paths"].items():
        if "get" in methods and "{" not in path:
            status, text = ask(f"/api/gateway{path}")
            assert status == 200, path
            assert isinstance(json.loads(text), dict)


def test_the_page_names_every_endpoint_and_no_other(ask: Ask) -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    named = set(re.findall(r"^\| `([A-Z]+ /[^`]+)` \|", page, re.MULTILINE))
    there = {
        f"{method.upper()} {path}"
        for path, methods in described(ask)["paths"].items()
        for method in methods
    }
    assert named == there | {"GET /openapi.json"}


def test_every_metric_that_a_page_names_is_shown(ask: Ask) -> None:
    status, text = ask("/metrics")
    assert status == 200
    shown = set(re.findall(r"^(?:# (?:HELP|TYPE) )?(nzb_gateway_\w+)", text, re.MULTILINE))
    for page in DOCS.glob("*.md"):
        named = set(re.findall(r"nzb_gateway_\w+", page.read_text("utf-8")))
        assert named <= shown, page.name


def test_the_api_of_the_gateway_is_not_that_of_the_queue(ask: Ask) -> None:
    assert ask("/api/gateway?mode=version") == (
        404,
        '{"error":"nothing is at /: see openapi.json for what is"}\n',
    )
    assert '"version"' in ask("/api?mode=version")[1]


@pytest.mark.parametrize("path", ["/api/gateway/limits", "/api/gateway/none", "/metrics"])
def test_a_wrong_key_is_refused_at_both_doors(ask: Ask, path: str) -> None:
    status, text = ask(path, key="wrong")
    assert status == 403
    assert KEY not in text


def test_what_is_no_id_of_a_release_is_not_found(ask: Ask) -> None:
    for name in ("1", "0", "-1", "x", "%C2%B2", "9" * 30):
        for path, method in ((name, "GET"), (name, "DELETE"), (f"{name}/nzb", "GET")):
            assert ask(f"/api/gateway/library/{path}", method)[0] == 404
    assert ask("/api/gateway/library?sort=added&after=x")[0] == 400
    assert ask("/api/gateway/library?release=none")[0] == 404
