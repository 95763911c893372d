"""Whose request it is: the client's address, also behind proxies that are trusted to name it.

A proxy appends the address that it was asked from to X-Forwarded-For; what stands to the left of
that is what it was told. So the header is read from the right, for as long as trusted proxies
speak, and never if the peer itself is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.http.wsgi import Environ

CLIENT = "gateway.client"  # the names in environ
SCHEME = "gateway.scheme"

_Address = IPv4Address | IPv6Address
_MAPPED = IPv6Network("::ffff:0:0/96")
_WITH_PORT = re.compile(r"\[([^]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


class TrustedProxies:
    """The addresses and networks whose word is taken; none by default.

    Raises ValueError for what is neither: `192.168.1.7`, `10.0.0.0/8`, `fd00::/8`.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        networks = [ip_network(proxy.strip(), strict=False) for proxy in proxies]
        self._networks = [
            ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}")
            if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED)
            else network
            for network in networks
        ]

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """Return who asked: *peer*, or whom trusted proxies name in *forwarded_for*.

        That is the right-most address that is not a trusted proxy's, the left-most if all are.
        What is no address ends the search: nobody vouches for what stands to its left.
        """
        address = _parsed(peer)
        if address is None:
            return peer
        for named in reversed((forwarded_for or "").split(",")):
            if not self._trusts(address) or (further := _parsed(named)) is None:
                break
            address = further
        return str(address)

    def scheme(self, peer: str, forwarded_proto: str | None) -> str:
        """Return how the client speaks to us: "http", or "https" if *peer* is trusted to say so.

        Of several the first counts: it is the one nearest to the client.
        """
        address = _parsed(peer)
        if address is None or not self._trusts(address):
            return "http"
        first = (forwarded_proto or "").partition(",")[0].strip().lower()
        return "https" if first == "https" else "http"

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def client_address(environ: Environ) -> str:
    """Return the address of the client that asks, as text; one form for each address.

    The server has found it out; without our server it is the peer's. "?" where there is none.
    """
    found = environ.get(CLIENT)
    if isinstance(found, str):
        return found
    return TrustedProxies().client(str(environ.get("REMOTE_ADDR") or "?"), None)


def own_url(environ: Environ) -> str:
    """Return the address under which the client reached us: scheme and host, without a path.

    The host is what it sent, which the guard has let in; or ours, where it sent none.
    """
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{environ.get(SCHEME, 'http')}://{host}"


def _parsed(text: str) -> _Address | None:
    text = text.strip()
    if (match := _WITH_PORT.fullmatch(text)) is not None:
        text = match[1] or match[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped  # how a socket for both kinds shows a client of IPv4
    return address
