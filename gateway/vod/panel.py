"""What the provider's player_api.php says, asked with the login of the first profile that serves.

All profiles are accounts with one provider, so whichever answers does for all. An answer may be
MAX_BODY long and take ANSWER_S; what is longer, later, or no JSON is refused in words, and the
next profile is asked. Nothing that is raised or logged here holds an address or a login.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import urllib3

from gateway.errors import GatewayError
from gateway.vod.json_items import NotAList, items
from gateway.vod.profiles import Profile

log = logging.getLogger(__name__)

# What it logs of redirects and odd headers holds addresses, and in them logins.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

MAX_BODY = 64 << 20
ANSWER_S = 120.0
_CHUNK = 64 << 10
_REDIRECTS = urllib3.Retry(total=3, connect=0, read=0, status=0, other=0, redirect=3)
_AGENT = "NZB-Gateway"

T = TypeVar("T")


class PanelFailed(GatewayError):
    """No profile's player_api.php gave an answer that can be used."""

    http_status = 503
    retryable = True


class Panel:
    """Asks player_api.php of *profiles*, in their order.

    *connect_s* and *read_s* bound a connection's making and each wait for bytes.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        *,
        connect_s: float = 5.0,
        read_s: float = 30.0,
        answer_s: float = ANSWER_S,
        max_body: int = MAX_BODY,
    ) -> None:
        self.profiles = tuple(profiles)
        self._answer_s = answer_s
        self._max_body = max_body
        self._http = urllib3.PoolManager(
            num_pools=8,
            maxsize=2,
            timeout=urllib3.Timeout(connect=connect_s, read=read_s),
            headers={"User-Agent": _AGENT, "Accept-Encoding": "gzip, deflate"},
        )

    def close(self) -> None:
        self._http.clear()

    def ask(self, action: str, **parameters: str) -> Any:
        """Return the JSON that answers *action*. Raises PanelFailed."""

        def whole(chunks: Iterator[bytes]) -> Any:
            said = json.loads(b"".join(chunks))
            _refuse_login(said)
            return said

        return self._first(action, parameters, whole)

    def each(self, action: str, take: Callable[[dict[str, Any]], T | None]) -> list[T]:
        """Return what *take* makes of every object in the list that answers *action*.

        None is left out. Raises PanelFailed; the list is complete or there is none.
        """

        def listed(chunks: Iterator[bytes]) -> list[T]:
            taken: list[T] = []
            for key, item in items(chunks):
                if key == "user_info":
                    _refuse_login({key: item})
                    raise NotAList("it is the answer to a login")
                if isinstance(item, dict) and (made := take(item)) is not None:
                    taken.append(made)
            return taken

        return self._first(action, {}, listed)

    def _first(
        self, action: str, parameters: dict[str, str], read: Callable[[Iterator[bytes]], T]
    ) -> T:
        reasons = []
        for profile in self.profiles:
            try:
                return self._ask_one(profile, action, parameters, read)
            except PanelFailed as exc:
                log.warning("%s: %s", action, exc)
                reasons.append(str(exc))
        raise PanelFailed("; ".join(reasons) or "no VOD profile is configured")

    def _ask_one(
        self,
        profile: Profile,
        action: str,
        parameters: dict[str, str],
        read: Callable[[Iterator[bytes]], T],
    ) -> T:
        fields = {
            "username": profile.username,
            "password": profile.password,
            "action": action,
            **parameters,
        }
        name = f"the catalogue of VOD profile {profile.name!r}"
        try:
            response = self._http.request(
                "GET",
                f"{profile.url}/player_api.php",
                fields=fields,
                preload_content=False,
                retries=_REDIRECTS,
            )
            # Not kept for another request: what is left of it may be endless.
            with closing(response):
                if response.status != 200:
                    raise PanelFailed(f"{name} answered with HTTP status {response.status}")
                return read(self._bounded(response, name))
        except _LoginRefused:
            setting = f"GATEWAY_VOD__PROFILES__{profile.name.upper()}"
            raise PanelFailed(
                f"{name} refused the login: check {setting}__USERNAME and __PASSWORD"
            ) from None
        except NotAList as exc:
            raise PanelFailed(f"{name} answered with what is no list in JSON: {exc}") from None
        except (ValueError, RecursionError):
            raise PanelFailed(f"{name} answered with what is no JSON") from None
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            # Their texts hold the address, and in it the login.
            raise PanelFailed(f"{name} {_words(exc)}") from None

    def _bounded(self, response: urllib3.BaseHTTPResponse, name: str) -> Iterator[bytes]:
        deadline = time.monotonic() + self._answer_s
        size = 0
        for chunk in response.stream(_CHUNK, decode_content=True):
            size += len(chunk)
            if size > self._max_body:
                raise PanelFailed(f"{name} is longer than {self._max_body >> 20} MiB")
            if time.monotonic() > deadline:
                raise PanelFailed(f"{name} took longer than {self._answer_s:g} s")
            yield chunk


class _LoginRefused(Exception):
    pass


def _refuse_login(said: Any) -> None:
    """Raise if *said* is a panel's word that the login is wrong: `{"user_info": {"auth": 0}}`."""
    if isinstance(said, dict) and "user_info" in said:
        user = said["user_info"]
        if not isinstance(user, dict) or str(user.get("auth", "0")) not in {"1", "True"}:
            raise _LoginRefused


def _words(exc: Exception) -> str:
    while isinstance(exc, urllib3.exceptions.MaxRetryError) and exc.reason is not None:
        exc = exc.reason
    if isinstance(exc, urllib3.exceptions.ResponseError):
        return "redirects again and again"
    if isinstance(exc, urllib3.exceptions.ConnectTimeoutError):
        return "could not be connected to in time"
    if isinstance(exc, urllib3.exceptions.TimeoutError | TimeoutError):
        return "did not go on in time"
    if isinstance(exc, urllib3.exceptions.NewConnectionError):
        return "could not be connected to"
    return f"broke off ({type(exc).__name__})"
