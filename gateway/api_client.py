"""What the commands ask of a running gateway: SABnzbd's API and its own, over HTTP."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from gateway import keys
from gateway.errors import GatewayError
from gateway.http.addresses import place, reachable
from gateway.settings import Settings

_TIMEOUT_S = 60.0  # an NZB of 30 MB is parsed before the answer

_PAGE = 1000  # releases


class Refused(GatewayError):
    """The gateway was asked, and said no; the message says to what, and why."""


class Unreachable(GatewayError):
    """No gateway could be asked; the message says where it was looked for."""


class ApiClient:
    """Asks the gateway at *host*:*port*. Every method raises Unreachable or Refused."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host = reachable(host)
        self._port = port
        self._key = key
        self._kept: http.client.HTTPConnection | None = None

    @classmethod
    def of(cls, settings: Settings) -> ApiClient:
        """Return the client for the gateway that runs, or would run, under *settings*."""
        given = settings.api_key
        file = settings.data_dir / keys.API_KEY_FILE
        key = given.get_secret_value() if given is not None else keys.kept(file)
        if key is None:
            raise Unreachable(
                f"no API key is known: {file} does not exist. Start the gateway once under the "
                "same settings, or set GATEWAY_API_KEY"
            )
        return cls(settings.host, settings.port, key)

    @contextmanager
    def kept_alive(self) -> Iterator[ApiClient]:
        """Use one connection for whatever is read from the gateway's own API in the block."""
        with closing(self._connection()) as self._kept:
            try:
                yield self
            finally:
                self._kept = None

    def add(self, file: Path, category: str | None) -> str:
        """Queue the NZB in *file*, return its nzo id."""
        try:
            document = file.read_bytes()
        except OSError as exc:
            raise Refused(f"{file} cannot be read: {exc.strerror}") from exc
        query = {"mode": "addfile", **({"cat": category} if category else {})}
        body, content_type = _form(file.name, document)
        answer = self._ask(query, body, {"Content-Type": content_type})
        match answer:
            case {"status": True, "nzo_ids": [str(nzo_id)]}:
                return nzo_id
            case {"error": str(reason)}:
                raise Refused(f"{file} was not added: {reason}")
        raise Refused(f"{file} was not added: it is no NZB")

    def categories(self) -> list[str]:
        """Return the names of the categories that exist."""
        return [name for name in self._ask({"mode": "get_cats"})["categories"] if name != "*"]

    def queue(self, **query: int) -> dict[str, Any]:
        """Return the page of the queue that *query* asks for."""
        return self._ask_own(f"/queue?{urlencode(query)}")

    def history(self, **query: int) -> dict[str, Any]:
        """Return the page of the history that *query* asks for."""
        return self._ask_own(f"/history?{urlencode(query)}")

    def act(self, action: str, ids: Sequence[str] = ()) -> list[str]:
        """Have jobs paused, resumed or deleted; return the ids of those that were.

        Without *ids*, the whole queue is paused or resumed.
        """
        if not ids:
            self._ask({"mode": action})
            return []
        answer = self._ask({"mode": "queue", "name": action, "value": ",".join(ids)})
        return [str(one) for one in answer.get("nzo_ids", ())]

    def prioritize(self, ids: Sequence[str], number: int) -> None:
        """Give jobs one of SABnzbd's priorities."""
        query = {"mode": "queue", "name": "priority", "value": ",".join(ids)}
        self._ask({**query, "value2": str(number)})

    def start_check(self, releases: Sequence[str], *, deep: bool = False) -> dict[str, Any]:
        """Have *releases* checked, or the whole library if there are none; return the request."""
        body = json.dumps({"releases": list(releases), "deep": deep}).encode()
        return self._ask_own("/checks", body)

    def tell(self, release: str) -> dict[str, Any]:
        """Have *release* replaced by its *arr; return what is being done."""
        return self._ask_own("/checks/tell", json.dumps({"release": release}).encode())

    def checks(self, **query: str | int) -> dict[str, Any]:
        """Return what is being checked, and the results that *query* asks for."""
        return self._ask_own(f"/checks?{urlencode(query)}")

    def library(self, **query: str | int) -> dict[str, Any]:
        """Return the page of the library that *query* asks for."""
        return self._ask_own(f"/library?{urlencode(query)}")

    def releases(self, **query: str | int) -> Iterator[dict[str, Any]]:
        """Give the releases that *query* asks for, page by page while they are taken."""
        while True:
            page = self.library(limit=_PAGE, **query)
            yield from page["releases"]
            if page["next"] is None:
                return
            query["after"] = page["next"]

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the releases of this name ("name" or "category/name"): one at the least."""
        found: list[dict[str, Any]] = self.library(release=name)["releases"]
        if not found:
            raise Refused(f"the release {name!r} was removed at this moment")
        return found

    def release(self, release_id: int) -> dict[str, Any]:
        """Return all that is known of a release."""
        return self._ask_own(f"/library/{release_id}")

    def nzb(self, release_id: int) -> bytes:
        """Return the NZB of a release, as it came."""
        path = f"/api/gateway/library/{release_id}/nzb"
        status, kind, content = self._fetch(path, None, {}, None)
        if status == 200 and kind == "application/x-nzb":
            return content
        return self._refuse(status, self._read(path, status, content))

    def remove_release(self, release_id: int) -> dict[str, Any]:
        """Remove a release and all that belongs to it; return what is gone."""
        return self._ask_own(f"/library/{release_id}", method="DELETE")

    def check_history(self, release: str) -> list[dict[str, Any]]:
        """Return the files of *release*, each with what its checks came to."""
        answer = self._ask_own(f"/checks/history?{urlencode({'release': release})}")
        files: list[dict[str, Any]] = answer["files"]
        return files

    def leases(self) -> dict[str, Any]:
        """Return who occupies the slots that are shared."""
        return self._ask_own("/leases")

    def end_session(self, session: str) -> dict[str, Any]:
        """End *session*, wherever it is answered."""
        return self._ask_own(f"/leases/sessions/{quote(session, safe='')}", method="DELETE")

    @property
    def place(self) -> str:
        """Where the gateway is looked for: host and port."""
        return place(self._host, self._port)

    def _ask_own(
        self, path: str, body: bytes | None = None, method: str | None = None
    ) -> dict[str, Any]:
        """Ask the gateway's own API."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        status, answer = self._exchange(f"/api/gateway{path}", body, headers, method)
        if status >= 400:
            self._refuse(status, answer)
        return answer

    def _refuse(self, status: int, answer: Mapping[str, Any]) -> NoReturn:
        raise Refused(str(answer.get("error", f"{self.place} answered with status {status}")))

    def _ask(
        self, query: Mapping[str, str], body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        """Ask SABnzbd's API."""
        path = "/api?" + urlencode({**query, "output": "json"})
        _, answer = self._exchange(path, body, headers)
        error = answer.get("error")
        if isinstance(error, str) and error.startswith("API Key"):
            raise self._wrong_key()
        if isinstance(error, str) and body is None:
            raise Refused(f"the gateway on {self.place} refused {query['mode']!r}: {error}")
        return answer

    def _exchange(
        self,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        method: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send one request; return its status and what its JSON says.

        *method* None: POST with a body, GET without.
        """
        status, _, content = self._fetch(path, body, headers, method)
        return status, self._read(path, status, content)

    def _fetch(
        self, path: str, body: bytes | None, headers: Mapping[str, str], method: str | None
    ) -> tuple[int, str, bytes]:
        """Send one request; return its status, the type of what came, and that."""
        place = self.place
        method = method or ("GET" if body is None else "POST")
        headers = {"X-Api-Key": self._key, **headers}
        try:
            if self._kept is None or method != "GET" or not path.startswith("/api/gateway/"):
                with closing(self._connection()) as connection:
                    return _exchanged(connection, method, path, body, headers)
            try:
                return _exchanged(self._kept, method, path, body, headers)
            except (ConnectionError, http.client.HTTPException):
                # Closed meanwhile, by a restart perhaps. Nothing is changed by asking again.
                self._kept.close()
                return _exchanged(self._kept, method, path, body, headers)
        except ConnectionRefusedError as exc:
            raise Unreachable(
                f"nothing listens on {place}: start the gateway with `nzb-gateway serve`, or set "
                "GATEWAY_HOST and GATEWAY_PORT to where it runs"
            ) from exc
        except TimeoutError as exc:
            raise Unreachable(f"{place} has not answered within {_TIMEOUT_S:g} s") from exc
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "strerror", None) or type(exc).__name__
            if type(exc) is http.client.BadStatusLine:  # no subclass: those tell of a broken line
                reason = "what listens there does not speak HTTP, so it is no gateway"
            raise Unreachable(f"{place} cannot be asked: {reason}") from exc

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)

    def _read(self, path: str, status: int, content: bytes) -> dict[str, Any]:
        """Return what the JSON of an answer says. Raises Refused, Unreachable."""
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            if status == 403 and path.startswith("/api/gateway"):
                raise self._wrong_key()
            raise Unreachable(
                f"what answers on {self.place} is no NZB Gateway (HTTP status {status})"
            )
        return answer

    def _wrong_key(self) -> Refused:
        return Refused(
            f"the gateway on {self.place} refused the API key: set GATEWAY_API_KEY or "
            "GATEWAY_DATA_DIR as for the gateway that runs"
        )


def _exchanged(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, str, bytes]:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.headers.get_content_type(), response.read()


def _form(name: str, document: bytes) -> tuple[bytes, str]:
    """Return *document* as a form with one file, and the form's type (RFC 7578)."""
    boundary = secrets.token_hex(16)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"; filename="{quoted}"\r\n'
        "Content-Type: application/x-nzb\r\n\r\n"
    )
    body = head.encode(errors="replace") + document + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
