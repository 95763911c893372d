"""Addresses to fetch from (`address`), and which machines an address means (`is_outside`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from gateway.errors import GatewayError

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(GatewayError):
    """The address is none that the gateway fetches from; it never will be."""


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


def meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address only wraps, itself if it wraps none."""
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            return IPv4Address(int(ip) & 0xFFFF_FFFF)
        teredo = ip.teredo
        return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else ip)
    return ip


def is_outside(ip: IPv4Address | IPv6Address) -> bool:
    """Whether *ip* is an address of one machine that anybody in the world may reach."""
    its = meant(ip)
    return its.is_global and not its.is_multicast and not its.is_reserved
