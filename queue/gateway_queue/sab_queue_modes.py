"""SABnzbd's modes about the queue: `queue` with all that it does by `name`, and its neighbours."""

from __future__ import annotations

from gateway.errors import InvalidNzb, StorageError
from gateway_queue.intake import Queue
from gateway_queue.item import WORKING, State
from gateway_queue.listing import Wanted
from gateway_queue.order import SORTS
from gateway_queue.sab_call import Call, Mode, Refused
from gateway_queue.sab_config import Setup
from gateway_queue.sab_queue import files, queue
from gateway_queue.sab_status import Status
from gateway_queue.sab_values import (
    INT_VALUE,
    NO_ITEM,
    NO_VALUE,
    NO_VALUE2,
    NOT_IMPLEMENTED,
    OK,
    STATUS_WORDS,
    Answer,
    done,
)

_NONE = frozenset({"", "none", "default"})
_SORTS = {"bytes": "size", "remaining": "size"} | {name: name for name in SORTS}
# Ten years: what asks for longer means for ever, and no clock has to count further.
_LONGEST_PAUSE_MIN = 10 * 366 * 24 * 60


class QueueModes:
    """The modes that show and change the queue of *jobs*."""

    def __init__(self, jobs: Queue, setup: Setup, status: Status) -> None:
        self._jobs = jobs
        self._setup = setup
        self._status = status
        self.modes: dict[str, Mode] = {
            "queue": self._queue,
            "pause": self._pause_all,
            "resume": self._resume_all,
            "switch": self._switch,
            "change_cat": self._change_category,
            "change_script": self._change_script,
            "change_opts": self._change_options,
            "get_files": self._files,
        }
        self._by_name: dict[str, Mode] = {
            "": self._show,
            "delete": self._delete,
            "delete_nzf": self._delete_file,
            "purge": self._purge,
            "pause": lambda call: done(jobs.pause(call.listed("value"))),
            "resume": lambda call: done(jobs.resume(call.listed("value"))),
            "rename": self._rename,
            "priority": self._prioritize,
            "sort": self._sort,
            "change_complete_action": self._complete_action,
        }

    def _queue(self, call: Call) -> Answer:
        by_name = self._by_name.get(call.text("name"))
        if by_name is None:
            raise Refused(NOT_IMPLEMENTED)
        return by_name(call)

    def _show(self, call: Call) -> Answer:
        wanted = Wanted(
            start=call.count("start"),
            limit=call.count("limit"),
            categories=categories(call),
            search=call.text("search") or None,
            ids=call.listed("nzo_ids") or None,
            states=states(call),
            priorities=_numbers(call.listed("priority")) or None,
        )
        header, speed = self._status.header(), self._status.speed()
        return queue(header, self._jobs.page(wanted), wanted, speed, self._jobs.progress)

    def _delete(self, call: Call) -> Answer:
        ids = call.listed("value")
        if not ids:
            raise Refused(NO_VALUE)
        if [one.lower() for one in ids] == ["all"]:
            return self._purge(call)
        return done(self._jobs.remove_all(ids))

    def _purge(self, call: Call) -> Answer:
        return done(self._jobs.remove_all(None, search=call.text("search") or None))

    def _delete_file(self, call: Call) -> Answer:
        if not call.text("value") or not call.listed("value2"):
            raise Refused(NO_VALUE2)
        return done([], "nzf_ids")  # a post is imported with all its files or not at all

    def _rename(self, call: Call) -> Answer:
        nzo_id, name = call.text("value"), call.text("value2")
        if not nzo_id or not name:
            raise Refused(NO_VALUE2)
        return {"status": self._jobs.rename(nzo_id, name, call.text("value3") or None)}

    def _prioritize(self, call: Call) -> Answer:
        ids, number = call.listed("value"), call.text("value2")
        if not ids or not number:
            raise Refused(NO_VALUE2)
        if not number.lstrip("+-").isdecimal():
            raise Refused(INT_VALUE)
        return {"position": self._jobs.prioritize(ids, call.number("value2"))}

    def _sort(self, call: Call) -> Answer:
        asked = call.text("sort").lower()
        if not asked:
            raise Refused(NO_VALUE2)
        by = _SORTS.get(asked)
        if by is None:
            raise Refused(f"the queue is sorted by {', '.join(SORTS)}")
        self._jobs.sort(by, descending=call.text("dir").lower() == "desc")
        return OK

    def _complete_action(self, call: Call) -> Answer:
        if call.text("value").lower() in _NONE:
            return OK
        raise Refused("nothing is done when the queue is empty: the gateway goes on serving")

    def _pause_all(self, _call: Call) -> Answer:
        self._jobs.pause_all()
        return OK

    def _resume_all(self, _call: Call) -> Answer:
        self._jobs.resume_all()
        return OK

    def set_pause(self, call: Call) -> Answer:
        """Answer `config&name=set_pause`: rest for so many minutes; 0 or fewer ends it."""
        minutes = min(call.number("value"), _LONGEST_PAUSE_MIN)
        if minutes > 0:
            self._jobs.pause_all(60.0 * minutes)
        else:
            self._jobs.resume_all()
        return OK

    def _switch(self, call: Call) -> Answer:
        nzo_id, place = call.text("value"), call.text("value2")
        if not nzo_id or not place:
            raise Refused(NO_VALUE2)
        number = call.number("value2") if place.lstrip("+-").isdecimal() else place
        moved = self._jobs.move(nzo_id, number)
        position, priority = (-1, 0) if moved is None else (moved[0], int(moved[1]))
        return {"result": {"position": position, "priority": priority}}

    def _change_category(self, call: Call) -> Answer:
        ids, category = call.listed("value"), call.text("value2")
        if not ids or not category:
            raise Refused(NO_VALUE)
        return {"status": bool(self._jobs.categorize(ids, self._setup.category(category)))}

    def _change_script(self, call: Call) -> Answer:
        ids, script = call.listed("value"), call.text("value2")
        if not ids or not script:
            raise Refused(NO_VALUE)
        if script.lower() not in _NONE:
            raise Refused("there are no scripts: the gateway runs none")
        return {"status": self._there(ids)}

    def _change_options(self, call: Call) -> Answer:
        ids, options = call.listed("value"), call.text("value2")
        if not ids or not options.isdecimal():
            raise Refused(NO_ITEM)
        # Whatever is asked for: what a category says is done to all that is in it.
        return {"status": self._there(ids)}

    def _there(self, ids: list[str]) -> bool:
        return bool(self._jobs.page(Wanted(ids=ids)).items)

    def _files(self, call: Call) -> Answer:
        nzo_id = call.text("value")
        if not nzo_id:
            raise Refused(NO_VALUE)
        if not self._there([nzo_id]):
            return {"files": []}
        try:
            return {"files": files(self._jobs.document(nzo_id))}
        except (InvalidNzb, StorageError):
            return {"files": []}  # it has not come yet, is no NZB, or was finished meanwhile


def categories(call: Call) -> list[str] | None:
    """Return the categories that are asked for; None: all of them."""
    asked = call.listed("cat", "category")
    return None if not asked or "*" in asked else asked


def states(call: Call) -> list[State] | None:
    """Return the states that are asked for by SABnzbd's words; None: all of them."""
    words = {word.lower() for word in call.listed("status")}
    if not words:
        return None
    asked = [state for state, word in STATUS_WORDS.items() if word.lower() in words]
    return [*asked, *WORKING] if "downloading" in words else asked


def _numbers(words: list[str]) -> list[int]:
    signed = (word for word in words if word.lstrip("+-").isdecimal() and len(word) < 10)
    return [int(word) for word in signed if word.count("-") + word.count("+") <= 1]
