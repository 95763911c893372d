"""Fetches an NZB from an address that a stranger may have chosen (`fetch`).

Only http and https, at most ten redirects, each checked as the first address is, a largest size
and a longest time. A name is resolved once, every address that it has must lie outside of the
network (or within what is allowed), and the connection goes to one that was checked: a name that
means another machine a moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, HTTPHeaderDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util import make_headers
from werkzeug.http import parse_options_header

from gateway.errors import GatewayError
from gateway.nzb.unwrapping import LIMIT
from gateway_queue.addresses import Address, AddressRefused, address, is_outside, meant
from gateway_queue.deadline import cut_after

# It logs addresses, which may hold keys, for its own debugging.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

_REDIRECTS = 10
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
# What may be over soon; any other refusal is one for good.
_FOR_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHUNK = 1 << 16
# An indexer's refusal in an answer that says 200: codes from 500 on are about limits of the day.
_SAYS_NO = re.compile(rb"<error\s[^>]*?code=\"(\d{1,5})\"")

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]


class NotThere(GatewayError):
    """There is no NZB at the address, and the server means it."""


class NotNow(GatewayError):
    """Nobody has answered, or somebody asked to come back later."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was at an address, and the name that it came under."""

    document: bytes
    filename: str


class Fetcher:
    """Fetches documents. Safe to use from any thread.

    *allowed* are networks inside of ours that may be asked all the same ("10.0.0.0/8"). *limit*
    bytes may come within *longest_s*, and no more than *silence_s* may pass without any.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[str] = (),
        limit: int = LIMIT,
        connect_s: float = 10.0,
        silence_s: float = 30.0,
        longest_s: float = 300.0,
        agent: str = "NZB-Gateway",
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._allowed = tuple(ip_network(network, strict=False) for network in allowed)
        self._limit = limit
        self._connect_s = connect_s
        self._silence_s = silence_s
        self._longest_s = longest_s
        self._agent = agent
        self._tls = tls
        self._resolve = resolve or _resolve

    def fetch(self, url: str, *, check: Callable[[], None] = lambda: None) -> Fetched:
        """Return what is at *url*. *check* is called often, and may raise to give up.

        Raises AddressRefused, NotThere, NotNow; no message holds more of the address than
        its origin.
        """
        deadline = time.monotonic() + self._longest_s
        here, login = address(url), address(url).login
        for _ in range(_REDIRECTS + 1):
            check()
            found = self._ask_any(here, login, deadline, check)
            if isinstance(found, Fetched):
                return found
            there = address(found)
            if there.login is not None:
                login = there.login
            elif there.origin != here.origin:
                login = None  # it was for somebody else
            here = there
        raise NotThere(f"{here.origin}: more than {_REDIRECTS} redirects")

    def _ask_any(
        self, here: Address, login: str | None, deadline: float, check: Callable[[], None]
    ) -> Fetched | str:
        """Return what is there, or where to ask instead, from the first address that answers."""
        unheard: NotNow | None = None
        for ip in self._addresses(here):
            link = self._link(here, ip)
            try:
                link.connect()
                with cut_after(link.sock, deadline - time.monotonic()):
                    return self._ask(link, here, login, deadline, check)
            except (NewConnectionError, ConnectTimeoutError) as exc:
                unheard = NotNow(f"{here.origin} cannot be reached: {type(exc).__name__}")
            except ssl.SSLError as exc:
                raise NotNow(f"{here.origin}: no TLS with it ({exc})") from exc
            except (HTTPError, HTTPException, OSError, ValueError) as exc:
                raise NotNow(f"{here.origin} does not answer: {type(exc).__name__}") from exc
            finally:
                link.close()
        raise unheard or NotNow(f"{here.origin}: no address for that name")

    def _link(self, here: Address, ip: str) -> HTTPConnection:
        if here.scheme == "http":
            return HTTPConnection(ip, here.port, timeout=self._connect_s)
        return HTTPSConnection(
            ip,
            here.port,
            timeout=self._connect_s,
            ssl_context=self._tls or ssl.create_default_context(),
            server_hostname=here.host,
        )

    def _addresses(self, here: Address) -> list[str]:
        """Return the addresses of the host, all of which may be asked."""
        try:
            found = list(dict.fromkeys(self._resolve(here.host, here.port)))
        except OSError as exc:
            raise NotNow(f"{here.origin}: no address for that name ({exc.strerror})") from exc
        for one in found:
            ip = ip_address(one.partition("%")[0])
            if not is_outside(ip) and not any(meant(ip) in network for network in self._allowed):
                raise AddressRefused(
                    f"{here.origin} is inside the network ({ip}): allow it by "
                    "GATEWAY_ADDURL_PRIVATE if NZBs are fetched from there"
                )
        return found

    def _ask(
        self,
        link: HTTPConnection,
        here: Address,
        login: str | None,
        deadline: float,
        check: Callable[[], None],
    ) -> Fetched | str:
        """Return what is there, or where to ask instead."""
        headers = {**make_headers(user_agent=self._agent), "Accept": "*/*"}
        headers["Accept-Encoding"] = "gzip, deflate"
        headers["Host"] = here.origin.partition("://")[2]
        if login is not None:
            headers |= make_headers(basic_auth=login)
        link.timeout = self._silence_s
        link.request("GET", here.target, headers=headers, preload_content=False)
        answer = link.getresponse()
        where = answer.headers.get("Location")
        if answer.status in _REDIRECTING and where:
            return urljoin(f"{here.origin}{here.target}", where)
        body = self._body(answer, here, deadline, check)
        _judge(answer.status, body, here)
        return Fetched(body, _filename(answer.headers, here))

    def _body(
        self,
        answer: BaseHTTPResponse,
        here: Address,
        deadline: float,
        check: Callable[[], None],
    ) -> bytes:
        body = bytearray()
        for chunk in answer.stream(_CHUNK, decode_content=True):
            check()
            body += chunk
            if len(body) > self._limit:
                raise NotThere(f"{here.origin} has more than {self._limit:,} bytes there")
        if time.monotonic() > deadline:  # it was cut, and may look like an end
            raise NotNow(f"{here.origin} is too slow: not all came within {self._longest_s:g} s")
        return bytes(body)


def _judge(status: int, body: bytes, here: Address) -> None:
    if status in _FOR_NOW:
        raise NotNow(f"{here.origin} answers HTTP {status}")
    if status != 200:
        raise NotThere(f"{here.origin} answers HTTP {status}")
    said = _SAYS_NO.search(body[:2048])
    if said and int(said.group(1)) in {500, 501}:
        raise NotNow(f"{here.origin} has reached its limit for you")


def _filename(headers: HTTPHeaderDict, here: Address) -> str:
    _, options = parse_options_header(headers.get("Content-Disposition"))
    return options.get("filename") or here.filename


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]
