"""What is wrong with a setting, in one line: its name, where it stands, what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from gateway.settings_file import PREFIX, Given

# pydantic's types of error. Those of our own validators ("value_error") are worded there.
_WORDS = {
    "int_parsing": "is not a whole number: write digits alone",
    "int_parsing_size": "is not a whole number: write digits alone",
    "bool_parsing": "is neither yes nor no: write true or false",
    "literal_error": "is not known: write {expected}",
    "greater_than": "is too small: write more than {gt}",
    "greater_than_equal": "is too small: write {ge} or more",
    "less_than_equal": "is too large: write {le} or less",
    "value_error": "{error}",
}
# What to write for a field that an entry cannot do without, first if it is of this section.
_MISSING = {
    "arr__url": "its address, as http://127.0.0.1:8989",
    "arr__kind": "sonarr, radarr or lidarr",
    "arr__api_key": "the key that its settings show under General",
    "host": "the name of the news server, as news.example.com",
    "url": "the provider's address, as http://vod.example.com:8080",
    "username": "the user name that the provider gave",
    "password": "a password",
}


def explain(
    error: ErrorDetails,
    given: Mapping[str, Given],
    is_secret: Callable[[tuple[str, ...]], bool],
) -> str:
    """Return one line about *error*.

    *given*: what was written, by its whole name in small letters. The value is shown if
    *is_secret* denies that the place (field, or section, entry and field) holds a secret, and
    it cannot hold one by mistake (an address with a password).
    """
    loc = tuple(str(part) for part in error["loc"])
    # An item within a list has a place of its own, but no name.
    places = [loc[:length] for length in range(len(loc), 0, -1)]
    keys = [(PREFIX + "__".join(place)).lower() for place in places]
    written = next((given[key] for key in keys if key in given), None)
    what = _what(error, loc)
    if written is None:
        return f"{keys[0].upper()} {what}"
    value = written.value
    hide = is_secret(loc) or "@" in value or not value.isprintable()
    return f"{written.name}{'' if hide else f'={value[:60]}'} ({written.where}) {what}"


def _what(error: ErrorDetails, loc: tuple[str, ...]) -> str:
    if error["type"] == "missing":
        what = _MISSING.get(f"{loc[0]}__{loc[-1]}") or _MISSING.get(loc[-1], "a value")
        return f"is missing: write {what}"
    context: dict[str, Any] = {
        key: f"{value:g}" if isinstance(value, float) else value
        for key, value in error.get("ctx", {}).items()
    }
    words = _WORDS.get(error["type"])
    return words.format(**context) if words else f"is wrong: {error['msg'].lower()}"
