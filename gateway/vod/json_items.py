"""The items of one long JSON list, read while it arrives (RFC 8259).

A provider's list of 100,000 films is 50 MB, and many times that as Python objects: each item is
handed out as soon as it is complete, and forgotten. Panels written in PHP send a list as an
object with numbers for keys when one is missing in it; its values are the items then.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

MAX_ITEM = 4 << 20  # characters; an item that is larger is none
_BLANK = " \t\r\n\ufeff"
_PIECE = 256 << 10
_decoder = json.JSONDecoder()


class NotAList(ValueError):
    """What arrives is no list of JSON values, or ends before its end."""


def items(chunks: Iterable[bytes]) -> Iterator[tuple[str | None, Any]]:
    """Give the values of the list that *chunks* make, each with its key (None in an array).

    Raises NotAList: at the first item that is none, so that some may have been given before.
    """
    text = _Text(chunks)
    opening = text.next_character()
    if opening not in {"[", "{"}:
        raise NotAList("it begins like neither a list nor an object")
    text.skip()
    closing = "]" if opening == "[" else "}"
    if text.next_character() != closing:
        while True:
            key = _key(text) if closing == "}" else None
            yield key, text.value()
            following = text.next_character()
            if following == closing:
                break
            if following != ",":
                raise NotAList("an item ends in something else than a comma")
            text.skip()
    text.skip()


def _key(text: _Text) -> str:
    key = text.value()
    if not isinstance(key, str) or text.next_character() != ":":
        raise NotAList("an object's key is no text")
    text.skip()
    return key


class _Text:
    """What has arrived and is not read yet."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._text = ""
        self._at = 0
        self._is_whole = False

    def next_character(self) -> str:
        """Return the next that is not blank; it stays the next."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                raise NotAList("it ends before its end")

    def skip(self) -> None:
        self._at += 1

    def value(self) -> Any:
        """Return the value that begins here, once what follows it has arrived too."""
        self.next_character()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._more():  # 12 may become 123
                    self._at = end
                    return value
            except RecursionError:
                raise NotAList("an item is nested too deeply") from None
            except ValueError:
                if len(self._text) - self._at > MAX_ITEM:
                    raise NotAList(f"an item is longer than {MAX_ITEM:,} characters") from None
                if not self._more():
                    raise NotAList("an item is no JSON, or breaks off") from None

    def _more(self) -> bool:
        """Take at least one more piece in; False: there is none."""
        if self._is_whole:
            return False
        arrived: list[bytes] = []
        size = 0
        # An item that is not complete is read again from its beginning: not for every kilobyte.
        while size < max(_PIECE, len(self._text) - self._at):
            chunk = next(self._chunks, None)
            if chunk is None:
                self._is_whole = True
                break
            arrived.append(chunk)
            size += len(chunk)
        new = self._decode(b"".join(arrived), self._is_whole)
        self._text = self._text[self._at :] + new
        self._at = 0
        return True
