"""SABnzbd's API as Sonarr, Radarr and their like speak it: one door, `mode=...`, JSON.

Whatever happens is answered as SABnzbd would: HTTP 200, and `status` false with the reason.
Clients take anything else for a server that is down, or hide the words from their users.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from gateway.errors import GatewayError, NotXml
from gateway.http.auth import Secret
from gateway.http.wsgi import Environ
from gateway_queue import sab_config
from gateway_queue.intake import Queue
from gateway_queue.item import State
from gateway_queue.listing import Wanted
from gateway_queue.sab_config import Setup
from gateway_queue.sab_history import history
from gateway_queue.sab_queue import queue
from gateway_queue.sab_values import VERSION, Answer, Json

log = logging.getLogger(__name__)

# The largest NZBs have some 30 MB: 300,000 segments. Fields that are no files are short.
_REQUEST_BYTES = 128 * 1024 * 1024
_FIELD_BYTES = 256 * 1024
_FIELDS = 100

_COUNTLESS = 1 << 31

_OPEN_TO_ALL = frozenset({"version", "auth"})
_OPEN_TO_NZB_KEY = frozenset({"addfile", "addurl", "addlocalfile"})

Mode = Callable[[Request], Answer]


class SabnzbdApi:
    """The WSGI application behind `/api` and `/sabnzbd/api`.

    *nzb_key* admits to adding only; *login* is a user and a password that admit as *api_key*
    does. What is None admits nobody.
    """

    def __init__(
        self,
        jobs: Queue,
        setup: Setup,
        *,
        api_key: str,
        nzb_key: str | None = None,
        login: tuple[str, str] | None = None,
        request_bytes: int = _REQUEST_BYTES,
    ) -> None:
        self._jobs = jobs
        self._setup = setup
        self._api_key = Secret(api_key.encode())
        self._nzb_key = Secret(nzb_key.encode()) if nzb_key else None
        self._login = Secret("\0".join(login).encode()) if login else None
        self._request_bytes = request_bytes
        self._modes: dict[str, Mode] = {
            "version": lambda _: {"version": VERSION},
            "auth": lambda _: {"auth": "apikey"},
            "addfile": self._add_file,
            "queue": self._queue,
            "history": self._history,
            "pause": self._pause,
            "resume": self._resume,
            "get_cats": lambda _: sab_config.categories(setup),
            "get_config": self._get_config,
            "fullstatus": self._status,
            "status": self._status,
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = self._request_bytes
        request.max_form_memory_size = _FIELD_BYTES
        request.max_form_parts = _FIELDS
        with request:
            status, answer = self._answer(request)
        body = json.dumps(answer, indent=1) + "\n"
        response = Response(body, status, content_type="application/json;charset=UTF-8")
        return response(environ, start_response)

    def _answer(self, request: Request) -> tuple[int, Answer]:
        if request.path != "/":
            return 404, _error("not implemented")
        try:
            mode = _field(request, "mode") or ""
            refusal = self._refusal(request, mode)
            if refusal is not None:
                log.warning("%s: %s for mode %r", request.remote_addr, refusal, mode[:40])
                return 200, _error(refusal)
            call = self._modes.get(mode)
            return 200, _error("not implemented") if call is None else call(request)
        except GatewayError as exc:
            log.warning("the queue's API could not answer: %s", exc)
            return 200, _error(str(exc))
        except ConnectionError:
            raise  # the client is gone, and with it the rest of its request
        except HTTPException as exc:
            # Werkzeug's word for a request that is too large or that is no HTTP form.
            return exc.code or 400, _error(exc.description or exc.name)
        except Exception:
            log.exception("the queue's API failed")
            return 500, _error("internal error: see the log of the gateway")

    # Who may ----------------------------------------------------------------------------------

    def _refusal(self, request: Request, mode: str) -> str | None:
        """Return SABnzbd's words for why this request is not answered, None if it is."""
        if mode in _OPEN_TO_ALL:
            return None
        key = request.headers.get("X-Api-Key") or _field(request, "apikey")
        if not key:
            user, password = _field(request, "ma_username"), _field(request, "ma_password")
            if user is None or password is None:
                return "API Key Required"
            is_right = self._login is not None and self._login.matches(
                _bytes(f"{user}\0{password}")
            )
            return None if is_right else "API Key Incorrect"
        if self._api_key.matches(_bytes(key)):
            return None
        adds = self._nzb_key is not None and self._nzb_key.matches(_bytes(key))
        return None if adds and mode in _OPEN_TO_NZB_KEY else "API Key Incorrect"

    # What they ask ----------------------------------------------------------------------------

    def _add_file(self, request: Request) -> Answer:
        file = request.files.get("name") or request.files.get("nzbfile")
        if file is None or not file.filename:
            return _error("expects one parameter")
        asked = request.values
        try:
            nzo_id = self._jobs.add(
                file.stream.read(),
                filename=file.filename,
                category=self._setup.category(asked.get("cat")),
                priority=asked.get("priority", 0, int),
                password=asked.get("password") or None,
                name=asked.get("nzbname") or None,
            )
        except NotXml as exc:
            log.warning("refused %r: %s", file.filename, exc)
            return {"status": False, "nzo_ids": []}
        return {"status": True, "nzo_ids": [nzo_id]}

    def _queue(self, request: Request) -> Answer:
        action = request.values.get("name")
        ids = _ids(request.values.get("value"))
        match action:
            case None | "":
                wanted = _wanted(request)
                return queue(self._setup, self._jobs.page(wanted), wanted, self._jobs.paused)
            case "delete":
                return _done(self._jobs.remove_all(None if ids == ["all"] else ids))
            case "pause":
                return _done(self._jobs.pause(ids))
            case "resume":
                return _done(self._jobs.resume(ids))
        return _error("not implemented")

    def _history(self, request: Request) -> Answer:
        asked = request.values
        match asked.get("name"):
            case None | "":
                failed = _flag(asked.get("failed_only"))
                wanted = _wanted(
                    request,
                    state=State.FAILED if failed else None,
                    archived=_flag(asked.get("archive")),
                )
                return history(
                    self._setup, self._jobs.history(wanted), wanted, self._jobs.history_revision
                )
            case "delete":
                # Whatever del_files says: the release stays, only its row goes.
                archive = _flag(asked.get("archive"))
                match _ids(asked.get("value")):
                    case ["all"]:
                        self._jobs.forget(None, archive=archive)
                    case ["failed"]:
                        self._jobs.forget(None, state=State.FAILED, archive=archive)
                    case ["completed"]:
                        self._jobs.forget(None, state=State.COMPLETED, archive=archive)
                    case ids:
                        self._jobs.forget(ids, archive=archive)
                return {"status": True}
        return _error("not implemented")

    def _pause(self, _request: Request) -> Answer:
        self._jobs.pause_all()
        return {"status": True}

    def _resume(self, _request: Request) -> Answer:
        self._jobs.resume_all()
        return {"status": True}

    def _get_config(self, request: Request) -> Answer:
        asked = request.values
        return sab_config.config(
            self._setup, section=asked.get("section"), keyword=asked.get("keyword")
        )

    def _status(self, _request: Request) -> Answer:
        return sab_config.full_status(self._setup, paused=self._jobs.paused)


def _field(request: Request, name: str) -> str | None:
    # The body is not read for what the query says: a wrong key costs no upload.
    return request.args.get(name) or request.form.get(name)


def _wanted(request: Request, *, state: State | None = None, archived: bool = False) -> Wanted:
    asked = request.values
    category = asked.get("cat") or asked.get("category")
    return Wanted(
        start=_count(asked.get("start", 0, int)),
        limit=_count(asked.get("limit", 0, int)),
        category=None if category in {None, "", "*"} else category,
        search=asked.get("search") or None,
        ids=_ids(asked.get("nzo_ids")) or None,
        state=state,
        archived=archived,
    )


def _count(number: int) -> int:
    return max(0, min(number, _COUNTLESS))


def _ids(value: str | None) -> list[str]:
    return [part.strip() for part in (value or "").split(",") if part.strip()]


def _flag(value: str | None) -> bool:
    return (value or "0").strip().lower() in {"1", "true", "yes"}


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _error(words: str) -> Answer:
    return {"status": False, "error": words}


def _done(ids: list[str]) -> Answer:
    listed: list[Json] = list(ids)
    return {"status": bool(ids), "nzo_ids": listed}
