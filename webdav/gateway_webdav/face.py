"""The WebDAV application: which answers are ours, which wsgidav's.

GET, HEAD and PROPFIND are answered here, over any wsgidav provider; what changes something goes to
wsgidav, where there is something to change, and is refused in one line where there is not.
Authentication, the Host header and the path's form are looked at before (`gateway.http`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from wsgiref.types import StartResponse

from wsgidav import util
from wsgidav.dav_error import DAVError
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from gateway.errors import FileChanged, GatewayError
from gateway.http.wire import ClientGone
from gateway.http.wsgi import App, Chunk, Environ, plain, refusal, status_line
from gateway.library.ports import Intake
from gateway_webdav.get import answer_get
from gateway_webdav.index import answer_index
from gateway_webdav.links import Linked
from gateway_webdav.listing import answer_propfind
from gateway_webdav.nzbs import NzbTree
from gateway_webdav.provider import EVERYTHING, TreeProvider
from gateway_webdav.resources import REFUSALS
from gateway_webdav.tree import Catalogue, LibraryTree, StreamOpener

logger = logging.getLogger(__name__)

_READING = ("OPTIONS", "GET", "HEAD", "PROPFIND")
_LOOKS = 2  # again, where a file has got another ETag just then
_BLOCK = 1 << 20
_XML = 1 << 20


def make_webdav_app(
    library: Catalogue,
    streams: StreamOpener,
    intake: Intake | None,
    *,
    categories: Mapping[str, str],
    nzb_limit: int,
    linked: Linked | None = None,
    content_delete: bool = False,
    mount_path: str = "/dav",
) -> App:
    """Return the application that shows the library, and the queue of *intake* if there is one.

    It stands behind the door *mount_path* (in SCRIPT_NAME) and within a request scope. NZBs of
    more than *nzb_limit* bytes are refused. *categories* have each the name of its folder in
    `content` and `completed-symlinks`; in `nzbs` the folder has the category's own. *linked*
    shows what imports leave behind. With *content_delete* a DELETE in `content` removes releases.
    """
    now, folders = time.time(), list(categories.values())
    content = LibraryTree(library, streams, folders, now)
    provider = TreeProvider(
        content,
        linked.trees(folders, now, content.file) if linked else None,
        None if intake is None else NzbTree(intake, list(categories), now, limit=nzb_limit),
        now,
        content_delete=content_delete,
    )
    return Face(provider, mount_path=mount_path, changing=provider.changing, why=provider.refusal)


class Face:
    """Any wsgidav *provider*, read through our answers.

    *changing* says which methods can change something at a path (all, if not given), and *why*
    another one cannot; *dead_properties*: keep in memory what clients set that is no property of
    ours.
    """

    def __init__(
        self,
        provider: Any,
        *,
        mount_path: str = "",
        changing: Callable[[str], frozenset[str]] = lambda _: EVERYTHING,
        why: Callable[[str, str], str | None] = lambda *_: None,
        dead_properties: bool = False,
    ) -> None:
        self._provider = provider
        self._changing = changing
        self._why = why
        # It reports every refusal as an error, with a traceback; what is one we report ourselves.
        logging.getLogger("wsgidav").setLevel(logging.CRITICAL)
        self._wsgidav = WsgiDAVApp(
            {
                "provider_mapping": {"/": provider},
                "mount_path": mount_path,
                "middleware_stack": [RequestResolver],
                "property_manager": dead_properties,
                "lock_storage": True,
                "block_size": _BLOCK,
                "verbose": 0,
                "logging": {"enable": False},
                "suppress_version_info": True,
            }
        )
        provider.verbose = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        method = environ["REQUEST_METHOD"]
        path = _path(environ)
        environ = {
            **environ,
            "wsgidav.app": self._wsgidav,
            "wsgidav.config": self._wsgidav.config,
            "wsgidav.provider": self._provider,
            "wsgidav.verbose": 0,
            "wsgidav.auth.user_name": environ.get("REMOTE_USER", ""),
            "wsgidav.user_name": environ.get("REMOTE_USER", ""),
        }
        try:
            if method in {"GET", "HEAD", "PROPFIND"}:
                return self._read(method, path, environ, start_response)
            if method == "OPTIONS" and not self._is_offered_for_writing(path):
                return self._options(path, environ, start_response)
            if method not in EVERYTHING and method != "OPTIONS":
                allowed = ("Allow", ", ".join(_READING))
                return plain(start_response, 405, f"{method} means nothing here", [allowed])
            refused = None if method == "OPTIONS" else self._why(method, path)
            if refused is not None:
                return plain(start_response, 403, refused)
            return self._change(method, environ, start_response)
        except DAVError as exc:
            return _refused(exc, start_response)
        except GatewayError as exc:
            status, sentence, headers = refusal(exc)
            return plain(start_response, status, sentence, headers)
        except PermissionError as exc:
            return plain(start_response, 403, exc.strerror or "not permitted")

    def _read(
        self, method: str, path: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[Chunk]:
        for _ in range(_LOOKS):
            with suppress(FileChanged):
                return self._look(method, path, environ, start_response)
        return self._look(method, path, environ, start_response)

    def _look(
        self, method: str, path: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[Chunk]:
        resource = self._provider.get_resource_inst(path, environ)
        if resource is None:
            return plain(start_response, 404, "nothing is here")
        if "HTTP_IF" in environ and not _if_holds(resource, environ):
            return plain(start_response, 412, "the If header does not hold")
        if method == "PROPFIND":
            return answer_propfind(resource, environ, start_response)
        if resource.is_collection:
            return answer_index(resource, environ, start_response)
        return answer_get(resource, environ, start_response)

    def _is_offered_for_writing(self, path: str) -> bool:
        """Say whether *path* is to be offered for writing, and for locks.

        Finder asks the folder it mounts, once: the root must say that something below it may
        be written, or all of it is mounted read-only.
        """
        return path == "/" or "LOCK" in self._changing(path)

    def _options(
        self, path: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[Chunk]:
        if self._provider.get_resource_inst(path, environ) is None:
            return plain(start_response, 404, "nothing is here")
        start_response(
            status_line(200),
            [
                ("Allow", ", ".join((*_READING, *sorted(self._changing(path))))),
                ("DAV", "1"),
                ("MS-Author-Via", "DAV"),
                ("Accept-Ranges", "bytes"),
                ("Content-Length", "0"),
            ],
        )
        return []

    def _folder_exists(self, environ: Environ) -> bool:
        above = _path(environ).rstrip("/").rpartition("/")[0]
        folder = self._provider.get_resource_inst(above or "/", environ)
        return folder is not None and folder.is_collection

    def _change(
        self, method: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[Chunk]:
        length = environ.get("CONTENT_LENGTH") or "0"
        if method in {"LOCK", "PROPPATCH"} and int(length) > _XML:
            return plain(start_response, 413, f"a {method} may have {_XML} bytes")
        if method == "PUT" and not self._folder_exists(environ):
            words = "there is no such folder to put it into: those in /nzbs are the categories"
            return plain(start_response, 409, words)
        status, headers = "", list[tuple[str, str]]()
        refusals: list[GatewayError] = []
        environ[REFUSALS] = refusals

        def start(line: str, fields: list[tuple[str, str]], *_: object) -> Callable[..., object]:
            nonlocal status, headers
            status, headers = line, fields
            return _write_nothing

        chunks = self._wsgidav(environ, start)
        try:
            body = list(chunks)  # all of them short, and then no failure is late
        finally:
            chunks.close()
        if refusals:
            code, sentence, more = refusal(refusals[-1])
            return plain(start_response, code, sentence, more)
        fields = {name.lower(): value for name, value in headers}
        if status.startswith("201") and fields.get("content-type", "").startswith("text/html"):
            # In place of wsgidav's page, which names it and its version.
            kept = [pair for pair in headers if pair[0].lower() in {"etag", "location"}]
            return plain(start_response, 201, "created", kept)
        start_response(status, headers)
        return body


def _write_nothing(_: bytes) -> None:
    """PEP 3333's `write`, which wsgidav does not call."""


def _path(environ: Environ) -> str:
    """Return the path within the tree, as text. Empty segments count for nothing."""
    raw = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    parts = [part for part in raw.split("/") if part]
    return "/" + "/".join(parts) + ("/" if parts and raw.endswith("/") else "")


def _if_holds(resource: Any, environ: Environ) -> bool:
    """Evaluate the If header (RFC 4918, 10.4) for a method that reads."""
    util.parse_if_header_dict(environ)
    tokens: list[str] = []
    url = resource.get_ref_url()
    locks = resource.provider.lock_manager
    if locks is not None:
        held = locks.get_indirect_url_lock_list(url, principal=environ["wsgidav.user_name"])
        tokens = [lock["token"] for lock in held]
    tag = (resource.get_etag() if resource.support_etag() else None) or "[]"
    conditions = environ["wsgidav.conditions.if"]
    return bool(util.test_if_header_dict(resource, conditions, url, tokens, tag))


def _refused(error: DAVError, start_response: StartResponse) -> Iterable[Chunk]:
    cause = error.src_exception
    if isinstance(cause, ClientGone):
        raise cause
    if isinstance(cause, GatewayError):
        status, sentence, headers = refusal(cause)
        return plain(start_response, status, sentence, headers)
    if error.value >= 500 and cause is not None:
        raise cause
    headers = list(error.add_headers or [])
    if error.err_condition is not None:
        body = error.err_condition.as_string().encode()
        kind = ("Content-Type", "application/xml; charset=utf-8")
        start_response(
            status_line(error.value), [kind, ("Content-Length", str(len(body))), *headers]
        )
        return [body]
    sentence = error.context_info or status_line(error.value).partition(" ")[2].lower()
    return plain(start_response, error.value, str(sentence), headers)
