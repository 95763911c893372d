"""SABnzbd's API, held against what a SABnzbd has answered, and against what *arr do with it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
from sab_shapes import misfits
from werkzeug.test import Client

from gateway.demo import Fault, NewsServer, Post
from gateway.errors import StorageFull
from gateway.library.catalogue import Library
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.processor import Processor
from gateway_queue.sab_config import Setup
from gateway_queue.sabnzbd import Keys, SabnzbdApi, Surroundings
from gateway_queue.store import JobStore

Ask = Callable[..., Any]
Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]

API_KEY, NZB_KEY = "the key of the tests", "the key for adding"
JOB = "My.Show.S01E01.1080p"


# Shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("captured", "mode"),
    [
        ("version", "version"),
        ("auth_nokey", "auth"),
        ("queue_empty", "queue"),
        ("history_empty", "history"),
        ("get_config", "get_config"),
        ("fullstatus", "fullstatus"),
        ("fullstatus", "status"),
        ("get_cats", "get_cats"),
        ("pause", "pause"),
        ("pause", "resume"),
        ("undefined_mode", "rubbish"),
    ],
)
def test_every_mode_answers_all_fields_of_sabnzbd_in_their_types(
    ask: Ask, shapes: dict[str, Any], captured: str, mode: str
) -> None:
    answer = ask(mode)

    assert misfits(shapes[captured], answer) == []
    assert answer.keys() == shapes[captured].keys()


def test_the_queue_and_its_slots_have_all_fields_and_no_others(
    ask: Ask, add: Callable[..., str], shapes: dict[str, Any]
) -> None:
    nzo_id = add()
    answer = ask("queue", start=0, limit=0)

    assert misfits(shapes["queue_one"], answer) == []
    assert answer["queue"].keys() == shapes["queue_one"]["queue"].keys()
    (slot,) = answer["queue"]["slots"]
    assert slot.keys() == shapes["queue_one"]["queue"]["slots"][0].keys()
    assert slot["nzo_id"] == nzo_id
    assert (slot["filename"], slot["cat"], slot["priority"]) == (JOB, "tv", "Normal")
    assert (slot["status"], slot["timeleft"], slot["labels"]) == ("Queued", "0:00:00", [])
    assert float(slot["mb"]) == float(slot["mbleft"]) > 0.4


def test_the_history_and_its_slots_have_all_fields_and_no_others(
    ask: Ask,
    add: Callable[..., str],
    shapes: dict[str, Any],
    processor: Processor,
    library: Library,
    find: Find,
    wait_until: WaitUntil,
    film: bytes,
) -> None:
    processor.start()
    done, failed = add(), add(b"<nzb/>", "Other.Show.S01E02.nzb")
    wait_until(lambda: {find(done).state, find(failed).state} == {State.COMPLETED, State.FAILED})
    answer = ask("history", start=0, limit=60)["history"]

    assert misfits(shapes["history_two"]["history"], answer) == []
    assert answer.keys() == shapes["history_two"]["history"].keys()
    slots = {slot["nzo_id"]: slot for slot in answer["slots"]}
    for slot in slots.values():
        assert slot.keys() == shapes["history_failed_slot"].keys()
        assert misfits(shapes["history_failed_slot"], slot) == []
    good, bad = slots[done], slots[failed]
    assert (good["status"], good["name"], good["category"]) == ("Completed", JOB, "tv")
    assert (good["bytes"], good["size"]) == (len(film), "488 KB")
    assert good["storage"] == f"/mnt/gateway/completed-symlinks/series/{JOB}"
    assert PurePosixPath(good["storage"]).name == good["name"]
    assert library.release("series", JOB) is not None
    assert (bad["status"], bad["storage"]) == ("Failed", "")
    assert bad["fail_message"] == "the NZB lists nothing to fetch (0 segments unusable)"
    assert answer["noofslots"] == 2


def test_adding_and_deleting_answer_as_sabnzbd_does(
    ask: Ask, add: Callable[..., str], api: Client, shapes: dict[str, Any]
) -> None:
    nzo_id = add()
    assert ask("queue", name="delete", value="unknown") == {"status": False, "nzo_ids": []}
    assert ask("queue", name="delete", value=nzo_id, del_files=1) == {
        "status": True,
        "nzo_ids": [nzo_id],
    }
    assert ask("queue")["queue"]["slots"] == []
    assert ask("history", name="delete", value="unknown", del_files=1) == {"status": True}


# Adding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "nzbfile"])
def test_a_file_is_taken_from_either_field(api: Client, ask: Ask, show: Post, field: str) -> None:
    answer = api.post(
        "/",
        data={
            "mode": "addfile",
            "apikey": API_KEY,
            "cat": "movies",
            "priority": "1",
            field: (io.BytesIO(gzip.compress(show.nzb)), "A.Film.nzb.gz"),
        },
    )
    assert answer.json is not None
    assert answer.json["status"] is True
    (slot,) = ask("queue")["queue"]["slots"]
    assert (slot["filename"], slot["cat"], slot["priority"]) == ("A.Film", "movies", "High")


def test_a_name_that_is_given_goes_before_that_of_the_file(
    ask: Ask, add: Callable[..., str]
) -> None:
    add(nzbname="Another.Name")
    assert ask("queue")["queue"]["slots"][0]["filename"] == "Another.Name"


def test_a_category_that_does_not_exist_is_the_default_one(
    ask: Ask, add: Callable[..., str]
) -> None:
    add(cat="podcasts")
    add(cat="*")
    add(cat="MOVIES")
    categories = [slot["cat"] for slot in ask("queue")["queue"]["slots"]]
    assert categories == ["uncategorized", "uncategorized", "movies"]


def test_what_is_no_xml_at_all_is_refused_in_the_answer(api: Client, ask: Ask) -> None:
    answer = api.post(
        "/",
        query_string={"mode": "addfile", "apikey": API_KEY},
        data={"name": (io.BytesIO(b"Daily limit reached"), "junk.nzb")},
    )
    assert answer.status_code == 200
    assert answer.json == {"status": False, "nzo_ids": []}
    assert ask("queue")["queue"]["noofslots"] == 0


def test_adding_nothing_is_an_error_in_words(api: Client) -> None:
    for data in ({}, {"name": "no file"}):
        answer = api.post("/", query_string={"mode": "addfile", "apikey": API_KEY}, data=data)
        assert answer.json == {"status": False, "error": "expects one parameter"}


def test_a_release_that_is_added_again_gets_another_id(add: Callable[..., str]) -> None:
    assert add() != add()


def test_an_upload_has_a_largest_size(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys, show: Post
) -> None:
    api = Client(SabnzbdApi(queue, setup, around, keys, request_bytes=1_000))
    answer = api.post(
        "/",
        query_string={"mode": "addfile", "apikey": API_KEY},
        data={"name": (io.BytesIO(show.nzb), "a.nzb")},
    )
    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["status"] is False


def test_a_full_disk_is_told_and_no_failure_of_the_release(
    api: Client, store: JobStore, show: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull("the disk that holds the library is full")

    monkeypatch.setattr(store, "add", full)
    answer = api.post(
        "/",
        query_string={"mode": "addfile", "apikey": API_KEY},
        data={"name": (io.BytesIO(show.nzb), "a.nzb")},
    )
    assert answer.status_code == 200
    assert answer.json == {"status": False, "error": "the disk that holds the library is full"}


# Keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["queue", "history", "addfile", "get_config", "fullstatus", "pause", "rubbish"]
)
def test_without_the_right_key_nothing_is_answered_but_why(api: Client, mode: str) -> None:
    for parameters, words in [
        ({}, "API Key Required"),
        ({"apikey": "wrong"}, "API Key Incorrect"),
        ({"apikey": "wr\u00f6ng \u20ac"}, "API Key Incorrect"),
        ({"ma_username": "gateway", "ma_password": "wrong"}, "API Key Incorrect"),
    ]:
        answer = api.get("/", query_string={"mode": mode, **parameters})
        assert answer.status_code == 200
        assert answer.json == {"status": False, "error": words}
    rubbish = api.get("/?apikey=%ff%00")
    assert rubbish.json == {"status": False, "error": "API Key Incorrect"}


def test_version_and_auth_want_no_key(api: Client) -> None:
    version = api.get("/?mode=version&output=json").json
    assert version is not None
    assert [part.isdigit() for part in version["version"].split(".")] == [True] * 3
    assert api.get("/?mode=auth").json == {"auth": "apikey"}


def test_the_key_may_come_as_header_parameter_form_field_or_login(api: Client) -> None:
    login = {"ma_username": "gateway", "ma_password": "a password"}
    for answer in (
        api.get("/?mode=get_cats", headers={"X-Api-Key": API_KEY}),
        api.get("/", query_string={"mode": "get_cats", "apikey": API_KEY}),
        api.post("/", data={"mode": "get_cats", "apikey": API_KEY}),
        api.get("/", query_string={"mode": "get_cats", **login}),
    ):
        assert answer.json == {"categories": ["*", "movies", "tv", "uncategorized"]}


def test_the_key_for_adding_adds_and_does_nothing_else(api: Client, show: Post) -> None:
    answer = api.post(
        "/",
        query_string={"mode": "addfile", "apikey": NZB_KEY},
        data={"name": (io.BytesIO(show.nzb), "a.nzb")},
    )
    assert answer.json is not None
    assert answer.json["status"] is True
    for mode in ("queue", "history", "get_config", "get_cats", "fullstatus", "pause"):
        refused = api.get("/", query_string={"mode": mode, "apikey": NZB_KEY})
        assert refused.json == {"status": False, "error": "API Key Incorrect"}


def test_no_answer_holds_a_key_or_a_password(ask: Ask) -> None:
    for mode in ("get_config", "fullstatus", "queue", "history"):
        answer = json.dumps(ask(mode))
        assert not [secret for secret in (API_KEY, NZB_KEY, "a password") if secret in answer]


# What Sonarr and Radarr do ---------------------------------------------------------------------


def test_sonarrs_test_finds_what_it_looks_for(ask: Ask) -> None:
    complete_dir = "/mnt/gateway/completed-symlinks"
    config = ask("get_config")["config"]
    misc = config["misc"]
    assert misc["complete_dir"] == complete_dir
    assert [misc[f"enable_{kind}_sorting"] for kind in ("tv", "movie", "date")] == [0, 0, 0]
    assert [misc[f"{kind}_categories"] for kind in ("tv", "movie", "date")] == [[], [], []]
    assert (misc["pre_check"], misc["history_retention"]) == (0, "0")
    named = {category["name"]: category for category in config["categories"]}
    assert list(named) == ["*", "movies", "tv", "uncategorized"]
    folders = [category["dir"] for category in named.values()]
    assert folders == ["uncategorized", "movies", "series", "uncategorized"]
    assert [server["name"] for server in config["servers"]] == ["provider-1"]
    assert config["sorters"] == []
    assert ask("fullstatus", skip_dashboard=1)["status"]["completedir"] == complete_dir


def test_a_category_without_links_is_found_where_its_files_are(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys
) -> None:
    unlinked = Setup(setup.mount_dir, setup.data_dir, setup.categories, unlinked=["tv"])
    api = Client(SabnzbdApi(queue, unlinked, around, keys))
    asked = {"mode": "get_config", "section": "categories", "apikey": API_KEY}
    answer = api.get("/", query_string=asked).json
    assert answer is not None
    folders = {one["name"]: one["dir"] for one in answer["config"]["categories"]}
    assert folders["tv"] == "/mnt/gateway/content/series"
    assert folders["movies"] == "movies"
    assert unlinked.storage("tv", JOB) == f"/mnt/gateway/content/series/{JOB}"


def test_the_configuration_can_be_asked_for_in_parts(ask: Ask) -> None:
    assert list(ask("get_config", section="misc")["config"]) == ["misc"]
    assert ask("get_config", section="misc", keyword="complete_dir") == {
        "config": {"misc": {"complete_dir": "/mnt/gateway/completed-symlinks"}}
    }
    assert ask("get_config", section="unknown") == {"config": {}}


def test_a_limit_of_zero_is_no_limit_and_a_start_skips(ask: Ask, add: Callable[..., str]) -> None:
    ids = [add() for _ in range(5)]

    def listed(**parameters: object) -> list[str]:
        answer = ask("queue", **parameters)["queue"]
        assert (answer["noofslots"], answer["noofslots_total"]) == (5, 5)
        return [slot["nzo_id"] for slot in answer["slots"]]

    assert listed(start=0, limit=0) == listed() == ids
    assert listed(start=1, limit=2) == ids[1:3]
    assert listed(start="rubbish", limit=-1) == ids
    assert listed(start=3, limit=10**30) == ids[3:]


def test_the_queue_and_the_history_can_be_asked_by_category(
    ask: Ask, add: Callable[..., str]
) -> None:
    tv, film = add(), add(cat="movies")

    def listed(**parameters: object) -> list[str]:
        return [slot["nzo_id"] for slot in ask("queue", **parameters)["queue"]["slots"]]

    assert listed(cat="tv") == [tv]
    assert listed(category="movies") == [film]
    assert listed(category="*") == [tv, film]
    assert listed(nzo_ids=f"{film},unknown") == [film]
    assert listed(search="show") == [tv, film]


def test_an_import_is_forgotten_after_it_and_its_release_stays(
    ask: Ask,
    add: Callable[..., str],
    library: Library,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
) -> None:
    processor.start()
    ids = [add(), add(), add(b"<nzb/>")]
    ends = [State.COMPLETED, State.COMPLETED, State.FAILED]
    wait_until(lambda: [find(nzo_id).state for nzo_id in ids] == ends)
    before = ask("history")["history"]["last_history_update"]

    ask("history", name="delete", value=ids[0], del_files=1)
    left = ask("history")["history"]
    assert {slot["nzo_id"] for slot in left["slots"]} == {ids[1], ids[2]}
    assert left["last_history_update"] > before
    ask("history", name="delete", value=ids[1], del_files=0, archive=1)
    assert [slot["nzo_id"] for slot in ask("history")["history"]["slots"]] == [ids[2]]
    assert ask("history", archive=1)["history"]["slots"][0]["nzo_id"] == ids[1]
    ask("history", name="delete", value="failed")
    assert ask("history")["history"]["slots"] == []
    assert len(list(library.releases("series"))) == 2


def test_an_item_that_waits_for_its_provider_is_queued_with_the_reason_and_the_time_left(
    ask: Ask,
    add: Callable[..., str],
    server: NewsServer,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway_queue.sab_queue.time.time", clock)
    server.fail(Fault.BUSY, code=480)
    processor.start()
    nzo_id = add()
    wait_until(lambda: find(nzo_id).attempts)

    (slot,) = ask("queue")["queue"]["slots"]
    assert (slot["status"], slot["timeleft"]) == ("Queued", "0:01:00")
    assert slot["labels"][0] == "WAIT 60 sec"
    assert "provider-1 wants a login" in slot["labels"][1]


def test_items_and_the_whole_queue_can_be_paused_and_resumed(
    ask: Ask, add: Callable[..., str]
) -> None:
    nzo_id = add()
    assert ask("queue", name="pause", value=nzo_id) == {"status": True, "nzo_ids": [nzo_id]}
    assert ask("queue")["queue"]["slots"][0]["status"] == "Paused"
    assert ask("queue", name="resume", value=nzo_id) == {"status": True, "nzo_ids": [nzo_id]}
    assert ask("queue")["queue"]["slots"][0]["status"] == "Queued"

    assert ask("pause") == {"status": True}
    paused = ask("queue")["queue"]
    assert (paused["paused"], paused["status"]) == (True, "Paused")
    assert ask("fullstatus")["status"]["paused"] is True
    assert ask("resume") == {"status": True}
    assert ask("queue")["queue"]["status"] == "Idle"


# Errors ----------------------------------------------------------------------------------------


def test_what_is_not_implemented_says_so(ask: Ask) -> None:
    words = {"status": False, "error": "not implemented"}
    assert ask("rubbish") == ask("") == words
    assert ask("queue", name="rubbish") == ask("history", name="rubbish") == words


def test_only_the_door_itself_answers(api: Client) -> None:
    answer = api.get("/gateway/streams")
    assert (answer.status_code, answer.json) == (404, {"status": False, "error": "not implemented"})
    assert api.get("", query_string="mode=auth").status_code == 200


def test_a_fault_of_the_program_shows_nothing_of_it(
    api: Client, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(queue, "page", fault)
    answer = api.get("/", query_string={"mode": "queue", "apikey": API_KEY})
    assert answer.status_code == 500
    assert answer.json == {
        "status": False,
        "error": "internal error: see the log of the gateway",
    }


def test_answers_are_json_in_sabnzbds_content_type(api: Client) -> None:
    assert api.get("/?mode=version").headers["Content-Type"] == "application/json;charset=UTF-8"
