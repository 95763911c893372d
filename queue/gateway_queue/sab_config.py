"""SABnzbd's configuration, as its clients read it: categories, folders, servers.

Clients read a dozen of these values and fail if one of the others is missing, so every answer
carries SABnzbd's whole set: `sab_defaults.json` has its defaults with everything off that has
no meaning here, and this module puts in what is ours. No answer holds a key or a password.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import cast

from gateway_queue.sab_call import Call, Mode
from gateway_queue.sab_servers import SabServer
from gateway_queue.sab_values import Answer, Json

_DEFAULTS = "sab_defaults.json"


@dataclass(frozen=True, slots=True)
class Setup:
    """What the API says about the place it stands in.

    *mount_dir* is where the clients see the WebDAV tree mounted; *data_dir* is where our own
    files lie; *categories* are those that exist, by name, with the folder that each has in
    `content` and in `completed-symlinks`; those in *unlinked* have none in the latter;
    *default_category* takes the rest. *ignores_history_limit*: an *arr is shown all that it may
    still import, however little it asks for.
    """

    mount_dir: PurePosixPath
    data_dir: Path
    categories: Mapping[str, str]
    unlinked: Collection[str] = ()
    default_category: str = "uncategorized"
    ignores_history_limit: bool = True
    started: float = field(default_factory=time.time)

    @property
    def complete_dir(self) -> str:
        """Return the folder in which an *arr finds what was imported, as the clients see it."""
        return str(self.mount_dir / "completed-symlinks")

    def storage(self, category: str, name: str) -> str:
        """Return the folder of one job, as the clients see it."""
        tree = "content" if category in self.unlinked else "completed-symlinks"
        return str(self.mount_dir / tree / self.folder(category) / name)

    def below_complete_dir(self, category: str) -> str:
        """Return where jobs of *category* are, from `complete_dir`; absolute if not below it."""
        folder = self.folder(category)
        return str(self.mount_dir / "content" / folder) if category in self.unlinked else folder

    def folder(self, category: str) -> str:
        """Return the folder of *category* in `content`: one that was once set has its name."""
        return self.categories.get(category, category)

    def category(self, asked: str | None) -> str:
        """Return the category that *asked* means: itself if it exists, else the default."""
        for name in self.categories:
            if asked is not None and asked.strip().lower() == name.lower():
                return name
        return self.default_category


class ConfigModes:
    """The modes about the configuration, none of which changes it; *servers* are the providers."""

    def __init__(self, setup: Setup, servers: Sequence[SabServer]) -> None:
        self._setup = setup
        self._servers = servers
        self.modes: dict[str, Mode] = {
            "get_config": self._config,
            "get_cats": lambda _: {"categories": ["*", *setup.categories]},
            "get_scripts": lambda _: {"scripts": ["None"]},
            "translate": lambda call: {"value": call.text("value")},
        }

    def _config(self, call: Call) -> Answer:
        section, keyword = call.text("section") or None, call.text("keyword") or None
        return config(self._setup, self._servers, section=section, keyword=keyword)


def config(
    setup: Setup, servers: Sequence[SabServer], *, section: str | None, keyword: str | None
) -> Answer:
    """Answer get_config: all of it, one *section*, or one *keyword* of a section."""
    whole = cast("Answer", json.loads(files(__package__).joinpath(_DEFAULTS).read_text("utf-8")))
    misc = cast("Answer", whole["misc"])
    misc["complete_dir"] = setup.complete_dir
    misc["download_dir"] = str(setup.data_dir)
    default = _category("*", 0, setup.below_complete_dir(setup.default_category))
    whole["categories"] = [default] + [
        _category(name, order, setup.below_complete_dir(name))
        for order, name in enumerate(setup.categories, start=1)
    ]
    whole["servers"] = [server.as_configured() for server in servers]
    whole["sorters"] = []
    if section is None:
        return {"config": whole}
    part = whole.get(section)
    if part is None or keyword is None:
        return {"config": {} if part is None else {section: part}}
    if isinstance(part, list):
        named: list[Json] = [
            one for one in part if isinstance(one, dict) and one.get("name") == keyword
        ]
        return {"config": {section: named}}
    known = part if isinstance(part, dict) else {}
    return {"config": {section: {keyword: known[keyword]} if keyword in known else {}}}


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
