"""Every mode of SABnzbd's API, one by one: what it answers, and what it does."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sab_shapes import misfits
from werkzeug.test import Client

from gateway.demo import Post
from gateway.library.links import Links
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.listing import Wanted
from gateway_queue.processor import Processor
from gateway_queue.sab_config import Setup
from gateway_queue.sabnzbd import Keys, SabnzbdApi, Surroundings
from gateway_queue.store import JobStore
from gateway_queue.traffic import Traffic

Ask = Callable[..., Any]
Add = Callable[..., str]
Find = Callable[[str], Item]
WaitUntil = Callable[[Callable[[], object]], None]

API_KEY = "the key of the tests"
OK = {"status": True}

# Every mode that SABnzbd 5.0 has, by how it is answered without any parameter.
ANSWERS: dict[str, Any] = {
    "addfile": "expects one parameter",
    "addlocalfile": "expects one parameter",
    "addurl": "expects one parameter",
    "auth": {"auth": "apikey"},
    "browse": "the gateway shows no folders",
    "cancel_pp": "item does not exist",
    "change_cat": "expects one parameter",
    "change_opts": "item does not exist",
    "change_script": "expects one parameter",
    "config": "expects one parameter",
    "del_config": "settings are made in settings.env",
    "disconnect": "connections to providers are shared",
    "eval_sort": "nothing is renamed",
    "fullstatus": None,
    "gc_stats": "not implemented",
    "get_cats": {"categories": ["*", "movies", "tv", "uncategorized"]},
    "get_config": None,
    "get_files": "expects one parameter",
    "get_scripts": {"scripts": ["None"]},
    "history": None,
    "move_nzf_bulk": "a post is imported with all its files",
    "pause": OK,
    "pause_pp": "there is no stage after an import",
    "queue": None,
    "reset_quota": "there is no quota",
    "restart": "the gateway is stopped and started",
    "restart_repair": "the gateway is stopped and started",
    "resume": OK,
    "resume_pp": OK,
    "retry": "item does not exist",
    "retry_all": {"status": []},
    "rss_now": "the gateway reads no feeds",
    "server_stats": None,
    "set_config": "settings are made in settings.env",
    "set_config_default": "settings are made in settings.env",
    "showlog": "the log is where the gateway writes it",
    "shutdown": "the gateway is stopped and started",
    "status": None,
    "switch": "expects two parameters",
    "test_apprise": "the gateway sends no notifications",
    "test_email": "the gateway sends no notifications",
    "test_notif": "the gateway sends no notifications",
    "test_nscript": "the gateway sends no notifications",
    "test_osd": "the gateway sends no notifications",
    "test_prowl": "the gateway sends no notifications",
    "test_pushbullet": "the gateway sends no notifications",
    "test_pushover": "the gateway sends no notifications",
    "test_windows": "the gateway sends no notifications",
    "translate": {"value": ""},
    "version": {"version": "4.5.5"},
    "warnings": {"warnings": []},
    "watched_now": OK,
}


@pytest.mark.parametrize("mode", ANSWERS)
def test_every_mode_of_sabnzbd_is_answered_by_get_and_by_post(api: Client, mode: str) -> None:
    asked = {"mode": mode, "apikey": API_KEY, "output": "json"}
    expected = ANSWERS[mode]
    for answer in (api.get("/", query_string=asked), api.post("/", data=asked)):
        assert answer.status_code == 200
        assert answer.json is not None
        if isinstance(expected, str):
            assert answer.json["status"] is False
            assert expected in answer.json["error"]
        elif expected is not None:
            assert answer.json == expected


def test_the_table_has_every_mode_that_there_is(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys
) -> None:
    assert SabnzbdApi(queue, setup, around, keys).modes.keys() == ANSWERS.keys()


@pytest.mark.parametrize(
    ("captured", "mode", "parameters"),
    [
        ("addurl", "addurl", {"name": "https://indexer.example/a.nzb"}),
        ("change_cat", "change_cat", {"value": "unknown", "value2": "tv"}),
        ("queue_delete_missing", "queue", {"name": "delete", "value": "unknown"}),
        ("history_delete_missing", "history", {"name": "delete", "value": "unknown"}),
        ("retry_missing", "retry", {"value": "unknown"}),
        ("server_stats", "server_stats", {}),
        ("status", "status", {}),
        ("translate", "translate", {"value": "ping"}),
        ("warnings", "warnings", {}),
    ],
)
def test_answers_have_the_fields_and_types_of_sabnzbd(
    ask: Ask, shapes: dict[str, Any], captured: str, mode: str, parameters: dict[str, str]
) -> None:
    logging.getLogger("gateway.tests").warning("a warning of %s", "ours")
    answer = ask(mode, **parameters)
    assert misfits(shapes[captured], answer) == []
    assert answer.keys() == shapes[captured].keys()


# The queue -------------------------------------------------------------------------------------


def listed(ask: Ask, **parameters: object) -> list[str]:
    return [slot["nzo_id"] for slot in ask("queue", **parameters)["queue"]["slots"]]


def slot_of(ask: Ask, nzo_id: str) -> Any:
    (slot,) = ask("queue", nzo_ids=nzo_id)["queue"]["slots"]
    return slot


def test_priorities_order_the_queue_and_paused_ones_wait(ask: Ask, add: Add) -> None:
    low, normal, force, high, paused, default = (
        add(priority=number) for number in (-1, 0, 2, 1, -2, -100)
    )
    assert listed(ask) == [force, high, normal, paused, default, low]
    words = [slot["priority"] for slot in ask("queue")["queue"]["slots"]]
    assert words == ["Force", "High", "Normal", "Normal", "Normal", "Low"]
    assert slot_of(ask, paused)["status"] == "Paused"

    assert ask("queue", name="priority", value=low, value2=1) == {"position": 2}
    assert listed(ask) == [force, high, low, normal, paused, default]
    assert ask("queue", name="priority", value=f"{high},{normal}", value2=-1) == {"position": 5}
    assert listed(ask) == [force, low, paused, default, high, normal]
    assert ask("queue", name="priority", value="unknown", value2=1) == {"position": -1}
    ask("queue", name="priority", value=force, value2=-2)
    assert slot_of(ask, force)["status"] == "Paused"
    words = ask("queue", name="priority", value=low, value2="high")["error"]
    assert words == "expects integer value"


def test_items_are_switched_by_id_and_by_number(ask: Ask, add: Add) -> None:
    one, two, three = add(), add(), add()
    assert ask("switch", value=three, value2=one) == {"result": {"position": 0, "priority": 0}}
    assert listed(ask) == [three, one, two]
    assert ask("switch", value=three, value2=2) == {"result": {"position": 2, "priority": 0}}
    assert listed(ask) == [one, two, three]
    missing = ask("switch", value="unknown", value2=one)
    assert missing == {"result": {"position": -1, "priority": 0}}


def test_the_queue_can_be_sorted(ask: Ask, add: Add) -> None:
    b, c, a = (add(nzbname=name) for name in ("b", "C", "a"))
    assert ask("queue", name="sort", sort="name", dir="asc") == OK
    assert listed(ask) == [a, b, c]
    assert ask("queue", name="sort", sort="name", dir="desc") == OK
    assert listed(ask) == [c, b, a]
    assert ask("queue", name="sort", sort="rubbish")["status"] is False


def test_an_item_can_be_renamed_with_a_password_and_put_into_another_category(
    ask: Ask, add: Add, store: JobStore
) -> None:
    nzo_id = add()
    named = ask("queue", name="rename", value=nzo_id, value2="New/../Name", value3="secret")
    assert named == OK
    assert slot_of(ask, nzo_id)["filename"] == "Name"
    (item,) = store.queue().items
    assert item.password == "secret"
    assert ask("queue", name="rename", value="unknown", value2="x") == {"status": False}
    assert ask("change_cat", value=nzo_id, value2="MOVIES") == OK
    assert slot_of(ask, nzo_id)["cat"] == "movies"
    assert ask("change_cat", value=nzo_id, value2="None") == OK
    assert slot_of(ask, nzo_id)["cat"] == "uncategorized"


def test_all_of_the_queue_is_deleted_or_what_a_search_finds(ask: Ask, add: Add) -> None:
    film, show = add(nzbname="A.Film"), add(nzbname="A.Show")
    gone = ask("queue", name="purge", search="film")
    assert gone == {"status": True, "nzo_ids": [film]}
    assert ask("queue", name="delete", value="ALL", del_files=1)["nzo_ids"] == [show]
    assert ask("queue", name="delete", value="all") == {"status": False, "nzo_ids": []}


def test_the_queue_is_filtered_by_state_and_priority(ask: Ask, add: Add) -> None:
    queued, paused, high = add(), add(priority=-2), add(priority=1)
    assert listed(ask, status="Paused") == [paused]
    assert listed(ask, status="paused,queued") == [high, queued, paused]
    assert listed(ask, status="Downloading") == []
    assert listed(ask, priority="1") == [high]
    assert listed(ask, priority="0,1", status="Queued") == [high, queued]


def test_what_has_no_meaning_here_is_answered_with_what_is_true(ask: Ask, add: Add) -> None:
    nzo_id = add()
    for mode, value2, answer in (
        ("change_script", "None", OK),
        ("change_opts", "3", OK),
    ):
        assert ask(mode, value=nzo_id, value2=value2) == answer
        assert ask(mode, value="unknown", value2=value2) == {"status": False}
    assert "no scripts" in ask("change_script", value=nzo_id, value2="x.sh")["error"]
    deleted = ask("queue", name="delete_nzf", value=nzo_id, value2="SABnzbd_nzf_1")
    assert deleted == {"status": False, "nzf_ids": []}
    assert ask("queue", name="change_complete_action", value="") == OK
    assert ask("queue", name="change_complete_action", value="shutdown_pc")["status"] is False
    assert ask("status", name="delete_all_orphan") == OK
    assert ask("status", name="delete_orphan", value="x")["error"] == "item does not exist"
    assert ask("status", name="unblock_server", value="main")["status"] is False
    assert ask("config", name="set_apikey")["status"] is False
    for value in ("", "0", "100", "100%"):
        assert ask("config", name="speedlimit", value=value) == OK
    assert "no speed limit" in ask("config", name="speedlimit", value="50")["error"]


def test_the_files_of_an_item_are_those_that_its_nzb_lists(ask: Ask, add: Add, film: bytes) -> None:
    (file,) = ask("get_files", value=add())["files"]
    assert (file["filename"], file["status"]) == ("My.Show.S01E01.mkv", "active")
    assert float(file["bytes"]) >= len(film)
    assert ask("get_files", value="unknown") == {"files": []}
    assert ask("get_files", value=add(b"<nzb/>")) == {"files": []}


# Pauses ----------------------------------------------------------------------------------------


def test_a_pause_of_some_minutes_ends_by_itself(
    ask: Ask, clock: Any, store: JobStore, add: Add
) -> None:
    assert ask("config", name="set_pause", value=10) == OK
    clock.now += 61
    queue = ask("queue")["queue"]
    assert (queue["paused"], queue["status"], queue["pause_int"]) == (True, "Paused", "8:59")
    assert JobStore(store.database, clock=clock).rest.is_on
    clock.now += 600
    queue = ask("queue")["queue"]
    assert (queue["paused"], queue["status"], queue["pause_int"]) == (False, "Idle", "0")

    ask("config", name="set_pause", value=10**30)
    assert ask("queue")["queue"]["paused"] is True
    ask("config", name="set_pause", value=0)
    assert ask("queue")["queue"]["paused"] is False


def test_the_workers_go_on_when_a_pause_is_over_and_only_force_goes_before(
    ask: Ask,
    add: Add,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    clock: Any,
) -> None:
    ask("config", name="set_pause", value=10)
    processor.start()
    waiting, forced = add(), add(priority=2)
    wait_until(lambda: find(forced).state is State.COMPLETED)
    assert find(waiting).state is State.QUEUED
    clock.now += 600
    processor.wake()
    wait_until(lambda: find(waiting).state is State.COMPLETED)


# The history -----------------------------------------------------------------------------------


@pytest.fixture
def past(store: JobStore) -> list[str]:
    """The ids of 30 failed jobs, the newest first."""
    ids = []
    for number in range(30):
        category = "tv" if number % 2 else "movies"
        store.add(b"<nzb/>", name=f"job {number}", filename="a.nzb", category=category)
        claimed = store.claim()
        assert claimed is not None
        ids.append(store.fail(claimed, "no", took_s=1).id)
        store.clock.now += 1  # type: ignore[attr-defined]
    return ids[::-1]


def jobs(ask: Ask, **parameters: object) -> list[str]:
    return [slot["nzo_id"] for slot in ask("history", **parameters)["history"]["slots"]]


def test_an_arr_sees_every_job_that_it_has_not_removed_whatever_its_limit(
    ask: Ask, past: list[str]
) -> None:
    assert jobs(ask, start=0, limit=10, category="tv") == past[0::2]
    assert jobs(ask, start=0, limit=20) == past
    assert jobs(ask, limit=1) == past[:1]
    assert jobs(ask, start=5, limit=10) == past[5:15]


def limited(queue: Queue, setup: Setup, around: Surroundings, keys: Keys) -> Client:
    strict = Setup(setup.mount_dir, setup.data_dir, setup.categories, ignores_history_limit=False)
    return Client(SabnzbdApi(queue, strict, around, keys))


def test_the_limit_of_the_history_holds_if_that_is_set(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys, past: list[str]
) -> None:
    api = limited(queue, setup, around, keys)
    asked = {"mode": "history", "apikey": API_KEY, "limit": 10, "category": "tv"}
    answer = api.get("/", query_string=asked).json
    assert answer is not None
    assert [slot["nzo_id"] for slot in answer["history"]["slots"]] == past[0:20:2]
    assert answer["history"]["noofslots"] == 15


def test_what_an_arr_has_still_to_import_goes_before_what_it_has_and_past_the_limit(
    ask: Ask,
    add: Add,
    queue: Queue,
    setup: Setup,
    around: Surroundings,
    keys: Keys,
    store: JobStore,
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    clock: Any,
) -> None:
    processor.start()
    done = []
    for _ in range(4):
        done.append(add())
        wait_until(lambda: find(done[-1]).state is State.COMPLETED)
        clock.now += 1
    tree = Links(store.database)
    for nzo_id in done[1:]:  # it moves the links of all but the oldest away
        for link in list(tree.members("series", find(nzo_id).name)):
            tree.remove(link)

    newest_first = [done[0], *done[:0:-1]]
    assert jobs(ask, limit=0, category="tv") == newest_first
    assert jobs(ask, limit=2, category="tv") == newest_first[:2]
    assert jobs(ask) == done[::-1]

    strict = limited(queue, setup, around, keys)
    asked = {"mode": "history", "apikey": API_KEY, "limit": 1, "category": "tv"}
    answer = strict.get("/", query_string=asked).json
    assert answer is not None
    assert [slot["nzo_id"] for slot in answer["history"]["slots"]] == done[:1]


def test_the_history_is_filtered(ask: Ask, past: list[str]) -> None:
    assert jobs(ask, search="JOB 29") == past[:1]
    assert jobs(ask, nzo_ids=f"{past[3]},unknown") == [past[3]]
    assert jobs(ask, failed_only=1, cat="tv,movies") == past
    assert jobs(ask, status="Completed") == []
    assert jobs(ask, status="Failed") == past
    assert jobs(ask, archive=1) == []


def test_a_history_that_has_not_changed_is_not_sent_again(ask: Ask, past: list[str]) -> None:
    number = ask("history")["history"]["last_history_update"]
    assert ask("history", last_history_update=number) == {"history": False}
    ask("history", name="delete", value=past[0])
    assert jobs(ask, last_history_update=number) == past[1:]


@pytest.mark.parametrize(
    ("value", "search", "left"),
    [("all", "", 0), ("failed", "", 0), ("completed", "", 30), ("ALL", "job 1", 19)],
)
def test_the_history_is_deleted_by_what_became_of_the_jobs(
    ask: Ask, past: list[str], value: str, search: str, left: int
) -> None:
    assert ask("history", name="delete", value=value, search=search, del_files=1) == OK
    assert len(jobs(ask)) == left


def test_what_failed_is_retried_with_its_own_nzb_or_another(
    ask: Ask, api: Client, past: list[str], show: Post, store: JobStore
) -> None:
    answer = ask("retry", value=past[0])
    assert answer["status"] is True
    assert slot_of(ask, answer["nzo_id"])["filename"] == "job 29"
    assert ask("retry", value=past[0])["error"] == "item does not exist"

    asked = {"mode": "retry", "apikey": API_KEY, "value": past[1], "password": "secret"}
    junk = api.post("/", query_string=asked, data={"nzbfile": (io.BytesIO(b"junk"), "a.nzb")})
    assert junk.json is not None
    assert junk.json["error"].startswith("not an NZB")
    other = {"nzbfile": (io.BytesIO(show.nzb), "other.nzb")}
    answer = api.post("/", query_string=asked, data=other).json
    assert answer is not None
    (item,) = store.queue(Wanted(ids=[answer["nzo_id"]])).items
    assert (item.name, item.password) == ("job 28", "secret")
    assert store.document(item.id) == show.nzb

    assert len(ask("retry_all")["status"]) == 28
    assert jobs(ask) == []


def test_only_what_can_be_retried_says_so(
    ask: Ask, add: Add, past: list[str], processor: Processor, find: Find, wait_until: WaitUntil
) -> None:
    processor.start()
    done = add()
    wait_until(lambda: find(done).state is State.COMPLETED)
    retry = {slot["nzo_id"]: slot["retry"] for slot in ask("history")["history"]["slots"]}
    assert retry == {done: False} | dict.fromkeys(past, True)
    assert ask("retry", value=done)["error"] == "item does not exist"


# What goes on ----------------------------------------------------------------------------------


def test_what_providers_have_sent_is_kept_by_day(
    ask: Ask,
    add: Add,
    shapes: dict[str, Any],
    processor: Processor,
    find: Find,
    wait_until: WaitUntil,
    traffic: Traffic,
    store: JobStore,
    clock: Any,
) -> None:
    processor.start()
    done = add()
    wait_until(lambda: find(done).state is State.COMPLETED)
    stats = ask("server_stats")
    (server,) = stats["servers"].values()
    assert misfits(shapes["server_stats_server"], server) == []
    assert server.keys() == shapes["server_stats_server"].keys()
    assert stats["total"] == stats["day"] == server["total"] > 7_000
    assert list(server["daily"].values()) == [server["total"]]
    assert sum(server["articles_tried"].values()) == sum(server["articles_success"].values()) > 5

    traffic.write()
    clock.now += 40 * 86_400
    later = Traffic(store.database, traffic._providers, clock=clock)
    (sums,) = (one.sums for one in later.by_provider().values())
    # The counters of a program that has just begun stand at 0; these have been counted twice.
    assert (sums.total, sums.month, sums.day) == (2 * stats["total"],) + (stats["total"],) * 2
    assert ask("history")["history"]["total_size"] != "0"


def test_the_programs_own_warnings_are_shown_until_they_are_cleared(ask: Ask) -> None:
    logging.getLogger("gateway.tests").warning("number %d", 1)
    logging.getLogger("gateway_queue.tests").error("number %d", 2)
    logging.getLogger("somebody.else").warning("not ours")

    warnings = ask("warnings")["warnings"]
    assert [(one["type"], one["text"]) for one in warnings] == [
        ("WARNING", "number 1"),
        ("ERROR", "number 2"),
    ]
    assert ask("queue")["queue"]["have_warnings"] == "2"
    assert ask("fullstatus")["status"]["warnings"] == ask("warnings", name="show")["warnings"]
    assert ask("warnings", name="clear") == OK
    assert ask("warnings") == {"warnings": []}
    for number in range(60):
        logging.getLogger("gateway").warning("%d", number)
    texts = [one["text"] for one in ask("warnings")["warnings"]]
    assert texts == [str(number) for number in range(10, 60)]


# Files of this machine -------------------------------------------------------------------------


def test_a_local_file_is_read_below_the_drop_folder(
    ask: Ask, drop_dir: Path, show: Post, store: JobStore
) -> None:
    (drop_dir / "sub").mkdir()
    (drop_dir / "sub" / "A.Film.nzb").write_bytes(show.nzb)
    for name in ("sub/A.Film.nzb", str(drop_dir / "sub" / "A.Film.nzb")):
        (nzo_id,) = ask("addlocalfile", name=name, cat="movies")["nzo_ids"]
        slot = slot_of(ask, nzo_id)
        assert (slot["filename"], slot["cat"]) == ("A.Film", "movies")


def test_nothing_else_of_this_machine_is_read(
    ask: Ask, drop_dir: Path, tmp_path: Path, show: Post
) -> None:
    (tmp_path / "outside.nzb").write_bytes(show.nzb)
    (drop_dir / "link.nzb").symlink_to(tmp_path / "outside.nzb")
    (drop_dir / "loop.nzb").symlink_to("loop.nzb")
    (drop_dir / "film.mkv").write_bytes(b"")
    (drop_dir / "folder.nzb").mkdir()
    os.mkfifo(drop_dir / "pipe.nzb")
    for name in (
        "../outside.nzb",
        str(tmp_path / "outside.nzb"),
        "link.nzb",
        "loop.nzb",
        "folder.nzb",
        "pipe.nzb",
        "not-there.nzb",
        "nul\0.nzb",
        "x" * 5_000 + ".nzb",
    ):
        assert ask("addlocalfile", name=name)["error"] == "file does not exist"
    assert ask("addlocalfile", name="film.mkv")["error"] == "no file given"
    assert ask("queue")["queue"]["noofslots"] == 0


def test_without_a_drop_folder_no_file_of_this_machine_is_read(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys
) -> None:
    nowhere = Surroundings(around.servers, around.traffic, around.warnings)
    api = Client(SabnzbdApi(queue, setup, nowhere, keys))
    for mode in ("addlocalfile", "watched_now"):
        asked = {"mode": mode, "apikey": API_KEY, "name": "/etc/passwd"}
        answer = api.get("/", query_string=asked).json
        assert answer is not None
        assert "GATEWAY_DROP_DIR" in answer["error"]


# Keys ------------------------------------------------------------------------------------------


def test_auth_says_what_a_key_is_good_for(api: Client) -> None:
    for key, good_for in (
        ("", "apikey"),
        (API_KEY, "apikey"),
        ("the key for adding", "nzbkey"),
        ("wrong", "badkey"),
    ):
        assert api.get("/", query_string={"mode": "auth", "key": key}).json == {"auth": good_for}


def test_a_wrong_key_is_answered_as_sabnzbd_does_if_that_is_set(
    queue: Queue, setup: Setup, around: Surroundings, keys: Keys
) -> None:
    api = Client(SabnzbdApi(queue, setup, around, keys, as_text=True))
    for key, words in (("", "API Key Required"), ("wrong", "API Key Incorrect")):
        answer = api.get("/", query_string={"mode": "queue", "apikey": key})
        assert (answer.status_code, answer.text.strip()) == (403, words)
        assert answer.mimetype == "text/plain"


def test_the_key_for_adding_adds_by_address_and_from_the_drop_folder_too(
    api: Client, drop_dir: Path, show: Post
) -> None:
    (drop_dir / "a.nzb").write_bytes(show.nzb)
    for mode, name in (("addurl", "https://indexer.example/a.nzb"), ("addlocalfile", "a.nzb")):
        asked = {"mode": mode, "apikey": "the key for adding", "name": name}
        answer = api.get("/", query_string=asked).json
        assert answer is not None
        assert answer["status"] is True


def test_the_address_of_an_nzb_is_shown_without_what_is_secret_in_it(
    ask: Ask, store: JobStore
) -> None:
    address = "https://bob:pass@indexer.example/secret-path?apikey=secret"
    (nzo_id,) = ask("addurl", name=address)["nzo_ids"]
    shown = json.dumps([ask("queue"), ask("warnings")])
    assert slot_of(ask, nzo_id)["status"] == "Grabbing"
    assert "apikey=" not in shown
    assert "pass" not in shown.replace("password", "")
