"""One request to SABnzbd's API, as its modes read it: parameters from the query or the form.

What a client sends is taken as far as it means anything: a number that is none counts as not
given, of a parameter that comes several times the first one counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from werkzeug import Request
from werkzeug.datastructures import FileStorage

from gateway.errors import GatewayError
from gateway_queue.sab_values import Answer

_COUNTLESS = 1 << 31
# A statement can hold some 32,000 values; the longest queues and histories have fewer items.
_MOST_IDS = 20_000


class Refused(GatewayError):
    """The words with which SABnzbd, or we, refuse what was asked."""

    http_status = 400


class Call:
    """The parameters of *request*."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def mode(self) -> str:
        return self._field("mode")

    def text(self, *names: str) -> str:
        """Return the first of these parameters that is given, stripped; "" if none is."""
        values = self._request.values
        return next((found for name in names if (found := values.get(name, "").strip())), "")

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number, bounded to what a database can hold."""
        try:
            number = int(self.text(name))
        except ValueError:
            return default
        return max(-_COUNTLESS, min(number, _COUNTLESS))

    def count(self, name: str) -> int:
        """Return a number that is not negative, 0 if there is none."""
        return max(0, self.number(name))

    def flag(self, name: str) -> bool:
        """Whether a parameter is 1, true, yes or on."""
        return self.text(name).lower() in {"1", "true", "yes", "on"}

    def listed(self, *names: str) -> list[str]:
        """Return what a parameter lists with commas, each once. Raises Refused if it is endless."""
        parts = (part.strip() for part in self.text(*names).split(","))
        found = list(dict.fromkeys(part for part in parts if part))
        if len(found) > _MOST_IDS:
            raise Refused(f"more than {_MOST_IDS:,} values: ask for fewer at a time")
        return found

    def file(self, *names: str) -> FileStorage | None:
        """Return the file that one of these fields carries."""
        files = self._request.files
        return next((file for name in names if (file := files.get(name)) and file.filename), None)

    def key(self) -> str:
        return self._request.headers.get("X-Api-Key") or self._field("apikey")

    def login(self) -> tuple[str, str] | None:
        """Return user and password, if both are given."""
        user, password = self._field("ma_username"), self._field("ma_password")
        return (user, password) if user and password else None

    def _field(self, name: str) -> str:
        # The body is not read for what the query says: a wrong key costs no upload.
        return self._request.args.get(name) or self._request.form.get(name) or ""


Mode: TypeAlias = Callable[[Call], Answer]
