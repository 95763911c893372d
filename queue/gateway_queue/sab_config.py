"""SABnzbd's answers about itself: version, configuration, categories, full status.

Clients read a dozen of these values and fail if one of the others is missing, so every answer
carries SABnzbd's whole set: `sab_defaults.json` has its defaults with everything off that has
no meaning here, and this module puts in what is ours. No answer holds a key or a password.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import cast

from gateway_queue.sab_values import VERSION, Answer, Json, age, gigabytes, units

_DEFAULTS = "sab_defaults.json"


@dataclass(frozen=True, slots=True)
class Setup:
    """What the API says about the place it stands in.

    *mount_dir* is where the clients see the WebDAV tree mounted; *data_dir* is where our own
    files lie; *categories* are those that exist, by name, with the folder that each has in
    `content`; *default_category* takes the rest.
    """

    mount_dir: PurePosixPath
    data_dir: Path
    categories: Mapping[str, str]
    default_category: str = "uncategorized"
    started: float = field(default_factory=time.time)

    @property
    def complete_dir(self) -> str:
        """Return the folder below which every release appears, as the clients see it."""
        return str(self.mount_dir / "content")

    def storage(self, category: str, name: str) -> str:
        """Return the folder of one release, as the clients see it."""
        return str(self.mount_dir / "content" / self.folder(category) / name)

    def folder(self, category: str) -> str:
        """Return the folder of *category* in `content`: one that was once set has its name."""
        return self.categories.get(category, category)

    def category(self, asked: str | None) -> str:
        """Return the category that *asked* means: itself if it exists, else the default."""
        for name in self.categories:
            if asked is not None and asked.strip().lower() == name.lower():
                return name
        return self.default_category


def config(setup: Setup, *, section: str | None, keyword: str | None) -> Answer:
    """Answer get_config: all of it, one *section*, or one *keyword* of a section."""
    whole = cast("Answer", json.loads(files(__package__).joinpath(_DEFAULTS).read_text("utf-8")))
    misc = cast("Answer", whole["misc"])
    misc["complete_dir"] = setup.complete_dir
    misc["download_dir"] = str(setup.data_dir)
    whole["categories"] = [_category("*", 0, setup.folder(setup.default_category))] + [
        _category(name, order, folder)
        for order, (name, folder) in enumerate(setup.categories.items(), start=1)
    ]
    whole["servers"] = []
    whole["sorters"] = []
    if section is None:
        return {"config": whole}
    part = whole.get(section)
    if keyword is None or not isinstance(part, dict):
        return {"config": {section: part} if part is not None else {}}
    return {"config": {section: {keyword: part[keyword]} if keyword in part else {}}}


def _category(name: str, order: int, folder: str) -> Json:
    default = name == "*"
    return {
        "name": name,
        "order": order,
        "pp": "3" if default else "",
        "script": "None" if default else "Default",
        "dir": folder,
        "newzbin": "",
        "priority": 0 if default else -100,
    }


def categories(setup: Setup) -> Answer:
    """Answer get_cats."""
    return {"categories": ["*", *setup.categories]}


def header(setup: Setup, *, paused: bool) -> Answer:
    """Return the values that begin both the queue and the status."""
    disk = shutil.disk_usage(setup.data_dir)
    free, total = gigabytes(disk.free), gigabytes(disk.total)
    return {
        "version": VERSION,
        "paused": paused,
        "pause_int": "0",
        "paused_all": False,
        "diskspace1": free,
        "diskspace2": free,
        "diskspace1_norm": units(disk.free),
        "diskspace2_norm": units(disk.free),
        "diskspacetotal1": total,
        "diskspacetotal2": total,
        "speedlimit": "0",
        "speedlimit_abs": "0",
        "have_warnings": "0",
        "finishaction": None,
        "quota": "0 B",
        "have_quota": False,
        "left_quota": "0 B",
        "cache_art": "0",
        "cache_size": "0 B",
    }


def full_status(setup: Setup, *, paused: bool) -> Answer:
    """Answer fullstatus (with or without skip_dashboard: nothing is measured for it)."""
    loads = " | ".join(f"{load:.2f}" for load in os.getloadavg())
    return {
        "status": {
            "uptime": age(time.time() - setup.started),
            "color_scheme": "Auto",
            "confighelpuri": "",
            "pid": os.getpid(),
            "active_lang": "en",
            "rtl": False,
            "my_lcldata": str(setup.data_dir),
            "my_home": str(setup.data_dir),
            "webdir": "",
            "url_base": "",
            "windows": False,
            "macos": False,
            "power_options": False,
            "pp_pause_event": False,
            "apikey": "",
            "new_release": None,
            "new_rel_url": None,
            **header(setup, paused=paused),
            "logfile": "",
            "weblogfile": None,
            "loglevel": "1",
            "folders": [],
            "configfn": "",
            "warnings": [],
            "delayed_assembler": 0,
            "loadavg": loads,
            "pystone": 0,
            "downloaddir": str(setup.data_dir),
            "downloaddirspeed": 0,
            "completedir": setup.complete_dir,
            "completedirspeed": 0,
            "internetbandwidth": 0,
            "servers": [],
        }
    }
