"""What a name says of a film or an episode: title, year, season, number."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

VIDEO = re.compile(
    r"3gp|asf|avi|divx|flv|iso|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|og[mv]|rm(?:vb)?|ts|vob|webm|wmv",
    re.IGNORECASE,
)
"""The extensions of what players play."""

_EPISODE = re.compile(r"(?<![a-z0-9])s(\d{1,4})[ ._-]{0,3}e(\d{1,4})(?!\d)", re.IGNORECASE)
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_QUALITY = re.compile(
    r"(?<![a-z0-9])(?:\d{3,4}[pi]|[48]k|uhd|web(?:-?dl|-?rip)?|blu-?ray|bd-?rip|br-?rip|remux|hdtv"
    r"|dvd(?:-?rip|[59])?|[xh][ .]?26[45]|hevc|av1|xvid|proper|repack|multi)(?![a-z0-9])",
    re.IGNORECASE,
)
_SAMPLE = re.compile(r"(?<![a-z0-9])sample(?![a-z0-9])", re.IGNORECASE)
_SAMPLE_BYTES = 300 << 20
_SPACE = re.compile(r"[\s._]+")


@dataclass(frozen=True, slots=True)
class Title:
    """A film, or an episode where *number* is not None (*season* is then neither)."""

    title: str
    year: int | None = None
    season: int | None = None
    number: int | None = None

    @property
    def with_year(self) -> str:
        return f"{self.title} ({self.year})" if self.year else self.title


def parse_title(name: str) -> Title:
    """Read "Some.Film.2026.1080p.WEB-GRP", "A Film (2001)" or "Some.Show.S01E02.Its.Name".

    The name of a file without its extension. Where nothing is recognized, it is all title.
    """
    episode = _EPISODE.search(name)
    quality = _QUALITY.search(name)
    end = (
        min(found.start() for found in (episode, quality) if found) if episode or quality else None
    )
    latest = time.gmtime().tm_year + 1  # Blade Runner 2049 is no film of that year
    years = [
        found
        for found in _YEAR.finditer(name, 0, len(name) if end is None else end)
        if found.start() > 0 and int(found[0]) <= latest
    ]
    year = years[-1] if years else None
    title = _plain(name[: year.start() if year else end])
    if not title:
        title = _plain(name) or name
    number = season = None
    if episode is not None:
        season, number = int(episode[1]), int(episode[2])
    return Title(title, int(year[0]) if year else None, season, number)


def is_video(name: str, size: int) -> bool:
    """Say whether a file is something to watch: a video, and no sample of one."""
    stem, dot, extension = name.rpartition(".")
    if not dot or VIDEO.fullmatch(extension) is None:
        return False
    return size > _SAMPLE_BYTES or _SAMPLE.search(stem) is None


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip(" -([{,;")
