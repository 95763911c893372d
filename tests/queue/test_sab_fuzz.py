"""Whatever a client sends: always JSON, always 200, never a fault of the program."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import Client

from gateway_queue.intake import Queue
from gateway_queue.item import Priority
from gateway_queue.sab_config import Setup
from gateway_queue.sabnzbd import Keys, SabnzbdApi, Surroundings
from gateway_queue.store import JobStore

API_KEY = "the key of the tests"
NAMES = (
    *("name", "value", "value2", "value3", "start", "limit", "search", "cat", "category", "status"),
    *("priority", "nzo_ids", "archive", "failed_only", "last_history_update", "del_files", "sort"),
    *("dir", "section", "keyword", "password", "nzbname", "nzbfile", "pp", "script", "output"),
    *("ma_username", "key"),
)
MODES = (
    *("addfile", "addlocalfile", "addurl", "auth", "browse", "cancel_pp", "change_cat"),
    *("change_opts", "change_script", "config", "del_config", "fullstatus", "get_cats"),
    *("get_config", "get_files", "history", "pause", "queue", "resume", "retry", "retry_all"),
    *("server_stats", "set_config", "status", "switch", "translate", "version", "warnings"),
    *("watched_now", "", "rubbish"),
)
WORDS = st.sampled_from(
    [
        *("", "all", "failed", "completed", "delete", "purge", "pause", "resume", "rename"),
        *("priority", "sort", "delete_nzf", "change_complete_action", "set_pause", "speedlimit"),
        *("clear", "show", "size", "avg_age", "desc", "tv", "*", "None", "Queued", "misc"),
        *("servers", "1", "0", "-1", "-100", "2", "0x10", "1e9", "NaN", "--1", "²", "٣", "+", "-"),
        *("9" * 30, "-" + "9" * 5_000, "SABnzbd_nzo_known", ",".join("ab" * 1_000), ",,,"),
        *("http://127.0.0.1/", "http://[::1", "https://x\0y/", "../../etc/passwd", "a\0b.nzb"),
        *("%00", "\ud7ff\ue000\uffff", "'; DROP TABLE jobs; --", "[1,2]", '{"a":1}', "x" * 10_000),
    ]
)
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | st.sampled_from(["value[]", "mode", "", "apikey"]),
        WORDS | st.text(max_size=40) | st.integers().map(str),
    ),
    max_size=6,
)


@pytest.fixture
def known(store: JobStore) -> None:
    for number in range(3):
        store.add(
            b"<nzb/>",
            name=f"job {number}",
            filename="a.nzb",
            category="tv",
            priority=Priority.NORMAL,
        )


@given(mode=st.sampled_from(MODES) | st.text(max_size=10), sent=PARAMETERS, by_post=st.booleans())
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.usefixtures("known")
def test_any_parameters_are_answered_in_json(
    api: Client, mode: str, sent: list[tuple[str, str]], by_post: bool
) -> None:
    query = MultiDict([("apikey", API_KEY), ("mode", mode)])
    fields: MultiDict[str, Any] = MultiDict(sent)
    if by_post:
        answer = api.post("/", query_string=query, data=fields)
    else:
        answer = api.get("/", query_string=MultiDict([*query.items(multi=True), *sent]))
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json, dict)


@given(body=st.binary(max_size=300), kind=st.sampled_from(["form", "multipart", "json", "none"]))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_body_is_answered_in_json(api: Client, body: bytes, kind: str) -> None:
    types = {
        "form": "application/x-www-form-urlencoded",
        "multipart": "multipart/form-data; boundary=b",
        "json": "application/json",
        "none": "",
    }
    if kind == "multipart":
        head = b'--b\r\nContent-Disposition: form-data; name="name"; filename="a.nzb"\r\n\r\n'
        body = head + body + b"\r\n--b--\r\n"
    for mode in ("addfile", "queue", "retry"):
        query = {"apikey": API_KEY, "mode": mode, "value": "unknown"}
        answer = api.post("/", query_string=query, data=body, content_type=types[kind])
        assert answer.status_code == 200, answer.text
        assert isinstance(answer.json, dict)


def test_more_values_than_a_statement_holds_are_refused_in_words(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys
) -> None:
    api = Client(SabnzbdApi(queue, setup, around, keys))
    for count, refused in ((20_000, False), (20_001, True)):
        ids = ",".join(str(number) for number in range(count))
        answer = api.post(
            "/", data={"apikey": API_KEY, "mode": "queue", "name": "delete", "value": ids}
        )
        assert answer.status_code == 200
        assert answer.json is not None
        assert ("error" in answer.json) == refused
