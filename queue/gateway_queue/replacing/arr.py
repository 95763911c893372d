"""A Sonarr or Radarr, as the one who replaces what cannot be read any more (their v3 API).

    GET  /api/v3/history?downloadId=…    whether it has grabbed a download, and has it marked
    GET  /api/v3/series, episode, movie  what that is called, is monitored, and has a file
    GET  /api/v3/config/downloadclient   whether it searches by itself for what is marked
    POST /api/v3/history/failed/{id}     marks it as failed and blocklists it; its history says so
    GET  /api/v3/command                 which searches wait or run
    POST /api/v3/command                 EpisodeSearch, SeasonSearch, MoviesSearch

Nothing else is ever sent: no DELETE, no PUT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

from gateway_queue.calling import Caller
from gateway_queue.replacing import answers
from gateway_queue.replacing.answers import Grab, Nonsense, Title
from gateway_queue.telling import NotTold

_PAGE = 1000  # of a history: a pack of four hundred episodes, grabbed and imported
_PAGES = 5


class Arr(Protocol):
    """Who is asked for replacements. All but `name` and `shown` raise NotTold."""

    @property
    def name(self) -> str:
        """What the settings call it."""
        ...

    @property
    def shown(self) -> str:
        """Its kind and its name, for people."""
        ...

    def find(self, download_id: str) -> Grab | None:
        """Return what it knows of a download, None if it has not grabbed it."""
        ...

    def titles(self, grab: Grab) -> frozenset[str]:
        """Return what it calls that which was grabbed: `episode:7`, `movie:3`."""
        ...

    def title(self, grab: Grab) -> Title:
        """Return what that is in words, and how it is searched for."""
        ...

    def searches_by_itself(self, grab: Grab) -> bool:
        """Say whether it searches by itself once the grab is marked as failed."""
        ...

    def mark_failed(self, grab: Grab) -> None:
        """Mark it as failed. Whether that is done when NotTold is raised is unknown."""
        ...

    def search(self, searches: Sequence[dict[str, Any]], *, again: bool) -> None:
        """Have it search. *again*: it may have been asked already, and is then not asked twice."""
        ...


class ArrOverHttp:
    """A Sonarr or Radarr at *url*: see `Arr`."""

    def __init__(
        self, name: str, kind: str, url: str, api_key: str, *, longest_s: float = 20.0
    ) -> None:
        self._name = name
        self._kind = kind
        self._of_movies = kind == "radarr"
        self._caller = Caller(url, {"X-Api-Key": api_key}, longest_s=longest_s)

    @property
    def name(self) -> str:
        return self._name

    @property
    def shown(self) -> str:
        return f"{self._kind} {self._name!r}"

    def find(self, download_id: str) -> Grab | None:
        asked = f"/history?downloadId={quote(download_id, safe='')}&pageSize={_PAGE}"
        records: list[dict[str, Any]] = []
        seen = 0
        try:
            for number in range(1, _PAGES + 1):
                # The parameters of one version are passed over by another.
                answer = self._get(f"{asked}&page={number}&sortKey=date&sortDirection=descending")
                page = answers.page_of(answer, download_id)
                records += page.records
                seen += page.seen
                if seen >= page.total or not page.seen:
                    break
            return answers.grab_of(records, of_movie=self._of_movies)
        except Nonsense as exc:
            raise self._nonsense(exc) from exc

    def titles(self, grab: Grab) -> frozenset[str]:
        what = "movie" if self._of_movies else "episode"
        return frozenset(f"{what}:{one}" for one in grab.ids)

    def title(self, grab: Grab) -> Title:
        try:
            if self._of_movies:
                return answers.movie_of(self._get(f"/movie/{grab.ids[0]}"))
            series = self._get(f"/series/{grab.series_id}")
            # All of them: versions differ in how some are asked for.
            episodes = self._get(f"/episode?seriesId={grab.series_id}")
            return answers.episodes_of(series, episodes, grab.ids)
        except Nonsense as exc:
            raise self._nonsense(exc) from exc

    def searches_by_itself(self, grab: Grab) -> bool:
        try:
            return answers.searches_by_itself(
                self._get("/config/downloadclient"), by_hand=grab.is_by_hand
            )
        except Nonsense as exc:
            raise self._nonsense(exc) from exc

    def mark_failed(self, grab: Grab) -> None:
        self._post(f"/history/failed/{grab.history_id}", {})

    def search(self, searches: Sequence[dict[str, Any]], *, again: bool) -> None:
        try:
            known = list(answers.under_way(self._get("/command"))) if again else []
            for one in searches:
                if not any(answers.is_same(one, other) for other in known):
                    answers.taken(self._post("/command", one))
        except Nonsense as exc:
            raise self._nonsense(exc) from exc

    def _get(self, path: str) -> object:
        return self._caller.get(f"/api/v3{path}", key=self._key)

    def _post(self, path: str, body: object) -> object:
        return self._caller.post(f"/api/v3{path}", body, key=self._key)

    @property
    def _key(self) -> str:
        return f"GATEWAY_ARR__{self._name.upper()}__API_KEY"

    def _nonsense(self, exc: Nonsense) -> NotTold:
        return NotTold(f"what {self.shown} answers is not of a {self._kind.capitalize()}: {exc}")
