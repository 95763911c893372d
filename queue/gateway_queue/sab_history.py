"""SABnzbd's `history`: what became of the jobs."""

from __future__ import annotations

from gateway_queue.item import Item, State
from gateway_queue.listing import HistoryPage, Wanted
from gateway_queue.sab_config import Setup
from gateway_queue.sab_values import STATUS_WORDS, VERSION, Answer, Json, units


def history(setup: Setup, page: HistoryPage, wanted: Wanted, revision: int) -> Answer:
    """Answer the history: *page* is what was *wanted*, *revision* grows with every change."""
    return {
        "history": {
            "total_size": units(page.total_size),
            "month_size": units(page.month_size),
            "week_size": units(page.week_size),
            "day_size": units(page.day_size),
            "slots": [_slot(setup, item, archived=wanted.archived) for item in page.items],
            "ppslots": 0,
            "noofslots": page.found,
            "last_history_update": revision,
            "version": VERSION,
        }
    }


def _slot(setup: Setup, item: Item, *, archived: bool) -> Json:
    completed = item.state is State.COMPLETED
    # What failed has no folder, and names none that an *arr could look into.
    storage = setup.storage(item.category, item.name) if completed else ""
    stages: list[Json] = [{"name": "Source", "actions": [item.filename]}]
    if item.failure:
        stages.append({"name": "Download", "actions": [item.failure]})
    return {
        "completed": int(item.completed or 0),
        "name": item.name,
        "nzb_name": item.filename,
        "category": item.category,
        "pp": "D",
        "script": "None",
        "report": "",
        "url": None,
        "status": STATUS_WORDS[item.state],
        "nzo_id": item.id,
        "storage": storage,
        "path": storage,
        "script_line": "",
        "download_time": int(item.took_s or 0),
        "postproc_time": 0,
        "stage_log": stages,
        "downloaded": item.size if completed else 0,
        "completeness": None,
        "fail_message": item.failure,
        "url_info": "",
        "bytes": item.size,
        "meta": None,
        "series": None,
        "md5sum": "",
        "password": None,
        "duplicate_key": "",
        "archive": archived,
        "time_added": int(item.added),
        "size": units(item.size, "B"),
        "action_line": "",
        "loaded": False,
        "retry": False,
    }
