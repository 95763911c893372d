"""Settings as they are written down: names and values from `settings.env` and the environment.

Knows how a line is read and which names exist, not what they mean. A line is `NAME=value`, with
or without `export`; `#` begins a comment, at the start of a line or after a space. Quotes around
a value keep its spaces and `#`; nothing within a value is expanded or escaped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigurationError

PREFIX = "GATEWAY_"
FILE_VARIABLE = "GATEWAY_SETTINGS_FILE"
# In the environment, for others than the settings: where they lie, and what the tests require.
_NOT_SETTINGS = frozenset({FILE_VARIABLE, "GATEWAY_REQUIRE_SYSTEM"})

_LINE = re.compile(r"(?:export\s+)?(?P<name>[^\s=#\"']+)\s*=\s*(?P<value>.*)")
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>.*?)(?P=quote)\s*(?:#.*)?""")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_PART = re.compile(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Given:
    """One setting as somebody wrote it. *where* names the line, or is "environment"."""

    name: str
    value: str
    where: str

    def __repr__(self) -> str:
        return f"Given({self.name!r}, {self.where!r})"  # the value may be a secret


@dataclass(frozen=True, slots=True)
class Names:
    """The names that exist: *plain* ones, and *sections* with the fields of their entries.

    Without prefix, in capitals: `PORT`, `VOD__MAX_STREAMS`; `PROVIDERS` with `HOST` for
    PROVIDERS__<name>__HOST, `VOD__USERS` with `PASSWORD` for VOD__USERS__<name>__PASSWORD.
    """

    plain: frozenset[str]
    sections: Mapping[str, frozenset[str]]

    def problem(self, given: Given) -> str | None:
        """Return what is wrong with the name, and which was probably meant; None if it exists."""
        name = given.name.upper()
        if not name.startswith(PREFIX):
            meant = self._closest(name, "<name>")
            return f"{given.name} ({given.where}) does not begin with {PREFIX}: {meant}"
        bare = name.removeprefix(PREFIX)
        if bare in self.plain:
            return None
        section = self._section(bare)
        rest = bare[len(section) :].split("__")[1:]
        if len(rest) == 2 and rest[1] in self.sections.get(section, ()):
            if _PART.fullmatch(rest[0]):
                return None
            return (
                f"{given.name} ({given.where}) holds a name that cannot be: write letters, "
                f"digits, - and single _ between {PREFIX}{section}__ and __{rest[1]}"
            )
        entry, wanted = "<name>", bare
        if section in self.sections and len(rest) < 2:  # the name of the entry was left out
            wanted = "__".join([section, entry, *rest])
        elif rest and _PART.fullmatch(rest[0]):
            entry = rest[0]
        meant = self._closest(wanted, entry)
        return f"{given.name} ({given.where}) is no setting: {meant}"

    def _section(self, bare: str) -> str:
        """Return the section that *bare* begins with, else what stands before its first __."""
        for section in self.sections:
            if bare == section or bare.startswith(f"{section}__"):
                return section
        return bare.partition("__")[0]

    def _closest(self, name: str, entry: str) -> str:
        """Return advice with the name most like *name*; *entry* is the part that is free."""
        known = set(self.plain)
        for section, fields in self.sections.items():
            known |= {f"{section}__{entry}__{field}" for field in fields}
        found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
        if found:
            return f"did you mean {PREFIX}{found[0]}?"
        return "settings.example.env lists those that exist"


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file to read: *path*, or what the environment names, or ./settings.env.

    None if nobody named one and there is none. Raises ConfigurationError if the one named is
    not there.
    """
    named = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is None:
        default = Path("settings.env")
        return default if default.exists() else None
    if not named.is_file():
        origin = "--settings" if path else FILE_VARIABLE
        raise ConfigurationError(f"{origin}={named}: there is no such file")
    return named


def read_file(path: Path) -> list[Given]:
    """Return the settings in *path*, without those that are empty.

    Raises ConfigurationError, one line for each thing that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is not UTF-8 text: save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    seen: dict[str, int] = {}
    found: list[Given] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            problems.append(f"{where} is not NAME=value: put # before a comment")
            continue
        name, value = match["name"], match["value"]
        if value[:1] in {'"', "'"}:
            quoted = _QUOTED.fullmatch(value)
            if quoted is None:
                problems.append(f"{name} ({where}) has a quote without its end")
                continue
            value = quoted["text"]
        else:
            value = _COMMENT.sub("", value).strip()
        first = seen.setdefault(name.upper(), number)
        if first != number:
            problems.append(f"{name} ({where}) stands in line {first} already: remove one of them")
        if value:
            found.append(Given(name, value, where))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def read_environment(environ: Mapping[str, str]) -> list[Given]:
    """Return the settings in *environ*, without those that are empty and those of others."""
    return [
        Given(name, value, "environment")
        for name, value in environ.items()
        if name.upper().startswith(PREFIX) and name.upper() not in _NOT_SETTINGS and value
    ]


def refuse_unknown(given: Iterable[Given], names: Names) -> None:
    """Raise ConfigurationError, one line for each name that is no setting."""
    problems = [problem for one in given if (problem := names.problem(one)) is not None]
    if problems:
        raise ConfigurationError("\n".join(problems))
