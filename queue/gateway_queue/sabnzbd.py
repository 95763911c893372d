"""SABnzbd's API as Sonarr, Radarr and their like speak it: one door, `mode=...`, JSON.

Whatever happens is answered as SABnzbd would: HTTP 200, and `status` false with the reason.
Clients take anything else for a server that is down, or hide the words from their users. JSON
it is whatever `output` says: all of its clients ask for that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from wsgiref.types import StartResponse

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from gateway.errors import GatewayError
from gateway.http.auth import Secret
from gateway.http.wsgi import Environ
from gateway_queue.intake import Queue
from gateway_queue.recent_warnings import RecentWarnings
from gateway_queue.sab_adding import Adding
from gateway_queue.sab_call import Call, Mode, Refused
from gateway_queue.sab_config import ConfigModes, Setup
from gateway_queue.sab_history import HistoryModes
from gateway_queue.sab_queue_modes import QueueModes
from gateway_queue.sab_refusals import Refusals
from gateway_queue.sab_servers import SabServer
from gateway_queue.sab_status import Status
from gateway_queue.sab_values import NOT_IMPLEMENTED, VERSION, Answer, refusal
from gateway_queue.traffic import Traffic

log = logging.getLogger(__name__)

# The largest NZBs have some 30 MB: 300,000 segments. Fields that are no files are short.
_REQUEST_BYTES = 128 * 1024 * 1024
_FIELD_BYTES = 256 * 1024
_FIELDS = 100

_OPEN_TO_ALL = frozenset({"version", "auth"})
_OPEN_TO_NZB_KEY = frozenset({"addfile", "addurl", "addlocalfile"})


@dataclass(frozen=True, slots=True)
class Keys:
    """Who may ask. *nzb_key* admits to adding only; *login*, a user and a password, as *api* does.

    What is None admits nobody.
    """

    api: str
    nzb: str | None = None
    login: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the API tells of beside the queue: providers, what they sent, what went wrong.

    *drop_dir*: files of this machine are read below it, and nowhere else; None: none are.
    """

    servers: tuple[SabServer, ...]
    traffic: Traffic
    warnings: RecentWarnings
    drop_dir: Path | None = None


class SabnzbdApi:
    """The WSGI application behind `/api` and `/sabnzbd/api`.

    *as_text*: a wrong key is answered as SABnzbd does, 403 and a line of text, which Sonarr
    shows its users as a server that cannot be reached.
    """

    def __init__(
        self,
        jobs: Queue,
        setup: Setup,
        around: Surroundings,
        keys: Keys,
        *,
        as_text: bool = False,
        request_bytes: int = _REQUEST_BYTES,
    ) -> None:
        self._api_key = Secret(keys.api.encode())
        self._nzb_key = Secret(keys.nzb.encode()) if keys.nzb else None
        self._login = Secret("\0".join(keys.login).encode()) if keys.login else None
        self._as_text = as_text
        self._request_bytes = request_bytes
        status = Status(jobs, setup, around.servers, around.traffic, around.warnings)
        queue = QueueModes(jobs, setup, status)
        self.modes: dict[str, Mode] = {
            "version": lambda _: {"version": VERSION},
            "auth": self._auth,
            **Adding(jobs, setup, around.drop_dir).modes,
            **queue.modes,
            **HistoryModes(jobs, setup, status).modes,
            **status.modes,
            **ConfigModes(setup, around.servers).modes,
            **Refusals(queue, watches=around.drop_dir is not None).modes,
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = self._request_bytes
        request.max_form_memory_size = _FIELD_BYTES
        request.max_form_parts = _FIELDS
        with request:
            response = self._response(request)
        return response(environ, start_response)

    def _response(self, request: Request) -> Response:
        if request.path != "/":
            return _json(refusal(NOT_IMPLEMENTED), 404)
        try:
            call = Call(request)
            refused = self._refusal(call)
            if refused is not None:
                log.warning("%s: %s for mode %r", request.remote_addr, refused, call.mode[:40])
                if self._as_text:
                    return Response(f"{refused}\n", 403, content_type="text/plain;charset=utf-8")
                return _json(refusal(refused))
            mode = self.modes.get(call.mode)
            return _json(refusal(NOT_IMPLEMENTED) if mode is None else mode(call))
        except Refused as exc:
            return _json(refusal(str(exc)))
        except GatewayError as exc:
            log.warning("the queue's API could not answer: %s", exc)
            return _json(refusal(str(exc)))
        except ConnectionError:
            raise  # the client is gone, and with it the rest of its request
        except HTTPException as exc:
            # Werkzeug's word for a request that is too large or that is no HTTP form.
            return _json(refusal(exc.description or exc.name), exc.code or 400)
        except Exception:
            log.exception("the queue's API failed")
            return _json(refusal("internal error: see the log of the gateway"), 500)

    def _refusal(self, call: Call) -> str | None:
        """Return SABnzbd's words for why this request is not answered, None if it is."""
        mode, key = call.mode, call.key()
        if mode in _OPEN_TO_ALL:
            return None
        if not key:
            login = call.login()
            if login is None:
                return "API Key Required"
            right = self._login is not None and self._login.matches(_bytes("\0".join(login)))
            return None if right else "API Key Incorrect"
        if self._api_key.matches(_bytes(key)) or (mode in _OPEN_TO_NZB_KEY and self._adds(key)):
            return None
        return "API Key Incorrect"

    def _adds(self, key: str) -> bool:
        return self._nzb_key is not None and self._nzb_key.matches(_bytes(key))

    def _auth(self, call: Call) -> Answer:
        """Say what a key in `key` is good for; without one, that a key is wanted."""
        key = call.text("key")
        if not key or self._api_key.matches(_bytes(key)):
            return {"auth": "apikey"}
        return {"auth": "nzbkey" if self._adds(key) else "badkey"}


def _json(answer: Answer, status: int = 200) -> Response:
    return Response(json.dumps(answer), status, content_type="application/json;charset=UTF-8")


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
