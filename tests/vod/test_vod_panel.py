"""A provider's catalogue is read as it is found in the wild, in bounds, or fails in words."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.xtream import Movie, Trouble, XtreamServer
from gateway.vod.json_items import NotAList, items
from gateway.vod.panel import Panel, PanelFailed
from gateway.vod.profiles import Profile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def split(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@given(st.lists(JSON), st.integers(1, 50), st.booleans())
def test_any_split_of_a_list_gives_the_same_items(said: list[Any], size: int, ascii_: bool) -> None:
    text = json.dumps(said, ensure_ascii=ascii_, indent=1).encode(errors="replace")
    assert [item for _, item in items(split(text, size))] == json.loads(text)


def test_an_object_with_numbers_for_keys_is_a_list() -> None:
    text = b'\xef\xbb\xbf {"0": {"a": 1}, "2": {"a": 2}}'
    assert list(items(split(text, 3))) == [("0", {"a": 1}), ("2", {"a": 2})]
    assert list(items([b"[]"])) == list(items([b"{}"])) == []


@pytest.mark.parametrize(
    "text", [b"", b"  ", b"<html>", b"12", b"[1", b"[1 2]", b"[{]", b'{"a" 1}']
)
def test_what_is_no_list_is_told(text: bytes) -> None:
    with pytest.raises(NotAList):
        list(items([text]))


def test_items_are_read_in_bounded_memory() -> None:
    def endless() -> Iterator[bytes]:
        yield b"["
        while True:
            yield b'["a", ' * 10_000

    with pytest.raises(NotAList):
        list(items(endless()))


@pytest.fixture
def panel(profile_of: Callable[..., Profile]) -> Iterator[Panel]:
    one = Panel([profile_of()], read_s=1.0, answer_s=20.0, max_body=4 << 20)
    yield one
    one.close()


def names(panel: Panel) -> list[str]:
    return panel.each("get_vod_streams", lambda item: str(item["name"]))


def test_a_list_is_read(panel: Panel, provider: XtreamServer) -> None:
    provider.add(Movie(1, 'Ä "film"'), Movie(2, "other"))
    assert names(panel) == ['Ä "film"', "other"]


@pytest.mark.parametrize(
    ("trouble", "how", "words"),
    [
        (Trouble.REFUSE, {"status": 500}, "HTTP status 500"),
        (Trouble.ANSWER, {"body": b"<html>Welcome to nginx"}, "no list in JSON"),
        (Trouble.ANSWER, {"body": b'[{"name": "a"}, '}, "no list in JSON: it ends before"),
        (Trouble.ANSWER, {"body": b'{"user_info": {"auth": 0}}'}, "refused the login"),
        (Trouble.ANSWER, {"body": b'{"user_info": []}'}, "refused the login"),
        (Trouble.ANSWER, {"body": b'{"user_info": {"auth": 1}}'}, "answer to a login"),
        (Trouble.ANSWER, {"body": b" " * 1000, "endless": True}, "longer than 4 MiB"),
        (Trouble.ANSWER, {"body": b"", "endless": False}, "no list in JSON: it ends before"),
        (Trouble.SILENCE, {}, "did not go on in time"),
        (Trouble.CUT, {"after": 20}, "broke off"),
    ],
)
def test_what_is_no_list_fails_in_words_without_secrets(
    panel: Panel, provider: XtreamServer, trouble: Trouble, how: dict[str, Any], words: str
) -> None:
    provider.add(Movie(1), Movie(2))
    provider.fail(trouble, api=True, **how)
    with pytest.raises(PanelFailed, match=words) as failed:
        names(panel)
    said = str(failed.value)
    assert "profile 'bob'" in said
    for secret in ("upstr3am-pw", "upstream-bob", str(provider.port)):
        assert secret not in said
    provider.heal()
    assert len(names(panel)) == 2


def test_the_next_profile_answers_for_one_that_does_not(
    provider: XtreamServer, profile_of: Callable[..., Profile]
) -> None:
    provider.add(Movie(1, "film"))
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    panel = Panel([profile_of(url=gone), profile_of(password="x"), profile_of("upstream-ann")])
    assert names(panel) == ["film"]
    assert [asked.account for asked in provider.requests] == ["", "upstream-ann"]
    panel.close()


def test_a_redirect_is_followed_and_a_circle_is_left_and_no_log_holds_a_login(
    panel: Panel, provider: XtreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.add(Movie(1, "film"))
    login = "username=upstream-ann&password=0ther-pw&action=get_vod_streams"
    there = f"{provider.url}/player_api.php?{login}"
    provider.fail(Trouble.REDIRECT_AWAY, api=True, location=there, times=1)
    assert names(panel) == ["film"]
    provider.fail(Trouble.REDIRECT_AWAY, api=True, location=there)
    with pytest.raises(PanelFailed, match="redirects again and again"):
        names(panel)
    assert "get_vod_streams" in caplog.text
    for secret in ("upstr3am-pw", "0ther-pw", "upstream-bob", str(provider.port)):
        assert secret not in caplog.text
