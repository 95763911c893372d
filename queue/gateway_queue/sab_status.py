"""SABnzbd's answers about how it stands: `status`, `fullstatus`, `server_stats`, `warnings`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence

from gateway_queue.intake import Queue
from gateway_queue.recent_warnings import RecentWarnings
from gateway_queue.sab_call import Call, Mode, Refused
from gateway_queue.sab_config import Setup
from gateway_queue.sab_servers import SabServer
from gateway_queue.sab_values import (
    NO_ITEM,
    NOT_IMPLEMENTED,
    OK,
    VERSION,
    Answer,
    Json,
    age,
    gigabytes,
    units,
)
from gateway_queue.traffic import Amount, Sums, Traffic

# Folders that a download left behind; there is nothing of that kind here.
_ORPHANS = frozenset({"delete_all_orphan", "add_all_orphan"})
_ORPHAN = frozenset({"delete_orphan", "add_orphan"})


class Status:
    """How *jobs*, their disk and *servers* stand; *traffic* is what these have sent."""

    def __init__(
        self,
        jobs: Queue,
        setup: Setup,
        servers: Sequence[SabServer],
        traffic: Traffic,
        warnings: RecentWarnings,
    ) -> None:
        self._jobs = jobs
        self._setup = setup
        self._servers = servers
        self._traffic = traffic
        self._warnings = warnings
        self.modes: dict[str, Mode] = {
            "fullstatus": lambda _: self.full(),
            "status": self._status,
            "server_stats": self._server_stats,
            "warnings": self._show_warnings,
        }

    def speed(self) -> float:
        """Return how many bytes a second come from all providers."""
        return self._traffic.speed()

    def totals(self) -> Sums:
        """Return what all providers have sent."""
        total = Sums()
        for one in self._traffic.by_provider().values():
            total = total.plus(one.sums)
        return total

    def header(self) -> Answer:
        """Return the values that begin both the queue and the status."""
        disk = shutil.disk_usage(self._setup.data_dir)
        free, total = gigabytes(disk.free), gigabytes(disk.total)
        return {
            "version": VERSION,
            "paused": self._jobs.paused,
            "pause_int": _minutes(self._jobs.pause_left_s),
            "paused_all": False,
            "diskspace1": free,
            "diskspace2": free,
            "diskspace1_norm": units(disk.free),
            "diskspace2_norm": units(disk.free),
            "diskspacetotal1": total,
            "diskspacetotal2": total,
            "speedlimit": "0",
            "speedlimit_abs": "0",
            "have_warnings": str(len(self._warnings.told)),
            "finishaction": None,
            "quota": "0 B",
            "have_quota": False,
            "left_quota": "0 B",
            "cache_art": "0",
            "cache_size": "0 B",
        }

    def full(self) -> Answer:
        """Answer fullstatus (with or without skip_dashboard: nothing is measured for it)."""
        loads = " | ".join(f"{load:.2f}" for load in os.getloadavg())
        folder = str(self._setup.data_dir)
        return {
            "status": {
                "uptime": age(time.time() - self._setup.started),
                "color_scheme": "Auto",
                "confighelpuri": "",
                "pid": os.getpid(),
                "active_lang": "en",
                "rtl": False,
                "my_lcldata": folder,
                "my_home": folder,
                "webdir": "",
                "url_base": "",
                "windows": False,
                "macos": False,
                "power_options": False,
                "pp_pause_event": False,
                "apikey": "",
                "new_release": None,
                "new_rel_url": None,
                **self.header(),
                "logfile": "",
                "weblogfile": None,
                "loglevel": "1",
                "folders": [],
                "configfn": "",
                "warnings": self._told(),
                "delayed_assembler": 0,
                "loadavg": loads,
                "pystone": 0,
                "downloaddir": folder,
                "downloaddirspeed": 0,
                "completedir": self._setup.complete_dir,
                "completedirspeed": 0,
                "internetbandwidth": 0,
                "servers": [server.as_it_stands() for server in self._servers],
            }
        }

    def _status(self, call: Call) -> Answer:
        name = call.text("name")
        if not name:
            return self.full()
        if name == "unblock_server":
            raise Refused("a provider that is paused is asked again by itself, within 5 minutes")
        if name in _ORPHANS:
            return OK
        raise Refused(NO_ITEM if name in _ORPHAN else NOT_IMPLEMENTED)

    def _server_stats(self, _call: Call) -> Answer:
        found = self._traffic.by_provider()
        servers: dict[str, Json] = {
            name: {**_sums(one.sums), **_days(one.days)} for name, one in found.items()
        }
        return {**_sums(self.totals()), "servers": servers}

    def _show_warnings(self, call: Call) -> Answer:
        match call.text("name"):
            case "" | "show":
                return {"warnings": self._told()}
            case "clear":
                self._warnings.clear()
                return OK
        raise Refused(NOT_IMPLEMENTED)

    def _told(self) -> list[Json]:
        return [
            {"type": one.level, "text": one.text, "time": one.time, "origin": one.origin}
            for one in self._warnings.told
        ]


def _sums(sums: Sums) -> dict[str, Json]:
    return {"total": sums.total, "month": sums.month, "week": sums.week, "day": sums.day}


def _days(days: Mapping[str, Amount]) -> dict[str, Json]:
    return {
        "daily": {day: amount.received for day, amount in days.items()},
        "articles_tried": {day: amount.tried for day, amount in days.items()},
        "articles_success": {day: amount.found for day, amount in days.items()},
    }


def _minutes(left_s: float | None) -> str:
    """Return SABnzbd's `pause_int`: minutes and seconds, "0" for a pause that has no end."""
    if left_s is None:
        return "0"
    minutes, seconds = divmod(int(left_s), 60)
    return f"{minutes}:{seconds:02}"
