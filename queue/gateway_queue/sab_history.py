"""SABnzbd's `history`: what became of the jobs."""

from __future__ import annotations

from gateway_queue.addresses import address
from gateway_queue.intake import Queue
from gateway_queue.item import Item, State
from gateway_queue.listing import HistoryPage, Wanted
from gateway_queue.sab_call import Call, Mode, Refused
from gateway_queue.sab_config import Setup
from gateway_queue.sab_queue_modes import categories, states
from gateway_queue.sab_status import Status
from gateway_queue.sab_values import (
    NO_VALUE,
    NOT_IMPLEMENTED,
    OK,
    STATUS_WORDS,
    VERSION,
    Answer,
    Json,
    units,
)
from gateway_queue.traffic import Sums

# Who asks for fewer wants a glance, not to find out what can be imported.
_GLANCE = 10
_SPECIAL: dict[str, State | None] = {
    "all": None,
    "failed": State.FAILED,
    "completed": State.COMPLETED,
}


class HistoryModes:
    """The mode `history` of *jobs*."""

    def __init__(self, jobs: Queue, setup: Setup, status: Status) -> None:
        self._jobs = jobs
        self._setup = setup
        self._status = status
        self.modes: dict[str, Mode] = {"history": self._history}

    def _history(self, call: Call) -> Answer:
        match call.text("name"):
            case "":
                return self._show(call)
            case "delete":
                return self._delete(call)
        raise Refused(NOT_IMPLEMENTED)

    def _show(self, call: Call) -> Answer:
        revision = self._jobs.history_revision
        if call.number("last_history_update") == revision:
            return {"history": False}  # SABnzbd's word for: as when it was last asked for
        wanted = Wanted(
            start=call.count("start"),
            limit=call.count("limit"),
            categories=categories(call),
            search=call.text("search") or None,
            ids=call.listed("nzo_ids") or None,
            states=[State.FAILED] if call.flag("failed_only") else states(call),
            archived=call.flag("archive"),
        )
        if _is_poll(wanted):
            setup = self._setup
            whole = setup.ignores_history_limit
            page = self._jobs.poll(wanted, unlinked=setup.unlinked, whole=whole)
        else:
            page = self._jobs.history(wanted)
        return history(self._setup, page, wanted, revision, self._status.totals())

    def _delete(self, call: Call) -> Answer:
        # Whatever del_files says: the release stays, only its row goes.
        ids, archive = call.listed("value"), call.flag("archive")
        if not ids:
            raise Refused(NO_VALUE)
        special = ids[0].lower()
        if len(ids) == 1 and special in _SPECIAL:
            search = call.text("search") or None
            self._jobs.forget(None, state=_SPECIAL[special], search=search, archive=archive)
        else:
            self._jobs.forget(ids, archive=archive)
        return OK


def _is_poll(wanted: Wanted) -> bool:
    """Whether an *arr may be looking for what it can import, of which the newest are but a part.

    It asks for a first page of 60, as a rule, and of its category.
    """
    is_first = not wanted.start and not wanted.archived
    return is_first and (wanted.categories is not None or wanted.limit >= _GLANCE)


def history(setup: Setup, page: HistoryPage, wanted: Wanted, revision: int, totals: Sums) -> Answer:
    """Answer the history: *page* is what was *wanted*, *revision* grows with every change."""
    return {
        "history": {
            "total_size": units(totals.total),
            "month_size": units(totals.month),
            "week_size": units(totals.week),
            "day_size": units(totals.day),
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
    source = item.filename or _origin(item.url)
    stages: list[Json] = [{"name": "Source", "actions": [source]}]
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
        "url": _origin(item.url) or None,
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
        "retry": not completed and (item.nzb_bytes is not None or item.url is not None),
    }


def _origin(url: str | None) -> str:
    return "" if url is None else address(url).origin
