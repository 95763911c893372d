"""An M3U parser of its own, written after what players' parsers do (Kodi's IPTV Simple, VLC).

It knows nothing of how the gateway writes a playlist: a line is a directive, a comment or an
address; attributes are `name="value"` before the first comma outside of quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')


@dataclass(frozen=True)
class Entry:
    name: str
    url: str
    attributes: dict[str, str]


def parse_m3u(text: str) -> list[Entry]:
    """Return the entries. Raises ValueError for what a player would trip over."""
    lines = text.splitlines()  # at every character that some player takes for a line's end
    if not lines or not lines[0].startswith("#EXTM3U"):
        raise ValueError("the first line is not #EXTM3U")
    entries: list[Entry] = []
    about: tuple[str, dict[str, str]] | None = None
    for line in lines[1:]:
        if line.startswith("#EXTINF:"):
            if about is not None:
                raise ValueError(f"no address follows {about[0]!r}")
            about = _extinf(line.removeprefix("#EXTINF:"))
        elif line.startswith("#") or not line.strip():
            continue
        elif about is None or not re.fullmatch(r"https?://\S+", line):
            raise ValueError(f"this is no address, or nothing is said about it: {line!r}")
        else:
            entries.append(Entry(about[0], line, about[1]))
            about = None
    if about is not None:
        raise ValueError(f"no address follows {about[0]!r}")
    return entries


def _extinf(text: str) -> tuple[str, dict[str, str]]:
    is_quoted = False
    for at, character in enumerate(text):
        if character == '"':
            is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            return text[at + 1 :].strip(), dict(_ATTRIBUTE.findall(text[:at]))
    raise ValueError(f"no comma ends the attributes: {text!r}")
