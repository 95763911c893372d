"""Asks a program of the user's own over HTTP, in JSON: an *arr, rclone (`Caller`).

What answers there may be anything: an answer is bounded in size and in time, and a redirect is
not followed, for the key goes nowhere but where the settings say. No message holds a key, a
password or what was answered.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from gateway_queue.deadline import cut_after
from gateway_queue.telling import NotTold

# It tells addresses, and warns of each attempt; what matters is told by who asks.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

_CHUNK = 1 << 16
# The episodes of the longest of series are some 4 MB.
_LIMIT = 8 << 20


class Caller:
    """Asks below the address *url*, with *headers*. Safe to use from any thread.

    A connection is there within *connect_s*, and the answer whole within *longest_s* after.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connect_s: float = 3.0,
        longest_s: float = 20.0,
        limit: int = _LIMIT,
    ) -> None:
        self._url = url.rstrip("/")
        self._at = urlsplit(self._url)
        self._headers = {"Accept": "application/json", "Connection": "close", **headers}
        self._connect_s = connect_s
        self._longest_s = longest_s
        self._limit = limit

    def get(self, path: str, *, key: str) -> object:
        """Return what JSON is answered, None if it is none. *key*, and raises, as `post`."""
        return self._ask("GET", path, None, key)

    def post(self, path: str, body: object, *, key: str) -> object:
        """Return what JSON is answered to *body*, None if it is none.

        *key* is the setting to look at when it is refused. Raises NotTold; whether the other
        side did what it was asked is then unknown.
        """
        return self._ask("POST", path, json.dumps(body).encode(), key)

    def _ask(self, method: str, path: str, body: bytes | None, key: str) -> object:
        link = self._link()
        try:
            link.connect()
            deadline = time.monotonic() + self._longest_s
            with cut_after(link.sock, self._longest_s):
                link.timeout = self._longest_s
                headers = dict(self._headers)
                if body is not None:
                    headers["Content-Type"] = "application/json"
                link.request(
                    method,
                    f"{self._at.path}{path}",
                    body=body,
                    headers=headers,
                    preload_content=False,
                    decode_content=False,
                )
                # It has the socket from here on.
                with closing(link.getresponse()) as answer:
                    self._judge(answer.status, path, key)
                    said = self._read(answer)
            if time.monotonic() > deadline:  # it was cut, and may look like an end
                raise NotTold(f"{self._url} does not end its answer")
        except (HTTPError, HTTPException, OSError, ValueError) as exc:
            # Its own words show the request's address, and an object's.
            raise NotTold(f"{self._url} does not answer ({type(exc).__name__})") from exc
        finally:
            link.close()
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            return None

    def _link(self) -> HTTPConnection:
        host = self._at.hostname or ""
        if self._at.scheme == "http":
            return HTTPConnection(host, self._at.port or 80, timeout=self._connect_s)
        context = ssl.create_default_context()
        return HTTPSConnection(
            host, self._at.port or 443, timeout=self._connect_s, ssl_context=context
        )

    def _judge(self, status: int, path: str, key: str) -> None:
        if status in {401, 403}:
            raise NotTold(f"{self._url} refused us ({status}): check {key}", again=False)
        if 300 <= status < 400:
            raise NotTold(
                f"{self._url} leads elsewhere ({status}): write the address that it has",
                again=False,
            )
        if status == 404:
            shown = path.partition("?")[0]
            raise NotTold(
                f"{self._url}{shown} does not exist (404): check its address", again=False
            )
        if not 200 <= status < 300:
            raise NotTold(f"{self._url} answered with status {status}")

    def _read(self, answer: BaseHTTPResponse) -> bytes:
        said = bytearray()
        for chunk in answer.stream(_CHUNK, decode_content=False):
            said += chunk
            if len(said) > self._limit:
                raise NotTold(f"{self._url} answers more than {self._limit >> 20} MiB")
        return bytes(said)
