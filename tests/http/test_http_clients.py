"""The address of a client: the peer's, unless a trusted proxy names another."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse

import pytest

from gateway.http.clients import TrustedProxies, client_address
from gateway.http.wsgi import Chunk, Environ

PROXIES = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),  # it may say what it likes
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("127.0.0.1", "203.0.113.66, 198.51.100.9", "198.51.100.9"),  # the left one is hearsay
        ("127.0.0.1", "198.51.100.9, 10.1.2.3", "198.51.100.9"),
        ("10.9.9.9", "198.51.100.9,127.0.0.1 , 10.1.2.3", "198.51.100.9"),
        ("127.0.0.1", "10.0.0.5, 10.0.0.6", "10.0.0.5"),  # a trusted network with viewers in it
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.9, unknown", "127.0.0.1"),
        ("127.0.0.1", "<script>, 198.51.100.9", "198.51.100.9"),
        ("127.0.0.1", "198.51.100.9:51234", "198.51.100.9"),
        ("127.0.0.1", "[2001:db8::7]:51234", "2001:db8::7"),
        ("fd00::1", "2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.9", "198.51.100.9"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
    ],
)
def test_only_trusted_proxies_name_another_client(
    peer: str, header: str | None, client: str
) -> None:
    assert PROXIES.client(peer, header) == client


@pytest.mark.parametrize(
    ("peer", "header", "scheme"),
    [
        ("192.0.2.1", "https", "http"),
        ("127.0.0.1", None, "http"),
        ("127.0.0.1", "https", "https"),
        ("127.0.0.1", "HTTPS, http", "https"),
        ("127.0.0.1", "gopher", "http"),
        ("a socket", "https", "http"),
    ],
)
def test_only_trusted_proxies_say_that_the_client_speaks_tls(
    peer: str, header: str | None, scheme: str
) -> None:
    assert PROXIES.scheme(peer, header) == scheme


def test_nobody_is_trusted_by_default() -> None:
    assert TrustedProxies().client("127.0.0.1", "198.51.100.9") == "127.0.0.1"


def test_a_mapped_network_is_the_network_that_it_maps() -> None:
    proxies = TrustedProxies(["::ffff:10.0.0.0/104"])
    assert proxies.client("10.0.0.1", "198.51.100.9") == "198.51.100.9"


@pytest.mark.parametrize("proxy", ["proxy.lan", "10.0.0.0/33", "1.2.3"])
def test_what_is_no_address_cannot_be_trusted(proxy: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|not permitted"):
        TrustedProxies([proxy])


def test_an_application_without_the_server_sees_the_peers_address() -> None:
    assert client_address({"REMOTE_ADDR": "::ffff:192.0.2.1"}) == "192.0.2.1"
    assert client_address({}) == "?"


@pytest.mark.parametrize(
    ("proxies", "client"),
    [
        (["127.0.0.1"], "198.51.100.9"),
        (["127.0.0.1", "198.51.100.0/24"], "203.0.113.66"),  # a line from each of two proxies
        ([], "127.0.0.1"),
    ],
)
def test_the_server_tells_applications_who_asks(servers, proxies, client) -> None:  # type: ignore[no-untyped-def]
    seen: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        seen.append(client_address(environ))
        start_response("204 No Content", [])
        return []

    asking = servers.connect(servers.serve(app, trusted_proxies=TrustedProxies(proxies)))
    asking.get("/", "X-Forwarded-For: 203.0.113.66", "X-Forwarded-For: 198.51.100.9")
    assert asking.response().status == 204
    assert seen == [client]
