"""`/movie/<user>/<password>/<number>.<extension>` and `/series/…`: films, to whoever may watch.

What needs no byte of the film (HEAD, OPTIONS, 304, 401, 404, 412, 416) is answered before a slot is
asked for, as far as the film is known; whatever is not known is learnt by a HEAD to the provider.
Passwords stand in the path, so no path is ever logged here or told.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from wsgiref.types import StartResponse

from gateway.errors import (
    GatewayError,
    LeaseRefused,
    LeaseStoreDown,
    NoSuchFilm,
    PoolFull,
    ProtocolError,
    StoreRecovering,
)
from gateway.http.clients import client_address
from gateway.http.ranges import Decision, Entity, decide, parse_ranges
from gateway.http.scope import scope_of
from gateway.http.wsgi import Chunk, Environ, Headers, plain, refusal, status_line
from gateway.vod.answer import RangeMissed
from gateway.vod.film import FIRST_ID, Film, Login, session_key
from gateway.vod.own_source import OwnLibrary
from gateway.vod.playback import Playback
from gateway.vod.sources import Accounts, Source
from gateway.vod.users import VodUser, VodUsers
from gateway.vod.viewer import House, Viewer

log = logging.getLogger(__name__)

_ALLOW = ("Allow", "GET, HEAD, OPTIONS")
_CONDITIONS = ("IF_MATCH", "IF_NONE_MATCH", "IF_MODIFIED_SINCE", "IF_UNMODIFIED_SINCE", "IF_RANGE")
_ENDLESS = 1 << 62  # the length of a film whose length is not known yet
_RESTARTS = 2
_STORE_DOWN_S = 2
_AGENT = "NZB-Gateway"


class VodDoor:
    """The application behind one of the doors; *kind* is its name: movie or series."""

    def __init__(
        self, kind: str, users: VodUsers, accounts: Accounts, library: OwnLibrary, house: House
    ) -> None:
        self._kind, self._users = kind, users
        self._accounts, self._library, self._house = accounts, library, house

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        method = environ["REQUEST_METHOD"]
        login = Login.parse(_path(environ))
        if login is None or environ["PATH_INFO"].count("/") != 3:
            return plain(start_response, 404, "nothing is here")
        user = self._users.login(login.user, login.password)
        if user is None:
            log.warning(
                "refused the credentials sent by %s for /%s", client_address(environ), self._kind
            )
            challenge = (
                "WWW-Authenticate",
                'Path realm="NZB Gateway"',
            )
            return plain(start_response, 401, "user name or password is wrong", [challenge])
        if method == "OPTIONS":
            return plain(start_response, 200, "", [_ALLOW])
        if method not in {"GET", "HEAD"}:
            return plain(start_response, 405, "films can only be read", [_ALLOW])
        film = Film.parse(self._kind, login.name)
        try:
            if film is None:
                raise NoSuchFilm("no film has a name of this form: it is <number>.<extension>")
            return self._answer(environ, start_response, user, film)
        except GatewayError as exc:
            return self._refuse(start_response, exc)

    def _answer(
        self, environ: Environ, start_response: StartResponse, user: VodUser, film: Film
    ) -> Iterable[Chunk]:
        agent, client = _agent(environ), client_address(environ)
        source = self._source(film, user, agent)
        entity = source.known()
        if entity is not None and not _has_body(decision := _decide(entity, environ)):
            start_response(status_line(decision.status), decision.headers)
            return []
        # From here on the provider is waited for, so this counts as a stream.
        viewer = Viewer(
            self._house,
            source,
            key=session_key(user.name, client, film, agent),
            user=user.name,
            client=client,
            connection=environ.get("gateway.connection"),
        )
        try:
            scope = scope_of(environ)
            scope.own(viewer)
            scope.stream(viewer.suspend)
            viewer.response = scope.body
            if entity is None and _needs_entity(environ):
                entity = source.learn(scope.own)
            if entity is not None:
                decision = _decide(entity, environ)
                start, stop = decision.start, _open_end(decision, entity)
            elif environ["REQUEST_METHOD"] == "HEAD":
                raise ProtocolError(
                    f"the provider does not say what {source.words} is: "
                    "that is known once it has been played"
                )
            else:
                start, stop = _range(environ)
            body: Iterable[Chunk] = []
            if entity is None or _has_body(decision):
                body = playback = Playback(viewer, source, self._house.tally)
                decision = _begin(playback, environ, start, stop)
            if not _has_body(decision):
                viewer.close()
                body = []
        except BaseException:
            viewer.close()
            raise
        start_response(status_line(decision.status), decision.headers)
        return body

    def _source(self, film: Film, user: VodUser, agent: str) -> Source:
        if film.number >= FIRST_ID:
            return self._library.source(film, user)
        return self._accounts.source(film, user, agent)

    def _refuse(self, start_response: StartResponse, exc: GatewayError) -> Iterable[Chunk]:
        status, sentence, headers = refusal(exc)
        if isinstance(exc, LeaseRefused | LeaseStoreDown):
            status, sentence, headers = _no_slot(exc)
            kind = exc.pool.partition(":")[0] if isinstance(exc, PoolFull) else "store"
            self._house.tally.refused(kind)
        elif isinstance(exc, RangeMissed):
            headers = [("Content-Range", f"bytes */{exc.total}")]
        if status >= 500:
            level = logging.INFO if isinstance(exc, PoolFull) else logging.WARNING
            log.log(level, "%s", sentence)
        return plain(start_response, status, sentence, headers)


def _begin(playback: Playback, environ: Environ, start: int, stop: int | None) -> Decision:
    """Have *playback* hold what was asked for, and return the answer; its first bytes are there."""
    entity = playback.begin(start, stop)
    for _ in range(_RESTARTS):
        # What was known of the film, if anything, may have been of another one.
        decision = _decide(entity, environ)
        if not _has_body(decision):
            return decision
        entity = playback.choose(decision.start, decision.stop)
        if _decide(entity, environ) == decision:
            playback.fetch()
            return decision
    raise ProtocolError("the provider says each time that the film is another one")


def _decide(entity: Entity, environ: Environ) -> Decision:
    return decide(entity, environ["REQUEST_METHOD"], environ)


def _has_body(decision: Decision) -> bool:
    return decision.has_body and decision.start < decision.stop


def _path(environ: Environ) -> str:
    """Return the path as it was sent: a slash within a password is told from those around it."""
    raw = str(environ.get("REQUEST_URI", "")).partition("?")[0]
    return raw or environ["PATH_INFO"].encode("latin-1").decode()


def _agent(environ: Environ) -> str:
    agent = str(environ.get("HTTP_USER_AGENT", ""))
    return agent if agent.isascii() and agent.isprintable() and agent else _AGENT


def _needs_entity(environ: Mapping[str, object]) -> bool:
    """Say whether the answer may be one without a body, were the film known."""
    if environ["REQUEST_METHOD"] == "HEAD":
        return True
    if any(f"HTTP_{name}" in environ for name in _CONDITIONS):
        return True
    start, stop = _range(environ)
    return start > 0 or stop == 1


def _range(environ: Mapping[str, object]) -> tuple[int, int | None]:
    """Return what to open first of a film whose length is not known.

    Where that depends on the length, it is the first byte, which tells the length.
    """
    asked = environ.get("HTTP_RANGE")
    ranges = parse_ranges(asked, _ENDLESS) if isinstance(asked, str) else None
    if not ranges:
        return (0, None) if ranges is None else (0, 1)
    start, stop = ranges[0]
    if start > _ENDLESS >> 1:
        return 0, 1
    return start, stop if stop < _ENDLESS else None


def _open_end(decision: Decision, entity: Entity) -> int | None:
    """Return where to end the range that a provider is asked for: None where the film ends."""
    return None if decision.stop == entity.length else decision.stop


def _no_slot(exc: LeaseRefused | LeaseStoreDown) -> tuple[int, str, Headers]:
    """Return status, sentence and headers for whoever found no slot."""
    if isinstance(exc, StoreRecovering):
        return 503, str(exc), [("Retry-After", str(max(1, math.ceil(exc.retry_after_s))))]
    if isinstance(exc, LeaseStoreDown):
        # Whoever watches need not know where it is; the keeper's log says so.
        sentence = "no slot can be had while the lease store does not answer"
        return 503, sentence, [("Retry-After", str(_STORE_DOWN_S))]
    if not isinstance(exc, PoolFull):
        return 503, str(exc), [("Retry-After", str(_STORE_DOWN_S))]
    in_use = f"{exc.count} of {exc.cap} in use"
    retry = refusal(exc)[2]
    match exc.pool.partition(":")[0]:
        case "user":
            return 429, f"this user watches as much as the user may (pool user): {in_use}", retry
        case "global":
            return 503, f"no free slot in the gateway (pool global): {in_use}", retry
        case kind:
            return 503, f"no free slot in any account (pool {kind}): {in_use}", retry
