"""What SABnzbd's API can do that has no meaning here: each answered with what is true."""

from __future__ import annotations

from gateway_queue.sab_call import Call, Mode, Refused
from gateway_queue.sab_queue_modes import QueueModes
from gateway_queue.sab_values import NO_ITEM, NO_VALUE, NOT_IMPLEMENTED, OK, Answer

_SETTINGS = (
    "settings are made in settings.env or the environment of the gateway, and read again at "
    "SIGHUP or a restart"
)
_PROCESS = "the gateway is stopped and started by whatever runs it, not by its API"
_NOTIFICATIONS = "the gateway sends no notifications of this kind"

# mode -> why not.
_REFUSED: dict[str, str] = {
    "set_config": _SETTINGS,
    "set_config_default": _SETTINGS,
    "del_config": _SETTINGS,
    "shutdown": _PROCESS,
    "restart": _PROCESS,
    "restart_repair": _PROCESS,
    "disconnect": "connections to providers are shared with viewers, and closed when idle",
    "pause_pp": "there is no stage after an import that could be paused: pause the queue",
    "cancel_pp": NO_ITEM,
    "rss_now": "the gateway reads no feeds",
    "reset_quota": "there is no quota",
    "browse": "the gateway shows no folders of its machine",
    "showlog": "the log is where the gateway writes it: to standard error",
    "eval_sort": "nothing is renamed by patterns",
    "move_nzf_bulk": "a post is imported with all its files: their order means nothing",
    "gc_stats": NOT_IMPLEMENTED,
    **{
        f"test_{what}": _NOTIFICATIONS
        for what in (
            "email", "windows", "notif", "osd", "prowl", "pushover", "pushbullet", "apprise",
            "nscript",
        )
    },
}  # fmt: skip
_CONFIG_REFUSED: dict[str, str] = {
    "set_apikey": _SETTINGS,
    "set_nzbkey": _SETTINGS,
    "regenerate_certs": "the gateway speaks HTTP: certificates are a reverse proxy's",
    "test_server": "a provider is tried when it is used: see fullstatus, or /api/gateway",
    "create_backup": "the library is backed up with GATEWAY_DATA_DIR",
    "purge_log_files": "there are no log files",
}
# In SABnzbd's words what means: as fast as it goes. More than 100 would be KB/s.
_UNLIMITED = frozenset({"", "0", "100", "100%"})


class Refusals:
    """The modes that change nothing, and `config` with what it does by `name`."""

    def __init__(self, queue: QueueModes, *, watches: bool) -> None:
        self._queue = queue
        self._watches = watches
        self.modes: dict[str, Mode] = {
            **{mode: _refuser(words) for mode, words in _REFUSED.items()},
            "resume_pp": lambda _: OK,
            "watched_now": self._watched_now,
            "config": self._config,
        }

    def _config(self, call: Call) -> Answer:
        name = call.text("name")
        match name:
            case "set_pause":
                return self._queue.set_pause(call)
            case "speedlimit":
                if call.text("value").lower() in _UNLIMITED:
                    return OK
                raise Refused(
                    "there is no speed limit: GATEWAY_MAX_QUEUE_CONNECTIONS limits the queue"
                )
        raise Refused(_CONFIG_REFUSED.get(name, NOT_IMPLEMENTED if name else NO_VALUE))

    def _watched_now(self, _call: Call) -> Answer:
        if self._watches:
            return OK  # it is looked at all the time
        raise Refused("there is no folder to look at: set GATEWAY_DROP_DIR")


def _refuser(words: str) -> Mode:
    def refuse(_call: Call) -> Answer:
        raise Refused(words)

    return refuse
