"""Who is let in: credentials, keys, Host headers, paths; and which door leads where."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse

import pytest

from gateway.http.auth import ApiKey, BasicAuth, RequireApiKey, Secret
from gateway.http.guard import HostGuard, PathGuard
from gateway.http.router import Router
from gateway.http.wsgi import App, Chunk, Environ


class Answer:
    """What an application answered: a `start_response` that remembers."""

    status = 0

    def __init__(self, app: App, environ: Environ) -> None:
        self.headers: dict[str, str] = {}
        self.body = b"".join(app(environ, self._start))

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        self.status, self.headers = int(status[:3]), dict(headers)


def inside(environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
    start_response("200 OK", [("X-User", environ.get("REMOTE_USER", ""))])
    return [f"{environ.get('SCRIPT_NAME', '')}|{environ.get('PATH_INFO', '')}".encode()]


def basic(user: str, password: str, encoding: str = "utf-8", scheme: str = "Basic") -> str:
    return f"{scheme} " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


# -- Basic


@pytest.mark.parametrize(
    "header",
    [
        basic("gateway", "pässword:with colon"),
        basic("gateway", "pässword:with colon", "latin-1"),
        basic("gateway", "pässword:with colon", scheme="basic"),
    ],
)
def test_the_right_credentials_get_in(header: str) -> None:
    app = BasicAuth(inside, "gateway", "pässword:with colon")
    answer = Answer(app, {"HTTP_AUTHORIZATION": header})
    assert answer.status == 200
    assert answer.headers["X-User"] == "gateway"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic Z2F0ZXdheQ==",  # no colon
        "Basic \u00e9\u00e9",
        "Bearer Z2F0ZXdheTpzZWNyZXQ=",
        basic("gateway", ""),
        basic("gateway", "Secret"),
        basic("Gateway", "secret"),
        basic("", "secret"),
        basic("gateway", "secretsecret"),
        basic("gateway", "\0"),
    ],
)
def test_wrong_or_malformed_credentials_get_401(
    header: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {} if header is None else {"HTTP_AUTHORIZATION": header}
    with caplog.at_level(logging.DEBUG):
        answer = Answer(BasicAuth(inside, "gateway", "secret"), environ)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
    if header:
        assert header not in caplog.text
    assert "secret" not in caplog.text.lower()


def test_a_malformed_header_over_the_wire_is_401_and_not_500(servers: Any) -> None:
    client = servers.connect(servers.serve(BasicAuth(inside, "gateway", "secret")))
    client.get("/", "Authorization: Basic \x7f\x01=")
    assert client.response().status == 401


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(b"hunter2")
    assert secret.matches(b"hunter2")
    assert not secret.matches(b"hunter")
    assert "hunter2" not in repr(secret) + repr(vars(secret))


# -- API key


@pytest.mark.parametrize(
    ("environ", "form", "status"),
    [
        ({"HTTP_X_API_KEY": "kéy"}, None, 200),
        ({"QUERY_STRING": "mode=queue&apikey=k%C3%A9y"}, None, 200),
        ({"QUERY_STRING": "mode=queue"}, {"apikey": "kéy"}, 200),
        ({}, None, 403),
        ({"QUERY_STRING": "apikey="}, None, 403),
        ({"QUERY_STRING": "apikey=%ff"}, None, 403),
        ({"HTTP_X_API_KEY": "KÉY"}, None, 403),
        ({"HTTP_X_API_KEY": "no", "QUERY_STRING": "apikey=k%C3%A9y"}, None, 403),
    ],
)
def test_the_api_key_is_taken_from_header_query_or_form(
    environ: dict[str, str], form: dict[str, str] | None, status: int
) -> None:
    key = ApiKey("kéy")
    assert key.admits(environ, form) is (status == 200)
    if form is None:
        assert Answer(RequireApiKey(inside, key), environ).status == status


# -- Host


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("127.1.2.3", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("localhost.", 200),
        ("[::1]:8080", 200),
        ("gateway.lan:8080", 200),
        ("films.example.com", 200),
        ("a.b.example.com", 200),
        ("example.com", 403),
        ("evil-example.com", 403),
        ("rebound.attacker.net:8080", 403),
        ("192.168.1.5:8080", 403),
        ("localhost.attacker.net", 403),
        ("localhost@attacker.net", 403),
        ("", 403),
        ("[::1", 403),
        ("a b", 403),
    ],
)
def test_only_our_own_names_are_answered_to(host: str, status: int) -> None:
    app = HostGuard(inside, "127.0.0.1", ["gateway.lan", "*.example.com"])
    answer = Answer(app, {"HTTP_HOST": host, "SERVER_PROTOCOL": "HTTP/1.1"})
    assert answer.status == status
    if status == 403:
        assert b"GATEWAY_ALLOWED_HOSTS" in answer.body


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "[::]"])
def test_bound_to_every_address_any_address_is_ours_and_no_name(bound: str) -> None:
    app = HostGuard(inside, bound)
    for host, status in [("192.168.1.5:8080", 200), ("[fe80::1]", 200), ("nas.lan", 403)]:
        assert Answer(app, {"HTTP_HOST": host}).status == status


def test_the_name_it_is_bound_to_is_ours() -> None:
    assert Answer(HostGuard(inside, "NAS.lan"), {"HTTP_HOST": "nas.lan:8080"}).status == 200
    assert Answer(HostGuard(inside, "192.168.1.5"), {"HTTP_HOST": "192.168.1.5"}).status == 200


def test_a_star_allows_every_name() -> None:
    assert Answer(HostGuard(inside, "127.0.0.1", ["*"]), {"HTTP_HOST": "any.where"}).status == 200


def test_a_request_without_host_is_refused_unless_it_is_http_1_0() -> None:
    app = HostGuard(inside, "127.0.0.1")
    assert Answer(app, {"SERVER_PROTOCOL": "HTTP/1.1"}).status == 400
    assert Answer(app, {"SERVER_PROTOCOL": "HTTP/1.0"}).status == 200


# -- paths


@pytest.mark.parametrize(
    "path",
    [
        "/dav/../etc/passwd",
        "/dav/%2e%2e/x",
        "/..",
        "/dav/./x",
        "/dav/a%00b",
        "/dav/a%0ab",
        "/dav/%zz",
        "/dav/%f",
        "/dav/100%",
        "/dav/%ff%fe",
    ],
)
def test_a_path_that_leads_out_or_is_malformed_is_400_at_once(servers: Any, path: str) -> None:
    client = servers.connect(servers.serve(PathGuard(inside)))
    client.get(path)
    response = client.response()
    assert response.status == 400
    assert response.read().count(b"\n") == 1


@pytest.mark.parametrize("path", ["/", "/dav/a%20b/%C3%BC.mkv?x=%zz", "/dav/..mkv", "/dav/a...b"])
def test_an_ordinary_path_passes(servers: Any, path: str) -> None:
    client = servers.connect(servers.serve(PathGuard(inside)))
    client.get(path)
    assert client.response().status == 200


# -- doors


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/dav", 200, b"/dav|"),
        ("/dav/", 200, b"/dav|/"),
        ("/dav/content/a", 200, b"/dav|/content/a"),
        ("/api", 200, b"/api|"),
        ("/api/gateway/streams", 200, b"/api/gateway|/streams"),
        ("/davos", 404, None),
        ("/nowhere", 404, None),
        ("/healthz", 200, b"ok\n"),
        ("/readyz", 200, b"ready\n"),
    ],
)
def test_a_path_leads_to_its_door(path: str, status: int, body: bytes | None) -> None:
    router = Router({"/dav": inside, "/api": inside, "/api/gateway": inside})
    answer = Answer(router, {"PATH_INFO": path, "REQUEST_METHOD": "GET"})
    assert answer.status == status
    assert body is None or answer.body == body


def test_the_root_names_the_doors() -> None:
    answer = Answer(Router({"/dav": inside}), {"PATH_INFO": "/", "REQUEST_METHOD": "GET"})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"\n/dav\n" in answer.body


def test_readiness_gives_its_reasons() -> None:
    reasons = ["provider main: refused the login (481)"]
    router = Router({}, lambda: reasons)
    answer = Answer(router, {"PATH_INFO": "/readyz", "REQUEST_METHOD": "GET"})
    assert (answer.status, answer.body) == (503, b"provider main: refused the login (481)\n")
    reasons.clear()
    assert Answer(router, {"PATH_INFO": "/readyz", "REQUEST_METHOD": "GET"}).status == 200
    assert Answer(router, {"PATH_INFO": "/readyz", "REQUEST_METHOD": "POST"}).status == 405


def test_windows_may_ask_the_root_what_it_speaks(servers: Any) -> None:
    server = servers.serve(Router({"/dav": inside}))
    for path in ("/", "*"):
        client = servers.connect(server)
        client.get(path, method="OPTIONS")
        response = client.response()
        assert (response.status, response.getheader("MS-Author-Via")) == (200, "DAV")


def test_a_door_is_an_absolute_path() -> None:
    for door in ("dav", "/dav/", "/"):
        with pytest.raises(ValueError, match="door"):
            Router({door: inside})
