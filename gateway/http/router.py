"""The doors: which application answers which path, and the few answers that need none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from wsgiref.types import StartResponse

from gateway.http.wsgi import App, Chunk, Environ, plain, status_line


class Router:
    """Passes a request to the application whose door its path begins with, the longest first.

    The door moves from PATH_INFO to SCRIPT_NAME. *not_ready* answers `/readyz`: with the reasons
    why the program cannot serve yet, none when it can. `/healthz` says that it lives.
    """

    def __init__(
        self, doors: Mapping[str, App], not_ready: Callable[[], Sequence[str]] = tuple
    ) -> None:
        for door in doors:
            if not door.startswith("/") or door.endswith("/"):
                raise ValueError(f"a door is written like /dav, not {door!r}")
        self._doors = sorted(doors.items(), key=lambda item: len(item[0]), reverse=True)
        self._not_ready = not_ready

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[Chunk]:
        path = environ.get("PATH_INFO", "") or "/"
        for door, app in self._doors:
            if path == door or path.startswith(f"{door}/"):
                inside = {
                    **environ,
                    "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + door,
                    "PATH_INFO": path[len(door) :],
                }
                return app(inside, start_response)
        return self._own(path, environ["REQUEST_METHOD"], start_response)

    def _own(self, path: str, method: str, start_response: StartResponse) -> Iterable[Chunk]:
        if path in {"/", "/*"} and method == "OPTIONS":
            # Windows asks the server's root before it mounts anything below it.
            start_response(
                status_line(200),
                [
                    ("Allow", "OPTIONS, GET, HEAD"),
                    ("DAV", "1"),
                    ("MS-Author-Via", "DAV"),
                    ("Content-Length", "0"),
                ],
            )
            return []
        if path not in {"/", "/healthz", "/readyz"}:
            return plain(start_response, 404, "nothing is here; the doors are listed at /")
        if method not in {"GET", "HEAD"}:
            return plain(
                start_response, 405, f"{method} is not for {path}", [("Allow", "GET, HEAD")]
            )
        if path == "/healthz":
            return plain(start_response, 200, "ok")
        if path == "/readyz":
            reasons = self._not_ready()
            return plain(start_response, 503 if reasons else 200, "\n".join(reasons) or "ready")
        doors = "\n".join(sorted([*dict(self._doors), "/healthz", "/readyz"]))
        return plain(start_response, 200, f"NZB Gateway\n\n{doors}")
