"""A Sonarr or Radarr on 127.0.0.1, as far as replacements concern it: their v3 API's JSON.

It does with what it is told what the real ones do: marking a grab as failed writes a row of
history for each episode and one into the blocklist, and has it search again by itself, unless
that is switched off; a search that waits or runs is not begun twice. Versions differ in what
they tell, and in which parameters they know.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "the-key-of-the-arr"
VERSIONS = [("sonarr", 3), ("sonarr", 4), ("radarr", 3), ("radarr", 5)]

Json = Any


@dataclass(frozen=True)
class Asked:
    """A request as it came; *body* is its JSON, *headers* are in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Json
    headers: dict[str, str]


@dataclass(frozen=True)
class Fault:
    """How a request goes wrong. *acts*: what it asks for is done before that all the same.

    *status* and *raw* are answered; *megabytes*: so much follows; *cut*: the connection ends and
    nothing is answered; *silent*: nothing ever comes; *drips*: a byte now and then, without an end.
    """

    status: int = 200
    raw: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    megabytes: int = 0
    acts: bool = False
    cut: bool = False
    silent: bool = False
    drips: bool = False


@dataclass
class FakeArr:
    """The state of one; tests look into it, and change it while it runs."""

    kind: str = "sonarr"
    version: int = 4
    auto_redownload: bool = True
    from_interactive: bool = True
    filters_downloads: bool = True
    is_quick: bool = False  # a search has ended before its answer comes
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    history: list[dict[str, Json]] = field(default_factory=list)
    blocklist: list[str] = field(default_factory=list)
    commands: list[dict[str, Json]] = field(default_factory=list)
    own_searches: int = 0
    series: dict[int, dict[str, Json]] = field(default_factory=dict)
    episodes: dict[int, dict[str, Json]] = field(default_factory=dict)
    movies: dict[int, dict[str, Json]] = field(default_factory=dict)
    fault: Callable[[Asked], Fault | None] = lambda _: None
    closing: threading.Event = field(default_factory=threading.Event)

    # What it has ---------------------------------------------------------------------------

    def add_series(
        self, number: int, title: str, seasons: dict[int, int], *, has_file: bool = False
    ) -> None:
        """Add a series with so many episodes in each season; their ids are number·1000 and on."""
        self.series[number] = {"id": number, "title": title, "monitored": True, "year": 2020}
        made = 0
        for season, count in seasons.items():
            for one in range(1, count + 1):
                made += 1
                self.episodes[number * 1000 + made] = {
                    "id": number * 1000 + made,
                    "seriesId": number,
                    "seasonNumber": season,
                    "episodeNumber": one,
                    "title": f"Episode {one}",
                    "hasFile": has_file,
                    "monitored": True,
                    "episodeFileId": 0,
                }

    def add_movie(self, number: int, title: str, *, has_file: bool = False) -> None:
        self.movies[number] = {
            "id": number,
            "title": title,
            "year": 1999,
            "monitored": True,
            "hasFile": has_file,
            "tmdbId": 603,
        }

    def grab(self, download_id: str, *numbers: int, by_hand: bool = False) -> None:
        """Say that these episodes, or this movie, were grabbed, and imported."""
        for event in ("grabbed", "downloadFolderImported"):
            for number in numbers:
                self._happen(event, download_id, number, by_hand=by_hand)

    def searches(self) -> list[dict[str, Json]]:
        """Return what it was asked to search for, and what it searches for by itself."""
        return [one["body"] for one in self.commands if "Search" in one["name"]]

    def sent(self, method: str, path: str = "") -> list[Asked]:
        """Return the requests of *method* below *path*."""
        return [one for one in self.asked if one.method == method and one.path.startswith(path)]

    # What it answers -----------------------------------------------------------------------

    def answer(self, asked: Asked) -> tuple[int, Json]:
        if asked.headers.get("x-api-key") != KEY:
            return 401, {"error": "Unauthorized"}
        path = asked.path.removeprefix("/api/v3")
        match asked.method, path.strip("/").split("/"):
            case "GET", ["history"]:
                return 200, self._history(asked.query)
            case "POST", ["history", "failed", number]:
                return self._fail(int(number))
            case "GET", ["config", "downloadclient"]:
                return 200, self._config()
            case "GET", ["command"]:
                return 200, self.commands
            case "POST", ["command"]:
                return self._command(asked.body, "manual")
            case "GET", ["series", number] if self.kind == "sonarr":
                return self._one(self.series, int(number))
            case "GET", ["episode"] if self.kind == "sonarr":
                (of,) = asked.query["seriesId"]
                return 200, [one for one in self.episodes.values() if one["seriesId"] == int(of)]
            case "GET", ["movie", number] if self.kind == "radarr":
                return self._one(self.movies, int(number))
        return 404, {"message": "NotFound"}

    def _one(self, found: dict[int, Json], number: int) -> tuple[int, Json]:
        return (200, found[number]) if number in found else (404, {"message": "NotFound"})

    def _history(self, query: dict[str, list[str]]) -> Json:
        records = list(reversed(self.history))
        if self.filters_downloads and "downloadId" in query:
            records = [one for one in records if one.get("downloadId") == query["downloadId"][0]]
        size, page = int(query.get("pageSize", ["10"])[0]), int(query.get("page", ["1"])[0])
        return {
            "page": page,
            "pageSize": size,
            "sortKey": "date",
            "sortDirection": "descending",
            "totalRecords": len(records),
            "records": records[(page - 1) * size : page * size],
        }

    def _config(self) -> Json:
        config = {
            "downloadClientWorkingFolders": "_UNPACK_|_FAILED_",
            "enableCompletedDownloadHandling": True,
            "autoRedownloadFailed": self.auto_redownload,
            "id": 1,
        }
        if self.version > 3:
            config["autoRedownloadFailedFromInteractiveSearch"] = self.from_interactive
        return config

    def _fail(self, number: int) -> tuple[int, Json]:
        one = next((one for one in self.history if one["id"] == number), None)
        if one is None:
            return 404, {"message": "NotFound"}
        download_id = one["downloadId"]
        grabbed = [
            other
            for other in self.history
            if other["downloadId"] == download_id and other["eventType"] == "grabbed"
        ]
        what = "movieId" if self.kind == "radarr" else "episodeId"
        numbers = sorted({other[what] for other in grabbed})
        for of in numbers:
            self._happen("downloadFailed", download_id, of)
        self.blocklist.append(one["sourceTitle"])
        by_hand = one["data"].get("releaseSource") == "InteractiveSearch"
        if self.auto_redownload and (self.from_interactive or not by_hand):
            self.own_searches += 1
            search = (
                {"name": "MoviesSearch", "movieIds": numbers}
                if self.kind == "radarr"
                else {"name": "EpisodeSearch", "episodeIds": numbers}
            )
            self._command(search, "unspecified")
        return 200, {}

    def _command(self, body: Json, trigger: str) -> tuple[int, Json]:
        for one in self.commands:
            if one["body"] == body and one["status"] in {"queued", "started"}:
                return 201, one
        one = {
            "id": len(self.commands) + 1,
            "name": body["name"],
            "commandName": body["name"],
            "body": body,
            "priority": "normal",
            "status": "completed" if self.is_quick else "queued",
            "queued": "2026-11-22T20:00:00Z",
            "trigger": trigger,
        }
        self.commands.append(one)
        return 201, one

    def _happen(self, event: str, download_id: str, number: int, *, by_hand: bool = False) -> None:
        record: dict[str, Json] = {
            "id": len(self.history) + 1,
            "sourceTitle": f"Some.Release.{download_id}",
            "quality": {"quality": {"id": 3, "name": "WEBDL-1080p"}, "revision": {"version": 1}},
            "qualityCutoffNotMet": False,
            "date": f"2026-11-22T20:{len(self.history) % 60:02}:00Z",
            "downloadId": download_id,
            "eventType": event,
            "data": {
                "indexer": "An Indexer",
                "downloadUrl": "https://indexer.example/get?apikey=the-key-of-an-indexer",
            },
        }
        if event == "grabbed" and self.version > 3:
            record["data"]["releaseSource"] = "InteractiveSearch" if by_hand else "Rss"
        if self.kind == "radarr":
            record["movieId"] = number
        else:
            record |= {"episodeId": number, "seriesId": number // 1000}
        language = {"id": 1, "name": "English"}
        if self.version > 3:
            record |= {"languages": [language], "customFormats": [], "customFormatScore": 0}
        else:
            record["language"] = language
        self.history.append(record)


@contextmanager
def serving(arr: FakeArr) -> Iterator[FakeArr]:
    """Serve *arr* on a port of its own."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def do_DELETE(self) -> None:
            self._serve()

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            split = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, split.path, parse_qs(split.query), body, headers)
            with lock:
                arr.asked.append(asked)
                fault = arr.fault(asked)
                status, answer = arr.answer(asked) if fault is None or fault.acts else (200, None)
            with suppress(OSError):  # it hangs up when it has heard enough
                if fault is None:
                    self._send(status, json.dumps(answer).encode(), ())
                else:
                    self._misbehave(fault)

        def _misbehave(self, fault: Fault) -> None:
            if fault.cut:
                return
            if fault.silent:
                arr.closing.wait(60)
                return
            if fault.drips:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not arr.closing.wait(0.1):
                    self.wfile.write(b"X")
                return
            self._send(fault.status, fault.raw, fault.headers, more=fault.megabytes << 20)

        def _send(
            self, status: int, raw: bytes, headers: tuple[tuple[str, str], ...], more: int = 0
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw) + more))
            self.end_headers()
            self.wfile.write(raw)
            for _ in range(more >> 20):
                self.wfile.write(b" " * (1 << 20))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    arr.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield arr
    finally:
        arr.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
