"""One connection to the VOD service: reads requests, sends films and catalogues (RFC 9110)."""

from __future__ import annotations

import json
import re
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.demo.xtream.content import Content
from gateway.demo.xtream.faults import Rule, Trouble
from gateway.demo.xtream.site import Account, Stream
from gateway.demo.xtream.spans import Span, span_of

if TYPE_CHECKING:
    from gateway.demo.xtream.server import XtreamServer

_FILM = re.compile(r"/(movie|series)/([^/]+)/([^/]+)/(\d+)\.(\w+)")
_TOKEN = re.compile(r"/play/(\w+)/(\d+)\.(\w+)")
_WRITABLE = select.POLLOUT | select.POLLRDHUP
_TICK_S = 0.02
CONTROL = "/_demo/"


class Answering(BaseHTTPRequestHandler):
    """Answers one connection after another request; `demo` is set by the server's subclass."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nginx", ""
    disable_nagle_algorithm = True
    demo: XtreamServer

    def do_GET(self) -> None:
        try:
            self._serve()
        except OSError:  # the client has gone, which the log tells
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - the base's name

    def do_POST(self) -> None:
        if self.path.startswith(CONTROL):
            self._control(json.loads(self._body() or b"{}"))
        else:
            self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing: the log is the site's."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _serve(self) -> None:
        url = urlsplit(self.path)
        if url.path == f"{CONTROL}report":
            self._json(self.demo.report())
        elif match := _FILM.fullmatch(url.path):
            kind, name, password, item, extension = match.groups()
            account = self._account(unquote(name), unquote(password))
            self._film(kind, account, int(item), extension)
        elif match := _TOKEN.fullmatch(url.path):
            token, item, extension = match.groups()
            kind, name = self.demo.tokens.get(token, ("movie", ""))
            account = self.demo.site.accounts.get(name)
            self._film(kind, account, int(item), extension, redirected=True)
        elif url.path == "/player_api.php":
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            if self.command == "POST":
                query |= dict(parse_qsl(self._body().decode(), keep_blank_values=True))
            self._api(query)
        else:
            self._plain(404)

    def _account(self, name: str, password: str) -> Account | None:
        account = self.demo.site.accounts.get(name)
        return account if account is not None and account.password == password else None

    # player_api.php.

    def _api(self, query: dict[str, str]) -> None:
        site, action = self.demo.site, query.get("action", "")
        account = self._account(query.get("username", ""), query.get("password", ""))
        name = account.name if account else ""
        number = site.ask(name, self.command, "/player_api.php", action, None)
        struck = site.take(api=True, account=name, target=action)
        if Trouble.SILENCE in struck and not self._wait(struck[Trouble.SILENCE]):
            site.note(number, ended="client left")
        elif rule := struck.get(Trouble.REFUSE):
            site.note(number, status=rule.status, ended="refused")
            self._plain(rule.status, rule.body, rule.content_type)
        elif rule := struck.get(Trouble.REDIRECT_AWAY):
            site.note(number, status=302, ended="whole")
            self._head(302, 0, [("Location", rule.location)])
        elif rule := struck.get(Trouble.ANSWER):
            self._answer(rule)
            site.note(number, status=200, sent=len(rule.body), ended="whole")
        elif account is None:
            site.note(number, status=200, ended="refused")
            self._json({"user_info": {"auth": 0}})
        else:
            body = self.demo.answer(account, query)
            if rule := struck.get(Trouble.CUT):
                self._head(200, len(body), [("Content-Type", "application/json")])
                self.wfile.write(body[: rule.after])
                self.close_connection = True
            else:
                self._plain(200, body, "application/json")
            site.note(number, status=200, sent=len(body), ended="cut" if rule else "whole")

    def _answer(self, rule: Rule) -> None:
        if not rule.endless:
            self._plain(200, rule.body, rule.content_type)
            return
        self._head(200, None, [("Content-Type", rule.content_type)])
        self.close_connection = True
        many = rule.body * (1 + (1 << 18) // max(len(rule.body), 1))
        while not self.demo.site.is_stopping:
            self.wfile.write(many)

    # Films.

    def _film(
        self,
        kind: str,
        account: Account | None,
        item: int,
        extension: str,
        *,
        redirected: bool = False,
    ) -> None:
        site, name = self.demo.site, account.name if account else ""
        range_ = self.headers.get("Range")
        number = site.ask(name, self.command, self.path, str(item), range_)
        struck = site.take(api=False, account=name, target=str(item))
        content = self.demo.panel.content(kind, item)
        refusal = struck.get(Trouble.REFUSE)
        away = struck.get(Trouble.REDIRECT_AWAY)
        if refusal or account is None or content is None:
            status = refusal.status if refusal else 401 if account is None else 404
            site.note(number, status=status, ended="refused")
            self._plain(status, refusal.body if refusal else b"")
        elif away or (Trouble.REDIRECT in struck and not redirected):
            token = secrets.token_hex(8)
            self.demo.tokens[token] = (kind, account.name)
            own = f"{self.demo.url}/play/{token}/{item}.{extension}"
            site.note(number, status=302, ended="whole")
            self._head(302, 0, [("Location", away.location if away else own)])
        elif self.command == "HEAD":
            span, headers = span_of(content, f"{item}.{extension}", self.headers, struck)
            site.note(number, status=span.status, ended="whole")
            self._head(span.status, span.count, headers)
        else:
            self._admitted(number, account, content, item, extension, struck)

    def _admitted(
        self,
        number: int,
        account: Account,
        content: Content,
        item: int,
        extension: str,
        struck: dict[Trouble, Rule],
    ) -> None:
        site = self.demo.site
        stream = site.open(account.name, self.connection)
        if stream is None:
            status = self.demo.full_status
            site.note(number, status=status, ended="refused")
            self._plain(status)
            return
        ended = "client left"
        try:
            if Trouble.SILENCE in struck and not self._wait(struck[Trouble.SILENCE]):
                return
            span, headers = span_of(content, f"{item}.{extension}", self.headers, struck)
            site.note(number, status=span.status)
            stream.length = span.count
            self._head(span.status, span.count, headers)
            ended = self._stream(number, stream, content, span, struck)
        except OSError:  # reset, while it was sent
            pass
        finally:
            if ended != "whole":
                self.close_connection = True
            site.close(stream)
            site.note(number, ended="stopped" if site.is_stopping else ended)

    def _stream(
        self,
        number: int,
        stream: Stream,
        content: Content,
        span: Span,
        struck: dict[Trouble, Rule],
    ) -> str:
        """Send the body; return how it ended."""
        cut, stall, slow = (struck.get(t) for t in (Trouble.CUT, Trouble.STALL, Trouble.SLOW))
        end = span.start + span.count
        stops = sorted({rule.after for rule in (cut, stall) if rule and rule.after < span.count})
        at = span.start
        for stop in [*(span.start + after for after in stops), end]:
            pieces = content.pieces(at, stop - at)
            if not self._send(number, stream, _paced(pieces, slow), slow):
                return "client left"
            at = stop
            if stall and at == span.start + stall.after and not self._wait(stall):
                return "client left"
            if cut and at == span.start + cut.after:
                if cut.reset:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return "cut"
        return "whole"

    def _send(
        self, number: int, stream: Stream, pieces: Iterable[memoryview], slow: Rule | None
    ) -> bool:
        poll = select.poll()
        poll.register(self.connection, _WRITABLE)
        for piece in pieces:
            left = piece
            while left:
                events = poll.poll()[0][1]
                if events & ~select.POLLOUT or self.demo.site.is_stopping:
                    return False
                count = stream.send(left)
                if count:
                    self.demo.site.note(number, sent=count)
                left = left[count:]
            if slow:
                time.sleep(_TICK_S)
        return True

    def _wait(self, rule: Rule) -> bool:
        if self.demo.site.hold(self.connection, rule.seconds):
            return True
        self.close_connection = True
        return False

    # The control door, for whoever runs this in a process of its own.

    def _control(self, order: dict[str, Any]) -> None:
        orders: dict[str, Callable[..., object]] = {
            "fail": lambda trouble, **how: self.demo.fail(
                Trouble[trouble], **{**how, "body": how.get("body", "").encode()}
            ),
            "heal": self.demo.heal,
            "release": self.demo.release,
        }
        orders[self.path.removeprefix(CONTROL)](**order)
        self._json({})

    # Answers.

    def _json(self, said: object) -> None:
        self._plain(200, json.dumps(said).encode(), "application/json")

    def _plain(self, status: int, body: bytes = b"", content_type: str = "text/html") -> None:
        self._head(status, len(body), [("Content-Type", content_type)])
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int | None, headers: list[tuple[str, str]]) -> None:
        phrase = None if status in list(HTTPStatus) else "Refused"
        self.send_response(status, phrase)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()


def _paced(pieces: Iterator[memoryview], slow: Rule | None) -> Iterator[memoryview]:
    """Cut *pieces* into what goes out within a tick."""
    if slow is None:
        yield from pieces
        return
    size = max(int(slow.rate * _TICK_S), 1)
    for piece in pieces:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]
