"""What Sonarr and Radarr answer (their v3 API), read with care: anything may answer there.

The two differ in names only (`episodeId`, `movieId`), and their versions in what else they
tell: nothing is read here that Sonarr 3, Sonarr 4, Radarr 3 to 5 do not all tell, except where
its absence has a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

# Names of events as JSON has them, and the numbers of which some builds make them.
_GRABBED = ("grabbed", 1)
_FAILED = ("downloadfailed", 4)
_SHOWN = 100  # letters of a title


class Nonsense(ValueError):
    """This is not what such a program answers; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Grab:
    """What an *arr knows of a download.

    *history_id* is a row of its history that says that it grabbed it, *ids* are of the episodes,
    in order, or of the one movie, *series_id* 0 for a movie. *is_failed*: it is marked as failed.
    *is_by_hand*: somebody had chosen this release there.
    """

    history_id: int
    ids: tuple[int, ...]
    series_id: int
    is_failed: bool
    is_by_hand: bool


@dataclass(frozen=True, slots=True)
class Title:
    """What a grab is of, in *words*. *searches*: the commands that search for it.

    Without those of its parts that are not monitored, which nobody wants. *has_file*: the *arr has
    a file for some of it, and takes only what it counts as better.
    """

    words: str
    searches: tuple[dict[str, Any], ...]
    has_file: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a history: *records* of the download asked for, of *total* in all pages."""

    records: tuple[dict[str, Any], ...]
    seen: int
    total: int


def page_of(answer: object, download_id: str) -> Page:
    """Return a page of a history. Raises Nonsense."""
    shown = _dict(answer, "its history")
    records = [_dict(one, "a record of its history") for one in _list(shown, "records")]
    total = shown.get("totalRecords")
    if not _is_id(total) and total != 0:
        raise Nonsense("its history has no totalRecords")
    ours = tuple(one for one in records if one.get("downloadId") == download_id)
    if len(ours) < len(records):
        raise Nonsense("its history cannot be asked for one download: it is too old")
    return Page(ours, len(records), total or 0)


def grab_of(records: Sequence[dict[str, Any]], *, of_movie: bool) -> Grab | None:
    """Return what the records of one download tell, the newest first; None: never grabbed.

    Raises Nonsense.
    """
    grabbed = [one for one in records if _event(one) in _GRABBED]
    if not grabbed:
        return None
    what = "movieId" if of_movie else "episodeId"
    ids = tuple(sorted({_id(one, what) for one in grabbed}))
    if of_movie and len(ids) > 1:
        raise Nonsense("its history has several movies for one download")
    data = grabbed[0].get("data")
    source = data.get("releaseSource") if isinstance(data, dict) else None
    return Grab(
        _id(grabbed[0], "id"),
        ids,
        0 if of_movie else _id(grabbed[0], "seriesId"),
        any(_event(one) in _FAILED for one in records),
        str(source).casefold() == "interactivesearch",
    )


def movie_of(answer: object) -> Title:
    """Return what is to be known of a movie. Raises Nonsense."""
    movie = _dict(answer, "a movie")
    year = movie.get("year")
    words = _text(movie, "title") + (f" ({year})" if _is_id(year) else "")
    search = {"name": "MoviesSearch", "movieIds": [_id(movie, "id")]}
    return Title(words, (search,) if movie.get("monitored") is True else (), _has_file(movie))


def episodes_of(series_answer: object, episodes_answer: object, ids: Sequence[int]) -> Title:
    """Return what is to be known of these episodes of a series. Raises Nonsense."""
    series = _dict(series_answer, "a series")
    if not isinstance(episodes_answer, list):
        raise Nonsense("its episodes are no list")
    seasons: dict[int, dict[int, dict[str, Any]]] = {}
    for one in episodes_answer:
        episode = _dict(one, "an episode")
        season = episode.get("seasonNumber")
        if season != 0 and not _is_id(season):
            raise Nonsense("an episode has no seasonNumber")
        seasons.setdefault(season or 0, {})[_id(episode, "id")] = episode
    searches, has_file, words = [], False, []
    for season, all_of_it in sorted(seasons.items()):
        ours = {id_: one for id_, one in all_of_it.items() if id_ in ids}
        if not ours:
            continue
        has_file = has_file or any(map(_has_file, ours.values()))
        words.append(
            _season_in_words(season, list(ours.values()), whole=len(ours) == len(all_of_it))
        )
        wanted = sorted(id_ for id_, one in ours.items() if one.get("monitored") is True)
        if series.get("monitored") is not True or not wanted:
            continue
        if 1 < len(wanted) == len(all_of_it):
            series_id = _id(series, "id")
            searches.append({"name": "SeasonSearch", "seriesId": series_id, "seasonNumber": season})
        else:
            searches.append({"name": "EpisodeSearch", "episodeIds": wanted})
    title = " ".join([_text(series, "title"), *words])
    return Title(title[: 2 * _SHOWN], tuple(searches), has_file)


def searches_by_itself(answer: object, *, by_hand: bool) -> bool:
    """Say whether an *arr of this configuration searches again for what is marked as failed.

    *by_hand*: where somebody had chosen the release there. Raises Nonsense.
    """
    config = _dict(answer, "its configuration")
    again = config.get("autoRedownloadFailed")
    if not isinstance(again, bool):
        raise Nonsense("its configuration has no autoRedownloadFailed")
    # Without it, as Sonarr 3 and Radarr 3: it makes no difference.
    return again and not (
        by_hand and config.get("autoRedownloadFailedFromInteractiveSearch") is False
    )


def taken(answer: object) -> None:
    """Make sure that a command was taken. Raises Nonsense: whether it was is unknown."""
    _id(_dict(answer, "its answer to a command"), "id")


def under_way(answer: object) -> Iterator[dict[str, Any]]:
    """Return the bodies, with their names, of commands that wait, run, or ran lately.

    Raises Nonsense.
    """
    if not isinstance(answer, list):
        raise Nonsense("its commands are no list")
    for one in answer:
        command = _dict(one, "a command")
        body = command.get("body")
        if command.get("status") in {"queued", "started", "completed"} and isinstance(body, dict):
            yield {**body, "name": command.get("name")}


def is_same(search: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether *other*, as `under_way` gives it, is this search."""
    return all(_plain(other.get(key)) == _plain(value) for key, value in search.items())


def _plain(value: object) -> object:
    if isinstance(value, list):
        return {one for one in value if isinstance(one, int | str)}
    return value.casefold() if isinstance(value, str) else value


def _season_in_words(season: int, episodes: Sequence[dict[str, Any]], *, whole: bool) -> str:
    if whole and len(episodes) > 1:
        return f"S{season:02}"
    numbers = sorted(one["episodeNumber"] for one in episodes if _is_id(one.get("episodeNumber")))
    if not numbers:
        return f"S{season:02}"
    last = f"-E{numbers[-1]:02}" if len(numbers) > 1 else ""
    return f"S{season:02}E{numbers[0]:02}{last}"


def _event(record: dict[str, Any]) -> object:
    event = record.get("eventType")
    return event.casefold() if isinstance(event, str) else event


def _has_file(one: dict[str, Any]) -> bool:
    return one.get("hasFile") is True


def _dict(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Nonsense(f"{what} is no JSON object")
    return value


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise Nonsense(f"there is no list of {key}")
    return found


def _id(value: dict[str, Any], key: str) -> int:
    found = value.get(key)
    if not _is_id(found):
        raise Nonsense(f"{key} is no number")
    return found


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found:
        raise Nonsense(f"{key} is no text")
    # It goes to the log, and to a terminal.
    return "".join(letter if letter.isprintable() else " " for letter in found[:_SHOWN])
