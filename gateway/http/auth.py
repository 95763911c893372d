"""Who may enter: Basic credentials for people and players, an API key for programs.

Comparing takes the same time whatever was sent. No secret is kept as it was given, none is logged.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse

from gateway.http.clients import client_address
from gateway.http.wsgi import App, Chunk, Environ, plain

logger = logging.getLogger(__name__)

_BASIC = "basic "
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="NZB Gateway", charset="UTF-8"')


class Secret:
    """A secret that can be compared with and not read: kept as a hash under a key of this process.

    Players send their credentials with every range: one comparison costs about 2 µs.
    """

    def __init__(self, value: bytes) -> None:
        self._key = secrets.token_bytes(32)
        self._digest = self._hash(value)

    def __repr__(self) -> str:
        return "Secret()"

    def matches(self, candidate: bytes) -> bool:
        """Say whether *candidate* is the secret, in a time that does not depend on it."""
        return hmac.compare_digest(self._digest, self._hash(candidate))

    def _hash(self, value: bytes) -> bytes:
        return hmac.digest(self._key, value, "sha256")


class BasicAuth:
    """Lets one user in to *app* by Basic authentication (RFC 7617), everybody else gets 401."""

    def __init__(self, app: App, user: str, password: str) -> None:
        if ":" in user:
            raise ValueError("a user name for Basic authentication cannot hold a colon")
        self._app = app
        self._user = user
        # Windows and some televisions send ISO 8859-1, whatever the challenge says.
        together = f"{user}:{password}"
        encodings = ["utf-8", "latin-1"] if max(together) < "\u0100" else ["utf-8"]
        self._accepted = [Secret(together.encode(encoding)) for encoding in encodings]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        header = environ.get("HTTP_AUTHORIZATION")
        if not self._admits(header):
            if header:  # players ask once without, to learn that they must
                logger.warning(
                    "refused the credentials sent by %s for %s",
                    client_address(environ),
                    environ.get("SCRIPT_NAME", "") or "/",
                )
            return plain(start_response, 401, "user name and password, please", [_CHALLENGE])
        environ["REMOTE_USER"] = self._user
        environ["AUTH_TYPE"] = "Basic"
        return self._app(environ, start_response)

    def _admits(self, header: str | None) -> bool:
        if not header or header[: len(_BASIC)].lower() != _BASIC:
            return False
        try:
            sent = base64.b64decode(header[len(_BASIC) :].strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return any(secret.matches(sent) for secret in self._accepted)


class ApiKey:
    """The key that programs send: in the query or a form as `apikey`, or as X-Api-Key."""

    def __init__(self, key: str) -> None:
        self._secret = Secret(key.encode())

    def admits(self, environ: Environ, form: Any = None) -> bool:
        """Say whether the request holds the key.

        *form* is its parsed form, anything with `get`; the body of the request is not touched.
        """
        sent = environ.get("HTTP_X_API_KEY")
        if sent is None:
            query = parse_qs(environ.get("QUERY_STRING", ""))
            sent = query.get("apikey", [None])[0]
        if sent is None and form is not None:
            sent = form.get("apikey")
        return isinstance(sent, str) and self._secret.matches(sent.encode(errors="replace"))


class RequireApiKey:
    """Lets those who send *key* in to *app*; everybody else gets 403."""

    def __init__(self, app: App, key: ApiKey) -> None:
        self._app = app
        self._key = key

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        if not self._key.admits(environ):
            return plain(
                start_response, 403, "API key missing or wrong: send it as X-Api-Key or apikey="
            )
        return self._app(environ, start_response)
