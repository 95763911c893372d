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
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.util import Timeout, make_headers
from werkzeug.http import parse_options_header

from gateway.errors import GatewayError
from gateway.nzb.unwrapping import LIMIT

# It logs addresses, which may hold keys, for its own debugging.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

_REDIRECTS = 10
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
# What may be over soon; any other refusal is one for good.
_FOR_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHUNK = 1 << 16
_NAT64 = IPv6Network("64:ff9b::/96")
# An indexer's refusal in an answer that says 200: codes from 500 on are about limits of the day.
_SAYS_NO = re.compile(rb"<error\s[^>]*?code=\"(\d{1,5})\"")

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]


class AddressRefused(GatewayError):
    """The address is none that the gateway fetches from; it never will be."""


class NotThere(GatewayError):
    """There is no NZB at the address, and the server means it."""


class NotNow(GatewayError):
    """Nobody has answered, or somebody asked to come back later."""

    retryable = True


class _Unheard(NotNow):
    """Nobody listens at one of the addresses that a name has."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address to fetch from. *origin* is what may be shown of it: the rest may hold a key."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    login: str | None = field(repr=False)

    @property
    def origin(self) -> str:
        """Return the address without user, password, path and query."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{host}" if is_usual else f"{self.scheme}://{host}:{self.port}"

    @property
    def filename(self) -> str:
        """Return what the path ends with, or the host if that is nothing."""
        return unquote(PurePosixPath(self.target.partition("?")[0]).name) or self.host


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was at an address, and the name that it came under."""

    document: bytes
    filename: str


def address(url: str) -> Address:
    """Return what *url* says. Raises AddressRefused if it is no address of http or https."""
    try:
        split = urlsplit(url.strip())
        host, port = split.hostname, split.port
        host = host if host is None or ":" in host else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        raise AddressRefused("the address cannot be read: write https://host/path") from None
    if split.scheme not in {"http", "https"}:
        raise AddressRefused("only addresses that begin with http:// or https:// are fetched")
    if not host or port == 0:
        raise AddressRefused("the address names no server: write https://host/path")
    login = None
    if split.username is not None:
        login = f"{unquote(split.username)}:{unquote(split.password or '')}"
    target = split.path or "/"
    if split.query:
        target = f"{target}?{split.query}"
    usual = 443 if split.scheme == "https" else 80
    return Address(split.scheme, host, port or usual, target, login)


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
        self._timeout = Timeout(connect=connect_s, read=silence_s)
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
            with self._open(here, ip) as pool:
                try:
                    return self._ask(pool, here, login, deadline, check)
                except _Unheard as exc:
                    unheard = exc
        raise unheard or NotNow(f"{here.origin}: no address for that name")

    def _open(self, here: Address, ip: str) -> urllib3.HTTPConnectionPool:
        if here.scheme == "http":
            return urllib3.HTTPConnectionPool(ip, here.port, timeout=self._timeout)
        return urllib3.HTTPSConnectionPool(
            ip,
            here.port,
            timeout=self._timeout,
            ssl_context=self._tls or ssl.create_default_context(),
            server_hostname=here.host,
            assert_hostname=here.host,
        )

    def _addresses(self, here: Address) -> list[str]:
        """Return the addresses of the host, all of which may be asked."""
        try:
            found = list(dict.fromkeys(self._resolve(here.host, here.port)))
        except OSError as exc:
            raise NotNow(f"{here.origin}: no address for that name ({exc.strerror})") from exc
        for one in found:
            ip = ip_address(one.partition("%")[0])
            if not _is_outside(ip) and not any(_meant(ip) in network for network in self._allowed):
                raise AddressRefused(
                    f"{here.origin} is inside the network ({ip}): allow it by "
                    "GATEWAY_ADDURL_PRIVATE if NZBs are fetched from there"
                )
        return found

    def _ask(
        self,
        pool: urllib3.HTTPConnectionPool,
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
        try:
            answer = pool.request(
                "GET",
                here.target,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                assert_same_host=False,
            )
            try:
                where = answer.headers.get("Location")
                if answer.status in _REDIRECTING and where:
                    base = f"{here.origin}{here.target}"
                    return urljoin(base, where)
                body = self._body(answer, here, deadline, check)
                _judge(answer.status, body, here)
                return Fetched(body, _filename(answer.headers, here))
            finally:
                answer.close()
        except (NewConnectionError, ConnectTimeoutError) as exc:
            raise _Unheard(f"{here.origin} cannot be reached: {type(exc).__name__}") from exc
        except SSLError as exc:
            raise NotNow(f"{here.origin}: no TLS with it ({exc})") from exc
        except (HTTPError, OSError, ValueError) as exc:
            raise NotNow(f"{here.origin} does not answer: {type(exc).__name__}") from exc

    def _body(
        self,
        answer: urllib3.BaseHTTPResponse,
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
            if time.monotonic() > deadline:
                raise NotNow(
                    f"{here.origin} is too slow: {len(body):,} bytes in {self._longest_s:g} s"
                )
        return bytes(body)


def _judge(status: int, body: bytes, here: Address) -> None:
    if status in _FOR_NOW:
        raise NotNow(f"{here.origin} answers HTTP {status}")
    if status != 200:
        raise NotThere(f"{here.origin} answers HTTP {status}")
    said = _SAYS_NO.search(body[:2048])
    if said and int(said.group(1)) in {500, 501}:
        raise NotNow(f"{here.origin} has reached its limit for you")


def _filename(headers: urllib3.HTTPHeaderDict, here: Address) -> str:
    _, options = parse_options_header(headers.get("Content-Disposition"))
    return options.get("filename") or here.filename


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address only wraps, itself if it wraps none."""
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            return IPv4Address(int(ip) & 0xFFFF_FFFF)
        teredo = ip.teredo
        return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else ip)
    return ip


def _is_outside(ip: IPv4Address | IPv6Address) -> bool:
    meant = _meant(ip)
    return meant.is_global and not meant.is_multicast and not meant.is_reserved
