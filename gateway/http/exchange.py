"""One request and its response: calls the application and puts its answer on the wire.

What cheroot's gateway does not keep, this one does: the response is closed first, whatever
happens; a failure before the first byte is a 500 with one sentence; a failure after it, or a
body of another length than declared, ends in a reset, never in what looks like an answer.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TypeAlias

from cheroot import wsgi

from gateway.errors import GatewayError
from gateway.http.body import Framing
from gateway.http.clients import CLIENT, SCHEME
from gateway.http.connection import Connection
from gateway.http.wire import ClientGone
from gateway.http.wsgi import Chunk, Headers, refusal, shown_path, status_line

logger = logging.getLogger(__name__)

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]
_SENTENCE = "the gateway failed to answer this request; its log says why"


class Exchange(wsgi.Gateway_10):
    """Answers one request through the WSGI application of its server."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.connection: Connection = request.conn
        length = None if request.chunked_read else int(request.inheaders.get(b"Content-Length", 0))
        self.body = Framing(self.connection.rfile, length)
        request.rfile = self.body  # cheroot reads what is left of its own
        self.env.update(
            {
                "wsgi.input": io.BufferedReader(self.body, 1 << 16),
                "wsgi.input_terminated": True,  # it ends by itself, in chunks too
                "gateway.socket": self.connection.socket,
                "gateway.connection": self.connection,
                CLIENT: request.server.trusted_proxies.client(
                    self.env["REMOTE_ADDR"], self.env.get("HTTP_X_FORWARDED_FOR")
                ),
                SCHEME: request.server.trusted_proxies.scheme(
                    self.env["REMOTE_ADDR"], self.env.get("HTTP_X_FORWARDED_PROTO")
                ),
            }
        )

    def respond(self) -> None:
        try:
            self._answer()
        except ClientGone:
            raise
        except BaseException as exc:
            if self.connection.cut_on_close:
                raise ClientGone("the connection was cut here, and the response failed") from exc
            self._fail(exc)  # SystemExit too: the client waits

    def start_response(
        self, status: str, headers: Headers, exc_info: _ExcInfo | None = None
    ) -> Any:
        if exc_info and not self.req.sent_headers:
            self.req.outheaders = []
            self.remaining_bytes_out = None
        for name, value in headers:
            if "\r" in value or "\n" in value or "\0" in value:
                raise ValueError(f"the value of {name} holds a line break")
        if status.startswith("204"):  # RFC 9110, 8.6
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        return super().start_response(status, headers, exc_info)

    def write(self, chunk: Chunk) -> None:
        self._send(chunk)

    def _answer(self) -> None:
        response: Iterable[Chunk] = ()
        try:
            response = self.req.server.wsgi_app(self.env, self.start_response)
            for chunk in response:
                if len(chunk) and not self._send(chunk):
                    break
        finally:
            self._close(response)
        if not self.started_response:
            raise RuntimeError("the application ended without an answer")
        if self.remaining_bytes_out and self._has_body:
            raise RuntimeError(f"the body ended {self.remaining_bytes_out} bytes early")
        self._send_headers()

    @property
    def _has_body(self) -> bool:
        status = int(self.req.status[:3])
        return self.req.method != b"HEAD" and status >= 200 and status not in {204, 304}

    def _send(self, chunk: Chunk) -> bool:
        """Put *chunk* on the wire; False: this response has no body, ask it for no more."""
        if not self.started_response:
            raise RuntimeError("the application sent a body before its status")
        if not self._has_body:
            return False
        view = memoryview(chunk)
        if self.remaining_bytes_out is not None:
            if view.nbytes > self.remaining_bytes_out:
                raise RuntimeError("the body is longer than its Content-Length")
            self.remaining_bytes_out -= view.nbytes
            self.connection.is_sending_the_end = not self.remaining_bytes_out
        self._send_headers()
        self.req.write(view if view.format == "B" else view.cast("B"))
        return True

    def _send_headers(self) -> None:
        if self.req.sent_headers:
            return
        if not self.req.close_connection and not self.connection.discard_body(self.body):
            self.req.close_connection = True
        elif not self.body.at_end:
            self.connection.has_unread_body = True
        self.req.ensure_headers_sent()

    def _close(self, response: Iterable[Chunk]) -> None:
        close = getattr(response, "close", None)
        if close is not None:
            try:
                close()
            except Exception:  # the answer stands or falls without it
                logger.exception("closing the response to %s failed", self._name)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, GatewayError):
            status, sentence, headers = refusal(error)
            logger.warning("%s: %s", self._name, error)
        else:
            status, sentence, headers = 500, _SENTENCE, []
            logger.error("%s failed", self._name, exc_info=error)
        if self.req.sent_headers:
            # Without a FIN before it: that would be a proper end where no length was declared.
            self.connection.await_taken()
            self.connection.cut_on_close = True
            raise ClientGone("the response failed after its first byte") from error
        body = f"{sentence}\n".encode()
        self.started_response = False
        self.req.outheaders = []
        self.req.close_connection = True
        self.start_response(
            status_line(status),
            [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(body))),
                *headers,
            ],
        )
        self._send(body)

    @property
    def _name(self) -> str:
        # Without the query, which may hold a key.
        return f"{self.env['REQUEST_METHOD']} {shown_path(self.env['PATH_INFO'])!r}"
